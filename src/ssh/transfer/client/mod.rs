//! One SFTP channel: requests go out as they are made, answers find their way back by id, in any order.
//!
//! A task reads always and a task writes, so that neither waits for the other: an unread channel blocks its whole
//! connection, and a writer may wait for the server's window. Any number of requests may be in flight; whoever makes them
//! bounds their memory.

mod open_files;
mod requests;
mod start;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{
        OnceCell,
        mpsc::{UnboundedReceiver, UnboundedSender},
        oneshot,
    },
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::open_files::OpenFileTurn;
use self::open_files::{OpenFileEvidence, OpenFiles};
use crate::{
    sftp::{
        frames::Frames,
        handle::Handle,
        reply::{Malformed, Packet, ServerLimits, SftpReply, Version},
        request::SftpRequest,
        status::{Status, StatusCode},
    },
    ssh::{connect::connection::Connection, pool::ChannelSlot},
};

/// The most that is moved in one request, in bytes: what OpenSSH's server moves in one packet.
const MAX_CHUNK_BYTES: u32 = 255 * 1024;
/// The least, also for servers that do not announce their limits: what every server must support.
const SMALLEST_CHUNK: u32 = 32 * 1024;
/// What `sftp` has in flight if it is not told otherwise.
const REQUESTS_OF_SFTP: usize = 64;
/// How long the server may be silent while it owes an answer. Much may be queued before a request on a slow link, but
/// then others are answered meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// The longest request without content that is sent, in bytes: OpenSSH's server ends at packets beyond 256 KiB.
const MAX_REQUEST_BYTES: usize = 200 * 1024;
/// How long a connection may take to be found ended after its channel has.
const ENDED_WITHIN: Duration = Duration::from_millis(500);
/// How long closing may take where the connection does not take anything any more.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// An SFTP channel. Dropping it closes the channel, whatever is still in flight.
#[derive(Debug)]
pub(super) struct SftpClient {
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    queue: UnboundedSender<Bytes>,
    version: Version,
    /// See [`is_openssh`](Self::is_openssh).
    openssh: bool,
    limits: ServerLimits,
    /// Whether it renames, once that was asked.
    renames: OnceCell<bool>,
    /// It has not answered a CLOSE in time.
    leaves_closes_unanswered: AtomicBool,
    /// From the request for the limits, or the first, to its answer: about a round trip.
    pub(super) round_trip: Duration,
    _open: DropGuard,
}

/// What the requests and the reading task share; locked for a look-up or an assignment only.
#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU32,
    waiting: Mutex<PendingReplies>,
    /// How many answers have come.
    answered: AtomicU64,
    shown: OpenFileEvidence,
}

#[derive(Debug, Default)]
struct PendingReplies {
    /// Also those whose caller has given up: their answers will come all the same. With each, what it closes.
    requests: HashMap<u32, (oneshot::Sender<SftpReply>, Option<Handle>)>,
    files: OpenFiles,
    /// Why there will be no more answers.
    over: Option<ChannelEnd>,
}

/// Why a channel does not answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelEnd {
    Closed,
    Malformed(Malformed),
}

/// A request that was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// The server says so.
    #[error(transparent)]
    Status(#[from] Status),
    /// The server does not speak SFTP as it should; nothing more is to be had from it.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The channel or its connection has ended.
    #[error("the SFTP server ended")]
    Closed,
    /// The server owes answers and is silent.
    #[error("the SFTP server has not answered for {SILENCE_LIMIT:?}")]
    Silent,
    /// A path that no server would take.
    #[error("the path is too long")]
    TooLong,
    /// What was done may concern another file.
    #[error("the server gave two open files the same handle")]
    MixedUp,
}

impl RequestError {
    /// The status code, if the server gave one.
    pub(super) fn code(&self) -> Option<StatusCode> {
        if let Self::Status(status) = self {
            Some(status.code)
        } else {
            None
        }
    }
}

impl From<ChannelEnd> for RequestError {
    fn from(over: ChannelEnd) -> Self {
        match over {
            ChannelEnd::Closed => Self::Closed,
            ChannelEnd::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}

impl SftpClient {
    /// The connection that it runs over.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The most bytes to be asked for in one read.
    pub(super) fn read_chunk(&self) -> u32 {
        chunk(self.limits.read)
    }

    /// The most bytes of content in one write.
    pub(super) fn write_chunk(&self) -> u32 {
        chunk(self.limits.write)
    }

    /// How many files may be open at once; `None` if the server does not say.
    pub(super) fn most_handles(&self) -> Option<u64> {
        Some(self.limits.handles).filter(|most| *most > 0)
    }

    /// How many requests for one file may be in flight: others than OpenSSH's server have as many as `sftp` sends (its
    /// option `-R`).
    pub(super) fn most_requests(&self) -> usize {
        if self.openssh {
            usize::MAX
        } else {
            REQUESTS_OF_SFTP
        }
    }

    /// Whether the channel has ended.
    pub(super) fn is_over(&self) -> bool {
        self.shared.lock().over.is_some()
    }

    /// Whether requests are known to be carried out one after the other, as OpenSSH's server does, with all that it can do.
    /// Other servers may begin the next one before the last one has ended, so that none is sent to them before those that
    /// it depends on are answered.
    pub(super) fn is_openssh(&self) -> bool {
        self.openssh
    }

    /// Whether an error says that there is no such file, or may say so: many servers have no other word for it than failure.
    pub(super) fn may_be_missing(&self, error: &RequestError) -> bool {
        match error.code() {
            Some(StatusCode::NoSuchFile) => true,
            Some(StatusCode::Failure) => !self.is_openssh(),
            _ => false,
        }
    }

    /// Whether the server has an extension, such as `fsync@openssh.com`.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.version.offers(extension)
    }

    /// Sends a request; the future is its answer.
    async fn ask(&self, request: SftpRequest<'_>) -> Result<SftpReply, RequestError> {
        let id = self.next_id();
        let packet = request.packet(id);
        let closes = if let SftpRequest::Close(handle) = request {
            Some(handle.clone())
        } else {
            None
        };

        if packet.len() > MAX_REQUEST_BYTES {
            Err(RequestError::TooLong)
        } else {
            self.send(id, packet, closes).await
        }
    }

    fn next_id(&self) -> u32 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a packet with an id that is new; the future is its answer.
    async fn send(
        &self,
        id: u32,
        packet: Bytes,
        closes: Option<Handle>,
    ) -> Result<SftpReply, RequestError> {
        let mut answer = match self.shared.expect(id, closes) {
            Ok(answer) => answer,
            Err(over) => return Err(self.gone(over).await),
        };

        // Fails only where the channel is over, which ends the wait below.
        let _ = self.queue.send(packet);

        loop {
            let before = self.shared.answered.load(Ordering::Relaxed);
            match timeout(SILENCE_LIMIT, &mut answer).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => return Err(self.gone(self.shared.over()).await),
                Err(_) if before == self.shared.answered.load(Ordering::Relaxed) => {
                    return Err(RequestError::Silent);
                }
                Err(_) => {}
            }
        }
    }

    /// The error of a channel that is over. A connection that ends takes its channels first: whether it has ended is
    /// certain only a moment later.
    async fn gone(&self, over: ChannelEnd) -> RequestError {
        if over == ChannelEnd::Closed {
            let _ = timeout(ENDED_WITHIN, self.connection.ended()).await;
        }
        over.into()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, PendingReplies> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to the request of this id will come, and what is closed then.
    fn expect(
        &self,
        id: u32,
        closes: Option<Handle>,
    ) -> Result<oneshot::Receiver<SftpReply>, ChannelEnd> {
        let (give, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(over) = waiting.over {
            return Err(over);
        }
        waiting.requests.insert(id, (give, closes));
        Ok(answer)
    }

    /// Hands a packet to whom it belongs. One that nobody waits for, also the second answer to a request, shows that
    /// nothing this server says can be relied on.
    fn deliver(&self, packet: Packet) -> Result<(), Malformed> {
        let Packet::Reply { id, reply } = packet else {
            return Err(Malformed("it begins anew"));
        };
        let mut waiting = self.lock();
        let (give, closes) = waiting
            .requests
            .remove(&id)
            .ok_or(Malformed("it answers what was not asked"))?;

        // Here, before anybody acts on an answer that came later.
        if let Some(handle) = closes {
            waiting.files.closed(&handle);
        }

        if let SftpReply::Handle(handle) = &reply
            && !waiting.files.opened(handle)
        {
            self.shown.note_mix_up();
        }

        drop(waiting);
        self.answered.fetch_add(1, Ordering::Relaxed);
        let _ = give.send(reply);

        Ok(())
    }

    /// Ends all waits.
    fn end(&self, over: ChannelEnd) {
        let mut waiting = self.lock();
        waiting.over.get_or_insert(over);
        waiting.requests.clear();
    }

    fn over(&self) -> ChannelEnd {
        self.lock().over.unwrap_or(ChannelEnd::Closed)
    }
}

fn chunk(limit: u64) -> u32 {
    u32::try_from(limit)
        .unwrap_or(MAX_CHUNK_BYTES)
        .clamp(SMALLEST_CHUNK, MAX_CHUNK_BYTES)
}

/// Reads until the channel is over or nobody wants its answers.
async fn read(
    mut channel: ChannelReadHalf,
    mut frames: Frames,
    shared: Arc<Shared>,
    open: CancellationToken,
    connection: Arc<Connection>,
) {
    let over = loop {
        let message = tokio::select! {
            message = channel.wait() => message,
            () = open.cancelled() => break ChannelEnd::Closed,
        };

        match message {
            Some(ChannelMsg::Data { data }) => {
                if let Err(malformed) = deliver_all(&mut frames, data, &shared) {
                    break ChannelEnd::Malformed(malformed);
                }
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) => break ChannelEnd::Closed,
            None => {
                // Its end, which is told a moment later, is what was lost then, not the channel alone.
                let _ = timeout(CLOSE_LIMIT, connection.ended()).await;
                break ChannelEnd::Closed;
            }
            Some(_) => {}
        }
    };

    shared.end(over);

    // Also after nonsense: it is the channel's end that closes it on our side.
    open.cancel();
}

fn deliver_all(frames: &mut Frames, data: Bytes, shared: &Shared) -> Result<(), Malformed> {
    frames.push(data);
    while let Some(packet) = frames.next_packet()? {
        shared.deliver(packet)?;
    }
    Ok(())
}

/// Writes what is queued until nobody wants the channel any more, closes it, and only then gives its place back.
async fn write(
    channel: ChannelWriteHalf<Msg>,
    mut queue: UnboundedReceiver<Bytes>,
    open: CancellationToken,
    slot: ChannelSlot,
) {
    let all = async {
        while let Some(packet) = queue.recv().await {
            if channel.data_bytes(packet).await.is_err() {
                break;
            }
        }
    };

    tokio::select! {
        () = all => {}
        () = open.cancelled() => {}
    }

    let _ = timeout(CLOSE_LIMIT, channel.close()).await;
    drop(slot);
}
