//! Asks a running daemon for its sessions.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{EVENT_STREAM, MCP_PATH, peer, token::Token};

/// How long a daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Where a daemon is.
#[derive(Debug)]
pub enum Place {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a Unix socket.
    #[cfg(unix)]
    Socket(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing listens there.
    #[error("no daemon answers at {0}; start one with: mcp-ssh-sessions --http PORT")]
    None(String),
    /// What listens there is not this user's; nothing was sent to it.
    #[error("what listens at {0} belongs to another user; nothing was sent to it")]
    NotOurs(String),
    /// It took too long.
    #[error("the daemon at {0} did not answer in 10 s")]
    Slow(String),
    /// It answers something else.
    #[error("{place} answers {status}: {text}")]
    Refused {
        /// Where.
        place: String,
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        text: String,
    },
    /// It is no daemon of ours.
    #[error("what answers at {0} is not mcp-ssh-sessions")]
    Strange(String),
}

/// The sessions of the daemon there, as `ssh_sessions` lists them.
///
/// # Errors
/// Nobody answers there, or something else does.
pub async fn ask(place: &Place, token: Option<&Token>) -> Result<String, StatusError> {
    let (named, host) = match place {
        Place::Tcp(address) => (format!("http://{address}"), address.to_string()),
        #[cfg(unix)]
        Place::Socket(path) => (path.display().to_string(), "localhost".to_owned()),
    };
    let asking = async {
        match place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|_| StatusError::None(named.clone()))?;
                // A token is not for whoever took the port while no daemon of ours ran.
                if address.ip().is_loopback() && peer::KNOWN_HERE {
                    let own = stream.local_addr().map_err(|_| StatusError::None(named.clone()))?;
                    if !becomes_ours(own, *address).await {
                        return Err(StatusError::NotOurs(named.clone()));
                    }
                }
                converse(stream, &host, token).await
            }
            #[cfg(unix)]
            Place::Socket(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let stream = stream.map_err(|_| StatusError::None(named.clone()))?;
                if stream.peer_cred().map(|peer| peer.uid()).ok() != Some(nix::unistd::geteuid().as_raw()) {
                    return Err(StatusError::NotOurs(named.clone()));
                }
                converse(stream, &host, token).await
            }
        }
        .ok_or_else(|| StatusError::Strange(named.clone()))
    };
    let (status, text) = timeout(LIMIT, asking).await.map_err(|_| StatusError::Slow(named.clone()))??;
    if status != StatusCode::OK {
        return Err(StatusError::Refused { place: named, status, text: text.trim().replace('\n', "; ") });
    }
    listing(&text).ok_or(StatusError::Strange(named))
}

/// Whether a process of this user is at the other end. A connection that a busy daemon has not taken in yet is held by
/// nobody, so this looks for a second.
async fn becomes_ours(own: SocketAddr, address: SocketAddr) -> bool {
    for _ in 0..20 {
        if peer::is_ours(own, address).await {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

/// Sends one request of revision 2026-07-28, which needs no session: `None` if the answer is not HTTP.
async fn converse<S>(stream: S, host: &str, token: Option<&Token>) -> Option<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let question = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {
            "name": "ssh_sessions", "arguments": {},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "mcp-ssh-sessions", "version": env!("CARGO_PKG_VERSION") },
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(MCP_PATH)
        .header(header::HOST, host)
        .header(header::ACCEPT, format!("application/json, {EVENT_STREAM}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", "ssh_sessions");
    if let Some(value) = token.and_then(Token::header) {
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Full::new(Bytes::from(question.to_string()))).ok()?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let answer = send.send_request(request).await.ok()?;
    let status = answer.status();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The text of the tool's result in an event stream.
fn listing(events: &str) -> Option<String> {
    let data = events.lines().filter_map(|line| line.strip_prefix("data:"));
    let answer = data.filter_map(|data| serde_json::from_str::<Value>(data).ok()).find(|message| message["id"] == 1)?;
    let text = answer.pointer("/result/content/0/text")?.as_str()?;
    Some(text.to_owned())
}
