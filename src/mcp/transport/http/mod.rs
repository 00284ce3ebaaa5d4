//! MCP over HTTP: one address for every client of this user.
//!
//! [`serve`] takes connections in from the addresses that [`web`](crate::mcp::web) opens and guards. `router` says where a
//! request goes: to `streamable` (Streamable HTTP, all revisions, with the `sessions` that the earlier ones have), to
//! `legacy_sse` (HTTP+SSE of 2024-11-05), to `health`, to the person's page ([`dashboard`](crate::mcp::dashboard)) or, in
//! the shared daemon, to `upgrade`.

mod early_headers;
mod health;
mod io;
mod legacy_sse;
mod router;
pub mod serve;
mod sessions;
mod streamable;
mod upgrade;

use http::StatusCode;

use crate::mcp::web::reply::{HttpReply, reply};

/// The answer to a body that is no message of JSON-RPC 2.0 (its section 5.1), or several at once.
fn no_message(body: &[u8]) -> HttpReply {
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
