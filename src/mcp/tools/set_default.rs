//! The tool `ssh_set_default`.

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
};

pub(super) const NAME: &str = "ssh_set_default";

#[derive(Debug, Deserialize, JsonSchema)]
struct SetDefaultParams {
    session: String,
}

#[derive(Debug, Serialize)]
struct SetDefaultResult {
    session: SessionResult,
}

pub(super) fn tool() -> Tool {
    super::describe::<SetDefaultParams>(
        NAME,
        "Choose the session used when none is named.",
        Effect::Harmless,
    )
}

/// Sets the default session.
///
/// # Errors
/// There is no such session.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: SetDefaultParams = super::arguments(NAME, &mut call)?;
    // The registry keeps the choice: since MCP 2026-07-28 requests are stateless.
    let (status, notice) = call
        .registry
        .set_default(&params.session, &call.caller)
        .await?;

    let result = SetDefaultResult {
        session: status.into(),
    };

    let notice = notice.map(|notice| format!("; {}", escape_line(notice.as_bytes())));
    let text = result.session.line() + &notice.unwrap_or_default();
    session::text_and_facts(text, &result)
}
