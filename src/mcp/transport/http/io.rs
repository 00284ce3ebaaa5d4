//! The stream of one connection to the daemon.

use std::pin::Pin;

use hyper_util::rt::TokioIo;
use tokio_io_timeout::TimeoutStream;
use tokio_util::either::Either;

/// Stream to a client: TCP or a Unix socket.
#[cfg(unix)]
pub(super) type Stream = Either<tokio::net::TcpStream, tokio::net::UnixStream>;
/// Stream to a client: TCP or a named pipe of Windows.
#[cfg(not(unix))]
pub(super) type Stream =
    Either<tokio::net::TcpStream, tokio::net::windows::named_pipe::NamedPipeServer>;

/// Stream to a client with a write timeout, in the form in which hyper reads and writes.
pub(super) type Io = TokioIo<Pin<Box<TimeoutStream<Stream>>>>;
