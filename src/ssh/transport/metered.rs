//! Byte stream under an SSH connection which keeps the server's first words, records when data last
//! arrived, and counts the bytes in both directions.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{lock::lock, openssh::preamble::Preamble};

/// Limit of the first bytes kept, in bytes. This is enough for the lines before the identification
/// and the server's lists of algorithms.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Size of a read before the identification, in bytes.
const FIRST_READ: usize = 1024;

/// Limit of the data from a server before the log-in, in bytes. The lines before the server's
/// identification do not count. OpenSSH shows no banner of more than a megabyte (`auth2.c`). The
/// limit bounds the memory of russh, which keeps undelivered data while the user is asked for a
/// password.
const BEFORE_LOGIN: u64 = 2 * 1024 * 1024;

/// First bytes received from a server, up to a limit. Clones share the bytes.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    /// Returns the bytes received so far.
    pub(in crate::ssh) fn so_far(&self) -> Vec<u8> {
        lock(&self.0).clone()
    }

    /// Adds received bytes, as far as there is room.
    fn add(&self, new: &[u8]) {
        let mut first_bytes = lock(&self.0);
        let room = MAX_KEPT_BYTES.saturating_sub(first_bytes.len());
        first_bytes.extend_from_slice(new.get(..room).unwrap_or(new));
    }
}

/// Counters of a connection's traffic, which can also end the connection. Clones share the
/// counters.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct Traffic(Arc<TrafficCounts>);

/// Shared state of [`Traffic`].
#[derive(Debug, Default)]
struct TrafficCounts {
    /// Time of the last received data, in milliseconds since 1970. Wall-clock time, because other
    /// clocks stand still while the machine sleeps.
    last_heard: AtomicU64,
    /// Number of received bytes after the beginning of the identification.
    received: AtomicU64,
    /// Number of bytes which the system has accepted for sending.
    sent: AtomicU64,
    /// Number of received bytes which count against the limit before the log-in.
    early: AtomicU64,
    /// True once the log-in has succeeded.
    logged_in: AtomicBool,
    /// Text received before the identification. The lock is held only briefly.
    words: Mutex<String>,
    /// Reason for giving the connection up; unset while the connection is in use.
    given_up: OnceLock<&'static str>,
    /// True while nothing is read from the stream.
    paused: AtomicBool,
    /// Waker of the task which reads and writes the stream.
    task: AtomicWaker,
}

impl Traffic {
    /// Returns true if data has arrived within the last `limit`.
    pub(in crate::ssh) fn heard_within(&self, limit: Duration) -> bool {
        let at = UNIX_EPOCH + Duration::from_millis(self.0.last_heard.load(Ordering::Relaxed));
        at.elapsed().is_ok_and(|elapsed| elapsed <= limit)
    }

    /// Returns the number of received bytes. An unchanged number means a silent server.
    pub(in crate::ssh) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Returns the number of sent bytes. While the number is unchanged, later data cannot have
    /// reached the server.
    pub(in crate::ssh) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Returns the text sent before the server's identification, or in place of the identification.
    pub(in crate::ssh) fn words(&self) -> String {
        lock(&self.0.words).clone()
    }

    /// Ends the connection with this reason, as a failure of the stream.
    pub(in crate::ssh) fn give_up(&self, why: &'static str) {
        let _ = self.0.given_up.set(why);
        self.0.task.wake();
    }

    /// Stops or resumes reading. The network then makes the server wait, while sending goes on.
    pub(in crate::ssh) fn pause(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Release);
        if !paused {
            self.0.task.wake();
        }
    }

    /// Returns true while nothing is read.
    pub(in crate::ssh) fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Acquire)
    }

    /// Checks the connection before each read and write.
    ///
    /// # Errors
    /// The connection was given up.
    fn is_wanted(&self, cx: &Context<'_>) -> io::Result<()> {
        self.0.task.register(cx.waker());
        self.0.given_up.get().map_or(Ok(()), |why| {
            Err(io::Error::new(io::ErrorKind::TimedOut, *why))
        })
    }

    /// Lifts the limit on received data, once the log-in has succeeded.
    pub(in crate::ssh) fn logged_in(&self) {
        self.0.logged_in.store(true, Ordering::Relaxed);
    }

    /// Counts received bytes.
    ///
    /// # Errors
    /// The server has sent too much before the log-in.
    fn count_received(&self, bytes: usize) -> io::Result<()> {
        self.heard_now();
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);

        if !self.0.logged_in.load(Ordering::Relaxed)
            && self.0.early.fetch_add(bytes as u64, Ordering::Relaxed) > BEFORE_LOGIN
        {
            return Err(io::Error::other(
                "the server sent too much data before the log-in",
            ));
        }

        Ok(())
    }

    /// Records the arrival of data.
    fn heard_now(&self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.0.last_heard.store(
            u64::try_from(now.as_millis()).unwrap_or_default(),
            Ordering::Relaxed,
        );
    }
}

/// Stream which counts bytes and drops the lines before the server's identification. russh reads
/// only a few such lines.
pub(in crate::ssh) struct MeteredStream<S> {
    stream: S,
    /// Copy of the first bytes; `None` if nobody needs a copy.
    first_bytes: Option<FirstBytes>,
    traffic: Traffic,
    /// Parser of the lines before the identification; `None` once the identification has begun.
    preamble: Option<Preamble>,
    /// Bytes which arrived with the beginning of the identification, and are not yet read.
    rest: Vec<u8>,
}

impl<S> MeteredStream<S> {
    /// Wraps a stream on which nothing has been read yet.
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
    /// Reads until the identification begins, or the stream ends.
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

            // The words are kept before a possible error: the error message quotes them.
            let passed = preamble.push(new);

            *lock(&self.traffic.0.words) = preamble.words();

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
        if self.traffic.is_paused() {
            return Poll::Pending;
        }
        if self.preamble.is_some() {
            ready!(self.poll_preamble(cx))?;
        }

        if !self.rest.is_empty() {
            let length = self.rest.len().min(into.remaining());
            into.put_slice(self.rest.drain(..length).as_slice());
            return Poll::Ready(Ok(()));
        }

        if self.preamble.is_some() {
            // The stream has ended before the identification began.
            return Poll::Ready(Ok(()));
        }

        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.traffic.count_received(into.filled().len() - before)?;
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
        let sent = match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
            // A server that goes before its identification may have said why. Its words are read
            // first, and then the end, which is the error.
            Err(error) if self.preamble.is_some() && error.kind() == io::ErrorKind::BrokenPipe => {
                return Poll::Ready(Ok(bytes.len()));
            }
            result => result?,
        };

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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn text_of_a_server_that_closes_before_identifying_is_read() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"Too many connections.\n").await.unwrap();
        drop(theirs);

        let traffic = Traffic::default();
        let mut stream = MeteredStream::new(ours, None, traffic.clone());
        stream.write_all(b"SSH-2.0-ours\r\n").await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
        assert_eq!(traffic.words(), "Too many connections.");
        assert_eq!(traffic.sent(), 0);
    }
}
