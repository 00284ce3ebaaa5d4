//! The task that reads a command's channel.

use std::{collections::VecDeque, time::Duration};

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::control::KnownProcesses;
use crate::{
    framing::{
        decoder::{DecodeStep, StreamDecoder},
        stop::Process,
        sudo::{SudoEvent, SudoListener},
    },
    ssh::{
        command::{
            exit_status::ExitStatus,
            output::{CommandOutput, OutputWriter},
        },
        error::{SshError, said},
    },
};

/// After the exit status, output may still be on its way; without any for this long, a process in the background holds
/// the channel open, and the command is over.
const QUIET_AFTER_EXIT: Duration = Duration::from_secs(1);

/// What reads a command's channel.
pub(super) struct ChannelReader {
    pub(super) read: ChannelReadHalf,
    pub(super) output: OutputWriter,
    /// What listens on stdout and on stderr until the command has begun: it tells its process id on stderr, which startup
    /// files may have sent to stdout, as a terminal does.
    pub(super) ears: [Option<PidSource>; 2],
    /// Ours, and not shown where a shell that cannot read the command quotes it.
    pub(super) preamble: Vec<u8>,
    /// With what the settings were read, for a command that says so.
    pub(super) ready: Option<StreamDecoder>,
    /// Whoever feeds the command hears of it.
    pub(super) events: mpsc::Sender<SudoEvent>,
    /// Where its processes go.
    pub(super) known: watch::Sender<KnownProcesses>,
    /// What the terminal answers goes here.
    pub(super) replies: mpsc::Sender<Vec<u8>>,
    /// Whether a terminal was asked for: then there is one stream.
    pub(super) terminal: bool,
    /// What the server has not answered yet; it answers in this order (RFC 4254 section 5.4).
    pub(super) due: VecDeque<AwaitedReply>,
    pub(super) stop: CancellationToken,
}

/// A request that the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedReply {
    /// For a terminal.
    Terminal,
    /// To run the command.
    Command,
}

/// How a command tells its process id.
pub(super) enum PidSource {
    /// The login shell tells its own.
    Shell(StreamDecoder),
    /// First sudo's is told, and the shell's when that is through.
    Sudo(SudoListener),
    /// It was told, and the settings are being read.
    Settings(StreamDecoder),
}

/// What it has found.
pub(super) struct ReadEnd {
    pub(super) output: CommandOutput,
    /// `None`: the channel ended without being closed, so the connection is lost.
    pub(super) status: Option<ExitStatus>,
    pub(super) notice: Option<String>,
    /// Whether the login shell came as far as our script.
    pub(super) begun: bool,
    /// Whether the server has refused to run it.
    pub(super) refused: bool,
    /// What a sudo has said that did not get through.
    pub(super) refusal: Option<String>,
}

impl ReadEnd {
    /// What is to be said of a command whose script did not begin, or for `sure` did not run.
    ///
    /// # Errors
    /// It ended as if all were well, or without a word. A shell that could not read the command, such as one with a syntax
    /// error in it, has said so and failed: that is a result.
    pub(super) fn not_begun(&mut self, sure: bool) -> Result<(), SshError> {
        self.refusal = None;
        let failed = matches!(self.status, Some(ExitStatus::Code(code)) if code != 0);
        let words = self.output.stdout.text() + &self.output.stderr.text();
        if failed && !sure && !words.trim().is_empty() {
            self.notice = Some("the login shell ended before the command began".to_owned());
            return Ok(());
        }

        Err(SshError::NotBegun {
            said: said(words.trim()),
        })
    }

    /// Whether it printed just what is printed for any command, and did not fail.
    pub(super) fn is_all_that_is_said(&self, alike: Option<&[u8]>) -> bool {
        let succeeded = matches!(
            self.status,
            Some(ExitStatus::Code(0) | ExitStatus::Unreported)
        );

        let stdout = self.output.stdout.text();
        let same =
            alike.is_some_and(|alike| String::from_utf8_lossy(alike).trim() == stdout.trim());
        succeeded && same && self.output.stderr.total == 0
    }
}

/// The text without this part of it, if it is there.
fn without(mut text: Vec<u8>, part: &[u8]) -> Vec<u8> {
    if !part.is_empty()
        && let Some(at) = text.windows(part.len()).position(|there| there == part)
    {
        text.drain(at..at + part.len());
    }
    text
}

impl ChannelReader {
    /// Reads to the end.
    pub(super) async fn run(mut self) -> ReadEnd {
        let (mut status, mut notice, mut closed, mut refused) = (None, None, false, false);

        loop {
            let quiet = async {
                match status {
                    Some(_) => sleep(QUIET_AFTER_EXIT).await,
                    None => std::future::pending().await,
                }
            };

            let message = tokio::select! {
                biased;
                message = self.read.wait() => message,
                () = self.stop.cancelled() => { closed = true; break }
                () = quiet => {
                    notice = Some("a process in the background still holds the output open; what it prints from now on is lost".to_owned());
                    break;
                }
            };

            match message {
                Some(ChannelMsg::Data { data }) => self.take(&data, false).await,
                Some(ChannelMsg::ExtendedData { data, .. }) => self.take(&data, true).await,
                Some(ChannelMsg::Success) => drop(self.due.pop_front()),
                Some(ChannelMsg::Failure) => match self.due.pop_front() {
                    Some(AwaitedReply::Terminal) => {
                        self.terminal = false;
                        notice = Some("the server gave the command no terminal".to_owned());
                    }
                    Some(AwaitedReply::Command) => {
                        (refused, closed) = (true, true);
                        break;
                    }
                    None => {}
                },
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    status = Some(ExitStatus::Code(exit_status));
                    self.known.send_modify(KnownProcesses::end);
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    status = Some(ExitStatus::from_signal(&signal_name));
                    self.known.send_modify(KnownProcesses::end);
                }
                Some(ChannelMsg::Close) => {
                    closed = true;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }

        let begun = !matches!(*self.known.borrow(), KnownProcesses::NotYet);
        let mut refusal = None;
        for is_stderr in [false, true] {
            let said = self.close_ear(is_stderr).await;
            refusal = refusal.or(said);
        }

        let status = status.or(closed.then_some(ExitStatus::Unreported));

        ReadEnd {
            output: self.output.finish().await,
            status,
            notice,
            begun,
            refused,
            refusal,
        }
    }

    /// Takes output, and cuts the process id out of the beginning of the stream on which it is told.
    async fn take(&mut self, bytes: &[u8], is_stderr: bool) {
        let [stdout, stderr] = &mut self.ears;
        let ear = if is_stderr { stderr } else { stdout };
        let Some(announce) = ear else {
            return self.push(bytes, is_stderr).await;
        };
        let (mut output, mut events) = (Vec::new(), Vec::new());
        let mut told = false;

        match announce {
            PidSource::Shell(decoder) => {
                if let DecodeStep::Complete { trailer, mut rest } = decoder.push(bytes, &mut output)
                {
                    output.append(&mut rest);
                    let process = std::str::from_utf8(&trailer).ok().and_then(Process::parse);
                    events.push(SudoEvent::Through(process));
                    told = true;
                }
            }
            PidSource::Sudo(listener) => {
                events = listener.push(bytes, &mut output);
                told = listener.is_through();
            }
            PidSource::Settings(_) => {}
        }

        if !told {
            output = without(output, &self.preamble);
        }

        if told {
            *ear = self.ready.take().map(PidSource::Settings);
        }

        if let Some(PidSource::Settings(decoder)) = ear {
            let shown = if told {
                std::mem::take(&mut output)
            } else {
                bytes.to_vec()
            };

            if let DecodeStep::Complete { mut rest, .. } = decoder.push(&shown, &mut output) {
                output.append(&mut rest);
                events.push(SudoEvent::Ready);
                *ear = None;
            }
        }

        if !events.is_empty() {
            // It is this stream on which it is told.
            self.close_ear(!is_stderr).await;
        }

        for events in events {
            self.known
                .send_modify(|known| known.change(|target| events.target(target)));
            // Only a sudo that asks without end leaves no room, and then the answers have ended.
            let _ = self.events.try_send(events);
        }

        self.push(&output, is_stderr).await;
    }

    /// Gives out what was held back of a stream, in which nothing is told any more, and returns what a sudo has said there
    /// that did not get through.
    async fn close_ear(&mut self, is_stderr: bool) -> Option<String> {
        let [stdout, stderr] = &mut self.ears;
        let ear = if is_stderr { stderr } else { stdout };
        let mut held = Vec::new();

        let said = match ear.take()? {
            PidSource::Shell(mut decoder) | PidSource::Settings(mut decoder) => {
                decoder.finish(&mut held);
                None
            }
            PidSource::Sudo(listener) => listener.finish(&mut held),
        };

        self.push(&held, is_stderr).await;

        said
    }

    async fn push(&mut self, bytes: &[u8], is_stderr: bool) {
        if is_stderr {
            return self.output.push_stderr(bytes).await;
        }

        self.output.push_stdout(bytes).await;
        let replies = self.output.replies();
        if self.terminal && !replies.is_empty() {
            // A program that asks and does not read goes without.
            let _ = self.replies.try_send(replies);
        }
    }
}
