//! A command that runs: the tasks around the channel, and the wait for the end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    CommandResult, ExecContext,
    control::{CommandControl, KnownProcesses},
    end::CommandEnd,
    expected::ExpectedShell,
    reader::{AwaitedReply, ChannelReader},
    send::ExecChannel,
    stdin::StdinWriter,
    sudo::{MAX_SUDO_EVENTS, SudoExchange, SudoState},
};
use crate::{
    event::Event,
    framing::{
        decoder::StreamDecoder,
        exec::{LoginShell, windows::WindowsShell},
        stop::Signal,
        stream::PerStream,
    },
    ssh::{
        command::{
            exit_status::{Ending, ExitStatus},
            limits::{StopConditions, StopReason},
            remote_host::RemoteHost,
            spec::CommandSpec,
        },
        error::SshError,
        known_servers::Capacity,
        pool::ChannelSlot,
        prompt::as_root::AsRoot,
    },
};

/// Capacity of the queue of terminal replies, which wait until the command reads.
const MAX_TERMINAL_REPLIES: usize = 8;
/// Longest time for which the channel may stay open after the command was stopped.
const QUIET_AFTER_STOP: Duration = Duration::from_millis(500);

/// Command on a channel of its own, from the exec request to the end. One task reads the channel
/// and another writes stdin, from the first moment on.
pub(super) struct RunningCommand {
    /// Task that reads the channel.
    reader: JoinHandle<CommandEnd>,
    /// Token to end the reader.
    stop_reading: CancellationToken,
    /// Task that writes stdin.
    stdin: JoinHandle<()>,
    /// Handle for stopping and signalling.
    control: CommandControl,
    /// Event that the script did not begin in time.
    not_begun: Event,
    /// Slot of the channel.
    slot: ChannelSlot,
    /// True if the account is known to run no commands, or only certain ones.
    account_refuses: bool,
    /// Answer of the host to any command, if the host does not run commands.
    same_answer: Option<Vec<u8>>,
    /// Number of bytes sent over the connection before the request; `None` if the command took
    /// input. Input that a lost connection has swallowed cannot be sent again.
    sent_before: Option<u64>,
}

impl RunningCommand {
    /// Starts the tasks around a channel whose exec request was sent.
    pub(super) fn start(
        host: &Arc<RemoteHost>,
        channel: ExecChannel,
        spec: &Arc<CommandSpec>,
        context: &mut ExecContext,
    ) -> Self {
        let announces_process = channel.announces_process();
        let shell = channel.probe.shell;
        context.output.decode_from(channel.probe.code_page);
        let pid_sources = channel.pid_sources(spec.pty);
        let (send_event, events) = mpsc::channel(MAX_SUDO_EVENTS);
        let (send_reply, replies) = mpsc::channel(MAX_TERMINAL_REPLIES);
        let (send_processes, processes) = watch::channel(if announces_process {
            KnownProcesses::NotYet
        } else {
            KnownProcesses::Never
        });

        let (exchange, sudo) = context
            .sudo
            .clone()
            .map(|sources| {
                let shown = AsRoot::new(
                    &spec.command,
                    spec.cwd.as_deref(),
                    &spec.env(),
                    spec.stdin.as_deref().unwrap_or_default(),
                    spec.takes_input,
                );
                SudoExchange::new(host, &channel.slot, shown, sources)
            })
            .unzip();

        let stop_reading = CancellationToken::new();
        let (not_begun, granted) = (Event::new(), channel.slot.connection().early_grant());
        let sent_before = context.input.is_none().then_some(channel.sent_before);
        let reader = ChannelReader {
            read: channel.read,
            output: context.output.writer(),
            pid_sources,
            preamble: channel.script.preamble,
            settings_decoder: channel
                .script
                .says_ready
                .then(|| StreamDecoder::new(&channel.mark)),
            unready_output: PerStream::default(),
            expected: channel.is_expected.then(|| ExpectedShell {
                host: Arc::clone(host),
                family: shell,
            }),
            has_no_terminal: false,
            is_reading_settings: false,
            events: send_event,
            processes: send_processes,
            replies: spec.pty.then_some(send_reply),
            awaited_replies: spec
                .pty
                .then_some(AwaitedReply::Terminal)
                .into_iter()
                .chain([if spec.is_shell_channel() {
                    AwaitedReply::Shell
                } else {
                    AwaitedReply::Command
                }])
                .collect(),
            granted: granted.clone(),
            stop: stop_reading.clone(),
        };

        let stdin = StdinWriter {
            spec: Arc::clone(spec),
            has_ended: channel.has_ended_stdin,
            // Without anything to send, end of file may come at once.
            waits_for_script: announces_process
                && (channel.is_sudo || spec.pty || !channel.script.settings.is_empty()),
            sudo: exchange,
            sent: context.sent.clone(),
            not_begun: not_begun.clone(),
            granted,
            stop_reading: stop_reading.clone(),
            write: Arc::clone(&channel.write),
            settings: channel.script.settings,
            says_ready: channel.script.says_ready,
            // PowerShell reads all of stdin before it ends, even for a command that reads nothing.
            input: context
                .input
                .take()
                .filter(|_| shell != LoginShell::Windows(WindowsShell::PowerShell) || spec.pty),
            replies,
        };

        Self {
            // A task of its own from the first moment on: an unread channel blocks the whole
            // connection.
            reader: tokio::spawn(reader.run()),
            stop_reading,
            // A task of its own: a command that does not read must not block its own output.
            stdin: tokio::spawn(stdin.run(events)),
            control: CommandControl {
                host: Arc::clone(host),
                write: channel.write,
                processes,
                sudo,
                windows: shell.windows().map(|shell| (shell, channel.mark)),
            },
            not_begun,
            slot: channel.slot,
            account_refuses: channel.probe.refuses,
            same_answer: channel.probe.deaf,
            sent_before,
        }
    }

    /// Waits until the command has ended, and stops the command when a condition is met. The
    /// command was requested at `started`.
    pub(super) async fn wait(
        mut self,
        conditions: &StopConditions,
        started: Instant,
    ) -> Result<CommandResult, SshError> {
        let met = conditions.wait(started.elapsed());
        tokio::pin!(met);

        // `biased`, with the end of the output first: a command that has ended by itself was not
        // stopped.
        let ended = loop {
            let reason = tokio::select! {
                biased;
                ended = &mut self.reader => break ended,
                reason = &mut met => reason,
                () = self.control.outlives_sudo() => StopReason::Cancelled,
                signal = conditions.signals.next() => match signal {
                    Signal::Stop(first_signal) => StopReason::Signalled(first_signal),
                    Signal::Once(name) => {
                        self.control.signal(name).await;
                        continue;
                    }
                }
            };

            break self.stop(reason).await;
        };

        // Input that the command did not read would wait for a window that never grows.
        self.stdin.abort();
        let _ = self.control.write.close().await;

        let command_end = ended.map_err(|error| SshError::Lost(Some(error.to_string())))?;
        self.result(command_end, started).await
    }

    /// Stops the command, and returns the end.
    async fn stop(&mut self, reason: StopReason) -> Result<CommandEnd, JoinError> {
        if self
            .control
            .sudo
            .as_ref()
            .is_some_and(SudoState::is_pending)
        {
            // The answer to sudo's prompt is of no use any more.
            self.stdin.abort();
        }

        // The reader task goes on meanwhile, so the stop script's channel is not held up by this
        // command's output.
        let process_gone = self.control.stop(reason).await;
        let ended = timeout(QUIET_AFTER_STOP, &mut self.reader).await;
        self.stop_reading.cancel();
        let command_end = match ended {
            Ok(ended) => ended?,
            Err(_) => (&mut self.reader).await?,
        };

        Ok(CommandEnd {
            stopped: Some(reason),
            process_gone,
            ..command_end
        })
    }

    /// Returns true if the end of the connection was the end of the command, as on a server that ends
    /// each connection with its command.
    async fn ended_with_connection(&self, command_end: &CommandEnd) -> bool {
        let output = &command_end.output;
        let has_printed = output.stdout.total > 0 || output.stderr.total > 0;

        let connection = self.slot.connection();
        match self.control.host.capacity() {
            Some(Capacity::OneCommand) => command_end.had_eof || has_printed,
            None if command_end.had_eof => {
                connection.ends_now().await
                    && connection.facts.ended_in_order.load(Ordering::Relaxed)
            }
            _ => false,
        }
    }

    /// Builds the result of a command that has ended.
    ///
    /// # Errors
    /// Fails if the command did not run: nothing was sent, or the login shell or sudo did not run
    /// the command.
    async fn result(
        mut self,
        mut command_end: CommandEnd,
        started: Instant,
    ) -> Result<CommandResult, SshError> {
        if let Some(found) = command_end.taken_as_it_is() {
            (self.account_refuses, self.same_answer) = (found.refuses, found.deaf);
        }

        let begun = command_end.check_begun(self.not_begun.is_set(), self.same_answer.as_deref());
        if let Err(SshError::NotBegun { .. }) = begun {
            self.control.host.doubt_login_shell();
        }
        begun?;
        if self.account_refuses {
            command_end.note_refusing_account();
        }

        if let (Some(said), Some(sudo)) = (command_end.sudo_messages.take(), &self.control.sudo) {
            if let Some(refusal) =
                sudo.refusal(command_end.stopped.is_some(), command_end.status.as_ref())
            {
                return Err(SshError::Sudo { refusal, said });
            }
            command_end.notice = Some("sudo had not begun the command yet".to_owned());
        }

        let ending = match (command_end.stopped, command_end.status.take()) {
            (Some(reason), status) => {
                let reported = status.filter(|status| *status != ExitStatus::Unreported);
                reason.ending(reported.map(Ending::Exited))
            }
            (None, Some(status)) => Ending::Exited(status),
            // Some devices end the connection in place of the channel, without a status.
            (None, None) if self.ended_with_connection(&command_end).await => {
                Ending::Exited(ExitStatus::Unreported)
            }
            (None, None) => {
                // russh ends the channels just before it reports the reason.
                tokio::task::yield_now().await;
                let connection = self.slot.connection();

                if connection.has_ended_at_second_channel().await {
                    return Err(SshError::SecondChannel);
                }

                // An unchanged byte counter proves that the request never left, so the caller may
                // send it again.
                if self.sent_before == Some(connection.traffic.sent()) {
                    return Err(connection.lost());
                }

                Ending::ConnectionLost(connection.reason())
            }
        };

        Ok(CommandResult {
            ending,
            stopped: command_end.stopped.is_some(),
            process_gone: command_end.process_gone,
            output: command_end.output,
            duration: started.elapsed(),
            notice: command_end.notice,
        })
    }
}
