//! One SFTP channel. Requests are sent as they are made, and replies are matched by id, in any
//! order.
//!
//! One task always reads and one task always writes, so that neither waits for the other: an unread
//! channel blocks its whole connection, and a writer may wait for the server's window. The number
//! of requests in flight is not limited here; the callers bound their memory.

mod by_shell;
mod open_files;
mod pipelined;
mod probes;
mod requests;
mod start;
mod substitutes;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
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

use self::{
    by_shell::ShellServer,
    open_files::{OpenFileEvidence, OpenFiles},
};
pub(super) use self::{open_files::OpenFileTurn, pipelined::Pipelined};
use crate::{
    framing::file_server::BadAnswer,
    lock::lock,
    sftp::{
        content::Chunk,
        frames::Frames,
        handle::Handle,
        reply::{Malformed, Packet, ServerLimits, SftpReply, Version},
        request::SftpRequest,
        status::{Status, StatusCode},
    },
    ssh::{connect::connection::Connection, pool::ChannelSlot},
};

/// Upper limit of the content of a request, in bytes. OpenSSH's server moves this much in a packet.
const MAX_CHUNK_BYTES: u32 = 255 * 1024;
/// Lower limit of the content of a request, in bytes. Every SFTP server must support this size, so
/// it also applies to servers that do not announce their limits.
const SMALLEST_CHUNK: u32 = 32 * 1024;
/// Default number of requests in flight of OpenSSH's `sftp` (option `-R`).
const REQUESTS_OF_SFTP: usize = 64;
/// Time after which a server that owes a reply, but sends none at all, counts as silent. On a slow
/// link many requests may be queued before a request, but then others are answered meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);
/// Upper limit of a request without content, in bytes. OpenSSH's server exits at packets of more
/// than 256 KiB.
const MAX_REQUEST_BYTES: usize = 200 * 1024;
/// Upper limit of the length of packets which are sent together, in bytes. OpenSSH's server takes
/// this much in an SSH packet.
const JOINED_BYTES: usize = 32 * 1024;
/// Upper limit of the number of packets which are taken from the queue at once.
const JOINED_PACKETS: usize = 256;
/// Time limit to notice the end of the connection after the end of a channel.
const ENDED_WITHIN: Duration = Duration::from_millis(500);
/// Time limit to close a channel over a connection which no longer accepts data.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// SFTP client over a channel of its own, created by [`open`](Self::open), [`begin`](Self::begin),
/// [`opportunistic`](Self::opportunistic) or
/// [`on_another_connection`](Self::on_another_connection). On a host without SFTP, a `/bin/sh`
/// carries out the requests ([`begin_by_shell`](Self::begin_by_shell)). Dropping the client closes
/// the channel, even with requests in flight. A client whose channel has ended fails every request.
#[derive(Debug)]
pub(super) struct SftpClient {
    connection: Arc<Connection>,
    shared: Arc<Shared>,
    queue: UnboundedSender<Bytes>,
    version: Version,
    /// True if the server is OpenSSH's; see [`is_openssh`](Self::is_openssh).
    openssh: bool,
    limits: ServerLimits,
    /// Result of the test if the server can rename. Empty until the first test.
    renames: OnceCell<bool>,
    /// True if the server has refused the offered `posix-rename@openssh.com` in that test.
    refuses_posix_rename: AtomicBool,
    /// Result of the test if the server removes files. Empty until the first test.
    removes: OnceCell<bool>,
    /// True if the server has once not answered a CLOSE in time.
    leaves_closes_unanswered: AtomicBool,
    /// True if a pipelined open has got another handle than expected.
    gives_other_handles: AtomicBool,
    /// Time from a first request to the reply, which is about a round trip.
    pub(super) round_trip: Duration,
    /// Server in the shell of a host without SFTP.
    shell: Option<Arc<ShellServer>>,
    _open: DropGuard,
}

/// State shared by the requests and the reading task. The mutex is held only for a lookup or an
/// assignment.
#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU32,
    waiting: Mutex<PendingReplies>,
    /// Number of replies received.
    answered: AtomicU64,
    evidence: OpenFileEvidence,
}

/// State of the requests without a reply yet, and of the open files.
#[derive(Debug, Default)]
struct PendingReplies {
    /// Senders for the expected replies by request id, each with the handle that the request
    /// closes. A request stays here after its caller has given up, because the reply will still
    /// arrive.
    requests: HashMap<u32, (oneshot::Sender<SftpReply>, Option<Handle>)>,
    files: OpenFiles,
    /// Reason for which no more replies will arrive. `None` while the channel works.
    ended: Option<ChannelEnd>,
}

/// Reason for which a channel delivers no more replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelEnd {
    Closed,
    Malformed(Malformed),
    BadAnswer,
}

/// Receiver for the reply to a request that was sent.
type SentRequest = Result<oneshot::Receiver<SftpReply>, NotSent>;

/// Reason for which a request was not sent.
#[derive(Debug)]
enum NotSent {
    /// The channel delivers no more replies.
    Ended(ChannelEnd),
    /// The request is too long, or the shell of a host without SFTP cannot carry it out.
    Unsendable(RequestError),
}

impl From<ChannelEnd> for NotSent {
    fn from(reason: ChannelEnd) -> Self {
        Self::Ended(reason)
    }
}

/// Error of a single SFTP request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// The server replied with an error status.
    #[error(transparent)]
    Status(#[from] Status),
    /// The server violated the SFTP protocol. The channel is unusable from then on.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The shell of a host without SFTP does not answer as the script does.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
    /// The channel or the connection has ended.
    #[error("the SFTP server ended")]
    Closed,
    /// The server owes replies and has sent none for [`SILENCE_LIMIT`].
    #[error("the SFTP server has not answered for {SILENCE_LIMIT:?}")]
    NoAnswer,
    /// The request is too long because of a path which no server would accept.
    #[error("the path is too long")]
    TooLong,
    /// The server gave two open files the same handle, so the request may have affected the other
    /// file.
    #[error("the server gave two open files the same handle")]
    MixedUp,
}

impl RequestError {
    /// Returns the status code. `None` if the error is not a status from the server.
    pub(super) fn code(&self) -> Option<StatusCode> {
        if let Self::Status(status) = self {
            Some(status.code)
        } else {
            None
        }
    }

    /// Returns true if the server refuses the request: it does not support it, or the account may
    /// not send it.
    pub(super) fn is_refused(&self) -> bool {
        matches!(
            self.code(),
            Some(StatusCode::PermissionDenied | StatusCode::Unsupported)
        )
    }
}

impl From<ChannelEnd> for RequestError {
    fn from(reason: ChannelEnd) -> Self {
        match reason {
            ChannelEnd::Closed => Self::Closed,
            ChannelEnd::Malformed(malformed) => Self::Malformed(malformed),
            ChannelEnd::BadAnswer => BadAnswer.into(),
        }
    }
}

impl SftpClient {
    /// Returns the connection of this channel.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Returns the upper limit of a read request, in bytes.
    pub(super) fn read_chunk(&self) -> u32 {
        chunk(self.limits.read)
    }

    /// Returns the upper limit of the content of a write request, in bytes.
    pub(super) fn write_chunk(&self) -> u32 {
        chunk(self.limits.write)
    }

    /// Returns the number of files which the server allows to be open at once. `None` if the server
    /// did not announce a limit.
    pub(super) fn most_handles(&self) -> Option<u64> {
        Some(self.limits.handles).filter(|most| *most > 0)
    }

    /// Returns the upper limit of requests in flight for a file. Servers other than OpenSSH's get
    /// as many as `sftp` sends (option `-R`).
    pub(super) fn most_requests(&self) -> usize {
        if self.openssh {
            usize::MAX
        } else {
            REQUESTS_OF_SFTP
        }
    }

    /// Returns true if the channel has ended.
    pub(super) fn is_over(&self) -> bool {
        self.shared.lock().ended.is_some()
    }

    /// Returns true if the server is OpenSSH's `sftp-server` without disabled requests, which
    /// carries requests out in order, or the shell of a host without SFTP, which does the same.
    /// Other servers may begin a request before the previous request has ended. They are therefore
    /// sent a request only after those on which it depends are answered.
    pub(super) fn is_openssh(&self) -> bool {
        self.openssh
    }

    /// Returns true if the server is OpenSSH's, and not the shell of a host without SFTP.
    pub(super) fn is_openssh_program(&self) -> bool {
        self.openssh && self.shell.is_none()
    }

    /// Returns true if an error means, or may mean, a missing file. Many servers report a missing
    /// file as a general failure.
    pub(super) fn may_be_missing(&self, error: &RequestError) -> bool {
        match error.code() {
            Some(StatusCode::NoSuchFile) => true,
            Some(StatusCode::Failure) => !self.is_openssh(),
            _ => false,
        }
    }

    /// Returns true if the host has no SFTP, so that its shell carries out the requests.
    pub(super) fn is_by_shell(&self) -> bool {
        self.shell.is_some()
    }

    /// Returns true if the server offers an extension, such as `fsync@openssh.com`.
    pub(super) fn offers(&self, extension: &str) -> bool {
        self.version.offers(extension)
    }

    /// Sends a request and waits for the reply.
    async fn ask(&self, request: SftpRequest<'_>) -> Result<SftpReply, RequestError> {
        self.reply(self.send(&request)).await
    }

    /// Queues a request. Requests are sent in the order of the calls.
    fn send(&self, request: &SftpRequest<'_>) -> SentRequest {
        let id = self.next_id();
        let closes = if let SftpRequest::Close(handle) = request {
            Some((*handle).clone())
        } else {
            None
        };

        let reply = self.shared.expect(id, closes)?;
        if let Err(error) = self.put(id, request) {
            self.shared.lock().requests.remove(&id);
            return Err(NotSent::Unsendable(error));
        }

        Ok(reply)
    }

    /// Queues a request to write a chunk at `offset`.
    fn send_write(&self, handle: &Handle, offset: u64, chunk: Chunk) -> SentRequest {
        let id = self.next_id();
        let reply = self.shared.expect(id, None)?;

        let send = |packet| drop(self.queue.send(packet));
        match &self.shell {
            Some(shell) => {
                if let Err(error) = shell.write(id, handle, offset, chunk.content(), send) {
                    self.shared.lock().requests.remove(&id);
                    return Err(NotSent::Unsendable(error));
                }
            }
            None => send(chunk.write_to(id, handle, offset)),
        }

        Ok(reply)
    }

    /// Queues a request whose reply is expected.
    ///
    /// # Errors
    /// The request is too long, or the shell of a host without SFTP cannot carry it out.
    fn put(&self, id: u32, request: &SftpRequest<'_>) -> Result<(), RequestError> {
        // Sending fails only after the channel has ended, and then the wait for the reply ends too.
        let send = |packet| drop(self.queue.send(packet));
        if let Some(shell) = &self.shell {
            return shell.request(id, request, &self.shared, send);
        }

        let packet = request.packet(id);
        if packet.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong);
        }
        send(packet);

        Ok(())
    }

    fn next_id(&self) -> u32 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits for the reply to a request that was sent.
    async fn reply(&self, sent: SentRequest) -> Result<SftpReply, RequestError> {
        match sent {
            Ok(reply) => self.answer(reply).await,
            Err(NotSent::Ended(reason)) => Err(self.gone(reason).await),
            Err(NotSent::Unsendable(error)) => Err(error),
        }
    }

    /// Waits for the reply to a request.
    async fn answer(
        &self,
        mut answer: oneshot::Receiver<SftpReply>,
    ) -> Result<SftpReply, RequestError> {
        loop {
            // A reply to any request resets the limit: a busy server is slow, not silent.
            let before = self.shared.answered.load(Ordering::Relaxed);
            match timeout(SILENCE_LIMIT, &mut answer).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(_)) => return Err(self.gone(self.shared.end_reason()).await),
                Err(_) if before == self.shared.answered.load(Ordering::Relaxed) => {
                    return Err(RequestError::NoAnswer);
                }
                Err(_) => {}
            }
        }
    }

    /// Returns the error for a channel which is over. A connection that ends takes its channels
    /// first, so the end of the connection is awaited for a moment.
    async fn gone(&self, reason: ChannelEnd) -> RequestError {
        if reason == ChannelEnd::Closed {
            let _ = timeout(ENDED_WITHIN, self.connection.ended()).await;
        }
        reason.into()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, PendingReplies> {
        lock(&self.waiting)
    }

    /// Registers a request and returns the receiver for the reply. `closes` is the handle which the
    /// request closes.
    fn expect(
        &self,
        id: u32,
        closes: Option<Handle>,
    ) -> Result<oneshot::Receiver<SftpReply>, ChannelEnd> {
        let (give, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some(reason) = waiting.ended {
            return Err(reason);
        }
        waiting.requests.insert(id, (give, closes));
        Ok(answer)
    }

    /// Delivers a packet to the waiting request. A reply without a waiting request, such as the
    /// second reply to the same request, shows that nothing from this server can be relied on.
    fn deliver(&self, packet: Packet) -> Result<(), Malformed> {
        let Packet::Reply { id, reply } = packet else {
            return Err(Malformed("it sent its version again"));
        };
        let mut waiting = self.lock();
        let (give, closes) = waiting
            .requests
            .remove(&id)
            .ok_or(Malformed("it answered a request that was not sent"))?;

        // Must happen before a caller acts on a later reply, which may contain the same handle
        // again.
        if let Some(handle) = closes {
            waiting.files.closed(&handle);
        }

        if let SftpReply::Handle(handle) = &reply
            && !waiting.files.opened(handle)
        {
            self.evidence.note_mix_up();
        }

        drop(waiting);
        self.answered.fetch_add(1, Ordering::Relaxed);
        let _ = give.send(reply);

        Ok(())
    }

    /// Ends the wait of every request, with `reason` as the reason unless there is an earlier reason.
    fn fail_all(&self, reason: ChannelEnd) {
        let mut waiting = self.lock();
        waiting.ended.get_or_insert(reason);
        waiting.requests.clear();
    }

    fn end_reason(&self) -> ChannelEnd {
        self.lock().ended.unwrap_or(ChannelEnd::Closed)
    }
}

/// Returns the content size for a limit announced by the server, from 32 KiB to 255 KiB.
fn chunk(limit: u64) -> u32 {
    u32::try_from(limit)
        .unwrap_or(MAX_CHUNK_BYTES)
        .clamp(SMALLEST_CHUNK, MAX_CHUNK_BYTES)
}

/// Reads the channel until it ends or the client is dropped, and passes its output to `deliver`,
/// whose error ends the reading.
async fn read(
    mut channel: ChannelReadHalf,
    mut deliver: impl FnMut(Bytes) -> Result<(), ChannelEnd>,
    shared: Arc<Shared>,
    closed: CancellationToken,
    connection: Arc<Connection>,
) {
    let reason = loop {
        let message = tokio::select! {
            message = channel.wait() => message,
            () = closed.cancelled() => break ChannelEnd::Closed,
        };

        match message {
            Some(ChannelMsg::Data { data }) => {
                if let Err(reason) = deliver(data) {
                    break reason;
                }
            }
            Some(ChannelMsg::Eof | ChannelMsg::Close) => break ChannelEnd::Closed,
            None => {
                // The connection may have ended with the channel, which is noticed only a moment
                // later. Then the requests must fail with the error of the connection.
                let _ = timeout(CLOSE_LIMIT, connection.ended()).await;
                break ChannelEnd::Closed;
            }
            Some(_) => {}
        }
    };

    shared.fail_all(reason);

    // Also after a protocol violation: this ends the writing task, which closes the channel on our
    // side.
    closed.cancel();
}

/// Delivers all complete packets.
fn deliver_all(frames: &mut Frames, data: Bytes, shared: &Shared) -> Result<(), Malformed> {
    frames.push(data);
    while let Some(packet) = frames.next_packet()? {
        shared.deliver(packet)?;
    }
    Ok(())
}

/// Writes queued packets until the client is dropped, and closes the channel. The slot is released
/// only after that, so that no new channel exceeds the server's limit.
async fn write(
    channel: ChannelWriteHalf<Msg>,
    mut queue: UnboundedReceiver<Bytes>,
    closed: CancellationToken,
    slot: ChannelSlot,
) {
    let all = async {
        let mut packets = Vec::new();
        while queue.recv_many(&mut packets, JOINED_PACKETS).await > 0 {
            for data in joined(packets.drain(..)) {
                if channel.data_bytes(data).await.is_err() {
                    return;
                }
            }
        }
    };

    tokio::select! {
        () = all => {}
        () = closed.cancelled() => {}
    }

    // A connection which accepts no data any more must not keep the slot forever.
    let _ = timeout(CLOSE_LIMIT, channel.close()).await;
    drop(slot);
}

/// Joins short packets, so that they share the encryption, and the system calls on both sides.
fn joined(packets: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
    let mut data = Vec::new();
    let mut short = BytesMut::new();
    for packet in packets {
        let is_long = packet.len() > JOINED_BYTES / 2;
        if !short.is_empty() && (is_long || short.len() + packet.len() > JOINED_BYTES) {
            data.push(short.split().freeze());
        }

        if is_long {
            data.push(packet);
        } else {
            short.extend_from_slice(&packet);
        }
    }

    if !short.is_empty() {
        data.push(short.freeze());
    }

    data
}
