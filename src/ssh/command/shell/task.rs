//! The task that owns a shell's channel.

use std::sync::Arc;

use russh::{ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{sync::mpsc, time::Instant};

use super::{
    ShellJob, ShellResult, ShellRunError,
    as_user::{ShellSudo, ShellUser},
    message::ShellMessage,
    snapshotter::{SnapshotTrigger, Snapshotter},
};
use crate::{
    capture::Capture,
    framing::{
        decoder::{DecodeStep, StreamDecoder, Trailer},
        mentioned::Mentioned,
        script,
        shell_kind::{ShellDescriptors, ShellKind},
        stop::Process,
        stream::Stream,
    },
    ssh::{
        command::{
            exec::random_sentinel, exit_status::ExitStatus, granted::granted,
            remote_host::RemoteHost, unexpected_output::UnexpectedOutput,
        },
        error::SshError,
        pool::ChannelSlot,
    },
};

/// Longest output kept from background processes between two commands, in bytes.
const BETWEEN_BUDGET: usize = 4 * 1024;

/// Task around a shell's channel, which runs commands, takes snapshots and collects output between
/// commands. The task ends with the shell, the connection or the last [`Shell`](super::Shell).
pub(super) struct ShellTask {
    /// Host of the shell.
    pub(super) host: Arc<RemoteHost>,
    /// Slot of the channel.
    pub(super) slot: ChannelSlot,
    /// Channel to read, always: an unread channel blocks the connection.
    pub(super) read: ChannelReadHalf,
    /// Channel to write to.
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// Language of the shell.
    pub(super) kind: ShellKind,
    /// Descriptors where the shell keeps the channel's streams.
    pub(super) streams: ShellDescriptors,
    /// Options and traps mentioned by commands so far.
    pub(super) mentioned: Mentioned,
    /// The sudo around the shell; `None` if the shell belongs to the user of the log-in.
    pub(super) sudo: Option<ShellSudo>,
    /// Process of the shell.
    pub(super) process: Process,
    /// Time at which the shell was seen to be ready, some time after the start.
    pub(super) started: Instant,
    /// Exit status of the last command, for `$?`.
    pub(super) previous_status: u8,
    /// Working directory after the last command.
    pub(super) directory: Vec<u8>,
    /// Process ids of the shell's background jobs.
    pub(super) jobs: Vec<u32>,
    /// Output since the last command.
    pub(super) between: Capture,
    /// Snapshots of the shell's state.
    pub(super) snapshotter: Snapshotter,
}

impl ShellTask {
    /// Launches a shell on the channel, as another user if there is a `user`, and waits until the
    /// shell is ready. Unexpected output goes into `words`.
    pub(super) async fn start(
        host: Arc<RemoteHost>,
        slot: ChannelSlot,
        mut read: ChannelReadHalf,
        write: Arc<ChannelWriteHalf<Msg>>,
        user: Option<ShellUser>,
        words: &mut UnexpectedOutput,
    ) -> Result<Self, SshError> {
        let sudo = if let Some(user) = user {
            Some(user.start(&host, &slot, &mut read, &write, words).await?)
        } else {
            slot.connection().command(&write, script::launch()).await?;
            if !slot.connection().early_grant().is_set() {
                granted(&mut read).await?;
            }
            None
        };

        let sentinel = random_sentinel()?;
        write.data_bytes(script::start(&sentinel)).await?;
        let (mut stdout, mut stderr) =
            (StreamDecoder::new(&sentinel), StreamDecoder::new(&sentinel));
        let mut unexpected = Vec::new();
        let (mut start_trailer, mut stderr_done, mut status) = (None, false, None);

        // Both streams must be in step before the first command, so both trailers are awaited.
        while start_trailer.is_none() || !stderr_done {
            match ShellMessage::read(read.wait().await) {
                ShellMessage::Output(Stream::Stdout, bytes) => {
                    if let DecodeStep::Complete { trailer, .. } =
                        stdout.push(&bytes, &mut unexpected)
                    {
                        start_trailer = Trailer::parse(&trailer);
                    }
                }
                ShellMessage::Output(Stream::Stderr, bytes) => {
                    stderr_done |= matches!(
                        stderr.push(&bytes, &mut unexpected),
                        DecodeStep::Complete { .. }
                    );
                }
                ShellMessage::Refused => return Err(SshError::ExecRefused),
                ShellMessage::Closed => {
                    return Err(SshError::ShellStart(words.appended_to(match status {
                        Some(ExitStatus::Code(code)) => {
                            format!("it ended at once with status {code}")
                        }
                        Some(ExitStatus::Signal(name)) => {
                            format!("it was killed by {name} at once")
                        }
                        Some(ExitStatus::Unreported) | None => "it ended at once".to_owned(),
                    })));
                }
                ShellMessage::Lost => return Err(slot.connection().lost()),
                ShellMessage::Status(reported) => status = Some(reported),
                ShellMessage::Other => {}
            }

            words.push(&unexpected);
            unexpected.clear();
        }

        let Some(trailer) = start_trailer else {
            return Err(SshError::ShellStart("it did not answer".to_owned()));
        };

        // The first trailer has a fixed form: the first job is the number of the descriptors, the
        // directory names shell and start time.
        let Some(&number) = trailer.jobs.first() else {
            return Err(SshError::ShellStart(
                "it did not say where its streams are".to_owned(),
            ));
        };

        let (kind, process) = script::started(&trailer).ok_or_else(|| {
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
            sudo,
            process,
            started: Instant::now(),
            previous_status: 0,
            directory: Vec::new(),
            jobs: Vec::new(),
            between: fresh_between(),
            snapshotter: Snapshotter::new()?,
        })
    }

    /// Runs commands in order, until the shell has ended or nobody can send commands any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<ShellJob>) {
        loop {
            // While a snapshot request is being written, no command is taken: both would be written
            // into each other.
            tokio::select! {
                job = waiting.recv(), if !self.snapshotter.is_sending() => {
                    let Some(ShellJob { request, reply }) = job else { break };
                    let result = if request.conditions.already_met() || !request.turn.begin() {
                        Ok(ShellResult::not_run(self.directory.clone()))
                    } else {
                        self.frame(request).await
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
                    self.snapshotter.request_snapshot(self.kind, self.streams, &self.write);
                },
                message = self.read.wait() => match self.snapshotter.filter(ShellMessage::read(message)) {
                    ShellMessage::Output(_, bytes) => self.between.push(&bytes),
                    ShellMessage::Closed => {
                        self.snapshotter.shell_ended();
                        break;
                    }
                    ShellMessage::Lost => break,
                    ShellMessage::Status(_) | ShellMessage::Refused | ShellMessage::Other => {}
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

/// Creates an empty capture for output between two commands.
pub(super) fn fresh_between() -> Capture {
    Capture::new(BETWEEN_BUDGET / 2, BETWEEN_BUDGET / 2)
}
