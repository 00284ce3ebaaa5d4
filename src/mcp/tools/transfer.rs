//! What upload and download have in common.

use rmcp::model::CallToolResult;
use schemars::JsonSchema;
use serde::Serialize;

use super::session;
use crate::{mcp::tool_error::ToolError, ssh::sftp::Transferred};

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferResult {
    files: u64,
    bytes: u64,
    duration_ms: u64,
    skipped: u64,
    /// Whether both sides were compared by SHA-256, not by size alone
    verified: bool,
    /// The path at the destination
    to: String,
}

pub(super) fn result(what: &str, moved: Transferred) -> Result<CallToolResult, ToolError> {
    let duration_ms = u64::try_from(moved.duration.as_millis()).unwrap_or(u64::MAX);
    let result = TransferResult {
        files: 1,
        bytes: moved.bytes,
        duration_ms,
        skipped: 0,
        verified: moved.verified,
        to: moved.to,
    };
    let how = if result.verified { "SHA-256" } else { "size" };
    let text = format!(
        "{what} 1 file, {} bytes, to {} in {} ms ({how} verified, 0 skipped)",
        result.bytes, result.to, result.duration_ms
    );
    session::both(text, &result)
}
