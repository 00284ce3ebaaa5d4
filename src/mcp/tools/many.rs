//! What the tools share that act in several sessions at once: `ssh_exec` and `ssh_upload`.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    mcp::call::{Call, tool_error::ToolError},
    session::caller::Caller,
};

/// Limit on the sessions of a call.
const MAX_SESSIONS: usize = 200;
/// Limit on the log-ins of a call at a time. Many at once look like an attack to jump hosts, and
/// `sshd` refuses some of them (`MaxStartups`).
const MAX_DIALS: usize = 16;

/// Checks the parameters `sessions` and `session` of the tool `name`.
///
/// # Errors
/// `sessions` is empty, or `session` is given as well: it would be open whether that session is
/// meant, too.
pub(super) fn check(
    name: &str,
    sessions: Option<&[String]>,
    session: Option<&str>,
) -> Result<(), ToolError> {
    match sessions {
        Some(sessions) if sessions.is_empty() || session.is_some() => Err(wrong_sessions(name, "")),
        _ => Ok(()),
    }
}

/// Returns the names of the sessions that `wanted` names, by name or pattern, for the tool `name`.
///
/// # Errors
/// A pattern matches no session, or there are more than [`MAX_SESSIONS`].
pub(super) async fn expand(
    name: &str,
    call: &Call,
    wanted: Vec<String>,
) -> Result<Vec<String>, ToolError> {
    let sessions = call.registry.expand(wanted).await?;
    if sessions.len() > MAX_SESSIONS {
        let count = sessions.len();
        return Err(wrong_sessions(name, &format!("; these are {count}")));
    }

    Ok(sessions)
}

/// Returns the caller of the sessions, of which few may log in at a time.
pub(super) fn caller(call: &Call) -> Caller {
    Caller {
        dials: Some(Arc::new(Semaphore::new(MAX_DIALS))),
        ..call.caller.clone()
    }
}

/// Returns the error about a wrong number of sessions.
fn wrong_sessions(name: &str, more: &str) -> ToolError {
    ToolError::new(
        format!(
            "{name}: sessions names 1 to {MAX_SESSIONS} sessions, and session is left out then{more}"
        ),
        "call ssh_sessions for their names",
    )
}
