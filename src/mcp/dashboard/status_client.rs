//! Asks a running daemon what goes on in it.

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
    mcp::web::{
        listen::reachable,
        peer::{self, PeerConnection},
        token::Token,
    },
    render::json_for_a_terminal,
};

/// How long a daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Where a daemon is.
#[derive(Debug)]
pub enum StatusEndpoint {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a Unix socket, or a named pipe.
    Socket(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing listens there.
    #[error("no daemon answers at {0}; start one with: mcp-ssh-sessions --http PORT (or --shared)")]
    None(String),
    /// What listens there is not this user's; nothing was sent to it.
    #[error("what listens at {0} belongs to another user; nothing was sent to it")]
    NotOurs(String),
    /// This system does not tell whose it is; nothing was sent to it.
    #[error(
        "this system does not tell whose daemon listens at {0}, so nothing was sent to it; ask at a --socket of your own"
    )]
    Untold(String),
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

/// In which form it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The sessions, shells, commands and transfers of the daemon there.
///
/// # Errors
/// Nobody answers there, or something else does.
pub async fn ask(
    place: &StatusEndpoint,
    token: Option<&Token>,
    form: StatusFormat,
) -> Result<String, StatusError> {
    let (named, text) = fetch(place, token, Method::GET, "/status").await?;
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    if !told.get("sessions").is_some_and(Value::is_array) {
        return Err(StatusError::Strange(named));
    }

    Ok(match form {
        StatusFormat::Table => super::status_table::of(&told),
        StatusFormat::Json => json_for_a_terminal(text.trim_end()),
    })
}

/// A new link to the page of the daemon there, for one use.
///
/// # Errors
/// As [`ask`].
pub async fn link(place: &StatusEndpoint, token: Option<&Token>) -> Result<String, StatusError> {
    let (named, answer) = fetch(place, token, Method::POST, "/link").await?;

    // Over a socket it is whole.
    let (begin, link) = match place {
        StatusEndpoint::Tcp(_) => ("/?", named.clone() + &answer),
        StatusEndpoint::Socket(_) => ("http://127.0.0.1:", answer.clone()),
    };

    if !answer.starts_with(begin) || !answer.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StatusError::Strange(named));
    }

    Ok(link)
}

/// What the daemon there answers, and the name of the place.
async fn fetch(
    place: &StatusEndpoint,
    token: Option<&Token>,
    method: Method,
    target: &str,
) -> Result<(String, String), StatusError> {
    let (named, host) = match place {
        StatusEndpoint::Tcp(address) => (
            format!("http://{}", reachable(*address)),
            reachable(*address).to_string(),
        ),
        StatusEndpoint::Socket(path) => (path.display().to_string(), "localhost".to_owned()),
    };

    let asking = async {
        match place {
            StatusEndpoint::Tcp(address) => {
                let connecting = TcpStream::connect(reachable(*address)).await;
                let stream = connecting.map_err(|_| StatusError::None(named.clone()))?;

                // A token is not for whoever took the port while no daemon of ours ran.
                if may_stay_other_user(&stream).await {
                    let told = peer::is_told().await;
                    return Err(if told {
                        StatusError::NotOurs
                    } else {
                        StatusError::Untold
                    }(named.clone()));
                }

                converse(stream, &host, token, method.clone(), target).await
            }
            #[cfg(unix)]
            StatusEndpoint::Socket(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                let stream = stream.map_err(|_| StatusError::None(named.clone()))?;

                if !stream
                    .peer_cred()
                    .is_ok_and(|peer| peer::is_own_user(peer.uid()))
                {
                    return Err(StatusError::NotOurs(named.clone()));
                }

                converse(stream, &host, token, method.clone(), target).await
            }
            #[cfg(windows)]
            StatusEndpoint::Socket(path) => {
                let stream = tokio::net::windows::named_pipe::ClientOptions::new().open(path);
                let stream = stream.map_err(|_| StatusError::None(named.clone()))?;
                converse(stream, &host, token, method.clone(), target).await
            }
        }
        .ok_or_else(|| StatusError::Strange(named.clone()))
    };

    let (status, text) = timeout(LIMIT, asking)
        .await
        .map_err(|_| StatusError::Slow(named.clone()))??;

    if status != StatusCode::OK {
        return Err(StatusError::Refused {
            place: named,
            status,
            text: text.trim().replace('\n', "; "),
        });
    }

    Ok((named, text))
}

/// Whether another user of this machine may be at the other end. A connection that a busy daemon has not taken in yet is
/// held by nobody, so this looks for a second.
async fn may_stay_other_user(stream: &TcpStream) -> bool {
    for _ in 0..20 {
        // Nothing can be sent any more to who has hung up.
        let Ok(connection) = PeerConnection::of(stream) else {
            return false;
        };

        if !connection.may_be_other_user().await {
            return false;
        }

        sleep(Duration::from_millis(50)).await;
    }

    true
}

/// Sends one request: `None` if the answer is not HTTP.
async fn converse<S>(
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
    connection.abort();

    Some((status, String::from_utf8_lossy(&body).into_owned()))
}
