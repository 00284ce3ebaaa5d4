//! The tool `ssh_reconnect`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    session::{self, SessionResult},
};
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, tool_error::ToolError},
    session::live::Reconnected,
};

pub(super) const NAME: &str = "ssh_reconnect";

#[derive(Debug, Deserialize, JsonSchema)]
struct ReconnectParams {
    session: Option<String>,
    /// Log in anew
    #[serde(default)]
    fresh: bool,
}

#[derive(Debug, Serialize)]
struct ReconnectResult {
    session: SessionResult,
    connection: ReconnectOutcome,
}

/// Outcome of `ssh_reconnect` for the connection of the session, for programs.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum ReconnectOutcome {
    /// The connection answered and stays.
    Kept,
    /// The session had no connection before.
    Made,
    /// The old connection did not answer and was replaced.
    Replaced,
    /// The session logged in again at the request of the caller.
    Renewed,
}

impl ReconnectOutcome {
    /// Returns the outcome for programs and the same in words for the model.
    fn from_outcome(reconnected: Reconnected) -> (Self, &'static str) {
        match reconnected {
            Reconnected::Kept => (
                Self::Kept,
                "the connection answered and was kept; fresh: true logs in anew",
            ),
            Reconnected::Connected => (Self::Made, "it was not connected before"),
            Reconnected::Replaced => (
                Self::Replaced,
                "the connection before did not answer and was replaced",
            ),
            Reconnected::Renewed => (
                Self::Renewed,
                "logged in anew; what runs goes on over the connection before, and each shell moves with its state at its \
                 next command",
            ),
        }
    }
}

pub(super) fn tool() -> Tool {
    super::describe::<ReconnectParams>(
        NAME,
        "Reconnect a session; one that answers is kept.",
        Effect::Harmless,
    )
}

/// Connects a session whose connection is missing or does not answer. With `fresh`, logs in again
/// in any case.
///
/// # Errors
/// There is no such session, or the host cannot be connected to.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ReconnectParams = super::arguments(NAME, &mut call)?;
    let session = params.session.as_deref();
    let (status, reconnected, notice) = call
        .registry
        .reconnect(session, params.fresh, &call.caller)
        .await?;

    let (connection, words) = ReconnectOutcome::from_outcome(reconnected);
    let result = ReconnectResult {
        session: status.into(),
        connection,
    };

    let words = notice.as_deref().unwrap_or(words);
    let text = format!(
        "{}; {}",
        result.session.line(),
        escape_line(words.as_bytes())
    );
    session::text_and_facts(text, &result)
}
