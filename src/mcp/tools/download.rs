//! The tool `ssh_download`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effect,
    transfer::{self, TransferArguments},
};
use crate::{
    mcp::call::{Call, tool_error::ToolError},
    session::transfers::Direction,
};

pub(super) const NAME: &str = "ssh_download";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DownloadParams {
    remote_path: String,
    local_path: String,
    session: Option<String>,
    exclude: Option<Vec<String>>,
    #[serde(default)]
    skip_unchanged: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<DownloadParams>(
        NAME,
        "Copy a remote file or directory to this machine (or session:/path), as cp -r.",
        Effect::Destructive,
    )
}

/// Copies a remote file or directory to this machine, or to the host of another session.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: DownloadParams = super::arguments(NAME, &mut call)?;

    let arguments = TransferArguments {
        local: params.local_path,
        remote: params.remote_path,
        session: params.session,
        sessions: None,
        exclude: params.exclude,
        skip_unchanged: params.skip_unchanged,
    };

    transfer::run(call, Direction::Download, arguments).await
}
