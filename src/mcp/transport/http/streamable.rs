//! Streamable HTTP in all revisions: the service of rmcp, with some of its answers corrected.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use rmcp::transport::streamable_http_server::{
    SessionId, StreamableHttpServerConfig, StreamableHttpService,
};
use tokio_util::sync::CancellationToken;

use super::{
    early_headers, no_message,
    sessions::{COME_BACK, HttpSessions},
};
use crate::mcp::{
    server::SshServer,
    web::reply::{HttpReply, refusal},
};

/// Service for Streamable HTTP in all revisions. Clones share the sessions.
#[derive(Clone)]
pub(super) struct Streamable {
    rmcp: StreamableHttpService<SshServer, HttpSessions>,
    sessions: HttpSessions,
}

impl Streamable {
    /// Creates a service which answers with `server` until `stop` is cancelled.
    pub(super) fn new(server: SshServer, stop: CancellationToken) -> Self {
        let sessions = HttpSessions::new(stop.clone());

        // The guard has checked Host and Origin, as for all routes.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_sse_retry(Some(COME_BACK))
            .with_cancellation_token(stop);

        let rmcp = StreamableHttpService::new(
            move || Ok(server.clone().for_new_client()),
            Arc::new(sessions.clone()),
            config,
        );

        Self { rmcp, sessions }
    }

    /// Answers a request. The caller has checked the media type.
    pub(super) async fn answer(&self, request: Request<Full<Bytes>>, body: &Bytes) -> HttpReply {
        let method = request.method().clone();
        let session = request
            .headers()
            .get("mcp-session-id")
            .and_then(|id| id.to_str().ok())
            .map(SessionId::from);

        // rmcp would confirm the end of a session that does not exist.
        if let (&Method::DELETE, Some(id)) = (&method, &session)
            && !self.sessions.has(id)
        {
            return refusal(
                StatusCode::NOT_FOUND,
                "there is no such session",
                "it has ended already; begin a new one",
            );
        }

        let rmcp = self.rmcp.clone();
        let answering = async move { rmcp.handle(request).await.map(BodyExt::boxed_unsync) };

        // Only a POST starts calls, which may be silent for long.
        if method == Method::POST {
            let answer = early_headers::in_time(answering).await;
            // rmcp answers 415 to JSON that it cannot read; a client expects an error of JSON-RPC.
            return if answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                no_message(body)
            } else {
                answer
            };
        }

        let mut answer = answering.await;

        // The session has ended by now. Some clients reject 202, which only promises the end.
        if method == Method::DELETE && answer.status() == StatusCode::ACCEPTED {
            *answer.status_mut() = StatusCode::NO_CONTENT;
        }

        answer
    }
}
