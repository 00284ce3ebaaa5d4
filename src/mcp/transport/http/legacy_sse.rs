//! HTTP+SSE, the transport of MCP 2024-11-05, at the same address. A GET opens the event stream
//! that carries all answers. The first event names the address for POSTs.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use rmcp::{
    RoleServer, ServiceExt as _,
    model::ProtocolVersion,
    service::{RxJsonRpcMessage, TxJsonRpcMessage, serve_directly_with_ct},
    transport::Transport,
};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::no_message;
use crate::{
    lock::lock,
    mcp::{
        server::SshServer,
        transport::handshake::FromHandshake,
        web::{
            MCP_PATH,
            reply::{EVENT_STREAM, HttpReply, refusal, reply},
        },
    },
    random,
};

/// Interval between signs of life on a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time limit for a full queue. A client that reads nothing for so long counts as gone.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);
/// Limit of messages which wait in each direction of a stream.
const QUEUE: usize = 64;

/// Query parameter with the id of the stream, in the address for POSTs.
const SESSION_PARAMETER: &str = "sessionId=";

/// Open event streams of HTTP+SSE. Clones share the streams. Each stream serves one client until
/// either end closes the stream or `stop` is cancelled.
#[derive(Clone)]
pub(super) struct LegacySse {
    server: SshServer,
    /// Senders of the clients' messages, by the id of the stream.
    streams: Arc<Mutex<HashMap<String, mpsc::Sender<RxJsonRpcMessage<RoleServer>>>>>,
    stop: CancellationToken,
}

impl LegacySse {
    /// Creates a table without streams, whose clients are served by `server` until `stop` is
    /// cancelled.
    pub(super) fn new(server: SshServer, stop: CancellationToken) -> Self {
        Self {
            server,
            streams: Arc::default(),
            stop,
        }
    }

    /// Returns true if a request belongs to HTTP+SSE and not to Streamable HTTP. This is a GET for
    /// an event stream without the headers of the newer transports, or a POST to the address of
    /// such a stream.
    pub(super) fn claims(request: &Parts) -> bool {
        let headers = &request.headers;
        // Streamable HTTP has GETs for event streams, too, but within a session.
        if headers.contains_key("mcp-session-id") {
            return false;
        }

        match request.method {
            Method::POST => stream_id(request).is_some(),
            Method::GET => {
                accepts_events(headers)
                    && !headers.contains_key("last-event-id")
                    && !is_stateless(headers)
            }
            _ => false,
        }
    }

    /// Opens an event stream and serves a client until either end closes the stream.
    ///
    /// A client that comes back after a restart of the daemon knows its revision already and sends
    /// no handshake. Its `MCP-Protocol-Version` header shows this.
    pub(super) fn open(&self, headers: &HeaderMap) -> HttpReply {
        // Other clients of the daemon cannot guess a random id.
        let Ok(id) = random::hex::<16>() else {
            return refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the system's random number generator is unavailable",
                "try again",
            );
        };

        let (incoming, to_server) = mpsc::channel(QUEUE);
        let (from_server, outgoing) = mpsc::channel(QUEUE);
        let stop = self.stop.child_token();
        let transport = Events {
            incoming: to_server,
            outgoing: from_server,
        };

        let entry = SseStream {
            id: id.clone(),
            streams: self.clone(),
        };

        // The entry exists before the client learns the address, so that the first POST finds it.
        self.lock().insert(id.clone(), incoming);
        let (server, comes_back, until) = (
            self.server.clone().for_new_client(),
            headers.contains_key("mcp-protocol-version"),
            stop.clone(),
        );

        tokio::spawn(async move {
            // Removes the entry when this task ends, for whatever reason.
            let _entry = entry;

            if comes_back {
                let _ = serve_directly_with_ct(server, transport, None, until)
                    .waiting()
                    .await;
            } else if let Ok(running) =
                Box::pin(server.serve_with_ct(FromHandshake::new(transport), until)).await
            {
                let _ = running.waiting().await;
            }
        });

        // `Delay` avoids a burst of overdue signs of life after a time without reading.
        let mut keep_alive = interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);

        // The address is relative, so that the client stays at the origin which it knows.
        let first = format!("event: endpoint\ndata: {MCP_PATH}?{SESSION_PARAMETER}{id}\n\n");

        let writing = Writing {
            first: Some(first),
            outgoing,
            keep_alive,
            _stop: stop.drop_guard(),
        };

        let mut answer =
            Response::new(StreamBody::new(stream::unfold(writing, next)).boxed_unsync());
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static(EVENT_STREAM),
        );

        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-cache, no-transform"),
        );

        answer
    }

    /// Passes a message to the stream named in the address. The caller has checked the media type.
    pub(super) async fn post(&self, request: &Parts, body: &[u8]) -> HttpReply {
        let stream = stream_id(request).and_then(|id| self.lock().get(id).cloned());

        let Some(stream) = stream else {
            return refusal(
                StatusCode::NOT_FOUND,
                "there is no such event stream",
                "open a new one: GET /mcp",
            );
        };

        let Ok(message) = serde_json::from_slice(body) else {
            return no_message(body);
        };

        match timeout(UNREAD_LIMIT, stream.send(message)).await {
            Ok(Ok(())) => reply(StatusCode::ACCEPTED, "text/plain", "Accepted"),
            _ => refusal(
                StatusCode::NOT_FOUND,
                "this event stream is closed",
                "open a new one: GET /mcp",
            ),
        }
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<RxJsonRpcMessage<RoleServer>>>>
    {
        lock(&self.streams)
    }
}

/// Entry of a stream in the table. Dropping the entry removes the stream.
struct SseStream {
    id: String,
    streams: LegacySse,
}

impl Drop for SseStream {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
    }
}

/// Returns the id of the stream named in the address; `None` for other addresses.
fn stream_id(request: &Parts) -> Option<&str> {
    request
        .uri
        .query()?
        .split('&')
        .find_map(|parameter| parameter.strip_prefix(SESSION_PARAMETER))
}

/// Returns true if the client names event streams among the accepted media types. `*/*` does not
/// count, because clients send such requests just to look around.
fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());

    accepted.flat_map(|value| value.split(',')).any(|range| {
        range
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .eq_ignore_ascii_case(EVENT_STREAM)
    })
}

/// Returns true if the request belongs to a revision without event streams to open.
fn is_stateless(headers: &HeaderMap) -> bool {
    // Revisions are dates, so the order of their texts is their order in time.
    let version = headers
        .get("mcp-protocol-version")
        .and_then(|value| value.to_str().ok());
    version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Transport of a single client. Messages arrive by POST and leave on the event stream.
struct Events {
    incoming: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    outgoing: mpsc::Sender<TxJsonRpcMessage<RoleServer>>,
}

impl Transport<RoleServer> for Events {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        async move {
            match timeout(UNREAD_LIMIT, outgoing.send(item)).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.incoming.recv().await
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.incoming.close();
        Ok(())
    }
}

/// Event stream of a client, as the body of an HTTP response. Dropping the body, because the client
/// went away, stops the calls of this client.
struct Writing {
    /// Event with the address for POSTs; `None` after this event was sent.
    first: Option<String>,
    outgoing: mpsc::Receiver<TxJsonRpcMessage<RoleServer>>,
    keep_alive: Interval,
    _stop: DropGuard,
}

/// Returns the next event: first the address for POSTs, later messages and signs of life.
async fn next(mut writing: Writing) -> Option<(Result<Frame<Bytes>, Infallible>, Writing)> {
    let text = if let Some(first) = writing.first.take() {
        first
    } else {
        tokio::select! {
            message = writing.outgoing.recv() => {
                let message = serde_json::to_string(&message?).unwrap_or_default();
                writing.keep_alive.reset();
                format!("event: message\ndata: {message}\n\n")
            }
            _ = writing.keep_alive.tick() => ": keep-alive\n\n".to_owned(),
        }
    };

    Some((Ok(Frame::data(text.into())), writing))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn each_client_lands_at_its_own_transport() {
        let events = ("accept", "text/event-stream");
        for (method, target, headers, ours) in [
            ("GET", "/mcp", vec![events], true),
            (
                "GET",
                "/mcp",
                vec![("accept", "Text/Event-Stream;q=0.9, */*")],
                true,
            ),
            (
                "GET",
                "/mcp",
                vec![events, ("mcp-protocol-version", "2025-11-25")],
                true,
            ),
            (
                "GET",
                "/mcp",
                vec![events, ("mcp-protocol-version", "2026-07-28")],
                false,
            ),
            ("GET", "/mcp", vec![events, ("mcp-session-id", "a")], false),
            ("GET", "/mcp", vec![events, ("last-event-id", "1/0")], false),
            (
                "GET",
                "/mcp",
                vec![("accept", "*/*"), ("mcp-protocol-version", "2024-11-05")],
                false,
            ),
            ("GET", "/mcp", vec![], false),
            ("POST", "/mcp?sessionId=ab", vec![], true),
            ("POST", "/mcp?x=1&sessionId=ab", vec![], true),
            (
                "POST",
                "/mcp?sessionId=ab",
                vec![("mcp-session-id", "a")],
                false,
            ),
            ("POST", "/mcp", vec![], false),
            ("DELETE", "/mcp?sessionId=ab", vec![], false),
        ] {
            let mut request = Request::builder().method(method).uri(target);
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }

            let request = request.body(()).unwrap().into_parts().0;
            assert_eq!(
                LegacySse::claims(&request),
                ours,
                "{method} {target} {headers:?}"
            );
        }
    }
}
