//! MCP over HTTP: one address for every client of this user.
//!
//! [`listen`] opens the addresses, [`serve`] takes connections in, `peer` says whose they are, `newcomers` has few wait that
//! nobody knows, `guard` says who may ask, `router` where a request goes: `streamable` (Streamable HTTP, all revisions, with the `sessions` that the earlier ones
//! have), `legacy_sse` (HTTP+SSE of 2024-11-05), `health`, [`watch`] (the page for the person) or, in the shared daemon,
//! `upgrade`. [`status`] is the other end: it asks a running daemon.

mod early_headers;
pub(in crate::mcp) mod guard;
mod health;
mod legacy_sse;
pub mod listen;
pub(in crate::mcp) mod newcomers;
pub(in crate::mcp) mod peer;
mod router;
pub mod serve;
mod sessions;
pub mod status;
mod streamable;
pub mod token;
mod upgrade;
pub mod watch;

use std::convert::Infallible;

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;

/// Where MCP is served.
pub const MCP_PATH: &str = "/mcp";

/// What a request is answered with.
pub(in crate::mcp) type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The media type of server-sent events, in `Accept` and `Content-Type`.
const EVENT_STREAM: &str = "text/event-stream";

fn reply(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    reply
}

/// A refusal in words: what is wrong, and what to do.
fn refusal(status: StatusCode, message: &str, hint: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", format!("{message}\nhint: {hint}\n"))
}

/// The answer to a body that is no message of JSON-RPC 2.0 (its section 5.1), or several at once.
fn no_message(body: &[u8]) -> Reply {
    let (code, message) = match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => (-32600, "this is not one JSON-RPC message; send one a POST"),
        Err(_) => (-32700, "this is not JSON"),
    };
    let error = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    reply(StatusCode::BAD_REQUEST, "application/json", error.to_string())
}
