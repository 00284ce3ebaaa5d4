//! A connection that was accepted on this machine.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::peer::PeerConnection;

/// Connection to a program on this machine. Dropping the stream closes the connection.
#[derive(Debug)]
pub enum LocalStream {
    /// TCP connection over loopback.
    Tcp(TcpStream),
    /// Connection to a Unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl LocalStream {
    /// Returns true if a process of this user holds the other end. Returns false if the owner
    /// cannot be found out.
    pub async fn is_ours(&self) -> bool {
        match self {
            Self::Tcp(stream) => match PeerConnection::of_stream(stream) {
                Ok(connection) => connection.is_ours().await,
                Err(_) => false,
            },
            #[cfg(unix)]
            Self::Unix(stream) => stream
                .peer_cred()
                .is_ok_and(|peer| crate::peer::is_own_user(peer.uid())),
        }
    }

    /// Ends the connection so that the program at the other end sees an error (RST), not a regular
    /// end. A Unix socket has no such signal, and just ends.
    pub fn reset(self) {
        if let Self::Tcp(stream) = &self {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
