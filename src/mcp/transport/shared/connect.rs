//! The connection of a stdio proxy to the shared daemon.

use std::{io, time::Duration};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};

use super::{
    location::{DaemonLocation, LocationError},
    start::{DaemonStart, Started},
};
use crate::mcp::{
    call::tool_error::ToolError,
    transport::front_request::{DIRECTORY_HEADER, PATH, PROTOCOL, VERSION, VERSION_HEADER},
};
#[cfg(unix)]
use crate::peer::is_own_user;

/// Time limit for joining a daemon, including the start of a new daemon.
const LIMIT: Duration = Duration::from_secs(30);
/// Time limit for the answer of a daemon to the request.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Interval between attempts to join a daemon which another process is starting.
const LOOK: Duration = Duration::from_millis(10);

/// Connection to the shared daemon.
#[cfg(unix)]
pub(super) type Stream = tokio::net::UnixStream;
/// Connection to the shared daemon.
#[cfg(windows)]
pub(super) type Stream = tokio::net::windows::named_pipe::NamedPipeClient;

/// Reason why a stdio proxy cannot join a shared daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The folder of the daemon cannot be used.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The connection to the daemon failed.
    #[error("cannot reach the shared daemon at {}: {source}", location.socket.display())]
    Unreachable {
        location: Box<DaemonLocation>,
        source: io::Error,
    },
    /// Another user listens there. Nothing was sent.
    #[error("the program that listens at {0} belongs to another user; nothing was sent to it")]
    NotOurs(String),
    /// The daemon does not answer in time. Holds the process, in words.
    #[error("the shared daemon{0} does not answer")]
    NoAnswer(String),
    /// The listener does not answer as a shared daemon does.
    #[error("the program that listens at {0} is not a shared daemon of mcp-ssh-sessions")]
    NotADaemon(String),
    /// No daemon could be started, for this reason.
    #[error("the shared daemon cannot be started: {0}")]
    Start(String),
    /// Another process kept the lock for the whole time.
    #[error("another process has been starting the shared daemon, or ending it, for {} s", LIMIT.as_secs())]
    StartTimedOut,
}

impl From<&ConnectError> for ToolError {
    fn from(error: &ConnectError) -> Self {
        let hint = match error {
            ConnectError::NoAnswer(_) => {
                "end that process, then call again, or start without --shared"
            }
            _ => "fix the cause, then call again, or start without --shared",
        };
        Self::new(error.to_string(), hint)
    }
}

/// Result of a single attempt to join a daemon.
enum DaemonProbe {
    /// A daemon of this user speaks MCP in lines on this connection.
    Joined(Stream),
    /// A daemon of an earlier version gives way, with these words. No further proxy can join this
    /// daemon.
    GaveWay(String),
    /// No daemon listens, or a daemon was just ending.
    Nobody,
}

/// Joins the shared daemon, which is started if none runs.
///
/// # Errors
/// There is no daemon and none can be started, or the process that listens cannot be trusted.
pub(super) async fn connect(
    location: &DaemonLocation,
    start: &DaemonStart,
) -> Result<Stream, ConnectError> {
    location.prepare()?;
    let deadline = Instant::now() + LIMIT;

    // Several proxies may start a daemon at once: one start succeeds, the others try again.
    while Instant::now() < deadline {
        match probe(location).await? {
            DaemonProbe::Joined(stream) => return Ok(stream),
            DaemonProbe::GaveWay(words) => tracing::warn!("{}", words.trim()),
            DaemonProbe::Nobody => {}
        }

        match start.daemon(location).await {
            Started::Ready => {}
            Started::Busy => sleep(LOOK).await,
            Started::Failed(words) => return Err(ConnectError::Start(words)),
        }
    }

    Err(ConnectError::StartTimedOut)
}

/// Tries once to join a running daemon.
///
/// # Errors
/// The daemon cannot be reached, does not answer, or cannot be trusted.
async fn probe(location: &DaemonLocation) -> Result<DaemonProbe, ConnectError> {
    let named = location.socket.display().to_string();

    let stream = match open_stream(location).await {
        Ok(stream) => stream,
        // A daemon that was killed leaves its socket file, at which connections are refused.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(DaemonProbe::Nobody);
        }
        Err(source) => {
            return Err(ConnectError::Unreachable {
                location: Box::new(location.clone()),
                source,
            });
        }
    };

    // The owner is checked before anything is sent.
    let who = peer(&stream).ok_or_else(|| ConnectError::NotOurs(named.clone()))?;
    let answered = timeout(ANSWER_LIMIT, ask(stream))
        .await
        .map_err(|_| ConnectError::NoAnswer(who))?;

    // A daemon that was ending may close the connection without an answer.
    let Ok((status, answer)) = answered else {
        return Ok(DaemonProbe::Nobody);
    };

    match (status, answer) {
        // Where the kernel tells whose the daemon is, both proofs are `None`.
        (StatusCode::SWITCHING_PROTOCOLS, DaemonReply::Stream(stream, proof))
            if proof == location.proof() =>
        {
            Ok(DaemonProbe::Joined(stream))
        }
        (StatusCode::GONE, DaemonReply::Words(words)) => Ok(DaemonProbe::GaveWay(words)),
        _ => Err(ConnectError::NotADaemon(named)),
    }
}

/// Answer of a daemon to the request for MCP in lines.
enum DaemonReply {
    /// Upgraded connection, and the proof that the daemon sent.
    Stream(Stream, Option<HeaderValue>),
    /// Text of any other answer.
    Words(String),
}

/// Asks a daemon to speak MCP in lines.
///
/// # Errors
/// The connection is lost, or the peer does not speak HTTP.
async fn ask(stream: Stream) -> Result<(StatusCode, DaemonReply), hyper::Error> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(PATH);
    // The daemon requires a Host; on a socket, any name will do.
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));

    // A path that no header can carry is left out.
    let directory = std::env::current_dir().unwrap_or_default();
    if let Ok(directory) = HeaderValue::from_bytes(directory.as_os_str().as_encoded_bytes()) {
        headers.insert(DIRECTORY_HEADER, directory);
    }

    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut answer = send.send_request(request).await?;
    let status = answer.status();

    // The daemon says nothing before the client does, so early data shows another program.
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let proof = answer.headers().get(PROTOCOL).cloned();
        let upgraded = hyper::upgrade::on(&mut answer).await?;
        if let Ok(parts) = upgraded.downcast::<TokioIo<Stream>>()
            && parts.read_buf.is_empty()
        {
            return Ok((status, DaemonReply::Stream(parts.io.into_inner(), proof)));
        }

        return Ok((status, DaemonReply::Words(String::new())));
    }

    let body = answer.into_body().collect().await?.to_bytes();

    Ok((
        status,
        DaemonReply::Words(String::from_utf8_lossy(&body).into_owned()),
    ))
}

/// Connects to the Unix socket of the daemon.
#[cfg(unix)]
async fn open_stream(location: &DaemonLocation) -> io::Result<Stream> {
    Stream::connect(&location.socket).await
}

/// Connects to the named pipe of the daemon.
#[cfg(windows)]
async fn open_stream(location: &DaemonLocation) -> io::Result<Stream> {
    crate::mcp::web::pipe::connect(&location.socket).await
}

/// Returns a description of the process at the other end; `None` if another user owns the process.
#[cfg(unix)]
fn peer(stream: &Stream) -> Option<String> {
    let peer = stream
        .peer_cred()
        .ok()
        .filter(|peer| is_own_user(peer.uid()))?;

    Some(
        peer.pid()
            .map(|pid| format!(" (process {pid})"))
            .unwrap_or_default(),
    )
}

/// Returns an empty description, since Windows does not tell whose a pipe is. The daemon proves
/// itself in the answer.
#[cfg(windows)]
fn peer(_: &Stream) -> Option<String> {
    Some(String::new())
}
