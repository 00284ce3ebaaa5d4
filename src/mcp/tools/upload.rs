//! The tool `ssh_upload`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effect, many,
    transfer::{self, TransferArguments},
};
use crate::{
    mcp::call::{Call, tool_error::ToolError},
    session::transfers::Direction,
};

pub(super) const NAME: &str = "ssh_upload";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct UploadParams {
    local_path: String,
    remote_path: String,
    session: Option<String>,
    sessions: Option<Vec<String>>,
    /// gitignore patterns
    exclude: Option<Vec<String>>,
    #[serde(default)]
    skip_unchanged: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<UploadParams>(
        NAME,
        "Copy a local (or session:/path) file or directory to the remote server, as cp -r.",
        Effect::Destructive,
    )
}

/// Copies a file or directory of this machine, or of another session, to the remote host, or to
/// those of several sessions at the same time.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: UploadParams = super::arguments(NAME, &mut call)?;
    many::check(NAME, params.sessions.as_deref(), params.session.as_deref())?;

    let sessions = match params.sessions {
        Some(wanted) => Some(many::expand(NAME, &call, wanted).await?),
        None => None,
    };

    let arguments = TransferArguments {
        local: params.local_path,
        remote: params.remote_path,
        session: params.session,
        sessions,
        exclude: params.exclude,
        skip_unchanged: params.skip_unchanged,
    };

    transfer::run(call, Direction::Upload, arguments).await
}
