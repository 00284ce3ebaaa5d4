//! Starting a shell as another user, through sudo.

use std::{pin::pin, sync::Arc};

use russh::{ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::sync::mpsc;

use super::message::ShellMessage;
use crate::{
    framing::{
        script,
        sentinel::Sentinel,
        stream::Stream,
        sudo::{SudoEvent, SudoListener, SudoUser, shell_as},
    },
    ssh::{
        command::{
            exec::{
                random_sentinel,
                sudo::{MAX_SUDO_EVENTS, SudoExchange, SudoState},
            },
            exit_status::ExitStatus,
            remote_host::RemoteHost,
            spec::CommandSpec,
            sudo::{SudoRights, SudoSources},
            unexpected_output::UnexpectedOutput,
        },
        error::SshError,
        pool::ChannelSlot,
        prompt::prompter::AsRoot,
    },
};

/// User as whom a shell is started, with what sudo needs for that.
#[derive(Debug, Clone)]
pub struct ShellUser {
    /// User of the shell.
    user: SudoUser,
    /// Sources of sudo's password.
    sources: SudoSources,
    /// Description of the shell's first command, for the user who is asked for the password.
    shown: AsRoot,
}

/// The sudo around a shell that belongs to another user.
pub(super) struct ShellSudo {
    user: SudoUser,
    state: SudoState,
}

/// Part of a shell's start in which sudo has the channel.
struct SudoStart<'a> {
    slot: &'a ChannelSlot,
    read: &'a mut ChannelReadHalf,
    /// Queue of the exchange with sudo.
    events: mpsc::Sender<SudoEvent>,
    listener: SudoListener,
    status: Option<ExitStatus>,
    /// Output of startup files, and of the shell itself before its first line.
    words: &'a mut UnexpectedOutput,
}

impl ShellUser {
    /// Creates the start of a shell as `user` whose first command is `spec`.
    #[must_use]
    pub fn new(user: SudoUser, sources: SudoSources, spec: &CommandSpec) -> Self {
        let shown = AsRoot::of_shell(
            user.name(),
            &spec.command,
            spec.stdin.as_deref().unwrap_or_default(),
        );

        Self {
            user,
            sources,
            shown,
        }
    }

    /// Sends the command for starting the shell, and waits until sudo has started it. Answers sudo's
    /// prompts meanwhile.
    ///
    /// # Errors
    /// Fails if sudo did not start the shell, the server runs no commands, or the connection is lost.
    pub(super) async fn start(
        self,
        host: &RemoteHost,
        slot: &ChannelSlot,
        read: &mut ChannelReadHalf,
        write: &Arc<ChannelWriteHalf<Msg>>,
        words: &mut UnexpectedOutput,
    ) -> Result<ShellSudo, SshError> {
        let mark: Sentinel = random_sentinel()?;
        let command = shell_as(&self.user, &mark, script::START_SHELL);
        slot.connection().command(write, command).await?;

        let (exchange, state) = SudoExchange::new(host, slot, self.shown, self.sources);
        let (events, mut asked) = mpsc::channel(MAX_SUDO_EVENTS);
        let mut start = SudoStart {
            slot,
            read,
            events,
            listener: SudoListener::of_root_shell(&mark),
            status: None,
            words,
        };

        // The channel is read while the user is asked. If the caller gives up, the question ends with
        // this future.
        let mut answered = pin!(exchange.run(&mut asked, write, false));
        let mut is_answered = false;
        let began = {
            let mut began = pin!(start.read());
            loop {
                tokio::select! {
                    biased;
                    began = &mut began => break began?,
                    _ = &mut answered, if !is_answered => is_answered = true,
                    () = state.outlives_no_answer() => break false,
                }
            }
        };

        let SudoStart {
            listener,
            status,
            events,
            ..
        } = start;
        if began {
            // Without more events, the exchange ends with the accepted password.
            drop(events);
            if !is_answered {
                answered.await;
            }

            return Ok(ShellSudo {
                user: self.user,
                state,
            });
        }

        let said = listener.finish(&mut Vec::new()).unwrap_or_default();
        Err(match state.refusal(false, status.as_ref()) {
            Some(refusal) => SshError::Sudo { refusal, said },
            None => slot.connection().lost(),
        })
    }
}

impl ShellSudo {
    /// Returns the means to run a helper script as the user of the shell.
    pub(super) fn rights(&self) -> SudoRights {
        self.state.rights(Some(&self.user))
    }
}

impl SudoStart<'_> {
    /// Reads the channel until sudo has started the shell. Returns false if sudo ends before.
    ///
    /// # Errors
    /// Fails if the server runs no commands, or the connection is lost.
    async fn read(&mut self) -> Result<bool, SshError> {
        while !self.listener.is_through() {
            match ShellMessage::read(self.read.wait().await) {
                ShellMessage::Output(Stream::Stdout, bytes) => self.words.push(&bytes),
                ShellMessage::Output(Stream::Stderr, bytes) => {
                    let mut output = Vec::new();
                    for event in self.listener.push(&bytes, &mut output) {
                        // Only a sudo that asks without end leaves no room.
                        let _ = self.events.try_send(event);
                    }
                    self.words.push(&output);
                }
                ShellMessage::Status(status) => self.status = Some(status),
                ShellMessage::Refused => return Err(SshError::ExecRefused),
                ShellMessage::Closed => {
                    self.status.get_or_insert(ExitStatus::Unreported);
                    return Ok(false);
                }
                ShellMessage::Lost => return Err(self.slot.connection().lost()),
                ShellMessage::Other => {}
            }
        }

        Ok(true)
    }
}
