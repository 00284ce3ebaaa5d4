//! The tool `ssh_disconnect`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effects,
    session::{self, SessionResult},
};
use crate::mcp::call::{Call, params::schema, tool_error::ToolError};

pub(super) const NAME: &str = "ssh_disconnect";

#[derive(Debug, Deserialize, JsonSchema)]
struct DisconnectParams {
    /// Default: the default session
    session: Option<String>,
    /// Delete the saved session too
    #[serde(default)]
    forget: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
struct DisconnectResult {
    session: SessionResult,
    forgotten: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<DisconnectParams>(
        NAME,
        "Disconnect an SSH session",
        "Close a session: its running commands are stopped, its shells end. It stays saved unless forget is true.",
        Effects { read_only: false, destructive: false, idempotent: true, open_world: false },
    )
    .with_raw_output_schema(schema::<DisconnectResult>())
}

/// Disconnects a session, and deletes the saved session if the call says so.
///
/// # Errors
/// There is no such session, or the store cannot be changed.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: DisconnectParams = super::arguments(NAME, &mut call)?;
    let status = call
        .registry
        .disconnect(params.session.as_deref(), params.forget)
        .await?;

    let result = DisconnectResult {
        session: status.into(),
        forgotten: params.forget,
    };

    // The line says which one happened, because a saved session connects again by itself on its
    // next use.
    let effect = if params.forget {
        "forgotten"
    } else {
        "kept in the saved sessions"
    };

    session::text_and_json(format!("{} ({effect})", result.session.line()), &result)
}
