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
    sudo::{SudoRequest, SudoResponder},
};
use crate::{
    framing::{
        decoder::StreamDecoder,
        exec::{ExecScript, Input, LoginShell, ShellProbe},
        sentinel::Sentinel,
        stop::Signal,
        sudo::SudoListener,
    },
    render::{COLUMNS, ROWS},
    ssh::{
        error::{SshError, said},
        pool::{ChannelSlot, Pool, Priority},
        prompt::as_root::AsRoot,
    },
};

/// The terminal of a command that asks for one (RFC 4254 section 6.2).
const TERMINAL: &str = "xterm-256color";
/// What is heard of sudo and not answered yet; it says one thing at a time.
const MAX_SUDO_EVENTS: usize = 8;
/// Replies of the terminal that may wait until the command reads them.
const MAX_TERMINAL_REPLIES: usize = 8;
/// How long the channel may stay open after the command was stopped.
const QUIET_AFTER_STOP: Duration = Duration::from_millis(500);

/// What is to be run, and within which bounds.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The command, for the user's login shell.
    pub command: &'a str,
    /// The directory to run it in; `None` is the home directory, as with `ssh`.
    pub directory: Option<&'a str>,
    /// Environment variables to add.
    pub environment: Vec<(&'a str, &'a str)>,
    /// What the command reads from stdin.
    pub stdin: Vec<u8>,
    /// What it reads after that, until this ends; without it, end of file follows.
    pub input: Option<mpsc::Receiver<Vec<u8>>>,
    /// Whether it has a terminal: then stdout and stderr are one stream, and no end of file follows.
    pub terminal: bool,
    /// It is run as root by sudo, which is answered with this.
    pub sudo: Option<SudoRequest>,
    /// Cancelled when the command has been sent, and sudo is through.
    pub sent: CancellationToken,
    /// When and how it is stopped.
    pub conditions: StopConditions,
    /// Where its output goes.
    pub output: Output,
}

impl ExecRequest<'_> {
    /// What a person is shown who is asked to have it run as root.
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

/// What came of a command.
#[derive(Debug)]
pub struct CommandResult {
    /// How it ended.
    pub ending: Ending,
    /// Whether it was stopped.
    pub stopped: bool,
    /// After a stop: whether its processes are gone, or `None` where that could not be found out.
    pub process_gone: Option<bool>,
    /// What it printed.
    pub output: CommandOutput,
    /// From the request to the end.
    pub duration: Duration,
    /// What the caller should know besides.
    pub notice: Option<String>,
}

impl Pool {
    /// Runs a command and waits for its end.
    ///
    /// # Errors
    /// Only what happened before the command had left or sudo was through. From then on, also a lost connection is a
    /// result: the command may have run and must not be sent again.
    #[expect(
        clippy::too_many_lines,
        reason = "the parts of a command are put together here, once"
    )]
    pub async fn exec(
        self: &Arc<Self>,
        request: &mut ExecRequest<'_>,
    ) -> Result<CommandResult, SshError> {
        let started = Instant::now();

        // What is lost of that cannot be had again.
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

        let sudo = request.sudo.clone().map(|sudo| {
            if withholds_passwords {
                SudoRequest::default()
            } else {
                sudo
            }
        });

        let (send_reply, replies) = mpsc::channel(MAX_TERMINAL_REPLIES);
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
            // Nothing to send is an end that may come at once.
            holds: tells && (is_sudo || request.terminal || !script.settings.is_empty()),
            settings: script.settings,
            says_ready: script.says_ready,
            stdin: request.stdin.clone(),
            input: request.input.take(),
            replies,
            terminal: request.terminal,
        };

        // Of its own: a command that does not read must not block its own output.
        let stdin_writer = tokio::spawn(stdin_writer.run(events));

        let ear = || {
            if is_sudo {
                return Some(PidSource::Sudo(SudoListener::new(&mark, request.terminal)));
            }
            tells.then(|| PidSource::Shell(StreamDecoder::new(&mark)))
        };

        let drain = ChannelReader {
            read,
            output: request.output.writer(),
            ears: [ear(), ear()],
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

        // A task of its own from the first moment on: an unread channel blocks the whole connection.
        let mut read_end = tokio::spawn(drain.run());
        let mut process_gone = None;
        let reached = request.conditions.wait(started.elapsed());
        tokio::pin!(reached);

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
                    // The question is of no use any more.
                    stdin_writer.abort();
                }

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

        // What the command did not read would wait for a window that never comes.
        stdin_writer.abort();
        let _ = write.close().await;
        let mut read_end = done.map_err(|error| SshError::Lost(Some(error.to_string())))?;
        if read_end.refused {
            return Err(SshError::ExecRefused);
        }

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
                // russh ends the channels just before it tells why.
                tokio::task::yield_now().await;
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

    async fn send_exec(
        self: &Arc<Self>,
        request: &ExecRequest<'_>,
    ) -> Result<SentCommand, SshError> {
        let mark = random_sentinel()?;

        let prepare = async {
            let probe = self.login_shell().await;
            let shell = probe.shell;

            if let Some(said_alike) = &probe.deaf
                && (!request.stdin.is_empty() || request.input.is_some())
            {
                return Err(SshError::NotBegun {
                    said: said(String::from_utf8_lossy(said_alike).trim()),
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

        let (probe, script) = request.conditions.before_sending(prepare).await?;
        let (channel, slot) = request
            .conditions
            .before_sending(self.open_channel(Priority::Work))
            .await?;

        let (read, write) = channel.split();
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

/// A command that was sent.
struct SentCommand {
    probe: ShellProbe,
    mark: Sentinel,
    script: ExecScript,
    slot: ChannelSlot,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    /// How much the connection had sent by then.
    before: u64,
}

/// A sentinel from the system's random numbers.
pub(in crate::ssh) fn random_sentinel() -> Result<Sentinel, SshError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| SshError::Random(error.to_string()))?;
    Ok(Sentinel::from_random(bytes))
}
