//! A second channel beside a command: for the few lines of script that we run for ourselves.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::timeout;

use super::{
    error::SshError,
    pool::{Need, Pool},
};

/// More than this is not an answer of ours, in bytes; the rest is dropped.
const LONGEST_ANSWER: usize = 64 * 1024;

impl Pool {
    /// Runs `command` on a channel of its own, over any of the connections, with `stdin`, and returns what it printed on stdout.
    ///
    /// # Errors
    /// The channel cannot be opened, or the command does not end within `limit`.
    pub(super) async fn ask(
        self: &Arc<Self>,
        command: &str,
        stdin: String,
        limit: Duration,
    ) -> Result<Vec<u8>, SshError> {
        timeout(limit, async {
            let (channel, _place) = self.open_channel(Need::Script).await?;
            let (mut read, write) = channel.split();
            write.exec(false, command).await?;
            let writer = tokio::spawn(async move {
                if !stdin.is_empty() {
                    write.data_bytes(stdin.into_bytes()).await?;
                }
                write.eof().await?;
                Ok::<_, russh::Error>(write)
            });
            let mut answer = Vec::new();
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if answer.len() < LONGEST_ANSWER => answer.extend_from_slice(&data),
                    ChannelMsg::Close => break,
                    _ => {}
                }
            }
            if let Ok(Ok(write)) = writer.await {
                let _ = write.close().await;
            }
            Ok(answer)
        })
        .await
        .map_err(|_| SshError::Timeout { stage: "a short script on the remote host", after: limit })?
    }
}
