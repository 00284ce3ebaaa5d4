//! The tool `ssh_exec`.

use std::collections::BTreeMap;

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Effect,
    command::{self, CallWait, StartedJob},
    many,
};
use crate::{
    mcp::call::{
        Call,
        params::{Milliseconds, WaitParam},
        report,
        tool_error::ToolError,
    },
    session::caller::Caller,
    ssh::command::spec::CommandSpec,
};

pub(super) const NAME: &str = "ssh_exec";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "parameters as a caller knows them"
)]
struct ExecParams {
    command: String,
    session: Option<String>,
    /// All of these at once; `web*` is a pattern
    sessions: Option<Vec<String>>,
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
    stdin: Option<String>,
    /// Give it a terminal
    #[serde(default)]
    pty: bool,
    /// As root
    #[serde(default)]
    sudo: bool,
    /// Stop the remote process then
    timeout_ms: Option<Milliseconds>,
    /// Then go on as a job; default 45000
    wait_ms: Option<WaitParam>,
    /// A job at once
    #[serde(default)]
    background: bool,
    /// A job that outlives this program
    #[serde(default)]
    detach: bool,
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<ExecParams>(
        NAME,
        "Run a command on the remote server in a channel of its own, without state; several run at once.",
        Effect::Destructive,
    );
    super::found_by(
        tool,
        "run execute shell command on a remote server host remotely ssh into deploy to",
    )
}

/// Runs a command in a session, or at the same time in several.
///
/// # Errors
/// The arguments are wrong, or the command was not run. With several sessions, each error becomes a
/// part of the answer instead.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let mut params: ExecParams = super::arguments(NAME, &mut call)?;
    params.check()?;
    let detach = params.detach;

    // A detached job is meant to be left running, so it counts as a background command.
    let wait = CallWait::from_params(
        params.wait_ms.map(WaitParam::duration),
        params.background || detach,
    );

    let Some(wanted) = params.sessions.take() else {
        let session = params.session.take();
        let caller = call.caller.clone();
        let spec = params.into_spec(1);
        let started = start(&call, session.as_deref(), spec, detach, caller).await?;
        return command::answer(&call, &started, wait).await;
    };

    let sessions = many::expand(NAME, &call, wanted).await?;
    let spec = params.into_spec(sessions.len());
    call.registry
        .ask_about_all(&sessions, spec.clone(), &call.caller)
        .await;

    Ok(run_in_many(&call, sessions, &spec, detach, wait).await)
}

/// Runs a command in several sessions at the same time, and answers for all of them together.
async fn run_in_many(
    call: &Call,
    sessions: Vec<String>,
    spec: &CommandSpec,
    detach: bool,
    wait: CallWait,
) -> CallToolResult {
    let caller = many::caller(call);

    // A session that fails must not hide the results of the others, so its error becomes a part of
    // the answer. Each job waits by itself: one after the other, the waits would add up.
    let each = sessions.into_iter().map(async |name| {
        let started = start(call, Some(&name), spec.clone(), detach, caller.clone());
        let ran = match started.await {
            Ok(started) => Ok((command::wait(call, &started, wait).await, started)),
            Err(error) => Err(error),
        };
        (name, ran)
    });

    let each = futures_util::future::join_all(each).await;

    let reports = each.iter().map(|(name, ran)| {
        let report = match ran {
            Ok((end, started)) => started.report(call, end.as_ref()),
            Err(error) => Err(error.clone()),
        };
        (name.as_str(), report)
    });

    // Last, because a call that breaks off earlier must leave the jobs on their hosts for a later
    // call.
    let result = report::of_many(reports.collect());
    for (end, started) in each.iter().filter_map(|(_, ran)| ran.as_ref().ok()) {
        command::remove_remote_files_once_reported(&started.job, end.as_ref());
    }

    result
}

/// Starts a command in the session of this name; `None` is the default session.
///
/// # Errors
/// There is no such session, or the command could not be started, for instance because the system
/// gives no random number.
async fn start(
    call: &Call,
    session: Option<&str>,
    spec: CommandSpec,
    detach: bool,
    caller: Caller,
) -> Result<StartedJob, ToolError> {
    let (opened, permit) = call.registry.open(session, spec, &caller).await?;
    let job = if detach {
        opened.session.exec_detached(permit, caller)
    } else {
        opened.session.exec(permit, caller)
    };

    Ok(StartedJob::new(job?, opened))
}

impl ExecParams {
    /// Checks the parameters.
    ///
    /// # Errors
    /// The parameters contradict each other, or the command is empty.
    fn check(&self) -> Result<(), ToolError> {
        // A login shell would run an empty command without an error, and hide the mistake of the
        // caller.
        let is_empty = self.command.trim().is_empty();
        if is_empty && !self.pty {
            return Err(ToolError::new(
                "ssh_exec: the command is empty",
                "give the command to run, such as \"uptime\"; pty: true opens the shell of a device or a menu",
            ));
        }

        // These need a script, which a device or a menu would take for words of the user.
        if is_empty && (self.cwd.is_some() || self.env.is_some() || self.sudo) {
            return Err(ToolError::new(
                "ssh_exec: with an empty command the server starts a shell, which takes no cwd, env or sudo",
                "leave them out, and give the shell its commands with ssh_job",
            ));
        }

        // The terminal belongs to the SSH channel, so the command would end with the connection.
        if self.detach && self.pty {
            return Err(ToolError::new(
                "ssh_exec: a command with a terminal ends with its connection, so it cannot be detached",
                "leave out pty: a detached job is fed with ssh_job all the same; or leave out detach",
            ));
        }

        // Only root can signal a process of root. A later call may have no password for sudo.
        if self.detach && self.sudo {
            return Err(ToolError::new(
                "ssh_exec: a command that this program runs as root cannot be detached: only root could stop it later",
                "leave out detach; or, where sudo wants no password, leave out sudo and put `sudo -n` into the command",
            ));
        }

        many::check(NAME, self.sessions.as_deref(), self.session.as_deref())
    }

    /// Describes the command, as one of `share` commands in an answer.
    fn into_spec(self, share: usize) -> CommandSpec {
        // `background` and `detach` leave stdin open, because ssh_job can feed the command later.
        let is_fed_later = (self.background || self.detach) && self.stdin.is_none();

        CommandSpec {
            command: self.command,
            cwd: self.cwd,
            env: self.env.unwrap_or_default().into_iter().collect(),
            stdin: self.stdin.map(String::into_bytes),
            takes_input: self.pty || is_fed_later,
            pty: self.pty,
            sudo: self.sudo,
            limit: self.timeout_ms.map(Milliseconds::duration),
            share,
        }
    }
}
