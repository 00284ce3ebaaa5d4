//! A front's way to the daemon.

use std::{io, time::Duration};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep, timeout};

use super::{
    location::{DaemonLocation, PlaceError},
    start::{DaemonStart, Started},
};
#[cfg(unix)]
use crate::mcp::web::peer::is_own_user;
use crate::mcp::{
    call::tool_error::ToolError,
    transport::front_request::{DIRECTORY_HEADER, PATH, PROTOCOL, VERSION, VERSION_HEADER},
};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a daemon may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at whether the daemon that another process starts is there.
const LOOK: Duration = Duration::from_millis(10);

#[cfg(unix)]
pub(super) type Stream = tokio::net::UnixStream;
#[cfg(windows)]
pub(super) type Stream = tokio::net::windows::named_pipe::NamedPipeClient;

/// Why there is no daemon to speak to.
#[derive(Debug, thiserror::Error)]
pub(super) enum JoinError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("cannot reach the shared daemon at {}: {source}", place.socket.display())]
    Unreachable {
        place: Box<DaemonLocation>,
        source: io::Error,
    },
    #[error("what listens at {0} belongs to another user; nothing was sent to it")]
    NotOurs(String),
    #[error("the shared daemon{0} does not answer")]
    Silent(String),
    #[error("what listens at {0} is no shared daemon")]
    Strange(String),
    #[error("the shared daemon cannot be started: {0}")]
    Start(String),
    #[error("another process has been starting the shared daemon, or ending it, for {} s", LIMIT.as_secs())]
    Late,
}

impl From<&JoinError> for ToolError {
    fn from(error: &JoinError) -> Self {
        let hint = match error {
            JoinError::Silent(_) => {
                "end that process, then call again; without --shared this works without it"
            }
            _ => "see to that, then call again; without --shared this works without a daemon",
        };
        Self::new(error.to_string(), hint)
    }
}

/// What is at the place of the daemon.
enum DaemonProbe {
    Joined(Stream),
    /// One of an earlier version, which takes no more fronts in from now on; its words.
    GaveWay(String),
    /// Nobody, or one that was just ending.
    Nobody,
}

/// A connection to the daemon, which is started if there is none.
///
/// # Errors
/// There is none, and none can be started, or what is there is not to be trusted.
pub(super) async fn join(place: &DaemonLocation, start: &DaemonStart) -> Result<Stream, JoinError> {
    place.prepare()?;
    let deadline = Instant::now() + LIMIT;

    while Instant::now() < deadline {
        match knock(place).await? {
            DaemonProbe::Joined(stream) => return Ok(stream),
            DaemonProbe::GaveWay(words) => tracing::warn!("{}", words.trim()),
            DaemonProbe::Nobody => {}
        }

        match start.daemon(place).await {
            Started::Ready => {}
            Started::Busy => sleep(LOOK).await,
            Started::Failed(words) => return Err(JoinError::Start(words)),
        }
    }

    Err(JoinError::Late)
}

async fn knock(place: &DaemonLocation) -> Result<DaemonProbe, JoinError> {
    let named = place.socket.display().to_string();

    let stream = match connect(place).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(DaemonProbe::Nobody);
        }
        Err(source) => {
            return Err(JoinError::Unreachable {
                place: Box::new(place.clone()),
                source,
            });
        }
    };

    let who = peer(&stream).ok_or_else(|| JoinError::NotOurs(named.clone()))?;
    let asked = timeout(ANSWER_LIMIT, ask(stream))
        .await
        .map_err(|_| JoinError::Silent(who))?;

    // A connection that ends without a word was not taken in any more.
    let Ok((status, answer)) = asked else {
        return Ok(DaemonProbe::Nobody);
    };

    match (status, answer) {
        // Where the kernel says whose it is, nothing needs to be proven.
        (StatusCode::SWITCHING_PROTOCOLS, DaemonReply::Stream(stream, proof))
            if proof == place.proof() =>
        {
            Ok(DaemonProbe::Joined(stream))
        }
        (StatusCode::GONE, DaemonReply::Words(words)) => Ok(DaemonProbe::GaveWay(words)),
        _ => Err(JoinError::Strange(named)),
    }
}

enum DaemonReply {
    /// The connection, and what only the daemon can know.
    Stream(Stream, Option<HeaderValue>),
    Words(String),
}

/// Asks to speak MCP in lines.
async fn ask(stream: Stream) -> Result<(StatusCode, DaemonReply), hyper::Error> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = http::Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    headers.insert(VERSION_HEADER, HeaderValue::from_static(VERSION));

    // One that no header can carry is not told.
    let directory = std::env::current_dir().unwrap_or_default();
    if let Ok(directory) = HeaderValue::from_bytes(directory.as_os_str().as_encoded_bytes()) {
        headers.insert(DIRECTORY_HEADER, directory);
    }

    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut answer = send.send_request(request).await?;
    let status = answer.status();

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

#[cfg(unix)]
async fn connect(place: &DaemonLocation) -> io::Result<Stream> {
    Stream::connect(&place.socket).await
}

#[cfg(windows)]
async fn connect(place: &DaemonLocation) -> io::Result<Stream> {
    crate::mcp::web::pipe::connect(&place.socket).await
}

/// Who is at the other end, in words; `None`: another user.
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

/// Nobody says whose a pipe is; the daemon proves itself in its answer.
#[cfg(windows)]
fn peer(_: &Stream) -> Option<String> {
    Some(String::new())
}
