//! Streamable HTTP, all revisions: rmcp's service, with the answers that it leaves wanting.

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

/// Streamable HTTP for this server, all revisions.
#[derive(Clone)]
pub(super) struct Streamable {
    rmcp: StreamableHttpService<SshServer, HttpSessions>,
    sessions: HttpSessions,
}

impl Streamable {
    /// Serves with `server` until `stop` is cancelled.
    pub(super) fn new(server: SshServer, stop: CancellationToken) -> Self {
        let sessions = HttpSessions::new(stop.clone());

        // Host and Origin are checked by the guard, for all routes alike.
        let config = StreamableHttpServerConfig::default()
            .disable_allowed_hosts()
            .with_sse_retry(Some(COME_BACK))
            .with_cancellation_token(stop);

        let rmcp = StreamableHttpService::new(
            move || Ok(server.clone()),
            Arc::new(sessions.clone()),
            config,
        );

        Self { rmcp, sessions }
    }

    /// Answers one request, the media type of which has been checked.
    pub(super) async fn answer(&self, request: Request<Full<Bytes>>, body: &Bytes) -> HttpReply {
        let method = request.method().clone();
        let session = request
            .headers()
            .get("mcp-session-id")
            .and_then(|id| id.to_str().ok())
            .map(SessionId::from);

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

        if method == Method::POST {
            let answer = early_headers::in_time(answering).await;
            // rmcp's word for JSON that it cannot read.
            return if answer.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                no_message(body)
            } else {
                answer
            };
        }

        let mut answer = answering.await;

        // The end of a session has happened when it is answered; some clients complain of a mere promise.
        if method == Method::DELETE && answer.status() == StatusCode::ACCEPTED {
            *answer.status_mut() = StatusCode::NO_CONTENT;
        }

        answer
    }
}
