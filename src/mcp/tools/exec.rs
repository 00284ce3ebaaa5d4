//! The tool `ssh_exec`.

use std::{collections::BTreeMap, sync::Arc};

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Effects, command};
use crate::{
    mcp::call::{
        Call,
        params::{Milliseconds, WaitParam},
        report::{self, CommandReport},
        tool_error::ToolError,
    },
    session::{
        error::SessionError,
        job::Job,
        live::{ExecCall, LiveSession},
    },
};

pub(super) const NAME: &str = "ssh_exec";

/// Limit on the sessions of a call.
const MAX_SESSIONS: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "parameters as a caller knows them"
)]
struct ExecParams {
    /// For the user's login shell
    command: String,
    /// Default: the default session
    session: Option<String>,
    /// Run it in all of these at once, instead
    sessions: Option<Vec<String>>,
    /// Directory to run in
    cwd: Option<String>,
    /// Environment variables to add
    env: Option<BTreeMap<String, String>>,
    /// Default: empty; with pty or background, open for input by `ssh_job`
    stdin: Option<String>,
    /// Give it a terminal (interactive programs); stdout and stderr become one
    #[serde(default)]
    pty: bool,
    /// Run it as root, with sudo; the person may be asked for the password
    #[serde(default)]
    sudo: bool,
    /// Stop the remote process after this time; default: never
    timeout_ms: Option<Milliseconds>,
    /// Answer with a running job after this time; default 45000
    wait_ms: Option<WaitParam>,
    /// Answer with a running job at once
    #[serde(default)]
    background: bool,
    /// Background job that lives on the server, past a lost link and this program's end; `ssh_job` finds it again
    #[serde(default)]
    detach: bool,
}

pub(super) fn tool() -> Tool {
    super::describe::<ExecParams>(
        NAME,
        "Run a command over SSH",
        "Run a command on the remote server in a fresh channel, without state. Returns stdout, stderr and the exit \
         status. Several run at once. A command that takes longer than waitMs goes on as a job: see ssh_job.",
        Effects {
            read_only: false,
            destructive: true,
            idempotent: false,
            open_world: true,
        },
    )
}

/// Runs a command in a session, or at the same time in several.
///
/// # Errors
/// The arguments are wrong, or the command was not run. With several sessions, each error becomes a
/// part of the answer instead.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let mut params: ExecParams = super::arguments(NAME, &mut call)?;

    // A login shell would run an empty command without an error, and hide the mistake of the
    // caller.
    if params.command.trim().is_empty() {
        return Err(ToolError::new(
            "ssh_exec: the command is empty",
            "give the command to run, such as \"uptime\"",
        ));
    }

    // The terminal belongs to the SSH channel, so the command would end with the connection.
    if params.detach && params.pty {
        return Err(ToolError::new(
            "ssh_exec: a command with a terminal ends with its connection, so it cannot be detached",
            "leave out pty: a detached job is fed with ssh_job all the same; or leave out detach",
        ));
    }

    // Only root can signal a process of root. A later call may have no password for sudo.
    if params.detach && params.sudo {
        return Err(ToolError::new(
            "ssh_exec: a command that this program runs as root cannot be detached: only root could stop it later",
            "leave out detach; or, where sudo wants no password, leave out sudo and put `sudo -n` into the command",
        ));
    }

    // A detached job is meant to be left running, so it counts as a background command.
    let wait = command::CallWait::of(
        params.wait_ms.map(WaitParam::duration),
        params.background || params.detach,
    );

    let sessions = params.sessions.take();
    let Some(mut sessions) = sessions else {
        let session = call.registry.lookup(params.session.as_deref()).await?;
        let job = params.begin(&session, &call, 1)?;
        return command::answer(&call, &job, wait).await;
    };

    // `session` next to `sessions` would leave open whether that session is meant, too.
    if sessions.is_empty() || sessions.len() > MAX_SESSIONS || params.session.is_some() {
        let message = format!(
            "ssh_exec: sessions names 1 to {MAX_SESSIONS} sessions, and session is left out then"
        );
        return Err(ToolError::new(message, "call ssh_sessions for their names"));
    }

    // Each session runs the command once, even if the caller names a session twice.
    let mut seen = std::collections::BTreeSet::new();
    sessions.retain(|name| seen.insert(name.clone()));

    // A session that fails must not hide the results of the others, so its error becomes a part of
    // the answer.
    let each = sessions.iter().map(async |name| {
        let job = async {
            let session = call.registry.lookup(Some(name)).await?;
            Ok::<_, ToolError>(params.begin(&session, &call, sessions.len())?)
        };

        // Each job waits by itself: one after the other, the waits would add up.
        match job.await {
            Ok(job) => Ok((command::wait(&call, &job, wait).await, job)),
            Err(error) => Err(error),
        }
    });

    let each = futures_util::future::join_all(each).await;

    // Answers with a block for each session name the session there, not in the status line.
    let reports = sessions.iter().zip(&each).map(|(name, ran)| {
        let report = match ran {
            Ok((end, job)) => CommandReport::of(&call.registry, job, end.as_ref(), end.is_none())
                .map(CommandReport::under_its_session),
            Err(error) => Err(error.clone()),
        };
        (name.clone(), report)
    });

    // Last, because a call that breaks off earlier must leave the jobs on their hosts for a later
    // call.
    let result = report::of_many(reports.collect());
    for (end, job) in each.iter().flatten() {
        command::remove_remote_files_once_reported(job, end.as_ref());
    }

    Ok(result)
}

impl ExecParams {
    /// Starts the command in a session. The output limit is divided by `share`, the number of
    /// commands in the same answer.
    ///
    /// # Errors
    /// The command could not be started, for instance because the system gives no random number.
    fn begin(
        &self,
        session: &Arc<LiveSession>,
        call: &Call,
        share: usize,
    ) -> Result<Arc<Job>, SessionError> {
        // `background` leaves stdin open, because ssh_job can feed the command later.
        let call = ExecCall {
            command: self.command.clone(),
            directory: self.cwd.clone(),
            environment: self.env.clone().unwrap_or_default().into_iter().collect(),
            stdin: self.stdin.clone().map(String::into_bytes),
            takes_input: self.background,
            terminal: self.pty,
            sudo: self.sudo,
            limit: self.timeout_ms.map(Milliseconds::duration),
            share,
            prompter: call.caller.prompter.clone(),
        };

        if self.detach {
            session.exec_detached(call)
        } else {
            session.exec(call)
        }
    }
}
