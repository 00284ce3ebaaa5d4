//! The tool `ssh_upload`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effects,
    transfer::{self, TransferArguments, TransferResult},
};
use crate::{
    mcp::call::{Call, params::schema, tool_error::ToolError},
    session::transfers::Direction,
};

pub(super) const NAME: &str = "ssh_upload";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UploadParams {
    local_path: String,
    /// The copy, or a directory to put it into
    remote_path: String,
    /// Default: the default session
    session: Option<String>,
    /// gitignore patterns to leave out
    exclude: Option<Vec<String>>,
    /// Skip files of the same size and time
    #[serde(default)]
    skip_unchanged: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<UploadParams>(
        NAME,
        "Upload files",
        "Copy a local file or directory to the remote server over SFTP, as cp -r does, keeping modes, times and links. \
         A file is replaced only when its copy is complete. ~ is home on either side.",
        Effects { read_only: false, destructive: true, idempotent: true, open_world: true },
    )
    .with_raw_output_schema(schema::<TransferResult>())
}

/// Copies a local file or directory to the remote host.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: UploadParams = super::arguments(NAME, &mut call)?;

    let arguments = TransferArguments {
        local: params.local_path,
        remote: params.remote_path,
        session: params.session,
        exclude: params.exclude,
        skip_unchanged: params.skip_unchanged,
    };

    transfer::run(call, Direction::Upload, arguments).await
}
