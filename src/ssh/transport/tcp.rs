//! TCP stream under an SSH connection, tuned for short response times.

use std::{
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop::consume_budget,
};

/// Initial size of the read buffer, in bytes. The SSH layer reads each packet in two parts, the
/// first of which has four bytes. Without a buffer, each part would be a system call.
const READ_BUFFER: usize = 8 * 1024;
/// Largest size of the read buffer, in bytes. A read which fills the buffer doubles its size, since
/// most connections never have much to read.
const MAX_READ_BUFFER: usize = 128 * 1024;

/// Number of reads for which the kernel is asked to acknowledge at once. sshd keeps Nagle's
/// algorithm on until the first command, so a delayed acknowledgement would hold its answers back
/// by 40 ms.
const QUICK_ACKNOWLEDGEMENTS: u32 = 40;

/// TCP stream with short delays: `TCP_NODELAY`, quick acknowledgements at the start, and a read
/// buffer.
pub(in crate::ssh) struct TcpTransport {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// Start of the unread bytes in the buffer.
    start: usize,
    /// End of the unread bytes in the buffer.
    end: usize,
    /// Number of reads which are still to be acknowledged at once.
    quick: u32,
}

impl TcpTransport {
    /// Wraps a connected stream.
    ///
    /// # Errors
    /// The socket refuses `TCP_NODELAY`.
    pub(in crate::ssh) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let buffer = vec![0; READ_BUFFER].into_boxed_slice();
        Ok(Self {
            stream,
            buffer,
            start: 0,
            end: 0,
            quick: QUICK_ACKNOWLEDGEMENTS,
        })
    }

    /// Returns the address of the other end; `None` if the connection has ended.
    pub(in crate::ssh) fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

/// Returns true if the other end has closed the connection. The system would still accept one more
/// write, and nobody could tell whether those bytes have arrived.
fn is_over(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(stream).peek(&mut byte), Ok(0))
}

impl AsyncRead for TcpTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream,
            buffer,
            start,
            end,
            quick,
        } = &mut *self;

        if start == end {
            // A large read takes no detour through the buffer.
            if into.remaining() >= buffer.len() {
                return Pin::new(stream).poll_read(cx, into);
            }

            if *end == buffer.len() && *end < MAX_READ_BUFFER {
                *buffer = vec![0; *end * 2].into_boxed_slice();
            }

            let mut fresh = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut fresh))?;
            (*start, *end) = (0, fresh.filled().len());

            // Linux ends quick acknowledgements by itself, so they are requested again for each
            // read (`tcp(7)`).
            if *quick > 0 {
                *quick -= 1;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                let _ = stream.set_quickack(true);
            }
        }

        // tokio's budget counts reads of the socket, not of the buffer. Without this call, a flood
        // of small packets would keep the thread from all other tasks.
        ready!(pin!(consume_budget()).poll(cx));
        let available = buffer.get(*start..*end).unwrap_or_default();
        let taken = available.len().min(into.remaining());
        into.put_slice(available.get(..taken).unwrap_or_default());
        *start += taken;

        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TcpTransport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if is_over(&self.stream) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the server has closed it",
            )));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
