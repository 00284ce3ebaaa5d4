//! `GET /health`: that the daemon runs, for scripts and monitors.

use std::time::Duration;

use http::{Method, StatusCode, header};
use serde::Serialize;

use super::{Reply, refusal, reply};
use crate::session::registry::SessionRegistry;

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
pub(super) fn answer(method: &Method, registry: &SessionRegistry, uptime: Duration) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "/health answers GET alone", "ask with GET");
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let health = Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        sessions: registry.connected(),
        uptime: uptime.as_secs(),
    };
    let body = serde_json::to_string(&health).unwrap_or_default() + "\n";
    let mut answer = reply(StatusCode::OK, "application/json", body);
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}
