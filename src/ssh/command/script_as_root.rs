//! Short scripts of this program on a second channel next to a running command.

use std::{sync::Arc, time::Duration};

use russh::{ChannelMsg, ChannelWriteHalf, client::Msg};
use tokio::{sync::watch, time::timeout};

use super::{
    exec::random_sentinel,
    remote_host::RemoteHost,
    script::RemoteScript,
    sudo::{SudoReply, SudoResponder},
};
use crate::{
    framing::sudo::{SudoListener, root_shell},
    password::Password,
    ssh::{error::SshError, pool::Priority},
};

/// Longest answer of a short script, in bytes; the rest is dropped.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Name of this stage in the error for a timeout.
const STAGE: &str = "a short script on the remote host";

impl RemoteHost {
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

    /// Runs a `sh` script as root, with the password accepted by sudo for another command. `None`
    /// means that sudo wanted no password. The password is sent only if sudo asks, and only once.
    /// With `hurry` the script follows the password at once, so that it arrives even if nobody
    /// waits for the answer.
    ///
    /// # Errors
    /// See [`run_helper`](Self::run_helper). If sudo refuses, the answer is empty.
    pub(in crate::ssh) async fn run_helper_as_root(
        self: &Arc<Self>,
        password: Option<&Password>,
        script: String,
        limit: Duration,
        hurry: bool,
    ) -> Result<Vec<u8>, SshError> {
        let Some(password) = password else {
            return self
                .run_helper("exec sudo -n -- /bin/sh", script, limit)
                .await;
        };

        // Control priority, because this script may be the one that stops the work that takes all
        // channels.
        timeout(limit, async {
            let mark = random_sentinel()?;
            let (channel, _slot) = self.channels.open_channel(Priority::Control).await?;
            let (mut read, write) = channel.split();
            write.exec(true, root_shell(&mark)).await?;

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
        write.data_bytes(script.into_bytes()).await?;
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
