//! `GET /health`: that the daemon runs, for scripts and monitors.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::{
    mcp::web::reply::{HttpReply, reply},
    session::registry::SessionRegistry,
};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    /// How many are connected.
    sessions: usize,
    /// In seconds.
    uptime: u64,
}

/// Answers with status, version, how many sessions are connected, and how long the daemon has run.
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
