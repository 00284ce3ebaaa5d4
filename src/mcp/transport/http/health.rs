//! `GET /health`, which tells scripts and monitors that the daemon runs.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::{
    mcp::web::reply::{HttpReply, reply},
    session::registry::SessionRegistry,
};

/// Body of the answer to `GET /health`, as JSON.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    /// Number of connected sessions.
    sessions: usize,
    /// Time since the start of the daemon, in seconds.
    uptime: u64,
}

/// Returns the status, the version, the number of connected sessions and the uptime of the daemon.
pub(super) fn answer(registry: &SessionRegistry, uptime: Duration) -> HttpReply {
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        sessions: registry.connected(),
        uptime: uptime.as_secs(),
    };

    let body = serde_json::to_string(&health).unwrap_or_default() + "\n";
    reply(StatusCode::OK, "application/json", body)
}
