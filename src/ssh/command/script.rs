//! A script of ours on a channel of its own, and its answer.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ssh::{
    error::SshError,
    pool::{Pool, Priority},
};

/// A script of ours, and the answer that is expected.
#[derive(Debug)]
pub(in crate::ssh) struct RemoteScript {
    /// The command that reads the script.
    pub(in crate::ssh) command: String,
    /// The script.
    pub(in crate::ssh) stdin: Vec<u8>,
    /// Whether it may take the place that is kept for stopping work.
    pub(in crate::ssh) need: Priority,
    /// With what the answer ends, unless it grows too long; where that is nothing, with the channel.
    pub(in crate::ssh) end: Vec<u8>,
    /// The most bytes of an answer; the rest is dropped.
    pub(in crate::ssh) longest: usize,
    /// How long it may take, from now to the end of the answer.
    pub(in crate::ssh) limit: Duration,
}

impl Pool {
    /// Puts a question, over any of the connections, and returns what is printed on stdout. Where the caller gives up, the
    /// channel is closed: a script that prints now and then ends with it.
    ///
    /// # Errors
    /// The channel cannot be opened, the answer does not end within the limit, or the connection is lost before.
    pub(in crate::ssh) async fn run_script(
        self: &Arc<Self>,
        question: RemoteScript,
    ) -> Result<Vec<u8>, SshError> {
        self.put_and_see(question).await.map(|(answer, _)| answer)
    }

    /// The same, and whether what answered has failed: with a status that is not 0, or by a signal.
    pub(in crate::ssh) async fn put_and_see(
        self: &Arc<Self>,
        question: RemoteScript,
    ) -> Result<(Vec<u8>, bool), SshError> {
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        let pool = Arc::clone(self);
        let asking = tokio::spawn(async move { pool.converse(question, &given_up).await });
        asking
            .await
            .map_err(|error| SshError::Lost(Some(error.to_string())))?
    }

    async fn converse(
        self: &Arc<Self>,
        question: RemoteScript,
        given_up: &CancellationToken,
    ) -> Result<(Vec<u8>, bool), SshError> {
        let RemoteScript {
            command,
            stdin,
            need,
            end,
            longest,
            limit,
        } = question;

        let late = || SshError::Timeout {
            stage: "a script on the remote host",
            after: limit,
        };

        let deadline = tokio::time::Instant::now() + limit;
        let open = timeout(limit, self.open_channel(need));
        let (channel, slot) = tokio::select! {
            opened = open => opened.map_err(|_| late())??,
            () = given_up.cancelled() => return Err(SshError::Cancelled),
        };

        let (mut read, write) = channel.split();
        let write = Arc::new(write);

        let begun = match need {
            // It may look for, or begin, what the environment has a say in.
            Priority::Work | Priority::Opportunistic => {
                slot.connection().command(&write, command).await
            }
            Priority::Control => write.exec(true, command).await.map_err(SshError::from),
        };

        let writer = tokio::spawn({
            let write = Arc::clone(&write);
            async move {
                if stdin.is_empty() || write.data_bytes(stdin).await.is_ok() {
                    let _ = write.eof().await;
                }
            }
        });

        let (mut answer, mut failed) = (Vec::new(), false);

        let reading = async {
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if answer.len() < longest => {
                        answer.extend_from_slice(&data);
                        let is_whole = answer.ends_with(&end) || answer.len() >= longest;
                        if !end.is_empty() && is_whole {
                            return Ok(());
                        }
                    }
                    ChannelMsg::ExitStatus { exit_status } => failed = exit_status != 0,
                    ChannelMsg::ExitSignal { .. } => failed = true,
                    ChannelMsg::Close => return Ok(()),
                    ChannelMsg::Failure => return Err(SshError::ExecRefused),
                    _ => {}
                }
            }

            Err(slot.connection().lost())
        };

        let read = tokio::select! {
            read = reading => read,
            () = given_up.cancelled() => Err(SshError::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(late()),
        };

        writer.abort();
        let _ = write.close().await;
        begun?;

        read.map(|()| (answer, failed))
    }
}
