//! Asks a running daemon about its activity.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{
    foreign_text::json_for_a_terminal,
    mcp::web::{listen::reachable, token::Token},
    peer::{self, PeerConnection},
};

/// Time limit for the answer of a daemon.
const LIMIT: Duration = Duration::from_secs(10);

/// Address of a daemon.
#[derive(Debug)]
pub enum StatusEndpoint {
    /// TCP address.
    Tcp(SocketAddr),
    /// Path of a Unix socket, or name of a named pipe.
    Socket(PathBuf),
}

/// Reason why a daemon gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing listens at the address.
    #[error("no daemon answers at {0}; start one with: mcp-ssh-sessions --http PORT (or --shared)")]
    None(String),
    /// Another user listens at the address. Nothing was sent.
    #[error("the program that listens at {0} belongs to another user; nothing was sent to it")]
    NotOurs(String),
    /// The system does not report which user listens at the address. Nothing was sent.
    #[error(
        "this system does not report which user listens at {0}, so nothing was sent; use --socket with a path of your own"
    )]
    OwnerUnknown(String),
    /// The answer took too long.
    #[error("the daemon at {0} did not answer in 10 s")]
    NoAnswer(String),
    /// The daemon refused the request.
    #[error("the daemon at {endpoint} refused the request with {status}: {text}")]
    Refused {
        /// Name of the address.
        endpoint: String,
        /// HTTP status.
        status: StatusCode,
        /// Text of the answer.
        text: String,
    },
    /// The listener is not a daemon of this program.
    #[error("the program that answers at {0} is not mcp-ssh-sessions")]
    NotADaemon(String),
}

/// Format of the activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFormat {
    /// Tables for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Asks the daemon at `endpoint` for all sessions, shells, commands, transfers and forwards.
///
/// # Errors
/// No daemon of this user answers there, or the daemon refuses.
pub async fn ask(
    endpoint: &StatusEndpoint,
    token: Option<&Token>,
    form: StatusFormat,
) -> Result<String, StatusError> {
    let (named, text) = fetch(endpoint, token, Method::GET, "/status").await?;
    // Another program at this address may answer with 200, too.
    let activity: Value = serde_json::from_str(&text).unwrap_or_default();
    if !activity.get("sessions").is_some_and(Value::is_array) {
        return Err(StatusError::NotADaemon(named));
    }

    Ok(match form {
        StatusFormat::Table => super::status_table::format(&activity),
        StatusFormat::Json => json_for_a_terminal(text.trim_end()),
    })
}

/// Asks the daemon at `endpoint` for its version.
///
/// # Errors
/// No daemon of this user answers there.
pub async fn version(endpoint: &StatusEndpoint) -> Result<String, StatusError> {
    let (named, text) = fetch(endpoint, None, Method::GET, "/health").await?;
    let health: Value = serde_json::from_str(&text).unwrap_or_default();
    let version = health.get("version").and_then(Value::as_str);
    version
        .map(str::to_owned)
        .ok_or(StatusError::NotADaemon(named))
}

/// Asks the daemon at `endpoint` for a new link to the page, which works once.
///
/// # Errors
/// No daemon of this user answers there, or the daemon refuses.
pub async fn link(endpoint: &StatusEndpoint, token: Option<&Token>) -> Result<String, StatusError> {
    let (named, answer) = fetch(endpoint, token, Method::POST, "/link").await?;

    // Over TCP the daemon answers with the path, over a socket with the whole link.
    let (begin, link) = match endpoint {
        StatusEndpoint::Tcp(_) => ("/?", named.clone() + &answer),
        StatusEndpoint::Socket(_) => ("http://127.0.0.1:", answer.clone()),
    };

    // The link is printed and opened in a browser, so it may contain nothing else.
    if !answer.starts_with(begin) || !answer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StatusError::NotADaemon(named));
    }

    Ok(link)
}

/// Sends a request to the daemon at `endpoint`. Returns the name of the address and the text of the
/// answer.
///
/// # Errors
/// No daemon answers there, another user listens, or the daemon refuses.
async fn fetch(
    endpoint: &StatusEndpoint,
    token: Option<&Token>,
    method: Method,
    target: &str,
) -> Result<(String, String), StatusError> {
    // The guard of the daemon requires a Host; on a socket, any name will do.
    let (named, host) = match endpoint {
        StatusEndpoint::Tcp(address) => (
            format!("http://{}", reachable(*address)),
            reachable(*address).to_string(),
        ),
        StatusEndpoint::Socket(path) => (path.display().to_string(), "localhost".to_owned()),
    };

    let asking = async {
        match endpoint {
            StatusEndpoint::Tcp(address) => {
                let connecting = TcpStream::connect(reachable(*address)).await;
                let stream = connecting.map_err(|_| StatusError::None(named.clone()))?;

                // The token must not reach a user who took the port while no daemon of ours was
                // running.
                if may_stay_other_user(&stream).await {
                    return Err(if peer::identifies_users().await {
                        StatusError::NotOurs
                    } else {
                        StatusError::OwnerUnknown
                    }(named.clone()));
                }

                send_request(stream, &host, token, method.clone(), target).await
            }
            #[cfg(unix)]
            StatusEndpoint::Socket(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let stream = stream.map_err(|_| StatusError::None(named.clone()))?;

                // Nothing is sent before the kernel has named the user at the other end.
                if !stream
                    .peer_cred()
                    .is_ok_and(|peer| peer::is_own_user(peer.uid()))
                {
                    return Err(StatusError::NotOurs(named.clone()));
                }

                send_request(stream, &host, token, method.clone(), target).await
            }
            #[cfg(windows)]
            StatusEndpoint::Socket(path) => {
                let stream = tokio::net::windows::named_pipe::ClientOptions::new().open(path);
                let stream = stream.map_err(|_| StatusError::None(named.clone()))?;
                send_request(stream, &host, token, method.clone(), target).await
            }
        }
        .ok_or_else(|| StatusError::NotADaemon(named.clone()))
    };

    let (status, text) = timeout(LIMIT, asking)
        .await
        .map_err(|_| StatusError::NoAnswer(named.clone()))??;

    if status != StatusCode::OK {
        return Err(StatusError::Refused {
            endpoint: named,
            status,
            text: text.trim().replace('\n', "; "),
        });
    }

    Ok((named, text))
}

/// Returns true if another user of this machine may be at the other end. Nobody holds a connection
/// which a busy daemon has not accepted yet, so the look is repeated for a second.
async fn may_stay_other_user(stream: &TcpStream) -> bool {
    for _ in 0..20 {
        // A peer that has hung up can receive nothing any more.
        let Ok(connection) = PeerConnection::of_stream(stream) else {
            return false;
        };

        if !connection.may_be_other_user().await {
            return false;
        }

        sleep(Duration::from_millis(50)).await;
    }

    true
}

/// Sends a request over `stream`. Returns `None` if the answer is not HTTP.
async fn send_request<S>(
    stream: S,
    host: &str,
    token: Option<&Token>,
    method: Method,
    target: &str,
) -> Option<(StatusCode, String)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host);

    if let Some(value) = token.and_then(Token::header) {
        request = request.header(header::AUTHORIZATION, value);
    }

    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let answer = send.send_request(request).await.ok()?;
    let status = answer.status();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    // The daemon would keep the connection open for another request.
    connection.abort();

    Some((status, String::from_utf8_lossy(&body).into_owned()))
}
