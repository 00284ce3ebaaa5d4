//! What a connection's stream tells: the server's first words, before anything was agreed on, when it was heard last, and
//! how much has gone out to it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::openssh::preamble::Preamble;

/// How much is kept, in bytes: lines before the identification, and the server's lists of algorithms.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// How much is read at once until the server has said which SSH it speaks, in bytes.
const FIRST_READ: usize = 1024;

/// How much a server may send before its client is logged in, in bytes, without the lines before its identification. OpenSSH's shows no banner of more than a megabyte
/// (`auth2.c`). russh keeps what it cannot pass on yet, such as refusals while a person is asked for a password.
const BEFORE_LOGIN: u64 = 2 * 1024 * 1024;

/// The first bytes that a server sent.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    /// What was heard so far.
    pub(in crate::ssh) fn so_far(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, new: &[u8]) {
        let mut first_bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_KEPT_BYTES.saturating_sub(first_bytes.len());
        first_bytes.extend_from_slice(new.get(..room).unwrap_or(new));
    }
}

/// What passes over a connection.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct Traffic(Arc<TrafficCounts>);

#[derive(Debug, Default)]
struct TrafficCounts {
    /// When anything came last, in milliseconds since 1970: by the clock on the wall, because others stand still while
    /// the machine sleeps.
    first_bytes: AtomicU64,
    /// Bytes that have come.
    received: AtomicU64,
    /// Bytes that the system has taken to pass on.
    sent: AtomicU64,
    /// Bytes that have come before the log-in.
    early: AtomicU64,
    logged_in: AtomicBool,
    /// What came in the place of an identification; held for a look or an assignment only.
    words: Mutex<String>,
    /// Why the connection is given up.
    given_up: OnceLock<&'static str>,
    /// Who reads and writes it, and is to find that out.
    task: AtomicWaker,
}

impl Traffic {
    /// Whether the server was heard within this time.
    pub(in crate::ssh) fn heard_within(&self, limit: Duration) -> bool {
        let at = UNIX_EPOCH + Duration::from_millis(self.0.first_bytes.load(Ordering::Relaxed));
        at.elapsed().is_ok_and(|elapsed| elapsed <= limit)
    }

    /// How many bytes have come. As long as it stays the same, the server is silent.
    pub(in crate::ssh) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// How many bytes have gone out. What is sent after this cannot have reached the server while it stays the same.
    pub(in crate::ssh) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// What the server said before its identification, or instead.
    pub(in crate::ssh) fn words(&self) -> String {
        self.0
            .words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the connection, with this reason.
    pub(in crate::ssh) fn give_up(&self, why: &'static str) {
        let _ = self.0.given_up.set(why);
        self.0.task.wake();
    }

    /// An error once the connection is given up.
    fn is_wanted(&self, cx: &Context<'_>) -> io::Result<()> {
        self.0.task.register(cx.waker());
        self.0.given_up.get().map_or(Ok(()), |why| {
            Err(io::Error::new(io::ErrorKind::TimedOut, *why))
        })
    }

    /// From now on the server may send as much as it likes.
    pub(in crate::ssh) fn logged_in(&self) {
        self.0.logged_in.store(true, Ordering::Relaxed);
    }

    /// Notes so many bytes.
    fn note(&self, bytes: usize) -> io::Result<()> {
        self.heard_now();
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);

        if !self.0.logged_in.load(Ordering::Relaxed)
            && self.0.early.fetch_add(bytes as u64, Ordering::Relaxed) > BEFORE_LOGIN
        {
            return Err(io::Error::other(
                "the server sends without end and lets nobody in",
            ));
        }

        Ok(())
    }

    fn heard_now(&self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.0.first_bytes.store(
            u64::try_from(now.as_millis()).unwrap_or_default(),
            Ordering::Relaxed,
        );
    }
}

/// A stream that is listened to: its first words, if anybody wants them. The lines before the server's identification are
/// left out: russh reads few of them.
pub(in crate::ssh) struct MeteredStream<S> {
    stream: S,
    first_bytes: Option<FirstBytes>,
    traffic: Traffic,
    /// Until the identification begins.
    preamble: Option<Preamble>,
    /// What came with its beginning and was not read yet.
    rest: Vec<u8>,
}

impl<S> MeteredStream<S> {
    pub(in crate::ssh) fn new(
        stream: S,
        first_bytes: Option<FirstBytes>,
        traffic: Traffic,
    ) -> Self {
        Self {
            stream,
            first_bytes,
            traffic,
            preamble: Some(Preamble::default()),
            rest: Vec::new(),
        }
    }
}

impl<S: AsyncRead + Unpin> MeteredStream<S> {
    /// Reads until the identification begins, or nothing more comes.
    fn poll_preamble(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut first = [0; FIRST_READ];
        while let Some(preamble) = &mut self.preamble {
            let mut into = ReadBuf::new(&mut first);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into))?;
            let new = into.filled();
            if new.is_empty() {
                return Poll::Ready(Ok(()));
            }

            self.traffic.heard_now();
            if let Some(first_bytes) = &self.first_bytes {
                first_bytes.add(new);
            }

            let passed = preamble.push(new);

            *self
                .traffic
                .0
                .words
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = preamble.words();

            self.rest = passed.map_err(io::Error::other)?;
            if !self.rest.is_empty() {
                self.preamble = None;
            }
        }

        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.traffic.is_wanted(cx)?;
        if self.preamble.is_some() {
            ready!(self.poll_preamble(cx))?;
        }

        if !self.rest.is_empty() {
            let length = self.rest.len().min(into.remaining());
            into.put_slice(self.rest.drain(..length).as_slice());
            return Poll::Ready(Ok(()));
        }

        if self.preamble.is_some() {
            // The end, before there was an identification.
            return Poll::Ready(Ok(()));
        }

        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.traffic.note(into.filled().len() - before)?;
        if let Some(first_bytes) = &self.first_bytes {
            first_bytes.add(into.filled().get(before..).unwrap_or_default());
        }

        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.traffic.is_wanted(cx)?;
        let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.traffic
            .0
            .sent
            .fetch_add(sent as u64, Ordering::Relaxed);
        Poll::Ready(Ok(sent))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
