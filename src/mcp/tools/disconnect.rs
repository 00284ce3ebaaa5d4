//! The tool `ssh_disconnect`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Effect,
    session::{self, SessionResult},
};
use crate::mcp::call::{Call, tool_error::ToolError};

pub(super) const NAME: &str = "ssh_disconnect";

#[derive(Debug, Deserialize, JsonSchema)]
struct DisconnectParams {
    session: Option<String>,
    /// Delete the saved session too
    #[serde(default)]
    forget: bool,
}

#[derive(Debug, Serialize)]
struct DisconnectResult {
    session: SessionResult,
    forgotten: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<DisconnectParams>(
        NAME,
        "Close a session, its commands and shells.",
        Effect::Harmless,
    )
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

    let audit = call.caller.audit.part(&status.name);
    audit.host(&status.host, &status.user, &status.host_name, status.port);

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

    session::text_and_facts(format!("{} ({effect})", result.session.line()), &result)
}
