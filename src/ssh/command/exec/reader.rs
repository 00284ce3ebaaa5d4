//! The task that reads a command's channel.

use std::{collections::VecDeque, time::Duration};

use russh::{ChannelMsg, ChannelReadHalf};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    control::KnownProcesses,
    end::CommandEnd,
    expected::{ExpectedShell, Judgement},
};
use crate::{
    event::Event,
    foreign_text::ForeignText,
    framing::{
        decoder::{DecodeStep, StreamDecoder},
        exec::NO_TERMINAL,
        stop::Process,
        stream::{PerStream, Stream},
        sudo::{SudoEvent, SudoListener},
    },
    ssh::{
        command::{exit_status::ExitStatus, output::OutputWriter},
        error::SshError,
    },
};

/// Silence after the exit status until the command counts as over. Output may still be on its way,
/// but a process in the background may also hold the channel open for ever.
const QUIET_AFTER_EXIT: Duration = Duration::from_secs(1);

/// Most output that is held back while the settings are read, or before an expected login shell has
/// announced the process, in bytes.
const MAX_UNREADY_BYTES: usize = 256 * 1024;

/// Task for reading a command's channel from the first message to the last. The task feeds the
/// output, the process ids and the terminal's replies to the other tasks of the command.
pub(super) struct ChannelReader {
    /// Channel to read.
    pub(super) read: ChannelReadHalf,
    /// Destination of the output.
    pub(super) output: OutputWriter,
    /// Decoders for stdout and stderr, which find the process id; `None` once the command has
    /// begun. The id is printed on stderr, which startup files or a terminal may have joined with
    /// stdout.
    pub(super) pid_sources: PerStream<Option<PidSource>>,
    /// Beginning of our script. A shell that cannot read the command may quote the script, so this
    /// part is cut out of the output.
    pub(super) preamble: Vec<u8>,
    /// Decoder for the mark after the settings, for a command with such a mark.
    pub(super) settings_decoder: Option<StreamDecoder>,
    /// Output that is held back. While the settings are read, a server that pretends to give a
    /// terminal (Apache MINA) echoes the settings, so this is shown only if the settings were never
    /// read.
    pub(super) unready_output: PerStream<Vec<u8>>,
    /// Login shell for which the command was written before that shell had answered; `None` once
    /// the command has begun. Until then, output is held back: it may be another shell's complaint.
    pub(super) expected: Option<ExpectedShell>,
    /// True if the command should have a terminal and has none.
    pub(super) has_no_terminal: bool,
    /// True from the announcement to the mark after the settings.
    pub(super) is_reading_settings: bool,
    /// Queue of events for the [`StdinWriter`](super::stdin::StdinWriter).
    pub(super) events: mpsc::Sender<SudoEvent>,
    /// Known processes of the command, for whoever stops the command.
    pub(super) processes: watch::Sender<KnownProcesses>,
    /// Queue of the terminal's replies to the program; `None` without a terminal.
    pub(super) replies: Option<mpsc::Sender<Vec<u8>>>,
    /// Requests without an answer so far. The server answers in this order (RFC 4254 section 5.4).
    pub(super) awaited_replies: VecDeque<AwaitedReply>,
    /// Event to set once the server has granted the command.
    pub(super) granted: Event,
    /// Token to end the task.
    pub(super) stop: CancellationToken,
}

/// Request to the server whose answer is still due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedReply {
    /// Request for a terminal.
    Terminal,
    /// Request to run the command.
    Command,
    /// Request for a shell.
    Shell,
}

/// Source of a command's process id, or of the mark after the settings.
pub(super) enum PidSource {
    /// The login shell announces the process id.
    Shell(StreamDecoder),
    /// The login shell announces sudo's id, and then the root shell announces another.
    Sudo(SudoListener),
    /// The id has come, and the settings are being read.
    Settings(StreamDecoder),
}

/// Returns the text without the first occurrence of `part`.
fn without(mut text: Vec<u8>, part: &[u8]) -> Vec<u8> {
    if !part.is_empty()
        && let Some(at) = text.windows(part.len()).position(|there| there == part)
    {
        text.drain(at..at + part.len());
    }
    text
}

impl ChannelReader {
    /// Reads to the end of the channel.
    pub(super) async fn run(mut self) -> CommandEnd {
        let (mut status, mut notice) = (None, None);
        let (mut closed, mut refused, mut had_eof) = (false, None, false);

        loop {
            // A background process that inherited the channel's streams keeps the channel open
            // after the exit status (as with `ssh`), so silence ends the reading.
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
                Some(ChannelMsg::Data { data }) => self.read_portion(Stream::Stdout, &data).await,
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    self.read_portion(Stream::Stderr, &data).await;
                }
                Some(ChannelMsg::Success) => {
                    if self.awaited_replies.pop_front() != Some(AwaitedReply::Terminal) {
                        self.granted.set();
                    }
                }
                Some(ChannelMsg::Failure) => match self.awaited_replies.pop_front() {
                    Some(AwaitedReply::Terminal) => {
                        self.replies = None;
                        self.has_no_terminal = true;
                    }
                    Some(AwaitedReply::Command) => {
                        refused = Some(SshError::ExecRefused);
                        break;
                    }
                    Some(AwaitedReply::Shell) => {
                        refused = Some(SshError::ShellRefused);
                        break;
                    }
                    None => {}
                },
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    status = Some(ExitStatus::Code(exit_status));
                    self.processes.send_modify(KnownProcesses::first_has_ended);
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    status = Some(ExitStatus::from_signal(&signal_name));
                    self.processes.send_modify(KnownProcesses::first_has_ended);
                }
                Some(ChannelMsg::Eof) => had_eof = true,
                Some(ChannelMsg::Close) => {
                    closed = true;
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }

        // The announcement is the script's first act: without it, the startup files never got that
        // far.
        let has_begun = !matches!(*self.processes.borrow(), KnownProcesses::NotYet);
        let mut taken_as_it_is = None;
        match self.judge(status.is_some()).await {
            Judgement::AsExpected => {}
            Judgement::TakenAsItIs(found) => taken_as_it_is = Some(found),
            Judgement::NotRun => return CommandEnd::refused(SshError::OtherShell),
        }

        let mut sudo_messages = None;
        for stream in Stream::BOTH {
            let messages = self.close_source(stream).await;
            sudo_messages = sudo_messages.or(messages);
            self.release(stream).await;
        }

        let no_terminal = || "the server gave the command no terminal".to_owned();
        let notice = notice.or_else(|| self.has_no_terminal.then(no_terminal));
        let status = status.or(closed.then_some(ExitStatus::Unreported));

        CommandEnd {
            output: self.output.finish().await,
            status,
            had_eof,
            notice,
            has_begun,
            refused,
            sudo_messages,
            taken_as_it_is,
            stopped: None,
            process_gone: None,
        }
    }

    /// Judges a command that was written for an expected login shell and has not announced its
    /// process. A command that was stopped, or whose connection was lost, is not judged.
    async fn judge(&mut self, has_ended: bool) -> Judgement {
        let Some(expected) = self.expected.take().filter(|_| has_ended) else {
            return Judgement::AsExpected;
        };

        tokio::select! {
            judgement = expected.judge() => judgement,
            () = self.stop.cancelled() => Judgement::AsExpected,
        }
    }

    /// Takes output, and cuts out the announced process id.
    async fn read_portion(&mut self, stream: Stream, bytes: &[u8]) {
        let source = self.pid_sources.get_mut(stream);
        let Some(awaited) = source else {
            if self.is_reading_settings {
                return self.hold(stream, bytes).await;
            }
            return self.push(stream, bytes).await;
        };
        let (mut output, mut events) = (Vec::new(), Vec::new());
        let mut announced = false;

        match awaited {
            PidSource::Shell(decoder) => {
                if let DecodeStep::Complete { trailer, mut rest } = decoder.push(bytes, &mut output)
                {
                    output.append(&mut rest);
                    let trailer = std::str::from_utf8(&trailer).unwrap_or_default();
                    let pretended = trailer.strip_prefix(NO_TERMINAL);
                    if pretended.is_some() {
                        self.has_no_terminal = true;
                        self.replies = None;
                    }

                    let process = Process::parse(pretended.unwrap_or(trailer));
                    events.push(SudoEvent::Authenticated(process));
                    announced = true;
                }
            }
            PidSource::Sudo(listener) => {
                events = listener.push(bytes, &mut output);
                announced = listener.is_through();
            }
            PidSource::Settings(_) => {}
        }

        // Before the announcement, all output comes from startup files or from a shell that quotes
        // our script.
        if !announced {
            output = without(output, &self.preamble);
        }

        if announced && self.expected.take().is_some() {
            for stream in Stream::BOTH {
                self.release(stream).await;
            }
        }

        // The mark after the settings comes on the same stream as the announcement.
        let source = self.pid_sources.get_mut(stream);
        if announced {
            *source = self.settings_decoder.take().map(PidSource::Settings);
            self.is_reading_settings = source.is_some();
        }

        if let Some(PidSource::Settings(decoder)) = source {
            let shown = if announced {
                std::mem::take(&mut output)
            } else {
                bytes.to_vec()
            };

            if let DecodeStep::Complete { rest, .. } = decoder.push(&shown, &mut output) {
                output = rest;
                self.unready_output = PerStream::default();
                self.is_reading_settings = false;
                events.push(SudoEvent::Ready);
                *source = None;
            } else {
                let unready = std::mem::take(&mut output);
                self.hold(stream, &unready).await;
            }
        }

        if !events.is_empty() {
            // The announcement comes on this stream, so the other decoder has nothing to wait for.
            self.close_source(stream.other()).await;
        }

        for event in events {
            self.processes
                .send_modify(|processes| processes.change(|target| event.target(target)));
            // Only a sudo that asks without end leaves no room. By then the answers have ended
            // anyway.
            let _ = self.events.try_send(event);
        }

        if self.expected.is_some() {
            self.hold(stream, &output).await;
        } else {
            self.push(stream, &output).await;
        }
    }

    /// Stops looking for marks on a stream, and passes on what was held back. Returns the last
    /// words of a sudo which did not run the command.
    async fn close_source(&mut self, stream: Stream) -> Option<ForeignText> {
        let source = self.pid_sources.get_mut(stream).take()?;
        let mut held = Vec::new();

        let messages = match source {
            PidSource::Shell(mut decoder) | PidSource::Settings(mut decoder) => {
                decoder.finish(&mut held);
                None
            }
            PidSource::Sudo(listener) => listener.finish(&mut held),
        };

        self.push(stream, &held).await;

        messages
    }

    /// Passes on what was held back.
    async fn release(&mut self, stream: Stream) {
        let unready = std::mem::take(self.unready_output.get_mut(stream));
        self.push(stream, &unready).await;
    }

    /// Holds output back until the settings have been read, or until there is too much.
    async fn hold(&mut self, stream: Stream, bytes: &[u8]) {
        let unready = self.unready_output.get_mut(stream);
        unready.extend_from_slice(bytes);
        if unready.len() > MAX_UNREADY_BYTES {
            self.release(stream).await;
        }
    }

    /// Passes output on, and queues the replies for a program which queries the terminal.
    async fn push(&mut self, stream: Stream, bytes: &[u8]) {
        self.output.push(stream, bytes).await;
        let replies = self.output.replies();
        if let Some(queue) = self.replies.as_ref().filter(|_| !replies.is_empty()) {
            // A program that asks its terminal and does not read gets no reply.
            let _ = queue.try_send(replies);
        }
    }
}
