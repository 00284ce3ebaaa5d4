//! The sessions of Streamable HTTP (revisions 2025-03-26 to 2025-11-25; later ones have none).
//!
//! rmcp's own bookkeeping of them forgets a client in the middle of a long call, or, when told not to, never forgets
//! any. Here a session lives as long as somebody uses it, and a call as long as somebody may still fetch its answer.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use rmcp::{
    model::{
        CancelledNotification, CancelledNotificationParam, ClientJsonRpcMessage,
        ClientNotification, RequestId, ServerJsonRpcMessage,
    },
    transport::{
        common::server_side_http::ServerSseMessage,
        streamable_http_server::{
            SessionId, SessionManager,
            session::local::{LocalSessionManager, LocalSessionManagerError},
        },
    },
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many sessions there may be. One more takes the place of the one that was idle longest.
const MAX_SESSIONS: usize = 256;
/// How long a session without open streams is kept. A client that comes back later is told to begin anew.
const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// How soon a client should come back to a stream that broke off.
pub(super) const COME_BACK: Duration = Duration::from_secs(1);
/// How long a call goes on when its stream was closed and nobody came back for it.
const ABANDONED: Duration = Duration::from_secs(5);
/// How long an answer is kept that came in the meantime.
const ANSWER_KEPT_FOR: Duration = Duration::from_secs(60);

/// The sessions, and who uses them.
#[derive(Clone)]
pub(super) struct HttpSessions(Arc<Table>);

struct Table {
    rmcp: LocalSessionManager,
    used: Mutex<HashMap<SessionId, SessionUse>>,
}

/// The use of one session.
struct SessionUse {
    last: Instant,
    /// Open streams of any kind.
    streams: usize,
    /// Calls without an answer, by the number of their stream: how many read it, and the request.
    calls: HashMap<String, (usize, RequestId)>,
    /// Answers that came while nobody read the stream of this number. rmcp keeps what came before, but not these.
    missed: HashMap<String, ServerSseMessage>,
}

impl HttpSessions {
    /// An empty table, tended until `stop` is cancelled.
    pub(super) fn new(stop: CancellationToken) -> Self {
        let mut rmcp = LocalSessionManager::default();
        rmcp.session_config.keep_alive = None;
        rmcp.session_config.sse_retry = Some(COME_BACK);
        let sessions = Self(Arc::new(Table {
            rmcp,
            used: Mutex::default(),
        }));

        tokio::spawn(sessions.clone().forget_idle(stop));

        sessions
    }

    /// Whether there is a session of this name.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, SessionUse>> {
        self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, id: &SessionId) {
        if let Some(used) = self.lock().get_mut(id) {
            used.last = Instant::now();
        }
    }

    async fn forget_idle(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(IDLE_LIMIT / 60) => {}
            }

            let idle: Vec<SessionId> = {
                let used = self.lock();
                let idle = used
                    .iter()
                    .filter(|(_, used)| used.streams == 0 && used.last.elapsed() > IDLE_LIMIT);
                idle.map(|(id, _)| id.clone()).collect()
            };

            for id in idle {
                let _ = self.close_session(&id).await;
            }
        }
    }

    /// Makes room for one more session, if need be.
    async fn make_room(&self) {
        let oldest = {
            let used = self.lock();
            let oldest = used
                .iter()
                .min_by_key(|(_, used)| (used.streams, used.last))
                .map(|(id, _)| id.clone());

            oldest.filter(|_| used.len() >= MAX_SESSIONS)
        };

        if let Some(id) = oldest {
            tracing::warn!(
                "there are {MAX_SESSIONS} MCP sessions already; the one idle longest is closed"
            );
            let _ = self.close_session(&id).await;
        }
    }

    fn watch(&self, id: &SessionId, inner: Messages, call: Option<String>) -> WatchedStream {
        if let Some(used) = self.lock().get_mut(id) {
            used.streams += 1;
            used.last = Instant::now();
            if let Some((readers, _)) = call.as_ref().and_then(|call| used.calls.get_mut(call)) {
                *readers += 1;
            }
        }

        WatchedStream {
            inner,
            sessions: self.clone(),
            id: id.clone(),
            call,
            asked: None,
            over: false,
        }
    }

    /// Notes that a stream is read no longer. A call whose answer nobody fetches is cancelled.
    fn unwatch(&self, id: &SessionId, call: Option<&str>, over: bool, rest: Messages) {
        let mut used = self.lock();
        let Some(used) = used.get_mut(id) else { return };
        used.streams = used.streams.saturating_sub(1);
        used.last = Instant::now();
        let Some(call) = call else { return };

        if over {
            used.calls.remove(call);
        } else if let Some((readers, _)) = used.calls.get_mut(call) {
            *readers = readers.saturating_sub(1);
            let (sessions, id, call) = (self.clone(), id.clone(), call.to_owned());
            tokio::spawn(async move { sessions.keep_or_cancel(id, call, rest).await });
        }
    }

    async fn keep_or_cancel(self, id: SessionId, call: String, mut rest: Messages) {
        let answer = async {
            while let Some(message) = rest.next().await {
                if is_answer(&message) {
                    return message;
                }
            }
            // Somebody came back and reads on.
            std::future::pending().await
        };

        if let Ok(answer) = timeout(ABANDONED, answer).await {
            if let Some(used) = self.lock().get_mut(&id) {
                used.calls.remove(&call);
                used.missed.insert(call.clone(), answer);
            }

            sleep(ANSWER_KEPT_FOR).await;
            self.fetch(&id, &call);
            return;
        }

        let request = {
            let mut used = self.lock();
            let Some(used) = used.get_mut(&id) else {
                return;
            };

            match used.calls.get(&call) {
                Some((0, _)) => used.calls.remove(&call).map(|(_, request)| request),
                _ => None,
            }
        };

        if let Some(request) = request {
            let cancelled = CancelledNotification::new(CancelledNotificationParam::new(
                Some(request),
                Some("the answer's stream was closed".to_owned()),
            ));

            let message = ClientJsonRpcMessage::notification(
                ClientNotification::CancelledNotification(cancelled),
            );
            let _ = self.0.rmcp.accept_message(&id, message).await;
        }
    }

    /// Takes the answer that was missed on this stream.
    fn fetch(&self, id: &SessionId, call: &str) -> Option<ServerSseMessage> {
        self.lock().get_mut(id)?.missed.remove(call)
    }
}

impl SessionManager for HttpSessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        self.make_room().await;
        let (id, transport) = self.0.rmcp.create_session().await?;

        self.lock().insert(
            id.clone(),
            SessionUse {
                last: Instant::now(),
                streams: 0,
                calls: HashMap::new(),
                missed: HashMap::new(),
            },
        );

        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.0.rmcp.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.0.rmcp.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.lock().remove(id);
        self.0.rmcp.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let request = match &message {
            ClientJsonRpcMessage::Request(request) => Some(request.id.clone()),
            _ => None,
        };

        let stream = self.0.rmcp.create_stream(id, message).await?;
        let mut watched = self.watch(id, Box::pin(stream), None);
        watched.asked = request;

        Ok(watched)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.touch(id);
        self.0.rmcp.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let stream = self.0.rmcp.create_standalone_stream(id).await?;
        Ok(self.watch(id, Box::pin(stream), None))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let call = stream_number(&last_event_id).map(str::to_owned);
        let stream: Messages = match self.0.rmcp.resume(id, last_event_id).await {
            Ok(stream) => Box::pin(stream),
            Err(error) => {
                let missed = call.as_ref().and_then(|call| self.fetch(id, call));
                Box::pin(stream::iter([missed.ok_or(error)?]))
            }
        };

        Ok(self.watch(id, stream, call))
    }
}

/// The stream that an event belongs to: rmcp numbers events `<index>/<stream>`, those of no call `<index>`.
fn stream_number(event_id: &str) -> Option<&str> {
    event_id.split_once('/').map(|(_, stream)| stream)
}

type Messages = Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>>;

/// Whether this is the last message of a call.
fn is_answer(message: &ServerSseMessage) -> bool {
    matches!(
        message.message.as_deref(),
        Some(ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
    )
}

/// A stream that tells when it is read no longer.
struct WatchedStream {
    inner: Messages,
    sessions: HttpSessions,
    id: SessionId,
    call: Option<String>,
    /// The call to enter into the table as soon as its stream has a number.
    asked: Option<RequestId>,
    over: bool,
}

impl Stream for WatchedStream {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(None) => self.over = true,
            Poll::Ready(Some(message)) => {
                // It ends the call, whether or not the reader waits for the end of the stream.
                self.over |= is_answer(message);

                if let Some(number) = message.event_id.as_deref().and_then(stream_number)
                    && let Some(request) = self.asked.take()
                {
                    if let Some(used) = self.sessions.lock().get_mut(&self.id) {
                        used.calls.insert(number.to_owned(), (1, request));
                    }
                    self.call = Some(number.to_owned());
                }
            }
            Poll::Pending => {}
        }

        polled
    }
}

impl Drop for WatchedStream {
    fn drop(&mut self) {
        let rest = std::mem::replace(&mut self.inner, Box::pin(stream::empty()));
        self.sessions
            .unwatch(&self.id, self.call.as_deref(), self.over, rest);
    }
}
