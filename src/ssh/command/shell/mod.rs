//! The persistent shell: one channel, one shell process, commands in order.
//!
//! [`Shell`] sends requests, and `ShellTask` owns the channel. Dropping the last [`Shell`] ends the
//! shell.

mod frame;
mod restore;
mod snapshotter;
mod stop;
mod turn;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use self::snapshotter::{SnapshotTrigger, Snapshotter};
pub use self::{snapshotter::KnownState, turn::ShellTurn};
use super::{
    exec::{CommandResult, random_sentinel},
    exit_status::{Ending, ExitStatus},
    limits::StopConditions,
    output::{CommandOutput, Output},
    remote_host::RemoteHost,
    unexpected_output::UnexpectedOutput,
};
use crate::{
    capture::{Capture, Captured},
    framing::{
        decoder::{DecodeStep, StreamDecoder, Trailer},
        mentioned::Mentioned,
        script::{self, ScriptError},
        shell_kind::{ShellDescriptors, ShellKind},
        stop::Process,
    },
    ssh::{
        error::SshError,
        pool::{ChannelSlot, Priority},
    },
};

/// Time limit of a shell's start, including the startup files of the login shell.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Time limit of the check if the server still answers, after a shell did not get ready.
const ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Longest output kept from background processes between two commands, in bytes.
const BETWEEN_BUDGET: usize = 4 * 1024;
/// Capacity of a shell's queue of commands. Further callers wait until there is room.
const QUEUE: usize = 64;

/// Handle to a persistent shell, which runs commands in order. Clones share the shell, and dropping
/// the last clone ends it.
#[derive(Debug, Clone)]
pub struct Shell {
    /// Queue of commands.
    requests: mpsc::Sender<ShellJob>,
    /// Kept state of the shell.
    kept: Arc<Mutex<KnownState>>,
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
    what: ShellRequest,
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
    pub async fn run(&self, what: ShellRequest) -> Result<ShellResult, ShellRunError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(ShellJob { what, reply }).await.is_err() {
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
    /// Starts a shell, unless a condition for stopping the shell's first command is met before.
    ///
    /// # Errors
    /// Fails if the channel is refused, no shell gets ready in time, or a condition in `conditions`
    /// is met.
    pub async fn start_shell(
        self: &Arc<Self>,
        conditions: &StopConditions,
    ) -> Result<Shell, SshError> {
        // A shell takes its slot for as long as it lives, so it is work like any command.
        let (channel, slot) = conditions
            .before_sending(self.channels.open_channel(Priority::Work))
            .await?;
        let (connection, (read, write)) = (Arc::clone(slot.connection()), channel.split());
        let mut words = UnexpectedOutput::default();
        let write = Arc::new(write);
        let started = timeout(
            START_LIMIT,
            ShellTask::start(Arc::clone(self), slot, read, Arc::clone(&write), &mut words),
        )
        .await;

        let Ok(task) = started else {
            let _ = write.close().await;

            // The link is checked before it is blamed: a startup file may wait for an answer, or
            // for a network drive.
            return Err(if connection.answers(ALIVE_LIMIT).await {
                SshError::ShellStart(words.after(format!(
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
        let (kept, kind) = (task.snapshotter.kept(), task.kind);
        tokio::spawn(task.run(waiting));

        Ok(Shell {
            requests,
            kept,
            kind,
        })
    }
}

/// Task around a shell's channel, which runs commands, takes snapshots and collects output between
/// commands. The task ends with the shell, the connection or the last [`Shell`].
struct ShellTask {
    /// Host of the shell.
    host: Arc<RemoteHost>,
    /// Slot of the channel.
    slot: ChannelSlot,
    /// Channel to read, always: an unread channel blocks the connection.
    read: ChannelReadHalf,
    /// Channel to write to.
    write: Arc<ChannelWriteHalf<Msg>>,
    /// Language of the shell.
    kind: ShellKind,
    /// Descriptors where the shell keeps the channel's streams.
    streams: ShellDescriptors,
    /// Options and traps mentioned by commands so far.
    mentioned: Mentioned,
    /// Process of the shell.
    process: Process,
    /// Time at which the shell was seen to be ready, some time after the start.
    ready: Instant,
    /// Exit status of the last command, for `$?`.
    previous_status: u8,
    /// Working directory after the last command.
    directory: Vec<u8>,
    /// Process ids of the shell's background jobs.
    jobs: Vec<u32>,
    /// Output since the last command.
    between: Capture,
    /// Keeper of the shell's state.
    snapshotter: Snapshotter,
}

/// Meaning of a channel message for the shell.
enum Event {
    /// Bytes on stdout.
    Stdout(bytes::Bytes),
    /// Bytes on stderr.
    Stderr(bytes::Bytes),
    /// Exit status of the shell itself.
    Status(ExitStatus),
    /// The channel was closed, so the shell has ended.
    Closed,
    /// The channel ended without being closed, so the connection is lost.
    Lost,
    /// Any other message.
    Other,
}

impl ShellTask {
    /// Launches a shell on the channel, and waits until the shell is ready. Unexpected output goes
    /// into `words`.
    async fn start(
        host: Arc<RemoteHost>,
        slot: ChannelSlot,
        mut read: ChannelReadHalf,
        write: Arc<ChannelWriteHalf<Msg>>,
        words: &mut UnexpectedOutput,
    ) -> Result<Self, SshError> {
        let sentinel = random_sentinel()?;
        slot.connection().command(&write, script::LAUNCH).await?;
        write.data_bytes(script::start(&sentinel)).await?;
        let (mut stdout, mut stderr) =
            (StreamDecoder::new(&sentinel), StreamDecoder::new(&sentinel));
        let mut noise = Vec::new();
        let (mut ready, mut quiet, mut status) = (None, false, None);

        // Both streams must be in step before the first command, so both trailers are awaited.
        while ready.is_none() || !quiet {
            match event(read.wait().await) {
                Event::Stdout(bytes) => {
                    if let DecodeStep::Complete { trailer, .. } = stdout.push(&bytes, &mut noise) {
                        ready = Trailer::parse(&trailer);
                    }
                }
                Event::Stderr(bytes) => {
                    quiet |= matches!(stderr.push(&bytes, &mut noise), DecodeStep::Complete { .. });
                }
                Event::Closed => {
                    return Err(SshError::ShellStart(words.after(match status {
                        Some(ExitStatus::Code(code)) => {
                            format!("it ended at once with status {code}")
                        }
                        Some(ExitStatus::Signal(name)) => {
                            format!("it was killed by {name} at once")
                        }
                        Some(ExitStatus::Unreported) | None => "it ended at once".to_owned(),
                    })));
                }
                Event::Lost => return Err(slot.connection().lost()),
                Event::Status(reported) => status = Some(reported),
                Event::Other => {}
            }

            words.hear(&noise);
            noise.clear();
        }

        let Some(ready) = ready else {
            return Err(SshError::ShellStart("it did not answer".to_owned()));
        };

        // The first trailer has a fixed form: the first job is the number of the descriptors, the
        // directory names shell and start time.
        let Some(&number) = ready.jobs.first() else {
            return Err(SshError::ShellStart(
                "it did not say where its streams are".to_owned(),
            ));
        };

        let (kind, process) = script::started(&ready).ok_or_else(|| {
            SshError::ShellStart("it did not say when its process began".to_owned())
        })?;

        Ok(Self {
            host,
            slot,
            read,
            write,
            kind,
            streams: ShellDescriptors::from_number(kind, number),
            mentioned: Mentioned::default(),
            process,
            ready: Instant::now(),
            previous_status: 0,
            directory: Vec::new(),
            jobs: Vec::new(),
            between: Capture::new(BETWEEN_BUDGET / 2, BETWEEN_BUDGET / 2),
            snapshotter: Snapshotter::new()?,
        })
    }

    /// Runs commands in order, until the shell has ended or nobody can send commands any more.
    async fn run(mut self, mut waiting: mpsc::Receiver<ShellJob>) {
        loop {
            // While a snapshot request is being written, no command is taken: both would be written
            // into each other.
            tokio::select! {
                request = waiting.recv(), if !self.snapshotter.is_sending() => {
                    let Some(ShellJob { what, reply }) = request else { break };
                    let result = if what.conditions.already_met() || !what.turn.begin() {
                        Ok(ShellResult::not_run(self.directory.clone()))
                    } else {
                        self.frame(what).await
                    };
                    let ended = result.as_ref().is_ok_and(|result| result.shell_ended);
                    if ended {
                        // Before the answer: the caller who gets it must see that this shell is
                        // gone.
                        waiting.close();
                    } else {
                        self.snapshotter.command_ended(&self.jobs);
                    }
                    let _ = reply.send(result);
                    if ended {
                        break;
                    }
                }
                next = self.snapshotter.next() => if matches!(next, SnapshotTrigger::Due) {
                    self.snapshotter.take(self.kind, self.streams, &self.write);
                },
                message = self.read.wait() => match self.snapshotter.filter(event(message)) {
                    Event::Stdout(bytes) | Event::Stderr(bytes) => self.between.push(&bytes),
                    Event::Closed => {
                        self.snapshotter.shell_ended();
                        break;
                    }
                    Event::Lost => break,
                    Event::Status(_) | Event::Other => {}
                }
            }
        }

        // Callers who still wait for a turn may try another shell: nothing of theirs was sent.
        // `try_recv` would miss a caller who is about to send, and who would then wait without end.
        waiting.close();
        while let Some(ShellJob { reply, .. }) = waiting.recv().await {
            let _ = reply.send(Err(ShellRunError::Gone));
        }

        let _ = self.write.close().await;
    }
}

/// Translates a message of the channel.
fn event(message: Option<ChannelMsg>) -> Event {
    match message {
        Some(ChannelMsg::Data { data }) => Event::Stdout(data),
        Some(ChannelMsg::ExtendedData { data, .. }) => Event::Stderr(data),
        Some(ChannelMsg::ExitStatus { exit_status }) => {
            Event::Status(ExitStatus::Code(exit_status))
        }
        Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
            Event::Status(ExitStatus::from_signal(&signal_name))
        }
        // The server refuses to run a shell.
        Some(ChannelMsg::Close | ChannelMsg::Failure) => Event::Closed,
        Some(_) => Event::Other,
        None => Event::Lost,
    }
}
