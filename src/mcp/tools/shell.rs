//! The tool `ssh_shell`.

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effect, command};
use crate::{
    foreign_text::escape_line,
    mcp::call::{
        Call,
        params::{Milliseconds, WaitParam},
        tool_error::ToolError,
    },
    session::{
        shell_name::{DEFAULT_SHELL, ShellName},
        work::ShellCommand,
    },
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
    #[serde(default)]
    sudo: bool,
    /// As this user
    user: Option<String>,
    /// Stop the command then
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
    let shell = params.name()?;
    let spec = CommandSpec {
        command: params.command,
        stdin: params.stdin.map(String::into_bytes),
        limit: params.timeout_ms.map(Milliseconds::duration),
        ..CommandSpec::default()
    };

    let (opened, permit) = call
        .registry
        .open(
            params.session.as_deref(),
            ShellCommand { shell, spec },
            &call.caller,
        )
        .await?;

    // Commands on one shell run in order, so the job may wait in a queue at first.
    let job = opened.session.shell(permit, &call.caller)?;

    command::answer(
        &call,
        &command::StartedJob::new(job, opened),
        command::CallWait::from_params(params.wait_ms.map(WaitParam::duration), false),
    )
    .await
}

impl ShellParams {
    /// Returns the name of the shell, with its user.
    ///
    /// # Errors
    /// There can be no user of that name.
    fn name(&self) -> Result<ShellName, ToolError> {
        let name = ShellName {
            name: self
                .shell
                .clone()
                .unwrap_or_else(|| DEFAULT_SHELL.to_owned()),
            user: None,
        };

        name.of_user(self.sudo, self.user.as_deref()).ok_or_else(|| {
            let user = escape_line(self.user.as_deref().unwrap_or_default());
            ToolError::new(
                format!("ssh_shell: {user:?} is not the name of a user"),
                "give the name of an account of the host, such as \"postgres\"; sudo: true is root",
            )
        })
    }
}
