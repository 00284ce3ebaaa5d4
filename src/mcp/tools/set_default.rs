//! The tool `ssh_set_default`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    session::{self, SessionResult},
};
use crate::mcp::call::{Call, tool_error::ToolError};

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
        "Choose the session that is used when none is named.",
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
    let status = call.registry.set_default(&params.session).await?;
    let result = SetDefaultResult {
        session: status.into(),
    };
    session::text_and_json(result.session.line(), &result)
}
