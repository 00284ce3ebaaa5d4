//! The tool `ssh_shell`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effect, command};
use crate::{
    mcp::call::{
        Call,
        params::{Milliseconds, WaitParam},
        tool_error::ToolError,
    },
    session::live::DEFAULT_SHELL,
    ssh::command::spec::CommandSpec,
};

pub(super) const NAME: &str = "ssh_shell";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShellParams {
    command: String,
    session: Option<String>,
    /// Name; each has its own state
    shell: Option<String>,
    stdin: Option<String>,
    /// Stop the command then, keep the shell
    timeout_ms: Option<Milliseconds>,
    /// Then go on as a job; default 45000
    wait_ms: Option<WaitParam>,
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<ShellParams>(
        NAME,
        "Run a command in a persistent bash on the remote server: directory, variables and functions stay.",
        Effect::Destructive,
    );
    super::found_by(
        tool,
        "run execute shell command on remote server host remotely ssh into",
    )
}

/// Runs a command in a persistent shell.
///
/// # Errors
/// The arguments are wrong, or the command was not run.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ShellParams = super::arguments(NAME, &mut call)?;
    let opened = call
        .registry
        .open(params.session.as_deref(), &call.caller)
        .await?;
    let shell = params.shell.unwrap_or_else(|| DEFAULT_SHELL.to_owned());

    let spec = CommandSpec {
        command: params.command,
        stdin: params.stdin.map(String::into_bytes),
        limit: params.timeout_ms.map(Milliseconds::duration),
        ..CommandSpec::default()
    };

    // Commands on one shell run in order, so the job may wait in a queue at first.
    let job = opened
        .session
        .shell(&shell, spec, call.caller.prompter.clone())?;

    command::answer(
        &call,
        &command::StartedJob::new(job, opened),
        command::CallWait::from_params(params.wait_ms.map(WaitParam::duration), false),
    )
    .await
}
