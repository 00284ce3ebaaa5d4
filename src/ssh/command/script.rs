//! Runs a script of this program on a channel of its own, and reads the answer.

use std::{sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::remote_host::RemoteHost;
use crate::ssh::{error::SshError, pool::Priority};

/// Last line of a script that a shell reads from stdin. Some servers, such as libssh's example, never
/// tell the shell that stdin has ended.
pub(in crate::ssh) const SCRIPT_END: &[u8] = b"exit\n";

/// First line of a script for a server with single channels. libssh's example drops what a program
/// prints just before its end.
const LINGER: &[u8] = b"trap 'sleep 0.1 2>/dev/null || sleep 1' EXIT\n";

/// Script of this program for the remote host, with the form of the answer.
#[derive(Debug)]
pub(in crate::ssh) struct RemoteScript {
    /// Command line of the program to read the script.
    pub(in crate::ssh) command: String,
    /// Text of the script, which ends with a line end. Empty for a command that reads no script.
    pub(in crate::ssh) stdin: Vec<u8>,
    /// Priority of the channel: only [`Priority::Control`] may take the slot kept for stopping
    /// work.
    pub(in crate::ssh) priority: Priority,
    /// Bytes at the end of the answer. If empty, the answer ends with the channel, and
    /// [`SCRIPT_END`] is added to the script.
    pub(in crate::ssh) answer_end: Vec<u8>,
    /// Longest answer, in bytes; the rest is dropped.
    pub(in crate::ssh) max_answer_bytes: usize,
    /// Time limit, from now to the end of the answer.
    pub(in crate::ssh) limit: Duration,
    /// Receiver of the answer so far, for a caller to whom part of the answer may be enough.
    pub(in crate::ssh) progress: Option<watch::Sender<Vec<u8>>>,
}

impl RemoteHost {
    /// Runs a script over any connection to the host, and returns the script's stdout. If the
    /// caller gives up, the channel is closed: a script that prints now and then ends with it.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, the answer does not end within the limit, or the
    /// connection is lost before.
    pub(in crate::ssh) async fn run_script(
        self: &Arc<Self>,
        script: RemoteScript,
    ) -> Result<Vec<u8>, SshError> {
        let (answer, _) = self.run_script_with_status(script).await?;
        Ok(answer)
    }

    /// Runs a script as [`run_script`](Self::run_script) does, and also returns true if the script
    /// failed. A script fails with a status other than 0 or by a signal.
    pub(in crate::ssh) async fn run_script_with_status(
        self: &Arc<Self>,
        script: RemoteScript,
    ) -> Result<(Vec<u8>, bool), SshError> {
        // A task of its own: if the caller is dropped, the task still closes the channel instead of
        // leaving the script behind.
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        let host = Arc::clone(self);
        tokio::spawn(async move { host.exchange(script, &given_up).await })
            .await
            .map_err(|error| SshError::Lost(Some(error.to_string())))?
    }

    /// Opens the channel, sends the script and reads the answer, until `given_up` is cancelled.
    async fn exchange(
        self: &Arc<Self>,
        script: RemoteScript,
        given_up: &CancellationToken,
    ) -> Result<(Vec<u8>, bool), SshError> {
        let RemoteScript {
            command,
            mut stdin,
            priority,
            answer_end,
            max_answer_bytes,
            limit,
            progress,
        } = script;

        if answer_end.is_empty() && !stdin.is_empty() {
            stdin.extend_from_slice(SCRIPT_END);
            if self.has_single_channels() {
                stdin.splice(..0, LINGER.iter().copied());
            }
        }

        let timed_out = || SshError::Timeout {
            stage: "a script on the remote host",
            after: limit,
        };

        // The limit covers the wait for a channel as well, so a full pool does not make the caller
        // wait longer.
        let deadline = tokio::time::Instant::now() + limit;
        let open = timeout(limit, self.channels.open_channel(priority));
        let (channel, slot) = tokio::select! {
            opened = open => opened.map_err(|_| timed_out())??,
            () = given_up.cancelled() => return Err(SshError::Cancelled),
        };

        let (mut read, write) = channel.split();
        let write = Arc::new(write);
        let granted = slot.connection().early_grant();

        let sent = match priority {
            // Such a script may look for or begin a program for the user, which needs the forwarded
            // agent and the environment (`SendEnv`, `SetEnv`).
            Priority::Work | Priority::Opportunistic => {
                slot.connection().command(&write, command).await
            }
            Priority::Control => write.exec(true, command).await.map_err(SshError::from),
        };

        // Written in a task of its own: a long script must not wait for an answer that nobody
        // reads.
        let writer = tokio::spawn({
            let (write, granted) = (Arc::clone(&write), granted.clone());
            async move {
                granted.wait().await;
                if stdin.is_empty() || write.data_bytes(stdin).await.is_ok() {
                    let _ = write.eof().await;
                }
            }
        });

        let (mut answer, mut failed) = (Vec::new(), false);

        let reading = async {
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if answer.len() < max_answer_bytes => {
                        answer.extend_from_slice(&data);
                        if let Some(progress) = &progress {
                            progress.send_modify(|so_far| so_far.extend_from_slice(&data));
                        }
                        let is_whole =
                            answer.ends_with(&answer_end) || answer.len() >= max_answer_bytes;
                        if !answer_end.is_empty() && is_whole {
                            return Ok(());
                        }
                    }
                    ChannelMsg::Success => granted.set(),
                    ChannelMsg::ExitStatus { exit_status } => failed = exit_status != 0,
                    ChannelMsg::ExitSignal { .. } => failed = true,
                    ChannelMsg::Close => return Ok(()),
                    ChannelMsg::Failure => return Err(SshError::ExecRefused),
                    _ => {}
                }
            }

            Err(slot.connection().lost())
        };

        // `reading` comes to no end where the host stays silent, so the limit and the caller end
        // it.
        let read = tokio::select! {
            read = reading => read,
            () = given_up.cancelled() => Err(SshError::Cancelled),
            () = tokio::time::sleep_until(deadline) => Err(timed_out()),
        };

        // Closed on every path: an open channel would keep its slot on the connection.
        writer.abort();
        let _ = write.close().await;
        sent?;

        read.map(|()| (answer, failed))
    }
}
