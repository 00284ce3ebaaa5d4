//! Short scripts of this program on a second channel next to a running command.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::timeout;

use super::{exec::random_sentinel, remote_host::RemoteHost, script::RemoteScript, sudo};
use crate::{
    framing::sudo::{SudoEvent, SudoListener, root_shell},
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
    pub(in crate::ssh) async fn ask(
        self: &Arc<Self>,
        command: &str,
        stdin: String,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        self.run_script(short(command, stdin, limit)).await
    }

    /// Runs `command` without stdin, and also returns true if the command failed.
    pub(in crate::ssh) async fn ask_and_see(
        self: &Arc<Self>,
        command: &str,
        limit: Duration,
    ) -> Result<(Vec<u8>, bool), SshError> {
        self.put_and_see(short(command, String::new(), limit)).await
    }

    /// Runs a `sh` script as root, with the password accepted by sudo for another command. `None`
    /// means that sudo wanted no password. The password is sent only if sudo asks, and only once.
    /// With `hurry` the script follows the password at once, so that it arrives even if nobody
    /// waits for the answer.
    ///
    /// # Errors
    /// See [`ask`](Self::ask). If sudo refuses, the answer is empty.
    pub(in crate::ssh) async fn ask_as_root(
        self: &Arc<Self>,
        password: Option<&Password>,
        script: String,
        limit: Duration,
        hurry: bool,
    ) -> Result<Vec<u8>, SshError> {
        let Some(password) = password else {
            return self.ask("exec sudo -n -- /bin/sh", script, limit).await;
        };

        // Control priority, because this script may be the one that stops the work that takes all
        // channels.
        timeout(limit, async {
            let mark = random_sentinel()?;
            let (channel, _place) = self.channels.open_channel(Priority::Control).await?;
            let (mut read, write) = channel.split();
            write.exec(true, root_shell(&mark)).await?;
            let mut listener = SudoListener::of_root_shell(&mark);
            let (mut answer, mut script, mut asked) = (Vec::new(), Some(script), false);

            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if answer.len() < MAX_ANSWER_BYTES => {
                        answer.extend_from_slice(&data);
                    }
                    ChannelMsg::ExtendedData { data, .. } => {
                        for events in listener.push(&data, &mut Vec::new()) {
                            let prompts = matches!(events, SudoEvent::Prompt { .. });
                            let again = prompts && std::mem::replace(&mut asked, true);

                            // Password and script fit into any window, so writing does not wait for
                            // reading.
                            if prompts && !again {
                                write.data_bytes(sudo::line(password)).await?;
                            }

                            // Before sudo is through, sudo itself would read the script as another
                            // password.
                            if !again
                                && (!prompts || hurry)
                                && let Some(script) = script.take()
                            {
                                write.data_bytes(script.into_bytes()).await?;
                            }

                            // A second prompt means that the password was wrong: end of file makes
                            // sudo give up.
                            if again || script.is_none() {
                                write.eof().await?;
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

/// Describes a script with control priority and a short answer.
fn short(command: &str, stdin: String, limit: Duration) -> RemoteScript {
    RemoteScript {
        command: command.to_owned(),
        stdin: stdin.into_bytes(),
        need: Priority::Control,
        end: Vec::new(),
        longest: MAX_ANSWER_BYTES,
        limit,
    }
}
