//! The SHA-256 of a remote file, computed over there.

use std::{sync::Arc, time::Duration};

use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::disk::Sum;
use crate::{framing::digest, ssh::pool::Pool};

/// How long the remote host may take besides the reading.
const PATIENCE: Duration = Duration::from_secs(30);
/// The slowest reading that is waited for, in bytes a second.
const SLOWEST: u64 = 10_000_000;

/// More than this, in bytes, is no answer of ours.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A shell on the remote host that is asked for one digest. It starts while the file is moved, so that only the answer
/// has to be waited for, and ends when this is dropped.
#[derive(Debug)]
pub(super) struct RemoteDigest {
    ask: oneshot::Sender<String>,
    answer: oneshot::Receiver<Vec<u8>>,
    _stop: DropGuard,
}

impl RemoteDigest {
    /// Starts it, where the connection has room for one more channel.
    pub(super) fn start(pool: &Arc<Pool>) -> Self {
        let (pool, stop) = (Arc::clone(pool), CancellationToken::new());
        let ((ask, asked), (give, answer)) = (oneshot::channel(), oneshot::channel());
        let stopped = stop.clone();
        tokio::spawn(async move {
            let Some((channel, place)) = pool.spare_channel().await else { return };
            let (mut read, write) = channel.split();
            tokio::select! {
                answer = converse(&mut read, &write, asked) => drop(give.send(answer.unwrap_or_default())),
                () = stopped.cancelled() => {}
            }
            let _ = write.close().await;
            drop(place);
        });
        Self { ask, answer, _stop: stop.drop_guard() }
    }

    /// The digest of the first `length` bytes of a file, if the remote host can compute it.
    pub(super) async fn of(self, path: &[u8], length: u64) -> Option<[u8; 32]> {
        self.ask.send(digest::script(path, length)).ok()?;
        let limit = PATIENCE + Duration::from_secs(length / SLOWEST);
        digest::parse(&timeout(limit, self.answer).await.ok()?.ok()?)
    }
}

/// Whether both sides have been found to be the same; `None` if they are not.
pub(super) fn same(remote: Option<[u8; 32]>, local: &Sum, length: u64) -> Option<bool> {
    match (remote, local.of(length)) {
        (Some(remote), Some(local)) => (remote == local).then_some(true),
        _ => Some(false),
    }
}

/// Starts a shell, gives it the script as soon as there is one, and hears it out.
async fn converse(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    mut asked: oneshot::Receiver<String>,
) -> Option<Vec<u8>> {
    write.exec(false, "exec /bin/sh").await.ok()?;
    let script = loop {
        tokio::select! {
            script = &mut asked => break script.ok()?,
            message = read.wait() => if let None | Some(ChannelMsg::Close) = message { return None },
        }
    };
    write.data_bytes(script.into_bytes()).await.ok()?;
    write.eof().await.ok()?;
    let mut answer = Vec::new();
    while let Some(message) = read.wait().await {
        match message {
            ChannelMsg::Data { data } if answer.len() < LONGEST_ANSWER => answer.extend_from_slice(&data),
            ChannelMsg::Close => break,
            _ => {}
        }
    }
    Some(answer)
}
