//! MCP over HTTP: one address for every client of this user.
//!
//! [`serve`] accepts connections at the addresses that [`web`](crate::mcp::web) opens and guards.
//! `router` passes each request on: to `streamable` (Streamable HTTP, all revisions; `sessions`
//! holds the sessions of the earlier ones), to `legacy_sse` (HTTP+SSE of 2024-11-05), to `health`,
//! to the user's page ([`dashboard`](crate::mcp::dashboard)) or, in the shared daemon, to
//! `upgrade`.

mod early_headers;
mod health;
mod io;
mod legacy_sse;
mod lifecycle;
mod router;
pub mod serve;
mod sessions;
mod streamable;
mod upgrade;

use http::StatusCode;

use crate::mcp::web::reply::{HttpReply, reply};

/// Returns the error of JSON-RPC 2.0 (section 5.1) for a body which is not a single message.
fn no_message(body: &[u8]) -> HttpReply {
    // Valid JSON may be a batch of messages, which MCP dropped in revision 2025-06-18.
    let (code, message) = match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => (-32600, "this is not one JSON-RPC message; send one a POST"),
        Err(_) => (-32700, "this is not JSON"),
    };

    let error = serde_json::json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    reply(
        StatusCode::BAD_REQUEST,
        "application/json",
        error.to_string(),
    )
}
