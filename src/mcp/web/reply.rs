//! Replies over HTTP.

use std::convert::Infallible;

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Bytes;

/// Reply to an HTTP request.
pub(in crate::mcp) type HttpReply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The media type of server-sent events, in `Accept` and `Content-Type`.
pub(in crate::mcp) const EVENT_STREAM: &str = "text/event-stream";

/// Returns a reply with this status, media type and body.
pub(in crate::mcp) fn reply(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> HttpReply {
    let mut reply = Response::new(Full::new(body.into()).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(media_type),
    );
    reply
}

/// Returns a refusal in plain text: a message about the problem, and a hint about the remedy.
pub(in crate::mcp) fn refusal(status: StatusCode, message: &str, hint: &str) -> HttpReply {
    reply(
        status,
        "text/plain; charset=utf-8",
        format!("{message}\nhint: {hint}\n"),
    )
}
