//! The bytes of one connection through a forward, in both directions.

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Duration, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    backlog::{Backlog, TooSlow},
    channel::ForwardChannel,
    local_stream::LocalStream,
};
use crate::event::Event;

/// Bytes read from the local connection at once. A packet of SSH holds as many.
const PIECE_BYTES: usize = 32 * 1024;
/// Interval at which the bytes that wait are looked at, whatever happens.
const REVIEW_INTERVAL: Duration = Duration::from_secs(5);
/// Time limit to close a channel over a connection that no longer accepts data.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

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
        lane,
    } = channel;
    let (mut from_channel, to_channel) = channel.split();
    let (queue, waiting) = unbounded_channel();
    let (backlog, closed) = (Backlog::new(lane), Event::new());

    let end = {
        let (from_local, to_local) = split(&mut local);
        let both = async {
            tokio::try_join!(
                receive(&mut from_channel, queue, &backlog, &closed),
                deliver(waiting, to_local, &backlog, bytes),
                send(from_local, &to_channel, early, &backlog, bytes, &closed),
            )
        };

        tokio::select! {
            ended = both => ended.err().unwrap_or(RelayEnd::Finished),
            TooSlow = review(&backlog) => RelayEnd::TooSlow,
            () = closing.cancelled() => RelayEnd::Closed,
        }
    };

    // Otherwise russh would wait for somebody to read the rest before it closes the channel.
    drop(from_channel);

    match end {
        RelayEnd::Finished => drop(local),
        _ => local.reset(),
    }

    let _ = timeout(CLOSE_LIMIT, to_channel.close()).await;

    end
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
                backlog
                    .add(data.len())
                    .map_err(|TooSlow| RelayEnd::TooSlow)?;
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

/// Waits until the local program has been too slow for too long.
async fn review(backlog: &Backlog) -> TooSlow {
    loop {
        sleep(REVIEW_INTERVAL).await;
        if let Err(too_slow) = backlog.review() {
            return too_slow;
        }
    }
}

/// Sends the bytes of the local program, and then ends this direction.
async fn send(
    mut local: ReadHalf<&mut LocalStream>,
    channel: &ChannelWriteHalf<Msg>,
    early: Bytes,
    backlog: &Backlog,
    bytes: &RelayedBytes,
    closed: &Event,
) -> Result<(), RelayEnd> {
    let mut piece = early;
    let mut buffer = BytesMut::new();

    loop {
        if !piece.is_empty() {
            let length = piece.len() as u64;
            let mut sending = pin!(channel.data_bytes(piece));
            let sent = if let Some(sent) = sending.as_mut().now_or_never() {
                sent
            } else {
                // The far side's leave arrives only if the connection is read.
                backlog.set_upload_waits(true);
                // The window of a closed channel never grows again.
                let sent = tokio::select! {
                    sent = sending => sent,
                    () = closed.wait() => return Ok(()),
                };
                backlog.set_upload_waits(false);
                sent
            };
            sent.map_err(|_| RelayEnd::LinkLost)?;
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
