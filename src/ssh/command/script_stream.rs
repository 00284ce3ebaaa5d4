//! Runs a script of this program whose output is taken as it arrives.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use russh::ChannelMsg;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::remote_host::RemoteHost;
use crate::ssh::{error::SshError, pool::Priority};

/// Number of the stream of stderr in extended data (RFC 4254 section 5.2).
const STDERR: u32 = 1;

/// Script whose output is taken as it arrives. Its stdin stays open, and ends with the channel.
#[derive(Debug)]
pub(in crate::ssh) struct ScriptStream {
    /// Command line of the program to read the script.
    pub(in crate::ssh) command: String,
    /// Text of the script.
    pub(in crate::ssh) stdin: Vec<u8>,
    /// Time limit for the first output.
    pub(in crate::ssh) begins_within: Duration,
    /// Time limit of the whole script, from now on.
    pub(in crate::ssh) limit: Duration,
}

/// Part of the output of a script.
#[derive(Debug, Clone, Copy)]
pub(in crate::ssh) enum ScriptOutput<'a> {
    /// Bytes of stdout.
    Stdout(&'a [u8]),
    /// Bytes of stderr.
    Stderr(&'a [u8]),
}

/// End of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum StreamEnd {
    /// The script has ended.
    Ended,
    /// The time limit was reached.
    TimedOut,
    /// Nothing was printed in time.
    Silent,
    /// The receiver wanted no more.
    Enough,
}

impl RemoteHost {
    /// Runs a script over any connection to the host, and passes the output to `take`, which may
    /// end the script. Returns `state` and the reason of the end. The channel is closed when the
    /// script is to end or the caller gives up.
    ///
    /// # Errors
    /// Fails if the channel cannot be opened, the server refuses the script, or the connection is
    /// lost.
    pub(in crate::ssh) async fn stream_script<S: Send + 'static>(
        self: &Arc<Self>,
        script: ScriptStream,
        state: S,
        take: fn(&mut S, ScriptOutput<'_>) -> ControlFlow<()>,
    ) -> Result<(S, StreamEnd), SshError> {
        // A task of its own: it always reads the channel, and closes it for a caller who is gone.
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        let host = Arc::clone(self);
        tokio::spawn(async move { host.stream(script, state, take, &given_up).await })
            .await
            .map_err(|error| SshError::Lost(Some(error.to_string())))?
    }

    async fn stream<S>(
        self: &Arc<Self>,
        script: ScriptStream,
        mut state: S,
        take: fn(&mut S, ScriptOutput<'_>) -> ControlFlow<()>,
        given_up: &CancellationToken,
    ) -> Result<(S, StreamEnd), SshError> {
        let started = Instant::now();
        let deadline = started + script.limit;
        let open = timeout_at(deadline, self.channels.open_channel(Priority::Work));
        let (channel, slot) = tokio::select! {
            opened = open => match opened {
                Ok(opened) => opened?,
                Err(_) => return Ok((state, StreamEnd::Silent)),
            },
            () = given_up.cancelled() => return Err(SshError::Cancelled),
        };

        let (mut read, write) = channel.split();
        let write = Arc::new(write);
        let granted = slot.connection().early_grant();
        let sent = slot.connection().command(&write, script.command).await;
        // A task of its own: a long script must not wait for output that nobody reads.
        let writer = tokio::spawn({
            let (write, granted) = (Arc::clone(&write), granted.clone());
            async move {
                granted.wait().await;
                let _ = write.data_bytes(script.stdin).await;
            }
        });

        let mut has_begun = false;
        let end = loop {
            let due = if has_begun {
                deadline
            } else {
                deadline.min(started + script.begins_within)
            };
            let message = tokio::select! {
                message = read.wait() => message,
                () = given_up.cancelled() => break Err(SshError::Cancelled),
                () = sleep_until(due) => {
                    break Ok(if has_begun { StreamEnd::TimedOut } else { StreamEnd::Silent });
                }
            };

            let output = match &message {
                Some(ChannelMsg::Data { data }) => ScriptOutput::Stdout(data),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) => ScriptOutput::Stderr(data),
                Some(ChannelMsg::Success) => {
                    granted.set();
                    continue;
                }
                Some(ChannelMsg::Close) => break Ok(StreamEnd::Ended),
                Some(ChannelMsg::Failure) => break Err(SshError::ExecRefused),
                Some(_) => continue,
                None => break Err(slot.connection().lost()),
            };
            has_begun |= matches!(output, ScriptOutput::Stdout(_));
            if take(&mut state, output).is_break() {
                break Ok(StreamEnd::Enough);
            }
        };

        // Closed on every path: the script ends with the channel.
        writer.abort();
        let _ = write.close().await;
        sent?;

        end.map(|end| (state, end))
    }
}
