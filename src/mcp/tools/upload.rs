//! `ssh_upload`

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effects, transfer, transfer::TransferResult};
use crate::{
    mcp::{params::schema, server::Call, tool_error::ToolError},
    ssh::sftp::Progress,
};

pub(super) const NAME: &str = "ssh_upload";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UploadParams {
    local_path: String,
    /// A file, or a directory to put it into
    remote_path: String,
    /// Default: the default session
    session: Option<String>,
}

pub(super) fn tool() -> Tool {
    super::describe::<UploadParams>(
        NAME,
        "Upload a file",
        "Copy a local file to the remote server over SFTP, keeping mode and times. The remote file is replaced only \
         when the copy is complete. ~ is home on either side.",
        Effects { read_only: false, destructive: true, idempotent: true, open_world: true },
    )
    .with_raw_output_schema(schema::<TransferResult>())
}

pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: UploadParams = super::arguments(NAME, &mut call)?;
    let session = call.registry.lookup(params.session.as_deref()).await?;
    let moved = session.upload(&params.local_path, &params.remote_path, Progress::default(), &call.caller).await?;
    transfer::result("uploaded", moved)
}
