//! The bytes of one connection through a forward, in both directions.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Duration, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{channel::ForwardChannel, local_stream::LocalStream};
use crate::event::Event;

/// Bytes read from the local connection at once. A packet of SSH holds as many.
const PIECE_BYTES: usize = 32 * 1024;
/// Limit of the bytes that wait for a slow local program, for each connection. russh enlarges the
/// window of a channel as soon as bytes arrive, so nothing slows the server down.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Limit of the bytes that wait in all connections of the process together.
const MAX_WAITING_BYTES_IN_ALL: usize = 256 * 1024 * 1024;
/// Time limit to close a channel over a connection that no longer accepts data.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Bytes that wait for slow local programs in all connections of the process.
static WAITING_IN_ALL: AtomicUsize = AtomicUsize::new(0);

/// Bytes that a forward has passed on, updated while connections are open.
#[derive(Debug, Default)]
pub struct RelayedBytes {
    /// Bytes towards the far side.
    pub to: AtomicU64,
    /// Bytes from the far side.
    pub from: AtomicU64,
}

/// End of a relayed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both directions ended regularly.
    Finished,
    /// The local program reset the connection or does not take bytes any more.
    LocalReset,
    /// The link was lost.
    LinkLost,
    /// The local program left too many bytes waiting.
    TooSlow,
    /// The forward was closed.
    Closed,
}

/// Passes bytes on between a local connection and a channel, until both directions have ended. The
/// end of one direction is passed on alone (half-close). The channel is read all the time, also
/// while the local program takes nothing.
///
/// The bytes of `early` go to the far side first. An end other than [`RelayEnd::Finished`] resets
/// the local connection. The channel is always closed; a caller ends the relay by `closing`, and
/// does not drop the future.
pub async fn relay(
    mut local: LocalStream,
    channel: ForwardChannel,
    early: Bytes,
    bytes: &RelayedBytes,
    closing: &CancellationToken,
) -> RelayEnd {
    let ForwardChannel {
        channel,
        _connection,
    } = channel;
    let (mut from_channel, to_channel) = channel.split();
    let (queue, waiting) = unbounded_channel();
    let (backlog, closed) = (Backlog::default(), Event::new());

    let end = {
        let (from_local, to_local) = split(&mut local);
        let both = async {
            tokio::try_join!(
                receive(&mut from_channel, queue, &backlog, &closed),
                deliver(waiting, to_local, &backlog, bytes),
                send(from_local, &to_channel, early, bytes, &closed),
            )
        };

        tokio::select! {
            ended = both => ended.err().unwrap_or(RelayEnd::Finished),
            () = closing.cancelled() => RelayEnd::Closed,
        }
    };

    match end {
        RelayEnd::Finished => drop(local),
        _ => local.reset(),
    }

    let _ = timeout(CLOSE_LIMIT, to_channel.close()).await;

    end
}

/// Bytes received for a local program and not written yet. Dropping it frees what is left.
#[derive(Debug, Default)]
struct Backlog(AtomicUsize);

impl Backlog {
    /// Adds bytes. Returns false if a limit is exceeded.
    fn add(&self, length: usize) -> bool {
        let held = self.0.fetch_add(length, Ordering::Relaxed) + length;
        let all = WAITING_IN_ALL.fetch_add(length, Ordering::Relaxed) + length;
        held <= MAX_WAITING_BYTES && all <= MAX_WAITING_BYTES_IN_ALL
    }

    /// Removes bytes that were written.
    fn remove(&self, length: usize) {
        self.0.fetch_sub(length, Ordering::Relaxed);
        WAITING_IN_ALL.fetch_sub(length, Ordering::Relaxed);
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        WAITING_IN_ALL.fetch_sub(*self.0.get_mut(), Ordering::Relaxed);
    }
}

/// Reads the channel until the far side closes it, and queues the bytes.
async fn receive(
    channel: &mut ChannelReadHalf,
    queue: UnboundedSender<Bytes>,
    backlog: &Backlog,
    closed: &Event,
) -> Result<(), RelayEnd> {
    let mut queue = Some(queue);

    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if !backlog.add(data.len()) {
                    return Err(RelayEnd::TooSlow);
                }
                if let Some(queue) = &queue {
                    let _ = queue.send(data);
                }
            }
            // The end of the queue becomes the end of the direction.
            ChannelMsg::Eof => queue = None,
            ChannelMsg::Close => {
                closed.set();
                return Ok(());
            }
            _ => {}
        }
    }

    Err(RelayEnd::LinkLost)
}

/// Writes the queued bytes to the local program, and then ends this direction.
async fn deliver(
    mut waiting: UnboundedReceiver<Bytes>,
    mut local: WriteHalf<&mut LocalStream>,
    backlog: &Backlog,
    bytes: &RelayedBytes,
) -> Result<(), RelayEnd> {
    while let Some(data) = waiting.recv().await {
        let written = local.write_all(&data).await;
        backlog.remove(data.len());
        written.map_err(|_| RelayEnd::LocalReset)?;
        bytes.from.fetch_add(data.len() as u64, Ordering::Relaxed);
    }

    // The local program may have closed everything by now.
    let _ = local.shutdown().await;

    Ok(())
}

/// Sends the bytes of the local program, and then ends this direction.
async fn send(
    mut local: ReadHalf<&mut LocalStream>,
    channel: &ChannelWriteHalf<Msg>,
    early: Bytes,
    bytes: &RelayedBytes,
    closed: &Event,
) -> Result<(), RelayEnd> {
    let mut piece = early;
    let mut buffer = BytesMut::new();

    loop {
        if !piece.is_empty() {
            let length = piece.len() as u64;
            // The window of a closed channel never grows again.
            tokio::select! {
                sent = channel.data_bytes(piece) => sent.map_err(|_| RelayEnd::LinkLost)?,
                () = closed.wait() => return Ok(()),
            }
            bytes.to.fetch_add(length, Ordering::Relaxed);
        }

        buffer.reserve(PIECE_BYTES);
        let read = tokio::select! {
            read = local.read_buf(&mut buffer) => read,
            () = closed.wait() => return Ok(()),
        };
        if read.map_err(|_| RelayEnd::LocalReset)? == 0 {
            break;
        }
        piece = buffer.split().freeze();
    }

    channel.eof().await.map_err(|_| RelayEnd::LinkLost)
}
