//! Runs one command on a channel of its own (RFC 4254 section 6.5).

mod control;
mod reader;
mod stdin;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    control::{CommandControl, KnownProcesses},
    reader::{AwaitedReply, ChannelReader, PidSource},
    stdin::StdinWriter,
};
use super::{
    exit_status::{Ending, ExitStatus},
    limits::{StopConditions, StopReason},
    output::{CommandOutput, Output},
    remote_host::RemoteHost,
    sudo::{SudoRequest, SudoResponder},
};
use crate::{
    event::Event,
    foreign_text::ForeignText,
    framing::{
        decoder::StreamDecoder,
        exec::{ExecScript, Input, LoginShell, ShellProbe},
        sentinel::Sentinel,
        stop::Signal,
        stream::PerStream,
        sudo::SudoListener,
    },
    random,
    render::{COLUMNS, ROWS},
    ssh::{
        error::{MAX_WORDS_BYTES, SshError},
        pool::{ChannelSlot, Priority},
        prompt::as_root::AsRoot,
    },
};

/// Terminal type of a command with a terminal (RFC 4254 section 6.2).
const TERMINAL: &str = "xterm-256color";
/// Capacity of the queue of [`SudoEvent`](crate::framing::sudo::SudoEvent)s. sudo says one thing at
/// a time, so more than this is not to be expected.
const MAX_SUDO_EVENTS: usize = 8;
/// Capacity of the queue of terminal replies, which wait until the command reads.
const MAX_TERMINAL_REPLIES: usize = 8;
/// Longest time for which the channel may stay open after the command was stopped.
const QUIET_AFTER_STOP: Duration = Duration::from_millis(500);

/// Request to run a single command on a new channel, with limits.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// Command line, in the language of the user's login shell.
    pub command: &'a str,
    /// Working directory; `None` is the home directory, as with `ssh`.
    pub directory: Option<&'a str>,
    /// Environment variables to add, as pairs of name and value.
    pub environment: Vec<(&'a str, &'a str)>,
    /// First bytes of the command's stdin.
    pub stdin: Vec<u8>,
    /// Further stdin, until the channel ends; without input, end of file follows
    /// [`stdin`](Self::stdin).
    pub input: Option<mpsc::Receiver<Vec<u8>>>,
    /// True if the command gets a terminal. Then stdout and stderr are one stream, and no end of
    /// file follows its input.
    pub terminal: bool,
    /// Answers for sudo, which runs the command as root; `None` runs the command as the user.
    pub sudo: Option<SudoRequest>,
    /// Event to set once the command has been sent and has passed sudo.
    pub sent: Event,
    /// Conditions under which the command is stopped.
    pub conditions: StopConditions,
    /// Destination of the command's output.
    pub output: Output,
}

impl ExecRequest<'_> {
    /// Returns the description shown to the user when sudo needs a password.
    fn as_root(&self) -> AsRoot {
        AsRoot::new(
            self.command,
            self.directory,
            &self.environment,
            &self.stdin,
            self.input.is_some(),
        )
    }
}

/// Result of a command, which may have run only in part.
#[derive(Debug)]
pub struct CommandResult {
    /// End of the command.
    pub ending: Ending,
    /// True if the command was stopped.
    pub stopped: bool,
    /// True if the processes of a stopped command are gone; `None` if the command was not stopped
    /// or if nothing could be found out.
    pub process_gone: Option<bool>,
    /// Output of the command.
    pub output: CommandOutput,
    /// Time from the request to the end.
    pub duration: Duration,
    /// Remark for the caller about anything unusual.
    pub notice: Option<String>,
}

impl RemoteHost {
    /// Runs a command and waits for the end. The command runs over whichever connection to the host
    /// has room.
    ///
    /// # Errors
    /// Fails only if the command was not sent or did not get past sudo. After that, a lost
    /// connection is a result too: the command may have run and must not be sent again.
    #[expect(
        clippy::too_many_lines,
        reason = "the parts of a command are put together here, once"
    )]
    pub async fn exec(
        self: &Arc<Self>,
        request: &mut ExecRequest<'_>,
    ) -> Result<CommandResult, SshError> {
        let started = Instant::now();

        // Input that a lost connection has swallowed cannot be sent again.
        let takes_input = request.input.is_some();

        let SentCommand {
            probe,
            mark,
            script,
            slot,
            read,
            write,
            before,
        } = self.send_exec(request).await?;

        let write = Arc::new(write);
        let (tell_heard, events) = mpsc::channel(MAX_SUDO_EVENTS);
        let (tell_answered, answered) = watch::channel(None);
        // Every script of a known login shell announces its process id, and so does `sudo_script`.
        // Any other login shell gets the bare command, which announces nothing.
        let tells = probe.shell != LoginShell::Other || request.sudo.is_some();
        let (tell_known, known) = watch::channel(if tells {
            KnownProcesses::NotYet
        } else {
            KnownProcesses::Never
        });

        let withholds_passwords = slot.connection().withholds_passwords();
        let control = CommandControl {
            known,
            answered,
            withholds_passwords,
        };

        // After a changed host key the peer may be anybody, so the request is emptied: no stored
        // password, and no prompt.
        let sudo = request.sudo.clone().map(|sudo| {
            if withholds_passwords {
                SudoRequest::default()
            } else {
                sudo
            }
        });

        let (send_reply, replies) = mpsc::channel(MAX_TERMINAL_REPLIES);
        // Two tokens: `abandoned` says that the script never began, `stop_reading` ends the reader.
        let (stop_reading, abandoned) = (CancellationToken::new(), CancellationToken::new());
        let is_sudo = sudo.is_some();

        let stdin_writer = StdinWriter {
            answering: sudo.map(|sudo| {
                SudoResponder::new(sudo, self.peer(), request.as_root(), request.terminal)
            }),
            answered: tell_answered,
            sent: request.sent.clone(),
            abandoned: abandoned.clone(),
            given_up: stop_reading.clone(),
            write: Arc::clone(&write),
            // Without anything to send, end of file may come at once.
            holds: tells && (is_sudo || request.terminal || !script.settings.is_empty()),
            settings: script.settings,
            says_ready: script.says_ready,
            stdin: request.stdin.clone(),
            input: request.input.take(),
            replies,
            terminal: request.terminal,
        };

        // A task of its own: a command that does not read must not block its own output.
        let stdin_writer = tokio::spawn(stdin_writer.run(events));

        // The announcement is written to stderr, but startup files or a terminal may have joined
        // both streams, so each stream has its own decoder.
        let pid_source = || {
            if is_sudo {
                return Some(PidSource::Sudo(SudoListener::new(&mark, request.terminal)));
            }
            tells.then(|| PidSource::Shell(StreamDecoder::new(&mark)))
        };

        let drain = ChannelReader {
            read,
            output: request.output.writer(),
            pid_sources: PerStream {
                stdout: pid_source(),
                stderr: pid_source(),
            },
            preamble: script.preamble,
            ready: script.says_ready.then(|| StreamDecoder::new(&mark)),
            events: tell_heard,
            known: tell_known,
            replies: send_reply,
            terminal: request.terminal,
            due: [
                request.terminal.then_some(AwaitedReply::Terminal),
                Some(AwaitedReply::Command),
            ]
            .into_iter()
            .flatten()
            .collect(),
            stop: stop_reading.clone(),
        };

        // A task of its own from the first moment on: an unread channel blocks the whole
        // connection.
        let mut read_end = tokio::spawn(drain.run());
        let mut process_gone = None;
        let reached = request.conditions.wait(started.elapsed());
        tokio::pin!(reached);

        // `biased`, with the end of the output first: a command that has ended by itself was not
        // stopped.
        let stopped = loop {
            tokio::select! {
                biased;
                done = &mut read_end => break Err(done),
                stop = &mut reached => break Ok(stop),
                () = control.outlived_no_answer() => break Ok(StopReason::Cancelled),
                signal = request.conditions.signals.next() => match signal {
                    Signal::Stop(first_signal) => break Ok(StopReason::Asked(first_signal)),
                    Signal::Once(name) => self.signal_exec(name, &control, &write).await,
                }
            }
        };

        let (done, stopped) = match stopped {
            Err(done) => (done, None),
            Ok(stop) => {
                if request.sudo.is_some() && control.answered().is_none() {
                    // The answer to sudo's prompt is of no use any more.
                    stdin_writer.abort();
                }

                // The reader task goes on meanwhile, so the stop script's channel is not held up by
                // this command's output.
                process_gone = self.stop_exec(stop, &control, &write).await;
                let end = timeout(QUIET_AFTER_STOP, &mut read_end).await;
                stop_reading.cancel();
                let done = match end {
                    Ok(done) => done,
                    Err(_) => read_end.await,
                };

                (done, Some(stop))
            }
        };

        // Input that the command did not read would wait for a window that never grows.
        stdin_writer.abort();
        let _ = write.close().await;
        let mut read_end = done.map_err(|error| SshError::Lost(Some(error.to_string())))?;
        if read_end.refused {
            return Err(SshError::ExecRefused);
        }

        // From here on the question is if the command ran at all. A login shell that exits with
        // success before our script begins would otherwise look like a command that succeeded.
        if stopped.is_none()
            && read_end.status.is_some()
            && (abandoned.is_cancelled() || !read_end.begun)
        {
            read_end.not_begun(abandoned.is_cancelled())?;
        } else if stopped.is_none() && read_end.is_all_that_is_said(probe.deaf.as_deref()) {
            read_end.not_begun(true)?;
        } else if let Some(said) = read_end.refusal.take() {
            if let Some(refusal) = control.refusal(stopped.is_some(), read_end.status.as_ref()) {
                return Err(SshError::Sudo { refusal, said });
            }
            read_end.notice = Some("sudo had not begun the command yet".to_owned());
        }

        let ending = match (stopped, read_end.status) {
            (Some(stop), status) => {
                let told = status.filter(|status| *status != ExitStatus::Unreported);
                stop.ending(told.map(Ending::Exited))
            }
            (None, Some(status)) => Ending::Exited(status),
            (None, None) => {
                // russh ends the channels just before it reports the reason.
                tokio::task::yield_now().await;
                // An unchanged byte counter proves that the request never left, so the caller may
                // send it again.
                if !takes_input && slot.connection().traffic.sent() == before {
                    return Err(slot.connection().lost());
                }

                Ending::ConnectionLost(slot.connection().reason())
            }
        };

        Ok(CommandResult {
            ending,
            stopped: stopped.is_some(),
            process_gone,
            output: read_end.output,
            duration: started.elapsed(),
            notice: read_end.notice,
        })
    }

    /// Writes the script, opens a channel and sends the exec request. Nothing has run on the host
    /// if an error is returned.
    async fn send_exec(
        self: &Arc<Self>,
        request: &ExecRequest<'_>,
    ) -> Result<SentCommand, SshError> {
        let mark = random_sentinel()?;

        let prepare = async {
            let probe = self.login_shell().await;
            let shell = probe.shell;

            // A host that answered two different probes alike runs no commands: whatever reads
            // there must not get the caller's input.
            if let Some(said_alike) = &probe.deaf
                && (!request.stdin.is_empty() || request.input.is_some())
            {
                return Err(SshError::NotBegun {
                    said: ForeignText::from(said_alike.trim_ascii()).cut(MAX_WORDS_BYTES),
                });
            }

            let (command, directory, environment) =
                (request.command, request.directory, &request.environment);
            let input = match () {
                () if request.terminal => Input::Terminal,
                () if request.stdin.is_empty() && request.input.is_none() => Input::Empty,
                () => Input::Follows,
            };

            let script = match request.sudo {
                Some(_) => shell.sudo_script(
                    probe.program.as_deref(),
                    command,
                    directory,
                    environment,
                    &mark,
                    input,
                )?,
                None => shell.script(command, directory, environment, &mark, input)?,
            };

            Ok::<_, SshError>((probe, script))
        };

        // The limit also covers the probe and the channel, but then the error says that nothing was
        // sent.
        let (probe, script) = request.conditions.before_sending(prepare).await?;
        let (channel, slot) = request
            .conditions
            .before_sending(self.channels.open_channel(Priority::Work))
            .await?;

        let (read, write) = channel.split();
        // Taken before the request: it shows later if the request has left this machine.
        let before = slot.connection().traffic.sent();

        let send = async {
            if request.terminal {
                write
                    .request_pty(true, TERMINAL, COLUMNS.into(), ROWS.into(), 0, 0, &[])
                    .await?;
            }
            slot.connection().command(&write, script.line.clone()).await
        };

        if send.await.is_err() {
            return Err(slot.connection().lost());
        }

        Ok(SentCommand {
            probe,
            mark,
            script,
            slot,
            read,
            write,
            before,
        })
    }
}

/// Command after the exec request, with both halves of the channel.
struct SentCommand {
    probe: ShellProbe,
    mark: Sentinel,
    script: ExecScript,
    slot: ChannelSlot,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    /// Number of bytes sent over the connection before the request.
    before: u64,
}

/// Makes a sentinel from the system's random numbers.
pub(in crate::ssh) fn random_sentinel() -> Result<Sentinel, SshError> {
    let bytes = random::bytes().map_err(|error| SshError::Random(error.to_string()))?;
    Ok(Sentinel::from_random(bytes))
}
