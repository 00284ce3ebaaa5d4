//! `ssh_exec`

use std::collections::BTreeMap;

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Effects;
use crate::{
    mcp::{outcome, params::Milliseconds, server::Call, tool_error::ToolError},
    session::live::ExecCall,
};

pub(super) const NAME: &str = "ssh_exec";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ExecParams {
    /// For the user's login shell
    command: String,
    /// Default: the default session
    session: Option<String>,
    /// Directory to run in
    cwd: Option<String>,
    /// Environment variables to add
    env: Option<BTreeMap<String, String>>,
    /// Default: empty
    stdin: Option<String>,
    /// Stop the remote process after this time; default: never
    timeout_ms: Option<Milliseconds>,
}

pub(super) fn tool() -> Tool {
    super::describe::<ExecParams>(
        NAME,
        "Run a command over SSH",
        "Run a command on the remote server in a fresh channel, without state. Returns stdout, stderr and the exit \
         status. Several run at once.",
        Effects { read_only: false, destructive: true, idempotent: false, open_world: true },
    )
}

pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ExecParams = super::arguments(NAME, &mut call)?;
    if params.command.trim().is_empty() {
        return Err(ToolError::new("ssh_exec: the command is empty", "give the command to run, such as \"uptime\""));
    }
    let session = call.registry.lookup(params.session.as_deref()).await?;
    let environment = params.env.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let result = session
        .exec(ExecCall {
            command: &params.command,
            directory: params.cwd.as_deref(),
            environment,
            stdin: params.stdin.unwrap_or_default().into_bytes(),
            limit: params.timeout_ms.map(Milliseconds::duration),
            caller: call.caller,
        })
        .await?;
    Ok(outcome::result(session.saved.name.as_str(), &result, None))
}
