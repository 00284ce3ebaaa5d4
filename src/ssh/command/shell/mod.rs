//! The persistent shell: one channel, one shell process, commands in order.
//!
//! [`Shell`] sends requests, and `ShellTask` owns the channel. Dropping the last [`Shell`] ends the
//! shell.

mod as_user;
mod frame;
mod message;
mod restore;
mod snapshotter;
mod stop;
mod task;
mod turn;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use self::task::ShellTask;
pub use self::{as_user::ShellUser, snapshotter::KnownState, turn::ShellTurn};
use super::{
    exec::CommandResult,
    exit_status::Ending,
    limits::StopConditions,
    output::{CommandOutput, Output},
    remote_host::RemoteHost,
    unexpected_output::UnexpectedOutput,
};
use crate::{
    capture::Captured,
    framing::{
        exec::{ExecScriptError, UnixOnly},
        script::ScriptError,
        shell_kind::ShellKind,
    },
    ssh::{error::SshError, pool::Priority},
};

/// Time limit of a shell's start, including the startup files of the login shell.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Time limit of the check if the server still answers, after a shell did not get ready.
const ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Capacity of a shell's queue of commands. Further callers wait until there is room.
const QUEUE: usize = 64;

/// Handle to a persistent shell, which runs commands in order. Clones share the shell, and dropping
/// the last clone ends it.
#[derive(Debug, Clone)]
pub struct Shell {
    /// Queue of commands.
    requests: mpsc::Sender<ShellJob>,
    /// Known state of the shell.
    known_state: Arc<Mutex<KnownState>>,
    /// Language of the shell.
    kind: ShellKind,
}

/// Request to run a single command on a shell.
#[derive(Debug)]
pub struct ShellRequest {
    /// Command in the shell's language; any bytes but NUL.
    pub command: Vec<u8>,
    /// Complete stdin of the command; `None` is `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Conditions under which the command is stopped.
    pub conditions: StopConditions,
    /// Destination of the command's output.
    pub output: Output,
    /// Turn of the command, which a waiting caller may give up.
    pub turn: ShellTurn,
}

/// Result of a command on a shell.
#[derive(Debug)]
pub struct ShellResult {
    /// Result of the command itself.
    pub command: CommandResult,
    /// Working directory after the command, in the shell's spelling.
    pub directory: Vec<u8>,
    /// Output of background processes, on either stream, since the command before.
    pub between: Captured,
    /// True if the shell itself has ended.
    pub shell_ended: bool,
}

impl ShellResult {
    /// Creates the result of a command cancelled before the command's turn. `directory` is the
    /// shell's directory at that time.
    #[must_use]
    pub fn not_run(directory: Vec<u8>) -> Self {
        let command = CommandResult {
            ending: Ending::Cancelled,
            stopped: true,
            process_gone: Some(true),
            output: CommandOutput::default(),
            duration: Duration::ZERO,
            notice: Some(
                "the command was cancelled while it waited for its turn; it was not run".to_owned(),
            ),
        };

        Self {
            command,
            directory,
            between: Captured::default(),
            shell_ended: false,
        }
    }
}

/// Answer of the shell's task to a command.
type ShellReply = Result<ShellResult, ShellRunError>;

/// Command on the way to the shell's task, with the way back for the answer.
#[derive(Debug)]
struct ShellJob {
    request: ShellRequest,
    reply: oneshot::Sender<ShellReply>,
}

/// Reason why a shell did not run a command.
#[derive(Debug)]
pub enum ShellRunError {
    /// The shell had ended before, and the command was not sent.
    Gone,
    /// The command cannot be written as a script.
    Script(ScriptError),
    /// The shell's task ended during the command, which may have run.
    Lost,
}

impl From<ScriptError> for ShellRunError {
    fn from(error: ScriptError) -> Self {
        Self::Script(error)
    }
}

impl Shell {
    /// Runs a command, after all commands waiting already.
    ///
    /// # Errors
    /// See [`ShellRunError`].
    pub async fn run(&self, request: ShellRequest) -> Result<ShellResult, ShellRunError> {
        let (reply, answer) = oneshot::channel();
        if self
            .requests
            .send(ShellJob { request, reply })
            .await
            .is_err()
        {
            return Err(ShellRunError::Gone);
        }
        answer.await.unwrap_or(Err(ShellRunError::Lost))
    }

    /// Returns true if the shell is bash, false for the `sh` of a host without bash.
    #[must_use]
    pub fn is_bash(&self) -> bool {
        self.kind == ShellKind::Bash
    }

    /// Returns true if the shell has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }
}

impl RemoteHost {
    /// Starts a shell, unless a condition for stopping the shell's first command is met before. With
    /// a `user`, sudo starts the shell as that user.
    ///
    /// # Errors
    /// Fails if the channel is refused, sudo refuses, no shell gets ready in time, or a condition in
    /// `conditions` is met.
    pub async fn start_shell(
        self: &Arc<Self>,
        user: Option<ShellUser>,
        conditions: &StopConditions,
    ) -> Result<Shell, SshError> {
        // Asked only where the answer may be Windows: a question is not free on every server.
        if self.is_windows() && self.login_shell().await.shell.windows().is_some() {
            return Err(ExecScriptError::NotOnWindows(UnixOnly::Shell).into());
        }

        // A shell takes its slot for as long as it lives, so it is work like any command.
        let (channel, slot) = conditions
            .before_sending(self.channels.open_channel(Priority::Work))
            .await?;
        let (connection, (read, write)) = (Arc::clone(slot.connection()), channel.split());
        let mut words = UnexpectedOutput::default();
        let write = Arc::new(write);
        let start = ShellTask::start(
            Arc::clone(self),
            slot,
            read,
            Arc::clone(&write),
            user,
            &mut words,
        );

        // The clock stands still while the user is asked for sudo's password.
        let started = tokio::select! {
            started = start => Some(started),
            () = conditions.met() => Some(Err(SshError::Cancelled)),
            () = conditions.pause.sleep(START_LIMIT) => None,
        };

        if !matches!(started, Some(Ok(_))) {
            let _ = write.close().await;
        }

        let Some(task) = started else {
            // The link is checked before it is blamed: a startup file may wait for an answer, or
            // for a network drive.
            return Err(if connection.answers(ALIVE_LIMIT).await {
                SshError::ShellStart(words.appended_to(format!(
                    "it was not ready after {} s",
                    START_LIMIT.as_secs()
                )))
            } else {
                SshError::Timeout {
                    stage: "starting a shell",
                    after: START_LIMIT,
                }
            });
        };

        let task = task?;
        let (requests, waiting) = mpsc::channel(QUEUE);
        let (known_state, kind) = (task.snapshotter.known_state(), task.kind);
        tokio::spawn(task.run(waiting));

        Ok(Shell {
            requests,
            known_state,
            kind,
        })
    }
}
