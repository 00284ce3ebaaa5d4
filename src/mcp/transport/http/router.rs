//! Passes each HTTP request on to the part of the daemon that answers it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{health, legacy_sse::LegacySse, streamable::Streamable, upgrade::Upgrades};
use crate::{
    mcp::{
        dashboard::{
            activity::Activity,
            routes::{self, Dashboard},
        },
        server::SshServer,
        transport::front_request,
        web::{
            MCP_PATH,
            guard::{self, Endpoint, PeerInfo},
            reply::{HttpReply, refusal, reply},
            token::Token,
        },
    },
    session::registry::SessionRegistry,
};

/// Size limit of a message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Time limit for a message to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// Router which checks and answers every HTTP request of a daemon. All routes work on the sessions
/// of one registry.
pub(super) struct Router {
    registry: Arc<SessionRegistry>,
    /// Token which clients have to send. `None` if the user of a process decides.
    token: Option<Token>,
    streamable: Streamable,
    legacy: LegacySse,
    dashboard: Dashboard,
    server: SshServer,
    /// Upgrades to MCP in lines. `None` except in the shared daemon.
    upgrades: Option<Upgrades>,
    /// Start of the daemon, for the uptime.
    started: Instant,
}

impl Router {
    /// Creates a router to the tools of `registry`, which serves until `stop` is cancelled.
    pub(super) fn new(
        registry: Arc<SessionRegistry>,
        token: Option<Token>,
        dashboard: Dashboard,
        upgrades: Option<Upgrades>,
        stop: &CancellationToken,
    ) -> Self {
        let server = SshServer::new(Arc::clone(&registry));
        Self {
            registry,
            token,
            dashboard,
            streamable: Streamable::new(server.clone(), stop.child_token()),
            legacy: LegacySse::new(server.clone(), stop.child_token()),
            server,
            upgrades,
            started: Instant::now(),
        }
    }

    /// Answers a request, if only with a refusal.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &PeerInfo) -> HttpReply {
        let (mut parts, body) = request.into_parts();
        self.admit_and_answer(&mut parts, body, peer)
            .await
            .unwrap_or_else(|refused| *refused)
    }

    /// Checks who sent a request and passes the request on to a route.
    ///
    /// # Errors
    /// The refusal to send.
    async fn admit_and_answer(
        &self,
        parts: &mut Parts,
        body: Incoming,
        peer: &PeerInfo,
    ) -> Result<HttpReply, Box<HttpReply>> {
        // The user may follow a link to the page from any site; the key in the link admits.
        if routes::is_link(parts) {
            parts.headers.remove("sec-fetch-site");
        }

        guard::admit_origin(parts, peer.endpoint)?;
        let path = parts.uri.path();

        if let Some(upgrades) = self
            .upgrades
            .as_ref()
            .filter(|_| path == front_request::PATH)
        {
            guard::admit_visitor(&parts.headers, peer, self.token.as_ref())?;
            return Ok(upgrades.answer(parts, &self.server).await);
        }

        // The page checks visitors itself: a browser has a cookie and cannot send the token.
        if Dashboard::serves(path) {
            return self
                .dashboard
                .answer(parts, body, peer, self.token.as_ref())
                .await;
        }

        if path != MCP_PATH && !PLAIN.contains(&path) {
            let hint = "MCP is at /mcp, a page for the person at /, the state of the daemon at /health and /status";
            return Err(Box::new(refusal(
                StatusCode::NOT_FOUND,
                "there is nothing here",
                hint,
            )));
        }

        guard::admit_visitor(&parts.headers, peer, self.token.as_ref())?;

        if PLAIN.contains(&path) {
            return self
                .answer_plainly(path, &parts.method, peer.endpoint)
                .await;
        }

        // The token goes no further, since no route below needs it.
        parts.headers.remove(header::AUTHORIZATION);

        // A web page cannot send JSON without a preflight, and no preflight is granted.
        if parts.method == Method::POST && !is_json(&parts.headers) {
            let hint = "send Content-Type: application/json";
            return Err(Box::new(refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a message must be JSON",
                hint,
            )));
        }

        let body = read(body).await?;

        // Both HTTP transports share a path, so the headers decide.
        if LegacySse::claims(parts) {
            return Ok(if parts.method == Method::GET {
                self.legacy.open(&parts.headers)
            } else {
                self.legacy.post(parts, &body).await
            });
        }

        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = std::mem::take(&mut parts.headers);

        Ok(self.streamable.answer(request, &body).await)
    }

    /// Answers the requests that programs send without MCP: `/health`, `/status` and `/link`.
    ///
    /// # Errors
    /// The refusal of a method.
    async fn answer_plainly(
        &self,
        path: &str,
        method: &Method,
        endpoint: Endpoint,
    ) -> Result<HttpReply, Box<HttpReply>> {
        let allowed = if path == "/link" { "POST" } else { "GET, HEAD" };

        if !allowed.split(", ").any(|allowed| method == allowed) {
            // A refusal with 405 has to name the allowed methods (RFC 9110, section 15.5.6).
            let what = format!("{path} answers {allowed} alone");
            let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, &what, "ask with that");
            refused
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static(allowed));

            return Err(Box::new(refused));
        }

        let mut answer = match path {
            "/link" => self.dashboard.link(endpoint, self.token.is_some()).await,
            "/status" => {
                let activity = Activity::from(self.registry.overview().await);
                reply(
                    StatusCode::OK,
                    "application/json",
                    serde_json::to_string(&activity).unwrap_or_default() + "\n",
                )
            }
            _ => health::answer(&self.registry, self.started.elapsed()),
        };

        // Nothing may be stored: an answer shows one moment, or holds a key for one use.
        answer.headers_mut().insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );

        Ok(answer)
    }
}

/// Paths of the requests that programs send without MCP.
const PLAIN: [&str; 3] = ["/health", "/status", "/link"];

/// Returns true if the body is declared as JSON. Web pages may send some other media types without
/// a preflight, so only JSON is accepted.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());

    let media_type = media_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();

    media_type.eq_ignore_ascii_case("application/json")
}

/// Reads the whole body of a request.
///
/// # Errors
/// The refusal to send: 400, 408 or 413.
async fn read(body: Incoming) -> Result<Bytes, Box<HttpReply>> {
    // A slow or endless sender would hold a connection and memory.
    match timeout(
        ARRIVAL_LIMIT,
        Limited::new(body, MAX_MESSAGE_BYTES).collect(),
    )
    .await
    {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let hint = "put large content into a file and send it with ssh_upload";
            Err(Box::new(refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "a message may have 4 MiB at most",
                hint,
            )))
        }
        Ok(Err(_)) => Err(Box::new(refusal(
            StatusCode::BAD_REQUEST,
            "the message did not arrive whole",
            "send it again",
        ))),
        Err(_) => Err(Box::new(refusal(
            StatusCode::REQUEST_TIMEOUT,
            "the message took too long",
            "send it again",
        ))),
    }
}
