//! Where a request goes.

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

/// The largest message, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long a message may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);

/// What answers requests.
pub(super) struct Router {
    registry: Arc<SessionRegistry>,
    token: Option<Token>,
    streamable: Streamable,
    legacy: LegacySse,
    watch: Dashboard,
    server: SshServer,
    upgrades: Option<Upgrades>,
    started: Instant,
}

impl Router {
    /// Routes to this registry's tools until `stop` is cancelled.
    pub(super) fn new(
        registry: Arc<SessionRegistry>,
        token: Option<Token>,
        watch: Dashboard,
        upgrades: Option<Upgrades>,
        stop: &CancellationToken,
    ) -> Self {
        let server = SshServer::new(Arc::clone(&registry));
        Self {
            registry,
            token,
            watch,
            streamable: Streamable::new(server.clone(), stop.child_token()),
            legacy: LegacySse::new(server.clone(), stop.child_token()),
            server,
            upgrades,
            started: Instant::now(),
        }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &PeerInfo) -> HttpReply {
        let (mut parts, body) = request.into_parts();
        self.admit_and_answer(&mut parts, body, peer)
            .await
            .unwrap_or_else(|refused| *refused)
    }

    async fn admit_and_answer(
        &self,
        parts: &mut Parts,
        body: Incoming,
        peer: &PeerInfo,
    ) -> Result<HttpReply, Box<HttpReply>> {
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

        if Dashboard::serves(path) {
            return self
                .watch
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

        // Nothing behind this needs it.
        parts.headers.remove(header::AUTHORIZATION);

        if parts.method == Method::POST && !is_json(&parts.headers) {
            let hint = "send Content-Type: application/json";
            return Err(Box::new(refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a message must be JSON",
                hint,
            )));
        }

        let body = read(body).await?;

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

    async fn answer_plainly(
        &self,
        path: &str,
        method: &Method,
        endpoint: Endpoint,
    ) -> Result<HttpReply, Box<HttpReply>> {
        let allowed = if path == "/link" { "POST" } else { "GET, HEAD" };

        if !allowed.split(", ").any(|allowed| method == allowed) {
            let what = format!("{path} answers {allowed} alone");
            let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, &what, "ask with that");
            refused
                .headers_mut()
                .insert(header::ALLOW, header::HeaderValue::from_static(allowed));

            return Err(Box::new(refused));
        }

        let mut answer = match path {
            "/link" => self.watch.link(endpoint, self.token.is_some()).await,
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

        answer.headers_mut().insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );

        Ok(answer)
    }
}

/// What programs ask for without MCP.
const PLAIN: [&str; 3] = ["/health", "/status", "/link"];

/// Web pages may send other media types without being asked, so these are none of ours.
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

async fn read(body: Incoming) -> Result<Bytes, Box<HttpReply>> {
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
