//! What a connection's stream tells of the server: its first words, before anything was agreed on, and when it was heard
//! last.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is kept, in bytes: lines before the identification, and the server's lists of algorithms.
const KEPT: usize = 16 * 1024;

/// The first bytes that a server sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// What was heard so far.
    pub(super) fn so_far(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// When anything came from a server last, in milliseconds since 1970: by the clock on the wall, because others stand still
/// while the machine sleeps.
#[derive(Debug, Clone, Default)]
pub(super) struct LastHeard(Arc<AtomicU64>);

impl LastHeard {
    /// Whether that was within this time.
    pub(super) fn within(&self, limit: Duration) -> bool {
        let at = UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::Relaxed));
        at.elapsed().is_ok_and(|elapsed| elapsed <= limit)
    }

    fn now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.store(u64::try_from(now.as_millis()).unwrap_or_default(), Ordering::Relaxed);
    }
}

/// A stream that is listened to: its first words, if anybody wants them.
pub(super) struct Overheard<S> {
    pub(super) stream: S,
    pub(super) heard: Option<Heard>,
    pub(super) last: LastHeard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.last.now();
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
