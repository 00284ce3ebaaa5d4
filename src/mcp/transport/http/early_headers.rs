//! Early headers for the answers to calls that take long.
//!
//! rmcp sends the headers of an answer together with the first message, and some clients wait no
//! longer than a minute for headers. So this module begins the answer to a call that is still
//! silent.

use std::{convert::Infallible, pin::Pin, time::Duration};

use futures_util::stream;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use tokio::time::timeout;

use crate::mcp::web::reply::{EVENT_STREAM, HttpReply};

/// Time after which the answer to a silent call begins, and the interval between later signs of
/// life.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reply of a call which is still running.
type Awaited = Pin<Box<dyn Future<Output = HttpReply> + Send>>;

/// Returns the reply, or, if the reply takes longer than ten seconds, an event stream that will
/// carry the reply. Dropping either drops the call.
pub(super) async fn in_time(reply: impl Future<Output = HttpReply> + Send + 'static) -> HttpReply {
    let mut reply: Awaited = Box::pin(reply);
    if let Ok(reply) = timeout(PATIENCE, &mut reply).await {
        return reply;
    }

    // The headers are sent now, so the status is 200 whatever the reply will be.
    let frames = stream::unfold(HandlerReply::Awaited(reply), next);
    let mut early = Response::new(StreamBody::new(frames).boxed_unsync());
    early.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(EVENT_STREAM),
    );

    early.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-cache"),
    );

    early
}

/// State of an event stream which began before the reply was there.
enum HandlerReply {
    /// The reply is not there yet.
    Awaited(Awaited),
    /// The reply is an event stream, which is passed on.
    Started(UnsyncBoxBody<Bytes, Infallible>),
    /// The event stream has ended.
    Over,
}

/// Returns the next frame of an event stream which began early, and the state after the frame.
async fn next(answer: HandlerReply) -> Option<(Result<Frame<Bytes>, Infallible>, HandlerReply)> {
    let body = match answer {
        HandlerReply::Awaited(mut reply) => match timeout(PATIENCE, &mut reply).await {
            Err(_) => return Some((Ok(comment()), HandlerReply::Awaited(reply))),
            Ok(reply) if reply.status() == StatusCode::OK && is_event_stream(reply.headers()) => {
                reply.into_body()
            }
            // The status 200 has been sent already, so an error becomes the only event, on one
            // line.
            Ok(reply) => {
                let whole = reply
                    .into_body()
                    .collect()
                    .await
                    .map(http_body_util::Collected::to_bytes);

                let text =
                    String::from_utf8_lossy(&whole.unwrap_or_default()).replace(['\r', '\n'], " ");
                return Some((
                    Ok(Frame::data(format!("data: {text}\n\n").into())),
                    HandlerReply::Over,
                ));
            }
        },
        HandlerReply::Started(body) => body,
        HandlerReply::Over => return None,
    };

    let mut body = body;
    let frame = body.frame().await?;
    Some((frame, HandlerReply::Started(body)))
}

/// Returns a comment, which keeps the connection alive and means nothing (HTML Standard,
/// server-sent events).
fn comment() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(b": still running\n\n"))
}

/// Returns true if the headers announce an event stream.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    media_type.is_some_and(|media_type| media_type.starts_with(EVENT_STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::web::reply::reply;

    async fn after(
        seconds: u64,
        media_type: &'static str,
        status: StatusCode,
        body: &'static str,
    ) -> (u16, String) {
        let late = async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            reply(status, media_type, body)
        };

        let answer = in_time(late).await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_reply_is_left_as_it_is() {
        let bad = after(9, "application/json", StatusCode::BAD_REQUEST, "{}").await;
        assert_eq!(bad, (400, "{}".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reply_begins_early_and_shows_signs_of_life() {
        let events = after(35, EVENT_STREAM, StatusCode::OK, "data: {}\n\n").await;

        assert_eq!(
            events,
            (
                200,
                ": still running\n\n: still running\n\ndata: {}\n\n".to_owned()
            )
        );

        let error = after(
            12,
            "application/json",
            StatusCode::BAD_REQUEST,
            "{\"error\":\n1}",
        )
        .await;

        assert_eq!(error, (200, "data: {\"error\": 1}\n\n".to_owned()));
    }
}
