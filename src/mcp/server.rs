//! The MCP server: a registry handle and the tool catalogue, without state of its own.

use std::{sync::Arc, time::Instant};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CustomRequest, CustomResult,
        ErrorCode, GetPromptRequestParams, GetPromptResponse, Implementation, JsonObject, ListPromptsResult,
        ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{heartbeat, prompts, resources, tool_error::ToolError, tools};
use crate::session::registry::SessionRegistry;

/// What a client tells its model about this server. The first 250 characters are all that some show.
const INSTRUCTIONS: &str = "\
SSH sessions for remote servers: connect once with ssh_connect, then run shell commands (ssh_shell keeps directory and \
variables, ssh_exec is stateless) and move files over SFTP (ssh_upload, ssh_download). Sessions reconnect by themselves.

- ssh_connect(host) takes anything `ssh` takes: an alias of ~/.ssh/config, user@host, an address. Log-in uses the \
person's ssh-agent and keys; password only if it must be.
- Tools without `session` use the default session: the one chosen with ssh_set_default, else the first one connected. \
ssh_sessions lists all, saved ones too; a saved session connects on first use.
- ssh_shell runs in a persistent bash: cd, variables, functions and options stay. ssh_exec gives each command its own \
channel, so several run at once; use it for long or parallel work.
- A command that fails is a normal result: look at the last line, such as [exit 1 · 12 ms]. A result that is an error \
means that the call itself could not be carried out, and says what to do next.
- timeoutMs stops the remote process, not just the waiting. Long output is cut in the middle; the last line names a \
local file with all of it.
- After `connection lost` the command may have run: check before you run it again.";

/// How many calls may run at once, of all clients together.
const MOST_CALLS: usize = 1024;

/// Answers the requests of clients. Clones answer as one.
#[derive(Debug, Clone)]
pub struct SshServer {
    registry: Arc<SessionRegistry>,
    calls: Arc<Semaphore>,
}

impl SshServer {
    /// A server for the sessions of this registry.
    #[must_use]
    pub fn new(registry: Arc<SessionRegistry>) -> Self {
        Self { registry, calls: Arc::new(Semaphore::new(MOST_CALLS)) }
    }
}

/// One call of a tool.
pub(super) struct Call<'a> {
    pub(super) registry: &'a SessionRegistry,
    pub(super) arguments: Option<JsonObject>,
    /// Cancelled when the client gives the call up.
    pub(super) cancelled: CancellationToken,
}

impl ServerHandler for SshServer {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new("mcp-ssh-sessions", env!("CARGO_PKG_VERSION")).with_title("SSH sessions");
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .enable_completions()
            .build();
        ServerConfig::new(capabilities).with_server_info(name).with_instructions(INSTRUCTIONS)
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
        let Ok(_running) = self.calls.try_acquire() else {
            let error = ToolError::new(format!("{MOST_CALLS} calls are running already"), "wait until some have ended");
            return Ok(error.into_result().into());
        };
        let call = Call { registry: &self.registry, arguments: request.arguments, cancelled: context.ct.clone() };
        let started = Instant::now();
        let title = tools::find(&request.name).and_then(|tool| tool.title.as_deref()).unwrap_or_default();
        let work = Box::pin(tools::call(&request.name, call));
        let Some(result) = heartbeat::while_running(work, title, &context).await else {
            return Err(ErrorData::invalid_params(format!("unknown tool {:?}", request.name), None));
        };
        // Names and times only: what a call says may be secret.
        tracing::debug!(tool = %request.name, carried_out = result.is_ok(), milliseconds = started.elapsed().as_millis(), "call");
        Ok(result.unwrap_or_else(ToolError::into_result).into())
    }

    // rmcp takes a method that it knows, with parameters that do not fit, for one that it does not know.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method == "tools/call" {
            let message = "tools/call takes `name`, which is a text, and `arguments`, which is an object";
            return Err(ErrorData::invalid_params(message, None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None))
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
        Ok(CompleteResult::new(prompts::complete(&request, &self.registry).await))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list(&self.registry).await))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.registry, &request.uri).await.map(Into::into)
    }
}
