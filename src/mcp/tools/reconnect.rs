//! `ssh_reconnect`

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effects, session, session::SessionResult};
use crate::mcp::{params::schema, server::Call, tool_error::ToolError};

pub(super) const NAME: &str = "ssh_reconnect";

#[derive(Debug, Deserialize, JsonSchema)]
struct ReconnectParams {
    /// Default: the default session
    session: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ReconnectResult {
    session: SessionResult,
}

pub(super) fn tool() -> Tool {
    super::describe::<ReconnectParams>(
        NAME,
        "Reconnect an SSH session",
        "Reconnect a dropped or saved session. A connection that still answers is kept, with its shells.",
        Effects { read_only: false, destructive: false, idempotent: true, open_world: true },
    )
    .with_raw_output_schema(schema::<ReconnectResult>())
}

pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ReconnectParams = super::arguments(NAME, &mut call)?;
    let status = call.registry.reconnect(params.session.as_deref(), &call.caller).await?;
    let result = ReconnectResult { session: status.into() };
    session::both(result.session.line(), &result)
}
