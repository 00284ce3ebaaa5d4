//! The SHA-256 of a remote file, computed over there.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    framing::digest::{self, FileFacts, READY},
    sftp::{attributes::Attributes, request::Access},
    ssh::{
        pool::Pool,
        transfer::{RemoteTemp, client::SftpClient, local::io_threads::Sum},
    },
};

/// How long the shell may take to begin once it is needed: what it has had while the file was moved comes on top. A server
/// may accept commands and run another program in their place, which never does what it is told.
const BEGINS_WITHIN: Duration = Duration::from_secs(3);
/// How long the remote host may take besides the reading.
const PATIENCE: Duration = Duration::from_secs(30);
/// The slowest reading that is waited for, in bytes a second.
const SLOWEST: u64 = 10_000_000;

/// More than this, in bytes, is no answer of ours.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A shell on the remote host that is asked one thing. It starts while the file is moved, so that only the answer has to be
/// waited for, and ends when this is dropped.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct RemoteDigest {
    pool: Arc<Pool>,
    ask: oneshot::Sender<String>,
    answer: oneshot::Receiver<Vec<u8>>,
    _stop: DropGuard,
}

impl RemoteDigest {
    /// Starts it, where the connection has room for one more channel and has not shown that there is no shell.
    pub(in crate::ssh::transfer) fn start(pool: &Arc<Pool>) -> Self {
        let (spare, stop) = (Arc::clone(pool), CancellationToken::new());
        let ((ask, asked), (give, answer)) = (oneshot::channel(), oneshot::channel());
        let stopped = stop.clone();

        tokio::spawn(async move {
            if spare.has_no_shell.load(Ordering::Relaxed) {
                return;
            }

            let Some((channel, place)) = spare.opportunistic_channel().await else {
                return;
            };
            let (mut read, write) = channel.split();

            tokio::select! {
                answer = converse(&mut read, &write, asked) => match answer {
                    Ok(answer) => drop(give.send(answer)),
                    Err(NoDigest::Refused) => spare.has_no_shell.store(true, Ordering::Relaxed),
                    Err(NoDigest::Other) => {}
                },
                () = stopped.cancelled() => {}
            }

            let _ = write.close().await;
            drop(place);
        });

        Self {
            pool: Arc::clone(pool),
            ask,
            answer,
            _stop: stop.drop_guard(),
        }
    }

    /// The digest of the first `length` bytes of a file, if the remote host can compute it.
    pub(in crate::ssh::transfer) async fn of(self, path: &[u8], length: u64) -> Option<RemoteSum> {
        let pool = Arc::clone(&self.pool);
        let limit = PATIENCE + Duration::from_secs(length / SLOWEST);
        let sha256 = digest::parse(&self.answer(digest::script(path, length), limit).await?)?;

        Some(RemoteSum {
            pool,
            path: path.to_owned(),
            sha256,
        })
    }

    async fn answer(self, script: String, limit: Duration) -> Option<Vec<u8>> {
        self.ask.send(script).ok()?;
        timeout(limit, self.answer).await.ok()?.ok()
    }
}

/// What the remote host has computed.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct RemoteSum {
    pool: Arc<Pool>,
    path: Vec<u8>,
    sha256: [u8; 32],
}

impl RemoteSum {
    /// Whether both sides have the same content; `None` if they have not. `Some(false)`: it cannot be told, since the remote
    /// host may have read another file. Its shell may not have the root directory that SFTP has, as on NAS systems, and what
    /// the path leads to there is known to be the same file only if that `is_ours` alone.
    pub(in crate::ssh::transfer) async fn compare(
        self,
        client: &SftpClient,
        local: &Sum,
        length: u64,
        is_ours: bool,
    ) -> Option<bool> {
        match local.up_to(length) {
            Some(sha256) if sha256 == self.sha256 => Some(true),
            Some(_) if is_ours || self.is_seen_alike(client).await => None,
            Some(_) | None => Some(false),
        }
    }

    /// Whether SFTP and the shell say the same of the file and of the root directory, and see the same beside the file.
    async fn is_seen_alike(&self, client: &SftpClient) -> bool {
        let Some([file, root]) = self.look(&self.path).await else {
            return false;
        };
        let (file_there, root_there) = tokio::join!(client.stat(&self.path), client.stat(b"/"));
        let alike = |seen: FileFacts, there: Attributes| {
            there.owner == Some(seen.owner)
                && there.permissions == Some(seen.mode)
                && there.modified().map(u64::from) == Some(seen.modified)
        };

        let same = file_there
            .is_ok_and(|there| there.size == Some(file.size) && alike(file, there))
            && root_there.is_ok_and(|there| alike(root, there));
        same && self.is_seen_beside(client).await
    }

    /// Whether the shell sees a new file in the directory of this one. `true` where none can be made.
    async fn is_seen_beside(&self, client: &SftpClient) -> bool {
        let Ok(RemoteTemp {
            temporary: probe, ..
        }) = RemoteTemp::beside(&self.path)
        else {
            return true;
        };

        let Ok(handle) = client
            .open_file(&probe, Access::Create, Attributes::mode(0o600))
            .await
        else {
            return true;
        };

        client.close_read(&handle).await;
        let seen = self.look(&probe).await.is_some();
        let _ = client.remove(&probe).await;

        seen
    }

    /// What the shell sees of a path and of the root directory.
    async fn look(&self, path: &[u8]) -> Option<[FileFacts; 2]> {
        let answer = RemoteDigest::start(&self.pool)
            .answer(digest::looks(path), PATIENCE)
            .await?;
        digest::parse_looks(&answer)
    }
}

/// Why there is no answer.
enum NoDigest {
    /// No shell begins there at all.
    Refused,
    /// Nobody wants it any more, or it does not come.
    Other,
}

/// Starts a shell, gives it the script as soon as there is one, and hears it out.
async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    mut asked: oneshot::Receiver<String>,
) -> Result<Vec<u8>, NoDigest> {
    let lost = |_| NoDigest::Other;
    write.exec(true, "exec /bin/sh").await.map_err(lost)?;

    // ProFTPD ends the connection when anything is written to a command that it has refused.
    timeout(BEGINS_WITHIN, granted(read))
        .await
        .map_err(|_| NoDigest::Other)??;

    write
        .data_bytes(digest::BEGIN.as_bytes().to_vec())
        .await
        .map_err(lost)?;

    let mut answer = Vec::new();

    let script = loop {
        tokio::select! {
            script = &mut asked => break script.map_err(|_| NoDigest::Other)?,
            message = read.wait() => take(message, &mut answer)?,
        }
    };

    let begun = async {
        while !answer.windows(READY.len()).any(|part| part == READY) {
            take(read.wait().await, &mut answer)?;
        }
        Ok(())
    };

    timeout(BEGINS_WITHIN, begun)
        .await
        .map_err(|_| NoDigest::Other)??;

    write.data_bytes(script.into_bytes()).await.map_err(lost)?;
    write.eof().await.map_err(lost)?;

    loop {
        match read.wait().await {
            None | Some(ChannelMsg::Close) => return Ok(answer),
            message => take(message, &mut answer)?,
        }
    }
}

/// Waits until the server has granted what was asked for (RFC 4254 section 5.4).
async fn granted(read: &mut ChannelReadHalf) -> Result<(), NoDigest> {
    loop {
        match read.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return Err(NoDigest::Refused),
            Some(_) => {}
        }
    }
}

/// Takes in what a shell that is to begin, or to go on, has said.
fn take(message: Option<ChannelMsg>, answer: &mut Vec<u8>) -> Result<(), NoDigest> {
    match message {
        Some(ChannelMsg::Data { data }) if answer.len() < MAX_ANSWER_BYTES => {
            answer.extend_from_slice(&data);
        }
        Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return Err(NoDigest::Refused),
        _ => {}
    }

    Ok(())
}
