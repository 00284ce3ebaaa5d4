//! The exec request with its script and channel, or the shell request.

use std::sync::Arc;

use russh::{ChannelReadHalf, ChannelWriteHalf, client::Msg};

use super::{ExecContext, random_sentinel, reader::PidSource};
use crate::{
    framing::{
        decoder::StreamDecoder,
        exec::{ExecScript, Input, ShellProbe},
        sentinel::Sentinel,
        stream::PerStream,
        sudo::SudoListener,
    },
    render::{COLUMNS, ROWS},
    ssh::{
        command::{remote_host::RemoteHost, spec::CommandSpec},
        error::{SshError, excerpt},
        pool::{ChannelSlot, Priority},
    },
};

/// Terminal type of a command with a terminal (RFC 4254 section 6.2).
const TERMINAL: &str = "xterm-256color";

/// Channel over which a command was requested, with the facts about the script.
pub(super) struct ExecChannel {
    /// Login shell that gets the script.
    pub(super) probe: ShellProbe,
    /// True if the login shell is that of the last connection, and has not answered yet.
    pub(super) is_expected: bool,
    /// True if sudo runs the command.
    pub(super) is_sudo: bool,
    /// Mark of the script's announcements.
    pub(super) mark: Sentinel,
    pub(super) script: ExecScript,
    pub(super) slot: ChannelSlot,
    pub(super) read: ChannelReadHalf,
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// True if the end of stdin was sent with the request, because there is no input at all.
    pub(super) has_ended_stdin: bool,
    /// Number of bytes sent over the connection before the request.
    pub(super) sent_before: u64,
}

impl ExecChannel {
    /// Returns true if the script announces a process id. Every script of a known login shell does,
    /// and so does every script with sudo. Any other login shell gets the bare command.
    pub(super) fn announces_process(&self) -> bool {
        self.probe.shell.announces_process() || self.is_sudo
    }

    /// Creates the decoders which find the process id. The announcement is written to stderr, but
    /// startup files or a terminal may have joined both streams, so each stream gets a decoder.
    pub(super) fn pid_sources(&self, pty: bool) -> PerStream<Option<PidSource>> {
        let pid_source = || {
            if self.is_sudo {
                return Some(PidSource::Sudo(SudoListener::new(&self.mark, pty)));
            }
            self.announces_process()
                .then(|| PidSource::Shell(StreamDecoder::new(&self.mark)))
        };

        PerStream {
            stdout: pid_source(),
            stderr: pid_source(),
        }
    }
}

impl RemoteHost {
    /// Writes the script, opens a channel and sends the exec request, or the shell request for a
    /// shell channel. Nothing has run on the host if an error is returned.
    pub(super) async fn request_exec(
        self: &Arc<Self>,
        spec: &CommandSpec,
        context: &ExecContext,
    ) -> Result<ExecChannel, SshError> {
        let mark = random_sentinel()?;
        let is_sudo = context.sudo.is_some();

        // The limit also covers the probe and the channel, but then the error says that nothing was
        // sent.
        let conditions = &context.conditions;
        let expected = self.write_expected_script(spec, is_sudo, &mark);
        let is_expected = expected.is_some();
        let (probe, script) = match expected {
            Some(expected) => expected,
            None => {
                conditions
                    .before_sending(self.write_script(spec, is_sudo, &mark))
                    .await?
            }
        };
        let (channel, slot) = conditions
            .before_sending(self.channels.open_channel(Priority::Work))
            .await?;

        let (read, write) = channel.split();
        let has_ended_stdin =
            !is_sudo && !spec.pty && !has_stdin(spec) && script.settings.is_empty();
        // Taken before the request: it shows later if the request has left this machine.
        let sent_before = slot.connection().traffic.sent();

        let send = async {
            if spec.pty {
                write
                    .request_pty(true, TERMINAL, COLUMNS.into(), ROWS.into(), 0, 0, &[])
                    .await?;
            }
            if spec.is_shell_channel() {
                return slot.connection().shell(&write).await;
            }
            slot.connection()
                .command(&write, script.line.clone())
                .await?;
            // Both go into one packet. The command counts as sent, whether this arrives or not.
            if has_ended_stdin {
                let _ = write.eof().await;
            }
            Ok(())
        };

        if send.await.is_err() {
            return Err(slot.connection().lost());
        }

        Ok(ExecChannel {
            probe,
            is_expected,
            is_sudo,
            mark,
            script,
            slot,
            read,
            write: Arc::new(write),
            has_ended_stdin,
            sent_before,
        })
    }

    /// Writes the script of a command for the login shell of the last connection, which saves the wait
    /// for the answer of this connection's login shell.
    ///
    /// `None` if the answer is there, or if something could be lost: without an announcement, input or
    /// a password could reach another program, and csh would run the second line of a command.
    fn write_expected_script(
        &self,
        spec: &CommandSpec,
        is_sudo: bool,
        mark: &Sentinel,
    ) -> Option<(ShellProbe, ExecScript)> {
        let is_plain =
            !is_sudo && !spec.pty && !has_stdin(spec) && !spec.command.contains(['\n', '\r']);
        let probe = &self.expected_shell().filter(|_| is_plain)?.probe;

        let (cwd, env) = (spec.cwd.as_deref(), spec.env());
        let script = probe
            .shell
            .script(&spec.command, cwd, &env, mark, Input::Empty)
            .ok()?;

        script.settings.is_empty().then(|| (probe.clone(), script))
    }

    /// Writes the script of a command in the language of the login shell. The script of a shell
    /// channel is empty.
    async fn write_script(
        self: &Arc<Self>,
        spec: &CommandSpec,
        is_sudo: bool,
        mark: &Sentinel,
    ) -> Result<(ShellProbe, ExecScript), SshError> {
        // Devices and menus would take a script for words of the user, and a probe for a log-in.
        if spec.is_shell_channel() {
            return Ok((ShellProbe::unknown(), ExecScript::default()));
        }

        // A bare command needs no script, but whoever stops one is glad of it.
        let is_needed = is_sudo || spec.cwd.is_some() || !spec.env().is_empty();
        let probe = self.login_shell_for(is_needed).await;
        let has_stdin = has_stdin(spec);

        // A host that answered two different probes alike runs no commands: whatever reads there
        // must not get the caller's input.
        if let Some(answer) = &probe.deaf
            && has_stdin
        {
            return Err(SshError::NotBegun {
                said: excerpt(answer.trim_ascii()),
            });
        }

        let input = match () {
            () if spec.pty => Input::Terminal,
            () if has_stdin => Input::Follows,
            () => Input::Empty,
        };

        let (shell, program) = (probe.shell, probe.program.as_deref());
        let (command, cwd, env) = (&spec.command, spec.cwd.as_deref(), spec.env());
        let script = if is_sudo {
            shell.sudo_script(program, command, cwd, &env, mark, input)?
        } else {
            shell.script(command, cwd, &env, mark, input)?
        };

        Ok((probe, script))
    }
}

/// Returns true if the command gets input.
fn has_stdin(spec: &CommandSpec) -> bool {
    let has_first = spec.stdin.as_ref().is_some_and(|stdin| !stdin.is_empty());
    spec.takes_input || has_first
}
