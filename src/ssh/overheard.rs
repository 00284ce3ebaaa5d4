//! What a connection's stream tells: the server's first words, before anything was agreed on, when it was heard last, and
//! how much has gone out to it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is kept, in bytes: lines before the identification, and the server's lists of algorithms.
const KEPT: usize = 16 * 1024;

/// How much a server may send before its client is logged in, in bytes. OpenSSH's shows no banner of more than a megabyte
/// (`auth2.c`). russh keeps what it cannot pass on yet, such as refusals while a person is asked for a password.
const BEFORE_LOGIN: u64 = 2 * 1024 * 1024;

/// The first bytes that a server sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// What was heard so far.
    pub(super) fn so_far(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What passes over a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// When anything came last, in milliseconds since 1970: by the clock on the wall, because others stand still while
    /// the machine sleeps.
    heard: AtomicU64,
    /// Bytes that the system has taken to pass on.
    sent: AtomicU64,
    /// Bytes that have come before the log-in.
    early: AtomicU64,
    logged_in: AtomicBool,
}

impl Traffic {
    /// Whether the server was heard within this time.
    pub(super) fn heard_within(&self, limit: Duration) -> bool {
        let at = UNIX_EPOCH + Duration::from_millis(self.0.heard.load(Ordering::Relaxed));
        at.elapsed().is_ok_and(|elapsed| elapsed <= limit)
    }

    /// How many bytes have gone out. What is sent after this cannot have reached the server while it stays the same.
    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// From now on the server may send as much as it likes.
    pub(super) fn logged_in(&self) {
        self.0.logged_in.store(true, Ordering::Relaxed);
    }

    /// Notes so many bytes.
    fn note(&self, bytes: usize) -> io::Result<()> {
        self.heard_now();
        if !self.0.logged_in.load(Ordering::Relaxed)
            && self.0.early.fetch_add(bytes as u64, Ordering::Relaxed) > BEFORE_LOGIN
        {
            return Err(io::Error::other("the server sends without end and lets nobody in"));
        }
        Ok(())
    }

    fn heard_now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.heard.store(u64::try_from(now.as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// A stream that is listened to: its first words, if anybody wants them.
pub(super) struct Overheard<S> {
    pub(super) stream: S,
    pub(super) heard: Option<Heard>,
    pub(super) traffic: Traffic,
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.traffic.note(into.filled().len() - before)?;
        if let Some(Heard(heard)) = &self.heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let new = into.filled().get(before..).unwrap_or_default();
            let room = KEPT.saturating_sub(heard.len());
            heard.extend_from_slice(new.get(..room).unwrap_or(new));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.traffic.0.sent.fetch_add(sent as u64, Ordering::Relaxed);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
