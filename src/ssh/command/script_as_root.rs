//! A second channel beside a command: for the few lines of script that we run for ourselves.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::timeout;

use super::{exec::random_sentinel, script::RemoteScript, sudo};
use crate::{
    framing::sudo::{SudoEvent, SudoListener, root_shell},
    password::Password,
    ssh::{
        error::SshError,
        pool::{Pool, Priority},
    },
};

/// More than this is not an answer of ours, in bytes; the rest is dropped.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// What it is called where it takes too long.
const STAGE: &str = "a short script on the remote host";

impl Pool {
    /// Runs `command` on a channel of its own, over any of the connections, with `stdin`, and returns what it printed on stdout.
    ///
    /// # Errors
    /// The channel cannot be opened, or the command does not end within `limit`.
    pub(in crate::ssh) async fn ask(
        self: &Arc<Self>,
        command: &str,
        stdin: String,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        self.run_script(short(command, stdin, limit)).await
    }

    /// The same without stdin, and whether the command failed.
    pub(in crate::ssh) async fn ask_and_see(
        self: &Arc<Self>,
        command: &str,
        limit: Duration,
    ) -> Result<(Vec<u8>, bool), SshError> {
        self.put_and_see(short(command, String::new(), limit)).await
    }

    /// Runs a script of `sh` as root in the same way, with the password that sudo took for another command; `None` if it
    /// wanted none. It is sent only where sudo asks for one, and not a second time. In a hurry the script follows it at
    /// once, so that it arrives even if nobody waits for what comes of it.
    ///
    /// # Errors
    /// As [`ask`](Self::ask). Where sudo does not let it run, the answer is empty.
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

        timeout(limit, async {
            let mark = random_sentinel()?;
            let (channel, _place) = self.open_channel(Priority::Control).await?;
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

                            // All of it fits into any window, so that writing does not wait for reading.
                            if prompts && !again {
                                write.data_bytes(sudo::line(password)).await?;
                            }

                            if !again
                                && (!prompts || hurry)
                                && let Some(script) = script.take()
                            {
                                write.data_bytes(script.into_bytes()).await?;
                            }

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
