//! The persistent shell: one channel, one bash, commands in order.
//!
//! [`Shell`] sends, `ShellTask` owns the channel. Dropping the last [`Shell`] ends the shell.

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
        pool::{ChannelSlot, Pool, Priority},
    },
};

/// How long a shell may take to be ready; its login shell's startup files are run first.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long the server may take to show that the link is not what keeps a shell from being ready.
const ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// Bytes kept of what background processes print between two commands.
const BETWEEN_BUDGET: usize = 4 * 1024;
/// Commands that may wait for one shell before further callers wait themselves.
const QUEUE: usize = 64;

/// A handle to a persistent shell.
#[derive(Debug, Clone)]
pub struct Shell {
    requests: mpsc::Sender<ShellJob>,
    kept: Arc<Mutex<KnownState>>,
    kind: ShellKind,
}

/// A command for the shell.
#[derive(Debug)]
pub struct ShellRequest {
    /// The command, in the shell's language; any bytes but NUL.
    pub command: Vec<u8>,
    /// What it reads from stdin; `None` is `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// When it is stopped.
    pub conditions: StopConditions,
    /// Where its output goes.
    pub output: Output,
    /// What becomes of its turn.
    pub turn: ShellTurn,
}

/// What came of it.
#[derive(Debug)]
pub struct ShellResult {
    /// The command's own result.
    pub command: CommandResult,
    /// The working directory afterwards, as the shell spells it.
    pub directory: Vec<u8>,
    /// What background processes printed on either stream since the command before.
    pub between: Captured,
    /// The shell itself has ended.
    pub shell_ended: bool,
}

impl ShellResult {
    /// The result of a command that was cancelled before its turn came, in a shell that was in this directory then.
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

type ShellReply = Result<ShellResult, ShellRunError>;

#[derive(Debug)]
struct ShellJob {
    what: ShellRequest,
    reply: oneshot::Sender<ShellReply>,
}

/// Why a shell did not run a command.
#[derive(Debug)]
pub enum ShellRunError {
    /// The shell had ended before; the command was not sent.
    Gone,
    /// The command cannot be written as a script.
    Script(ScriptError),
    /// The shell's task ended in the middle of the command.
    Lost,
}

impl From<ScriptError> for ShellRunError {
    fn from(error: ScriptError) -> Self {
        Self::Script(error)
    }
}

impl Shell {
    /// Runs a command after those that wait already.
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

    /// Whether it is bash, and not the `sh` of a host without.
    #[must_use]
    pub fn is_bash(&self) -> bool {
        self.kind == ShellKind::Bash
    }

    /// Whether the shell has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }
}

impl Pool {
    /// Starts a shell, unless the command that it is for has to be stopped by then.
    ///
    /// # Errors
    /// The channel is refused, no shell gets ready in time, or `conditions` were reached.
    pub async fn start_shell(
        self: &Arc<Self>,
        conditions: &StopConditions,
    ) -> Result<Shell, SshError> {
        let (channel, slot) = conditions
            .before_sending(self.open_channel(Priority::Work))
            .await?;
        let (connection, (read, write)) = (Arc::clone(slot.connection()), channel.split());
        let mut words = UnexpectedOutput::default();
        let write = Arc::new(write);
        let started = timeout(
            START_LIMIT,
            ShellTask::start(slot, read, Arc::clone(&write), &mut words),
        )
        .await;

        let Ok(task) = started else {
            let _ = write.close().await;

            // The link is asked before it is blamed: a startup file may wait for an answer, or for a network drive.
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

struct ShellTask {
    slot: ChannelSlot,
    read: ChannelReadHalf,
    write: Arc<ChannelWriteHalf<Msg>>,
    kind: ShellKind,
    streams: ShellDescriptors,
    mentioned: Mentioned,
    process: Process,
    /// When it was seen to be ready, so after its start.
    ready: Instant,
    previous_status: u8,
    directory: Vec<u8>,
    jobs: Vec<u32>,
    between: Capture,
    snapshotter: Snapshotter,
}

/// What a message of the channel means for the shell.
enum Event {
    Stdout(bytes::Bytes),
    Stderr(bytes::Bytes),
    Status(ExitStatus),
    /// The channel was closed: the shell has ended.
    Closed,
    /// The channel ended without being closed: the connection is lost.
    Lost,
    Other,
}

impl ShellTask {
    async fn start(
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

        let Some(&number) = ready.jobs.first() else {
            return Err(SshError::ShellStart(
                "it did not say where its streams are".to_owned(),
            ));
        };

        let (kind, process) = script::started(&ready).ok_or_else(|| {
            SshError::ShellStart("it did not say when its process began".to_owned())
        })?;

        Ok(Self {
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

    async fn run(mut self, mut waiting: mpsc::Receiver<ShellJob>) {
        loop {
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
                        // Before the answer: whoever gets it must see that this shell is gone.
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

        // Whoever still waited for a turn may try another shell: nothing of theirs was sent. `try_recv` would miss one who
        // is about to send, and who would then wait without end.
        waiting.close();
        while let Some(ShellJob { reply, .. }) = waiting.recv().await {
            let _ = reply.send(Err(ShellRunError::Gone));
        }

        let _ = self.write.close().await;
    }
}

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
