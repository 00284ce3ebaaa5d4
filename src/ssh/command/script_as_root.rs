//! Short scripts of this program on a second channel next to a running command.

use std::{sync::Arc, time::Duration};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    exec::{
        random_sentinel,
        sudo::{MAX_SUDO_EVENTS, SudoExchange},
    },
    exit_status::ExitStatus,
    remote_host::RemoteHost,
    script::{RemoteScript, SCRIPT_END},
    sudo::{SudoReply, SudoResponder, SudoRights, SudoSources},
};
use crate::{
    framing::sudo::{SudoEvent, SudoListener, root_shell, shell_as, shell_without_password},
    ssh::{
        connect::connection::Connection, error::SshError, pool::Priority, prompt::as_root::AsRoot,
    },
};

/// Longest answer of a short script, in bytes; the rest is dropped.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Name of this stage in the error for a timeout.
const STAGE: &str = "a short script on the remote host";

/// Script of this program that runs as root, with the form of the answer.
#[derive(Debug)]
pub(in crate::ssh) struct RootScript {
    /// Text of the script, in the language of `/bin/sh`.
    pub(in crate::ssh) stdin: Vec<u8>,
    /// Description for the user who is asked for sudo's password.
    pub(in crate::ssh) shown: AsRoot,
    /// Longest answer, in bytes; the rest is dropped.
    pub(in crate::ssh) max_answer_bytes: usize,
    /// Time limit of the script, from now on. The limit stands still while the user is asked.
    pub(in crate::ssh) limit: Duration,
}

/// End of the channel of a [`RootScript`].
struct RootEnd {
    answer: Vec<u8>,
    /// Exit status; `None` if sudo got no answer and did not end.
    status: Option<ExitStatus>,
    listener: SudoListener,
}

impl RemoteHost {
    /// Runs a script as root with the whole conversation with sudo, as for a command of the agent,
    /// and returns the script's stdout. The script is sent only when sudo has run the root shell,
    /// so sudo cannot take the script for a password, nor the shell a password for the script. If
    /// the caller gives up, the channel is closed.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, sudo refuses, the script does not end within the
    /// limit, or the connection is lost before.
    pub(in crate::ssh) async fn run_as_root(
        self: &Arc<Self>,
        script: RootScript,
        sources: SudoSources,
    ) -> Result<Vec<u8>, SshError> {
        // A task of its own: if the caller is dropped, the task still closes the channel.
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        let host = Arc::clone(self);
        tokio::spawn(async move { host.exchange_as_root(script, sources, &given_up).await })
            .await
            .map_err(|error| SshError::Lost(Some(error.to_string())))?
    }

    async fn exchange_as_root(
        self: &Arc<Self>,
        script: RootScript,
        sources: SudoSources,
        given_up: &CancellationToken,
    ) -> Result<Vec<u8>, SshError> {
        let RootScript {
            mut stdin,
            shown,
            max_answer_bytes,
            limit,
        } = script;
        stdin.extend_from_slice(SCRIPT_END);

        let timed_out = || SshError::Timeout {
            stage: STAGE,
            after: limit,
        };

        let mark = random_sentinel()?;
        let pause = sources.prompter.pause().clone();
        let open = timeout(limit, self.channels.open_channel(Priority::Work));
        let (channel, slot) = tokio::select! {
            opened = open => opened.map_err(|_| timed_out())??,
            () = given_up.cancelled() => return Err(SshError::Cancelled),
        };

        let (mut read, write) = channel.split();
        let write = Arc::new(write);
        let (exchange, state) = SudoExchange::new(self, &slot, shown, sources);
        let (send_event, mut events) = mpsc::channel(MAX_SUDO_EVENTS);
        let connection = slot.connection();
        let sent = connection.command(&write, root_shell(&mark)).await;

        // A task of its own: the channel is read while the user is asked, and while a long script
        // waits for the window to grow.
        let writer = tokio::spawn({
            let write = Arc::clone(&write);
            async move {
                if exchange.run(&mut events, &write, false).await
                    && write.data_bytes(stdin).await.is_ok()
                {
                    let _ = write.eof().await;
                }
            }
        });

        let mut end = RootEnd {
            answer: Vec::new(),
            status: None,
            listener: SudoListener::of_root_shell(&mark),
        };
        let read = tokio::select! {
            read = end.read(&mut read, connection, &send_event, max_answer_bytes) => read,
            () = state.outlives_no_answer() => Ok(()),
            () = given_up.cancelled() => Err(SshError::Cancelled),
            () = pause.sleep(limit) => Err(timed_out()),
        };

        // Closed on every path: an open channel would keep its slot on the connection.
        writer.abort();
        let _ = write.close().await;
        sent?;
        read?;

        let Some(said) = end.listener.finish(&mut Vec::new()) else {
            return Ok(end.answer);
        };
        match state.refusal(false, end.status.as_ref()) {
            Some(refusal) => Err(SshError::Sudo { refusal, said }),
            None => Err(connection.lost()),
        }
    }

    /// Runs `command` with `stdin` on a new channel over any connection, and returns the command's
    /// stdout.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, or the command does not end within `limit`.
    pub(in crate::ssh) async fn run_helper(
        self: &Arc<Self>,
        command: &str,
        stdin: String,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        self.run_script(helper_script(command, stdin, limit)).await
    }

    /// Runs `command` without stdin, and also returns true if the command failed. `progress` gets
    /// the answer so far.
    pub(in crate::ssh) async fn probe(
        self: &Arc<Self>,
        command: &str,
        limit: Duration,
        progress: Option<watch::Sender<Vec<u8>>>,
    ) -> Result<(Vec<u8>, bool), SshError> {
        self.run_script_with_status(RemoteScript {
            progress,
            ..helper_script(command, String::new(), limit)
        })
        .await
    }

    /// Runs a `sh` script: through sudo with these rights, or as the user of the log-in without any.
    ///
    /// # Errors
    /// See [`run_helper`](Self::run_helper) and [`run_helper_as`](Self::run_helper_as).
    pub(in crate::ssh) async fn run_helper_of(
        self: &Arc<Self>,
        rights: Option<&SudoRights>,
        script: String,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        match rights {
            Some(rights) => self.run_helper_as(rights, script, limit, false).await,
            None => self.run_helper("exec /bin/sh", script, limit).await,
        }
    }

    /// Runs a `sh` script through sudo with these rights. The password is sent only if sudo asks, and
    /// only once. With `hurry` the script follows the password at once, so that it arrives even if
    /// nobody waits for the answer.
    ///
    /// # Errors
    /// See [`run_helper`](Self::run_helper). If sudo refuses, the answer is empty.
    pub(in crate::ssh) async fn run_helper_as(
        self: &Arc<Self>,
        rights: &SudoRights,
        script: String,
        limit: Duration,
        hurry: bool,
    ) -> Result<Vec<u8>, SshError> {
        let SudoRights { user, password } = rights;
        let Some(password) = password else {
            let command = shell_without_password(user.as_ref());
            return self.run_helper(&command, script, limit).await;
        };

        // Control priority, because this script may be the one that stops the work that takes all
        // channels.
        timeout(limit, async {
            let mark = random_sentinel()?;
            let (channel, _slot) = self.channels.open_channel(Priority::Control).await?;
            let (mut read, write) = channel.split();
            let command = match user {
                Some(user) => shell_as(user, &mark, "exec /bin/sh"),
                None => root_shell(&mark),
            };
            write.exec(true, command).await?;

            let mut listener = SudoListener::of_root_shell(&mark);
            let mut responder = SudoResponder::with_password(password.clone());
            let (mut answer, mut script) = (Vec::new(), Some(script));

            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if answer.len() < MAX_ANSWER_BYTES => {
                        answer.extend_from_slice(&data);
                    }
                    ChannelMsg::ExtendedData { data, .. } => {
                        for event in listener.push(&data, &mut Vec::new()) {
                            if let Some(reply) = responder.reply(event).await {
                                send_to_root(&write, &reply, &mut script, hurry).await?;
                            }
                        }
                    }
                    ChannelMsg::Close | ChannelMsg::Failure => break,
                    _ => {}
                }
            }

            let _ = write.close().await;

            Ok(answer)
        })
        .await
        .map_err(|_| SshError::Timeout {
            stage: STAGE,
            after: limit,
        })?
    }
}

impl RootEnd {
    /// Reads the channel to its end, and passes sudo's prompts on.
    ///
    /// # Errors
    /// Fails if the server runs no commands, or the connection is lost.
    async fn read(
        &mut self,
        read: &mut ChannelReadHalf,
        connection: &Connection,
        events: &mpsc::Sender<SudoEvent>,
        max_answer_bytes: usize,
    ) -> Result<(), SshError> {
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } if self.answer.len() < max_answer_bytes => {
                    self.answer.extend_from_slice(&data);
                }
                ChannelMsg::ExtendedData { data, .. } => {
                    for event in self.listener.push(&data, &mut Vec::new()) {
                        // Only a sudo that asks without end leaves no room.
                        let _ = events.try_send(event);
                    }
                }
                ChannelMsg::ExitStatus { exit_status } => {
                    self.status = Some(ExitStatus::Code(exit_status));
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    self.status = Some(ExitStatus::from_signal(&signal_name));
                }
                ChannelMsg::Close => {
                    self.status.get_or_insert(ExitStatus::Unreported);
                    return Ok(());
                }
                ChannelMsg::Failure => return Err(SshError::ExecRefused),
                _ => {}
            }
        }

        Err(connection.lost())
    }
}

/// Writes a reply to sudo, and the script once sudo has run the root shell. With `hurry`, the script
/// follows the password at once, so that it arrives even if nobody waits for the answer.
async fn send_to_root(
    write: &ChannelWriteHalf<Msg>,
    reply: &SudoReply,
    script: &mut Option<String>,
    hurry: bool,
) -> Result<(), russh::Error> {
    // Password and script fit into any window, so writing does not wait for reading.
    if let SudoReply::Password(password) = reply {
        write.data_bytes(password.line(b'\n')).await?;
    }

    // Before sudo has run the shell, sudo itself would read the script as another password.
    if matches!(reply, SudoReply::Password(_)) && !hurry {
        return Ok(());
    }

    let Some(script) = script.take() else {
        return Ok(());
    };
    if *reply != SudoReply::NoAnswer {
        write
            .data_bytes([script.as_bytes(), SCRIPT_END].concat())
            .await?;
    }

    // Without an answer, end of file makes sudo give up.
    write.eof().await
}

/// Describes a script with control priority and a short answer.
fn helper_script(command: &str, stdin: String, limit: Duration) -> RemoteScript {
    RemoteScript {
        command: command.to_owned(),
        stdin: stdin.into_bytes(),
        priority: Priority::Control,
        answer_end: Vec::new(),
        max_answer_bytes: MAX_ANSWER_BYTES,
        limit,
        progress: None,
    }
}
