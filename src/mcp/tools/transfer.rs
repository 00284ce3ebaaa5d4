//! What upload and download have in common.

use rmcp::model::CallToolResult;
use schemars::JsonSchema;
use serde::Serialize;

use super::session;
use crate::{
    mcp::{heartbeat::size, tool_error::ToolError},
    readable::in_a_line,
    ssh::sftp::Transferred,
};

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
    let Transferred { to, tally, verified, duration } = moved;
    let result = TransferResult {
        files: tally.files,
        bytes: tally.bytes,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        skipped: tally.unchanged + tally.special,
        verified,
        to,
    };
    let mut counts = vec![counted(tally.files, "file", "files")];
    if tally.links > 0 {
        counts.push(counted(tally.links, "link", "links"));
    }
    if tally.directories > 0 {
        counts.push(counted(tally.directories, "directory", "directories"));
    }
    let how = match (verified, tally.unsure) {
        (true, _) => "SHA-256 verified".to_owned(),
        (false, 0) => "size verified".to_owned(),
        (false, unsure) => {
            format!("not verified: the server said another length of {}, or none", counted(unsure, "file", "files"))
        }
    };
    let skipped = match result.skipped {
        0 => "0 skipped".to_owned(),
        skipped => format!("{skipped} skipped: {} unchanged, {} special", tally.unchanged, tally.special),
    };
    #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
    let rate = size(result.bytes as f64 / duration.as_secs_f64().max(0.001));
    let text = format!(
        "{what} {}, {} bytes, to {} in {} ms ({rate}/s, {how}, {skipped})",
        counts.join(", "),
        result.bytes,
        result.to,
        result.duration_ms
    );
    session::both(in_a_line(text.as_bytes()), &result)
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
