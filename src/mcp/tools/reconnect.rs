//! The tool `ssh_reconnect`.

use std::time::{Duration, Instant};

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    session::{self, SessionResult},
};
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, params::WaitParam, report, tool_error::ToolError},
    session::{causes::with_causes, live::Reconnected},
};

pub(super) const NAME: &str = "ssh_reconnect";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReconnectParams {
    session: Option<String>,
    /// Log in anew
    #[serde(default)]
    fresh: bool,
    wait_ms: Option<WaitParam>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReconnectResult {
    session: SessionResult,
    connection: ReconnectOutcome,
    /// Time until the host was back; given only after more than one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
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
        "Reconnect a session; waitMs awaits a reboot.",
        Effect::Harmless,
    )
}

/// Connects a session whose connection is missing or does not answer. With `fresh`, logs in again
/// in any case. With `waitMs`, waits for a host that is down.
///
/// # Errors
/// There is no such session, or the host cannot be connected to.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ReconnectParams = super::arguments(NAME, &mut call)?;
    let session = params.session.as_deref();
    let wait = params.wait_ms.map(WaitParam::duration).unwrap_or_default();
    let (began, mut retries) = (Instant::now(), 0_u32);

    let reconnected = call
        .registry
        .reconnect(session, params.fresh, wait, &call.caller, |error| {
            retries += 1;
            call.watched.wait_for_host(format!(
                "not back after {}: {}",
                report::duration(began.elapsed()),
                with_causes(error)
            ));
        })
        .await;

    let took = (retries > 0).then(|| began.elapsed());
    let (status, reconnected, notice) = reconnected.map_err(|error| {
        let mut error = ToolError::from(error);
        if let Some(took) = took {
            error.message = format!("{}; {}", error.message, tried(took, retries));
        }
        error
    })?;

    let (connection, words) = ReconnectOutcome::from_outcome(reconnected);
    let result = ReconnectResult {
        session: status.into(),
        connection,
        waited_ms: took.and_then(|took| took.as_millis().try_into().ok()),
    };

    let words = match (&notice, took) {
        (None, Some(took)) => format!("back: {}", tried(took, retries)),
        (Some(notice), Some(took)) => format!("{notice}; {}", tried(took, retries)),
        (Some(notice), None) => notice.clone(),
        (None, None) => words.to_owned(),
    };

    let text = format!("{}; {}", result.session.line(), escape_line(&words));
    session::text_and_facts(text, &result)
}

/// Returns the number of attempts, which is one more than that of `retries`, and their time.
fn tried(took: Duration, retries: u32) -> String {
    format!(
        "{} attempts in {}",
        retries.saturating_add(1),
        report::duration(took)
    )
}
