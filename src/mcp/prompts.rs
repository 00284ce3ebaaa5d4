//! Prompts of MCP, which clients show to the user as commands.

use rmcp::{
    ErrorData,
    model::{
        CompleteRequestParams, CompletionInfo, GetPromptRequestParams, GetPromptResult, Prompt,
        PromptArgument, PromptMessage, Reference, Role,
    },
};

use crate::session::registry::SessionRegistry;

/// Name of the prompt for the health of a host.
const CHECK_HOST: &str = "check-host";
/// Name of the argument with the session.
const SESSION: &str = "session";

/// Name of the argument with the host, for completion alone.
const HOST: &str = "host";

/// Returns all prompts.
pub(super) fn list() -> Vec<Prompt> {
    let session = PromptArgument::new(SESSION)
        .with_title("Session")
        .with_description("Session name, ssh alias or user@host; the default session if left out")
        .with_required(false);
    let check =
        "How a host is: load, memory, disks, failed services, recent errors. Changes nothing.";
    vec![Prompt::new(CHECK_HOST, Some(check), Some(vec![session])).with_title("Check a host")]
}

/// Returns the text of a prompt, with the session of the arguments.
///
/// # Errors
/// There is no such prompt.
pub(super) fn get(request: &GetPromptRequestParams) -> Result<GetPromptResult, ErrorData> {
    if request.name != CHECK_HOST {
        return Err(ErrorData::invalid_params(
            format!("unknown prompt {:?}", request.name),
            None,
        ));
    }

    let given = request
        .arguments
        .as_ref()
        .and_then(|arguments| arguments.get(SESSION)?.as_str());

    // An empty argument counts as none, because a client may send one if the user types nothing.
    let host = match given.map(str::trim).filter(|name| !name.is_empty()) {
        Some(name) => format!(
            "the SSH session {name:?} (if ssh_sessions does not list it, connect with ssh_connect to that host first)"
        ),
        None => "the default SSH session".to_owned(),
    };

    // The text forbids changes, because the user has asked a question and not for a repair.
    let text = format!(
        "Check how the machine of {host} is. With ssh_exec and read-only commands alone, look at: uptime and load, memory \
         and swap, disk space and inodes, failed services, the processes that use most CPU and memory, and errors in the \
         system log of the last day. Change nothing and install nothing; where a command is missing or not permitted, say \
         so and go on. Then report in a few lines: what is wrong, how bad it is, what you would do about it; and what is \
         fine in one sentence."
    );

    Ok(GetPromptResult::new(vec![PromptMessage::new_text(
        Role::User,
        text,
    )]))
}

/// Returns the names of sessions, and then of hosts of the SSH configuration, that begin with the
/// typed text.
pub(super) async fn complete(
    request: &CompleteRequestParams,
    registry: &SessionRegistry,
) -> CompletionInfo {
    let known = matches!(&request.r#ref, Reference::Prompt(prompt) if prompt.name == CHECK_HOST);
    if !known || ![SESSION, HOST].contains(&request.argument.name.as_str()) {
        return CompletionInfo::default();
    }

    let sessions = registry.names().await;
    let hosts = registry
        .hosts_without_session(sessions.iter().map(String::as_str))
        .await;
    let hosts = hosts.into_iter().map(|host| host.name);

    let mut names: Vec<String> = sessions.into_iter().chain(hosts).collect();
    names.retain(|name| name.starts_with(&request.argument.value));
    let (total, more) = (names.len(), names.len() > CompletionInfo::MAX_VALUES);
    names.truncate(CompletionInfo::MAX_VALUES);

    CompletionInfo::with_pagination(names, u32::try_from(total).ok(), more).unwrap_or_default()
}
