//! The TCP stream under SSH, tuned for it.

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

/// How much is read from the socket at once, in bytes. The SSH layer reads each packet in two parts, of which the first
/// has four bytes; without a buffer each would be a system call. It is doubled, up to the largest, each time that a read
/// fills it: most connections never have much to read.
const READ_BUFFER: usize = 8 * 1024;
const MAX_READ_BUFFER: usize = 128 * 1024;

/// For how many reads the kernel is asked to acknowledge at once. sshd keeps Nagle's algorithm on until the first
/// command; a delayed acknowledgement of ours would hold its answers back by 40 ms.
const QUICK_ACKNOWLEDGEMENTS: u32 = 40;

/// A TCP stream without delays: `TCP_NODELAY`, quick acknowledgements at the start, a read buffer.
pub(in crate::ssh) struct TcpTransport {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    quick: u32,
}

impl TcpTransport {
    /// Wraps a connected stream. Fails only if the socket refuses `TCP_NODELAY`.
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

    /// The address of the other end, while there is one.
    pub(in crate::ssh) fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

/// Whether the other end has closed the connection. The system would still take the bytes of one more write, of which
/// nobody could say then whether they have arrived.
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
            if into.remaining() >= buffer.len() {
                return Pin::new(stream).poll_read(cx, into);
            }

            if *end == buffer.len() && *end < MAX_READ_BUFFER {
                *buffer = vec![0; *end * 2].into_boxed_slice();
            }

            let mut fresh = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut fresh))?;
            (*start, *end) = (0, fresh.filled().len());

            if *quick > 0 {
                *quick -= 1;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                let _ = stream.set_quickack(true);
            }
        }

        // The runtime counts what a socket gives, not what a buffer does: a flood of small packets would keep its thread from
        // all others.
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
