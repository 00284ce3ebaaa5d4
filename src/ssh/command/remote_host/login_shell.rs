//! The question which shell runs the commands of the account.
//!
//! It is asked in channels that nobody has requested, and some servers end a connection with its
//! first command, or break at a second channel. So on a server that is not known to take several
//! commands, it is asked over a connection of its own. The first connection stays as it is for the
//! caller's command.

use std::{future::pending, sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::RemoteHost;
use crate::{
    framing::exec::{HostFacts, OTHER_PROBE, POSIX_PROBE, ShellProbe},
    ssh::{
        connect::{connection::Connection, open::WINDOW},
        error::SshError,
        known_servers::CommandsPerConnection,
    },
};

/// Time limit of a probe for the login shell. Without an answer the shell counts as unknown.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of the facts about the host, from the moment at which the login shell is known. A
/// `PATH` over a dead network must not hold up the first command.
const FACTS_LIMIT: Duration = Duration::from_secs(1);
/// Longest answer to a probe, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Time within which a connection shows that it has outlived its first command.
const OUTLIVES_WITHIN: Duration = Duration::from_secs(2);
/// Command that does nothing in any shell which answered [`POSIX_PROBE`].
const NOTHING: &str = ":";

/// Answer to a probe over a connection of its own.
struct Answer {
    /// Output of the probe.
    stdout: Vec<u8>,
    /// True if the probe failed.
    failed: bool,
    /// True if the connection ended with the channel.
    ended: bool,
}

impl RemoteHost {
    /// Returns the number of commands that the server takes over a connection; `None` if that is
    /// not known.
    pub(in crate::ssh) fn commands_per_connection(&self) -> Option<CommandsPerConnection> {
        if self.first().is_known_to_take_several_commands() {
            Some(CommandsPerConnection::Several)
        } else {
            self.channels.server.get().commands
        }
    }

    /// Returns the family of the user's login shell. The probe is repeated until the host runs
    /// commands at all.
    pub(in crate::ssh) async fn login_shell(self: &Arc<Self>) -> ShellProbe {
        match self
            .login_shell
            .get_or_try_init(|| self.find_any_shell())
            .await
        {
            Ok(probe) => probe.clone(),
            Err(probe) => probe,
        }
    }

    /// Finds out the login shell in a way that this server bears.
    ///
    /// # Errors
    /// Returns what is known for now, and the next caller is to try again.
    pub(super) async fn find_shell(self: &Arc<Self>) -> Result<ShellProbe, ShellProbe> {
        let server = &self.channels.server;

        let takes_several = match self.commands_per_connection() {
            Some(CommandsPerConnection::Several) => true,
            Some(CommandsPerConnection::One) => {
                if let Some(known) = server.get().login_shells.get(&self.peer().user) {
                    return Ok(known.clone());
                }
                false
            }
            None if self.has_outlived_a_command().await => {
                server.learn(|server| server.commands = Some(CommandsPerConnection::Several));
                true
            }
            None => false,
        };

        if !takes_several {
            return self.examine().await.ok_or_else(ShellProbe::unknown);
        }

        let probe = self.probe_shell().await;
        if probe.deaf.is_some() {
            Err(probe)
        } else {
            Ok(probe)
        }
    }

    /// Returns true if the first connection goes on although its only channel has ended.
    async fn has_outlived_a_command(&self) -> bool {
        self.channels.first_has_had_a_channel()
            && self.answers(OUTLIVES_WITHIN).await
            && !self.first().has_ended()
    }

    /// Probes the login shell with up to two commands.
    async fn probe_shell(self: &Arc<Self>) -> ShellProbe {
        let Ok((first, first_failed)) = self.ask_posix_shell().await else {
            return ShellProbe::unknown();
        };

        let probe = if let Some(posix) = ShellProbe::posix(&first) {
            posix
        } else {
            // Only a shell of another family gets the second probe: every POSIX shell has answered
            // the first.
            let Ok((second, second_failed)) = self.probe(OTHER_PROBE, PROBE_LIMIT, None).await
            else {
                return ShellProbe::unknown();
            };
            ShellProbe::other(first_failed || second_failed, &first, &second)
        };

        let _ = self.facts.set(HostFacts::read(&probe, &first));

        probe
    }

    /// Returns the answer to [`POSIX_PROBE`], and true if the probe failed. Without the end of the
    /// facts if they take too long.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, or if no POSIX shell answers and the probe does not
    /// end within the limit.
    pub(in crate::ssh) async fn ask_posix_shell(
        self: &Arc<Self>,
    ) -> Result<(Vec<u8>, bool), SshError> {
        let (progress, mut so_far) = watch::channel(Vec::new());

        let shell_and_some_facts = async {
            let is_known = |answer: &Vec<u8>| ShellProbe::posix(answer).is_some();
            if so_far.wait_for(is_known).await.is_err() {
                return pending().await;
            }
            sleep(FACTS_LIMIT).await;

            so_far.borrow().clone()
        };

        tokio::select! {
            biased;
            whole = self.probe(POSIX_PROBE, PROBE_LIMIT, Some(progress)) => whole,
            answer = shell_and_some_facts => Ok((answer, false)),
        }
    }

    /// Probes the login shell over connections of their own, and learns if a connection takes
    /// several commands. Returns `None` if that was not possible; this process does not try again
    /// then.
    async fn examine(self: &Arc<Self>) -> Option<ShellProbe> {
        let server = &self.channels.server;
        if server.get().is_unreachable_for_questions || !self.channels.may_ask_apart() {
            return None;
        }

        let examined = self.ask_apart().await;
        if examined.is_err() {
            server.learn(|server| server.is_unreachable_for_questions = true);
        }
        let (probe, commands) = examined.ok()?;

        let user = &self.peer().user;
        server.learn(|server| {
            server.commands = commands;
            if commands == Some(CommandsPerConnection::One) {
                server.login_shells.insert(user.clone(), probe.clone());
            }
        });

        Some(probe)
    }

    /// Asks over a connection of its own, and over another one if the server ended the first.
    async fn ask_apart(&self) -> Result<(ShellProbe, Option<CommandsPerConnection>), SshError> {
        let connection = self.channels.dial_apart(WINDOW).await?;
        let first = match ask(&connection, POSIX_PROBE).await {
            // A server that runs no commands at all shows nothing about their number.
            Err(SshError::ExecRefused) => {
                connection.close().await;
                return Ok((ShellProbe::unknown(), None));
            }
            first => first?,
        };

        let posix = ShellProbe::posix(&first.stdout);
        let question = if posix.is_some() {
            NOTHING
        } else {
            OTHER_PROBE
        };
        let second = if first.ended {
            None
        } else {
            ask(&connection, question).await.ok()
        };
        connection.close().await;

        let commands = if second.is_some() {
            CommandsPerConnection::Several
        } else {
            CommandsPerConnection::One
        };

        let _ = self.facts.set(HostFacts::read(
            posix.as_ref().unwrap_or(&ShellProbe::unknown()),
            &first.stdout,
        ));

        let probe = match (posix, second) {
            (Some(posix), _) => posix,
            (None, Some(second)) => other(&first, &second),
            (None, None) => {
                let connection = self.channels.dial_apart(WINDOW).await?;
                let second = ask(&connection, OTHER_PROBE).await;
                connection.close().await;
                other(&first, &second?)
            }
        };

        Ok((probe, Some(commands)))
    }

    /// Asks for the login shell before anybody needs the answer, and keeps a channel ready, where
    /// the server bears that.
    pub(super) fn begin(self: &Arc<Self>) {
        if self.commands_per_connection() != Some(CommandsPerConnection::Several) {
            self.probed.set();
            return self.channels.watch_for_an_early_end();
        }

        self.channels.prefetch_channel();
        tokio::spawn({
            let host = Arc::clone(self);
            async move {
                host.login_shell().await;
                host.probed.set();
            }
        });
    }

    /// Forgets the login shell that earlier connections found, because a command did not begin in
    /// that shell.
    pub(in crate::ssh) fn doubt_login_shell(&self) {
        let user = &self.peer().user;
        self.channels.server.learn(|server| {
            server.login_shells.remove(user);
        });
    }
}

/// Reads both answers of a shell that is no POSIX shell.
fn other(first: &Answer, second: &Answer) -> ShellProbe {
    ShellProbe::other(first.failed || second.failed, &first.stdout, &second.stdout)
}

/// Runs a probe over a connection, and reads the answer. An answer that does not end within the
/// limit is cut off there.
///
/// # Errors
/// The server opens no channel or refuses the command, or nothing came before the connection ended
/// or the limit passed.
async fn ask(connection: &Connection, probe: &str) -> Result<Answer, SshError> {
    let deadline = Instant::now() + PROBE_LIMIT;
    let (mut read, write) = connection.open_channel().await?.split();
    connection.command(&write, probe).await?;
    // The server may have ended the connection by now, which shows when the answer is read.
    let _ = write.eof().await;

    let (mut stdout, mut failed, mut accepted, mut ended) = (Vec::new(), false, false, false);

    loop {
        match timeout_at(deadline, read.wait()).await {
            Ok(Some(ChannelMsg::Data { data })) if stdout.len() < MAX_ANSWER_BYTES => {
                stdout.extend_from_slice(&data);
            }
            Ok(Some(ChannelMsg::Success)) => accepted = true,
            Ok(Some(ChannelMsg::Failure)) => return Err(SshError::ExecRefused),
            Ok(Some(ChannelMsg::ExitStatus { exit_status })) => failed = exit_status != 0,
            Ok(Some(ChannelMsg::ExitSignal { .. })) => failed = true,
            Ok(Some(ChannelMsg::Close)) => break,
            Ok(Some(_)) => {}
            Ok(None) => {
                ended = true;
                break;
            }
            Err(_) if stdout.is_empty() => {
                return Err(SshError::Timeout {
                    stage: "the question for the login shell",
                    after: PROBE_LIMIT,
                });
            }
            Err(_) => break,
        }
    }

    let _ = write.close().await;
    if ended && !accepted && stdout.is_empty() {
        return Err(connection.lost());
    }

    Ok(Answer {
        stdout,
        failed,
        ended,
    })
}
