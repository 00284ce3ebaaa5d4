//! The tool `ssh_download`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effects,
    transfer::{self, TransferResult},
};
use crate::{
    mcp::call::{Call, params::schema, tool_error::ToolError},
    session::transfers::Direction,
    ssh::transfer::TransferRequest,
};

pub(super) const NAME: &str = "ssh_download";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct DownloadParams {
    remote_path: String,
    /// The copy, or a directory to put it into
    local_path: String,
    /// Default: the default session
    session: Option<String>,
    /// gitignore patterns to leave out
    exclude: Option<Vec<String>>,
    /// Skip files of the same size and time
    #[serde(default)]
    skip_unchanged: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<DownloadParams>(
        NAME,
        "Download files",
        "Copy a remote file or directory to this machine over SFTP, as cp -r does, keeping modes, times and links. \
         A file is replaced only when its copy is complete. ~ is home on either side.",
        Effects { read_only: false, destructive: true, idempotent: true, open_world: true },
    )
    .with_raw_output_schema(schema::<TransferResult>())
}

/// Copies a remote file or directory to this machine.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: DownloadParams = super::arguments(NAME, &mut call)?;
    // The daemon has another working directory than the client, so a relative path is resolved
    // first.
    let local_path = call.local(params.local_path);
    let session = call.registry.lookup(params.session.as_deref()).await?;

    let request = TransferRequest {
        local: local_path,
        remote: params.remote_path,
        exclude: params.exclude.unwrap_or_default(),
        skip_unchanged: params.skip_unchanged,
        progress: call.watched.transfer(),
    };

    // The dashboard lists the transfer until this guard is dropped, however the call ends.
    let _shown =
        call.registry
            .transfers
            .track(session.saved.name.as_str(), Direction::Download, &request);

    // The transfer consumes the request, but a hint about a failed path needs the paths as they
    // were typed.
    let asked = request.clone();
    let moved = session
        .download(request, &call.caller)
        .await
        .map_err(|error| transfer::explained(&error, &asked, false))?;

    // With a single connected session its name would be noise in the answer.
    let session = call
        .registry
        .is_one_of_many()
        .then_some(session.saved.name.as_str());

    transfer::result("downloaded", session, moved)
}
