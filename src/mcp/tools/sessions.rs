//! The tool `ssh_sessions`.

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
    session::registry::SessionListing,
};

pub(super) const NAME: &str = "ssh_sessions";

#[derive(Debug, Deserialize, JsonSchema)]
struct SessionsParams {}

#[derive(Debug, Serialize)]
struct SessionsResult {
    sessions: Vec<SessionResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

impl From<SessionListing> for SessionsResult {
    fn from(listing: SessionListing) -> Self {
        Self {
            sessions: listing
                .sessions
                .into_iter()
                .map(SessionResult::from)
                .collect(),
            default: listing.default.map(|name| name.to_string()),
            notice: listing.notice,
        }
    }
}

/// Returns the structured result of `ssh_sessions` as JSON text, for the resource of the same
/// content.
pub(in crate::mcp) fn as_json(listing: SessionListing) -> String {
    serde_json::to_string(&SessionsResult::from(listing)).unwrap_or_default()
}

pub(super) fn tool() -> Tool {
    super::describe::<SessionsParams>(
        NAME,
        "List SSH sessions: connected, disconnected and saved ones, and which is the default.",
        Effect::ReadsOnly,
    )
}

/// Lists all sessions of this process and of the store.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    // Parsed although nothing is expected, so that an unknown parameter is an error here, too.
    let SessionsParams {} = super::arguments(NAME, &mut call)?;
    let result = SessionsResult::from(call.registry.list().await?);
    let mut lines: Vec<String> = result.sessions.iter().map(SessionResult::line).collect();
    if lines.is_empty() {
        lines.push("no sessions; make one with ssh_connect".to_owned());
    }

    // The notice tells of a store that was set aside, which would look like lost sessions
    // otherwise.
    lines.extend(
        result
            .notice
            .as_ref()
            .map(|notice| format!("notice: {}", escape_line(notice.as_bytes()))),
    );

    session::text_and_json(lines.join("\n"), &result)
}
