//! The tool `ssh_shell`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effects, command};
use crate::{
    mcp::call::{
        Call,
        params::{Milliseconds, WaitParam},
        tool_error::ToolError,
    },
    ssh::command::spec::CommandSpec,
};

pub(super) const NAME: &str = "ssh_shell";

/// Name of the shell for calls without the parameter `shell`.
const MAIN: &str = "main";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShellParams {
    /// For bash
    command: String,
    /// Default: the default session
    session: Option<String>,
    /// Name of the shell; each has its own state
    shell: Option<String>,
    /// Default: /dev/null
    stdin: Option<String>,
    /// Stop the command after this time, keeping the shell; default: never
    timeout_ms: Option<Milliseconds>,
    /// Answer with a running job after this time; default 45000
    wait_ms: Option<WaitParam>,
}

pub(super) fn tool() -> Tool {
    super::describe::<ShellParams>(
        NAME,
        "Run a command in a persistent shell",
        "Run a command in a persistent, non-interactive bash on the remote server: directory, variables, functions and \
         options stay for the next call. Commands on one shell run in order.",
        Effects {
            read_only: false,
            destructive: true,
            idempotent: false,
            open_world: true,
        },
    )
}

/// Runs a command in a persistent shell.
///
/// # Errors
/// The arguments are wrong, or the command was not run.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ShellParams = super::arguments(NAME, &mut call)?;
    let session = call.registry.lookup(params.session.as_deref()).await?;
    let shell = params.shell.unwrap_or_else(|| MAIN.to_owned());

    let spec = CommandSpec {
        command: params.command,
        stdin: params.stdin.map(String::into_bytes),
        limit: params.timeout_ms.map(Milliseconds::duration),
        ..CommandSpec::default()
    };

    // Commands on one shell run in order, so the job may wait in a queue at first.
    let job = session.shell(&shell, spec, call.caller.prompter.clone())?;

    command::answer(
        &call,
        &job,
        command::CallWait::from_params(params.wait_ms.map(WaitParam::duration), false),
    )
    .await
}
