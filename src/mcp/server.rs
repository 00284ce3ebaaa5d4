//! MCP server: a handle of the session registry and the tool catalogue. Sessions, jobs and outputs
//! all belong to the registry.

use std::{path::PathBuf, sync::Arc, time::Instant};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        CustomRequest, CustomResult, ErrorCode, GetPromptRequestParams, GetPromptResponse,
        Implementation, InputRequests, InputRequiredResult, JsonObject, ListPromptsResult,
        ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
        ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    call::{
        Call, limit,
        progress::{self, ProgressSource},
        running::{CallStep, ParkedCalls, RunningCall},
        tool_error::ToolError,
    },
    prompt::elicit,
    prompts, resources, tools,
};
use crate::{
    session::{
        approvals::CallAnswers, audit_call::AuditCall, caller::Caller, registry::SessionRegistry,
    },
    ssh::{command::output::ReaderId, prompt::prompter::PromptRequest},
};

/// Introduction to this server, for the model. Codex shows only the first line, cut at 250
/// characters.
const INSTRUCTIONS: &str = "\
SSH for remote servers: run shell commands (ssh_exec, ssh_shell), read, search, edit files (ssh_read, ssh_search, \
ssh_edit), copy them over SFTP (ssh_upload, ssh_download). `session`: any known host of ~/.ssh/config; ssh_connect opens others.

- Use ssh_read, ssh_search and ssh_edit rather than cat, grep and sed: an edit keeps mode, owner, links and encoding.
- Without `session`, a call goes to the default: that of ssh_set_default, else the first connected. ssh_sessions lists \
sessions and hosts.
- ssh_shell keeps directory and variables, and file paths start there; ssh_exec runs side by side.
- A command longer than waitMs (45 s) goes on as a job; ssh_job continues it. Interactive programs want pty: true; \
ssh_job with ask lets the person type a secret.
- A command that fails is a result: read the last line, such as [exit 1]. An error says what to do next.
- timeoutMs stops the remote process. Output that was cut is whole in the local file that the last line names.
- After `connection lost` the command may have run: check before you run it again.";

/// Limit on the number of simultaneous calls, of all clients together.
const MAX_CALLS: usize = 1024;

/// Handler of the requests of clients. Clones share the registry, the limit on calls and the parked
/// calls, so a client may reach any clone.
#[derive(Debug, Clone)]
pub struct SshServer {
    /// Registry of all sessions.
    registry: Arc<SessionRegistry>,
    /// Permits for running calls.
    calls: Arc<Semaphore>,
    /// Calls waiting for an answer of the user (MCP 2026-07-28).
    parked: ParkedCalls,
    /// Directory in which relative local paths begin; `None` for the working directory of this
    /// process.
    directory: Option<PathBuf>,
    /// Client of this clone, as a reader of outputs.
    reader: ReaderId,
}

impl SshServer {
    /// Creates a server for the sessions of this registry.
    #[must_use]
    pub fn new(registry: Arc<SessionRegistry>) -> Self {
        let calls = Arc::new(Semaphore::new(MAX_CALLS));
        Self {
            registry,
            calls,
            parked: ParkedCalls::default(),
            directory: None,
            reader: ReaderId::unique(),
        }
    }

    /// Returns the server for another client, who has been shown no output yet.
    #[must_use]
    pub fn for_new_client(self) -> Self {
        let reader = ReaderId::unique();
        Self { reader, ..self }
    }

    /// Returns the server for a client whose relative local paths begin in this directory.
    #[must_use]
    pub fn in_directory(self, directory: Option<PathBuf>) -> Self {
        Self { directory, ..self }
    }
}

impl SshServer {
    /// Starts a call of a tool in a separate task.
    fn start(
        &self,
        tool: String,
        arguments: Option<JsonObject>,
        context: &RequestContext<RoleServer>,
    ) -> RunningCall {
        // A capacity of one is enough, because further questions can wait in their senders.
        let (ask, questions) = mpsc::channel(1);
        let prompter = elicit::prompter(context.client_capabilities().as_ref(), &ask);
        let cancelled = CancellationToken::new();
        let caller = Caller {
            cancelled: cancelled.clone(),
            reader: self.reader(context),
            prompter,
            is_unattended: false,
            answers: CallAnswers::default(),
            dials: None,
            audit: AuditCall::default(),
        };

        let watched = ProgressSource::default();

        let call = Call {
            registry: Arc::clone(&self.registry),
            arguments,
            caller,
            client: context
                .client_info()
                .map(|client| format!("{} {}", client.name, client.version).into()),
            watched: watched.clone(),
            directory: self.directory.clone(),
        };

        RunningCall::start(
            async move { tools::call(&tool, call).await },
            questions,
            cancelled,
            watched,
        )
    }

    /// Returns the client of a request, as a reader of outputs. Over HTTP, the revisions without
    /// `initialize` have no sessions, so their clients cannot be told apart.
    fn reader(&self, context: &RequestContext<RoleServer>) -> ReaderId {
        let has_session = context
            .protocol_version()
            .is_none_or(|version| version.has_initialize());
        let is_http = context.extensions.get::<http::request::Parts>().is_some();

        if is_http && !has_session {
            ReaderId::SHARED
        } else {
            self.reader
        }
    }

    /// Waits for the end of a call, and passes questions to the client. If the client's revision
    /// has no requests from the server, the result asks for input instead. The call is then parked
    /// until the client returns.
    ///
    /// # Errors
    /// There is no tool of this name.
    async fn finish(
        &self,
        mut running: RunningCall,
        tool: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        loop {
            // MCP wants a protocol error for an unknown tool. Any other failure is a result, so
            // that the model reads it.
            let prompt_request = match running.next(&context.ct).await {
                CallStep::Done(Some(result)) => {
                    let answer = result.unwrap_or_else(ToolError::into_result);
                    return Ok(limit::bounded(answer).into());
                }
                CallStep::Done(None) => {
                    return Err(ErrorData::invalid_params(
                        format!("unknown tool {tool:?}"),
                        None,
                    ));
                }
                CallStep::Asks(prompt_request) => prompt_request,
            };

            // Every banner is shown in the progress. Only a banner with a page becomes a question,
            // and only during the log-in.
            if let PromptRequest::Banner(banner) = &prompt_request {
                running.watched.say(banner);
                if banner.page.is_none() || banner.login_ended.is_set() {
                    continue;
                }
            }

            if context
                .protocol_version()
                .is_none_or(|version| version.has_initialize())
            {
                tokio::spawn(elicit::ask(
                    context.peer.clone(),
                    context.id.clone(),
                    prompt_request,
                ));
                continue;
            }

            // From revision 2026-07-28 on, a server cannot send requests. If no page can be served,
            // the question is dropped and the call goes on without an answer.
            let Some((request, waiting)) = elicit::request(prompt_request).await else {
                continue;
            };

            let Some(state) = self.parked.keep(tool, running, waiting) else {
                let error = ToolError::new(
                    "the system's random number generator is unavailable",
                    "try again",
                );
                return Ok(error.into_result().into());
            };

            let requests = InputRequests::from([(QUESTION.to_owned(), elicit::input(request))]);
            return Ok(InputRequiredResult::new(Some(requests), Some(state)).into());
        }
    }
}

/// Key of the question in an input-required result.
const QUESTION: &str = "person";

impl ServerHandler for SshServer {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new("mcp-ssh-sessions", env!("CARGO_PKG_VERSION"))
            .with_title("SSH sessions");

        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_completions()
            .build();

        ServerConfig::new(capabilities)
            .with_server_info(name)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::CATALOGUE.clone()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Each call holds memory and a task, so the limit holds for all clients together.
        let Ok(_running) = self.calls.try_acquire() else {
            let error = ToolError::new(
                format!("{MAX_CALLS} calls are running already"),
                "wait until some have ended",
            );
            return Ok(error.into_result().into());
        };

        let tool = request.name.into_owned();

        // A call with a state takes up a parked call. Its arguments are ignored, since the parked
        // call has them.
        let running = match &request.request_state {
            None => self.start(tool.clone(), request.arguments, &context),
            Some(state) => {
                let Some((running, waiting)) = self.parked.resume(state, &tool) else {
                    let error = ToolError::new(
                        "the question was not answered in time",
                        "call the tool again",
                    );
                    return Ok(error.into_result().into());
                };

                let response = request
                    .input_responses
                    .as_ref()
                    .and_then(|responses| responses.get(QUESTION));

                elicit::settle_with(waiting, response);

                running
            }
        };

        let started = Instant::now();
        let watched = running.watched.clone();
        let call = Box::pin(self.finish(running, &tool, &context));
        let result = progress::while_running(call, &watched, &tool, &context).await;

        // Names and times only, because the arguments and results of a call may contain secrets.
        tracing::debug!(%tool, answered = result.is_ok(), milliseconds = started.elapsed().as_millis(), "call");

        result
    }

    // rmcp treats a known method with wrong parameters as an unknown method, and passes it on to
    // this function.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        // Without this case, the client would read that the server has no tools.
        if request.method == "tools/call" {
            let message =
                "tools/call takes `name`, which is a text, and `arguments`, which is an object";
            return Err(ErrorData::invalid_params(message, None));
        }

        Err(ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            request.method,
            None,
        ))
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::list()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(&request).map(Into::into)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(
            prompts::complete(&request, &self.registry).await,
        ))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(
            resources::list(&self.registry).await,
        ))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.registry, &request.uri)
            .await
            .map(Into::into)
    }
}
