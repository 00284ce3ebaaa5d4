//! The SHA-256 of a remote file, computed on the remote host.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    framing::digest::{self, FileFacts, READS_STEPS, READY, REST},
    sftp::{attributes::Attributes, request::Access},
    ssh::{
        command::{granted::granted, remote_host::RemoteHost, script::SCRIPT_END},
        transfer::{RemoteTemp, client::SftpClient, local::sum::Sum},
    },
};

/// Time limit for the start of the shell, counted from the moment of need. The time of the transfer
/// before that comes on top. A server may accept commands and run another program instead, which
/// never answers.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);
/// Time limit for the remote host in addition to the time for reading.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Slowest reading speed that is waited for, in bytes per second.
pub(super) const SLOWEST: u64 = 10_000_000;

/// Upper limit of the shell's output, in bytes. The expected answer is far shorter.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Remote shell for a single script. The shell starts during the transfer, so that only the answer
/// has to be waited for. Dropping the value ends the shell.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct RemoteDigest {
    pub(super) host: Arc<RemoteHost>,
    pub(super) send_script: oneshot::Sender<DigestScript>,
    pub(super) answer: oneshot::Receiver<Vec<u8>>,
    pub(super) stop: DropGuard,
}

impl RemoteDigest {
    /// Starts a shell if a connection has room for another channel, and no earlier shell was
    /// refused. Otherwise no digest is computed.
    pub(in crate::ssh::transfer) fn start(host: &Arc<RemoteHost>) -> Self {
        let stop = CancellationToken::new();
        let ((send_script, script), (give, answer)) = (oneshot::channel(), oneshot::channel());

        let started = Self {
            host: Arc::clone(host),
            send_script,
            answer,
            stop: stop.clone().drop_guard(),
        };

        let host = Arc::clone(host);
        tokio::spawn(async move {
            if host.has_no_shell.load(Ordering::Relaxed) {
                return;
            }

            // Only with room to spare: a comparison must not delay the user's commands.
            let Some((channel, slot)) = host.channels.opportunistic_channel().await else {
                return;
            };
            let (mut read, write) = channel.split();

            // The server's refusal is remembered for all transfers, since each try would cost round
            // trips.
            tokio::select! {
                answer = run_script(&mut read, &write, script) => match answer {
                    Ok(answer) => drop(give.send(answer)),
                    Err(NoDigest::Refused) => host.has_no_shell.store(true, Ordering::Relaxed),
                    Err(NoDigest::Other) => {}
                },
                () = stop.cancelled() => {}
            }

            // The slot is released after the close, so that the server never sees one channel too
            // many.
            let _ = write.close().await;
            drop(slot);
        });

        started
    }

    /// Computes the digest of the first `length` bytes of a file. Returns `None` if the remote host
    /// cannot.
    pub(in crate::ssh::transfer) async fn compute(
        self,
        path: &[u8],
        length: u64,
    ) -> Option<RemoteSum> {
        let host = Arc::clone(&self.host);
        let limit = PATIENCE + Duration::from_secs(length / SLOWEST);
        let sha256 = digest::parse(&self.answer(digest::script(path, length), limit).await?)?;

        Some(RemoteSum {
            host,
            path: path.to_owned(),
            sha256,
        })
    }

    /// Sends the script and waits for the output. Returns `None` after the time limit, or without a
    /// shell.
    async fn answer(self, script: String, limit: Duration) -> Option<Vec<u8>> {
        let (text, steps) = (script, None);
        self.send_script.send(DigestScript { text, steps }).ok()?;
        timeout(limit, self.answer).await.ok()?.ok()
    }
}

/// Script for a [`RemoteDigest`].
#[derive(Debug)]
pub(super) struct DigestScript {
    pub(super) text: String,
    /// Lines for a script that reads some while it runs.
    pub(super) steps: Option<Steps>,
}

/// Lines for a script that reads some while it runs.
#[derive(Debug)]
pub(super) struct Steps {
    /// Receiver of the lines. The script ends with the last of them.
    pub(super) lines: mpsc::UnboundedReceiver<&'static [u8]>,
    /// Cancelled once the answer is waited for.
    pub(super) is_needed: CancellationToken,
}

/// Digest of a file as computed by the remote host.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct RemoteSum {
    pub(super) host: Arc<RemoteHost>,
    pub(super) path: Vec<u8>,
    pub(super) sha256: [u8; 32],
}

/// Result of comparing the content of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh::transfer) enum Comparison {
    /// Both sides have the same SHA-256.
    Equal,
    /// The sides have different content.
    Different,
    /// Nothing can be concluded, because the remote host may have read another file. The shell may
    /// have another root directory than SFTP, as on NAS systems.
    Unknown,
}

impl RemoteSum {
    /// Compares the digests of both sides. With `is_same_file`, the shell is known to have read the
    /// same file as SFTP, such as by a random name in the path.
    pub(in crate::ssh::transfer) async fn compare(
        self,
        client: &SftpClient,
        local: &Sum,
        length: u64,
        is_same_file: bool,
    ) -> Comparison {
        // Different digests are an error only if both were computed over the same file.
        match local.up_to(length) {
            Some(sha256) if sha256 == self.sha256 => Comparison::Equal,
            Some(_) if is_same_file || self.is_seen_alike(client).await => Comparison::Different,
            Some(_) | None => Comparison::Unknown,
        }
    }

    /// Returns true if SFTP and the shell see the same file, the same root directory, and the same
    /// directory around the file.
    async fn is_seen_alike(&self, client: &SftpClient) -> bool {
        let Some([file, root]) = self.look(&self.path).await else {
            return false;
        };
        let (file_there, root_there) = tokio::join!(client.stat(&self.path), client.stat(b"/"));
        let alike = |facts: FileFacts, there: Attributes| {
            there.owner == Some(facts.owner)
                && there.permissions == Some(facts.mode)
                && there.modified().map(u64::from) == Some(facts.modified)
        };

        // Owner, mode and time distinguish two root directories of the same layout.
        let same = file_there
            .is_ok_and(|there| there.size == Some(file.size) && alike(file, there))
            && root_there.is_ok_and(|there| alike(root, there));
        same && self.is_directory_seen(client).await
    }

    /// Returns true if the shell sees a new file in the directory of this file. Also returns true
    /// if no file can be created there.
    async fn is_directory_seen(&self, client: &SftpClient) -> bool {
        let Ok(RemoteTemp {
            temporary: probe, ..
        }) = RemoteTemp::next_to(&self.path)
        else {
            return true;
        };

        let Ok(handle) = client
            .open_file(&probe, Access::Create, Attributes::mode(0o600))
            .await
        else {
            return true;
        };

        // Closed before it is removed, since some servers do not remove an open file.
        client.close_read(&handle).await;
        let is_seen = self.look(&probe).await.is_some();
        let _ = client.remove(&probe).await;

        is_seen
    }

    /// Returns the facts which a shell sees of a path and of the root directory.
    async fn look(&self, path: &[u8]) -> Option<[FileFacts; 2]> {
        let answer = RemoteDigest::start(&self.host)
            .answer(digest::looks(path), PATIENCE)
            .await?;
        digest::parse_looks(&answer)
    }
}

/// Reason for a missing answer.
enum NoDigest {
    /// The server refuses to start a shell.
    Refused,
    /// The caller gave up, or the answer does not arrive.
    Other,
}

/// Starts a shell, sends the script as soon as both are ready, and collects the output.
async fn run_script(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    mut script: oneshot::Receiver<DigestScript>,
) -> Result<Vec<u8>, NoDigest> {
    let lost = |_| NoDigest::Other;
    write.exec(true, "exec /bin/sh").await.map_err(lost)?;

    // ProFTPD ends the connection when anything is written to a command that it has refused.
    timeout(BEGINS_WITHIN, granted(read))
        .await
        .map_err(|_| NoDigest::Other)?
        .map_err(|_| NoDigest::Refused)?;

    write
        .data_bytes(digest::BEGIN.as_bytes().to_vec())
        .await
        .map_err(lost)?;

    let mut answer = Vec::new();

    // The channel is read while the file is still moving: an unread channel blocks its connection.
    let script = loop {
        tokio::select! {
            script = &mut script => break script.map_err(|_| NoDigest::Other)?,
            message = read.wait() => append_output(message, &mut answer)?,
        }
    };

    // The script is sent only to a program which has echoed the marker, and so is a shell.
    let DigestScript { text, steps } = script;

    let is_needed = async {
        if let Some(steps) = &steps {
            steps.is_needed.cancelled().await;
        }
    };
    wait_for(READY, read, &mut answer, is_needed).await?;

    if let Some(Steps { lines, is_needed }) = steps {
        write.data_bytes(text.into_bytes()).await.map_err(lost)?;
        let read_steps = async {
            wait_for(READS_STEPS, read, &mut answer, is_needed.cancelled()).await?;
            send_steps(read, write, lines, &mut answer).await
        };

        // A shell without the programs ends early. It is a shell all the same.
        read_steps.await.map_err(|_| NoDigest::Other)?;
    } else {
        write
            .data_bytes([text.as_bytes(), SCRIPT_END].concat())
            .await
            .map_err(lost)?;
    }

    write.eof().await.map_err(lost)?;

    loop {
        match read.wait().await {
            None | Some(ChannelMsg::Close) => return Ok(answer),
            message => append_output(message, &mut answer)?,
        }
    }
}

/// Reads up to a marker in the output, which a shell prints at once. The time is limited from the
/// end of `is_needed` on: the content of the file may be on the line before.
async fn wait_for(
    marker: &[u8],
    read: &mut ChannelReadHalf,
    answer: &mut Vec<u8>,
    is_needed: impl Future<Output = ()>,
) -> Result<(), NoDigest> {
    let printed = async {
        while !answer.windows(marker.len()).any(|part| part == marker) {
            append_output(read.wait().await, answer)?;
        }
        Ok(())
    };

    tokio::select! {
        printed = printed => printed,
        () = async { is_needed.await; sleep(BEGINS_WITHIN).await } => Err(NoDigest::Other),
    }
}

/// Sends the steps of a growing file up to the last one, and reads the channel meanwhile.
async fn send_steps(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    mut lines: mpsc::UnboundedReceiver<&'static [u8]>,
    answer: &mut Vec<u8>,
) -> Result<(), NoDigest> {
    loop {
        tokio::select! {
            line = lines.recv() => {
                let line = line.ok_or(NoDigest::Other)?;
                let sent = write.data_bytes(line.to_vec()).await;
                sent.map_err(|_| NoDigest::Other)?;
                if line == REST {
                    return Ok(());
                }
            }
            message = read.wait() => append_output(message, answer)?,
        }
    }
}

/// Appends the output in a message. Returns an error if the shell has ended.
fn append_output(message: Option<ChannelMsg>, answer: &mut Vec<u8>) -> Result<(), NoDigest> {
    match message {
        Some(ChannelMsg::Data { data }) if answer.len() < MAX_ANSWER_BYTES => {
            answer.extend_from_slice(&data);
        }
        Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return Err(NoDigest::Refused),
        _ => {}
    }

    Ok(())
}
