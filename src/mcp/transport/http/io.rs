//! The stream of one connection.

use std::pin::Pin;

use hyper_util::rt::TokioIo;
use tokio_io_timeout::TimeoutStream;
use tokio_util::either::Either;

/// What a client is connected over.
#[cfg(unix)]
pub(super) type Stream = Either<tokio::net::TcpStream, tokio::net::UnixStream>;
/// What a client is connected over.
#[cfg(not(unix))]
pub(super) type Stream =
    Either<tokio::net::TcpStream, tokio::net::windows::named_pipe::NamedPipeServer>;

/// What hyper reads from and writes to.
pub(super) type Io = TokioIo<Pin<Box<TimeoutStream<Stream>>>>;
