//! The sessions of Streamable HTTP in revisions 2025-03-26 to 2025-11-25; later revisions have
//! none.
//!
//! rmcp's own bookkeeping forgets a client in the middle of a long call, or, with other settings,
//! never forgets any client. Here a session lives as long as a client uses it, and a call as long
//! as a client may still fetch its answer.

use crate::lock::lock;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
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

/// Limit of sessions. A further session replaces the session that was idle longest.
const MAX_SESSIONS: usize = 256;
/// Time after which a session without open streams ends. A client that comes back later has to
/// begin a new session.
const IDLE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Delay after which a client should reopen a broken stream.
pub(super) const COME_BACK: Duration = Duration::from_secs(1);
/// Time for which a call goes on after its stream was closed, unless a client reopens the stream.
const ABANDONED: Duration = Duration::from_secs(5);
/// Time for which an answer without a reader is kept.
const ANSWER_KEPT_FOR: Duration = Duration::from_secs(60);

/// Session manager for rmcp, which records the use of each session. Clones share the sessions.
#[derive(Clone)]
pub(super) struct HttpSessions(Arc<Table>);

/// State shared by the clones of `HttpSessions`.
struct Table {
    rmcp: LocalSessionManager,
    /// Use of each session, by the id of the session.
    used: Mutex<HashMap<SessionId, SessionUse>>,
}

/// Use of a single session.
struct SessionUse {
    /// Time of the latest message, or of the latest opening or closing of a stream.
    last: Instant,
    /// Number of open streams of any kind.
    streams: usize,
    /// Calls without an answer, by the number of the stream: number of readers, and id of the
    /// request.
    calls: HashMap<String, (usize, RequestId)>,
    /// Answers which came while nobody read the stream of this number. rmcp keeps the earlier
    /// messages of a stream, but not these.
    missed: HashMap<String, ServerSseMessage>,
}

impl HttpSessions {
    /// Creates an empty table and starts the task which ends idle sessions until `stop` is
    /// cancelled.
    pub(super) fn new(stop: CancellationToken) -> Self {
        // The keep-alive of rmcp would end a session during a long silent call.
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

    /// Returns true if a session with this id exists.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, SessionUse>> {
        lock(&self.0.used)
    }

    /// Notes that a session is in use now.
    fn touch(&self, id: &SessionId) {
        if let Some(used) = self.lock().get_mut(id) {
            used.last = Instant::now();
        }
    }

    /// Ends sessions which were idle for too long, until `stop` is cancelled.
    async fn forget_idle(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(IDLE_LIMIT / 60) => {}
            }

            // The lock is released before the sessions are closed, since closing waits.
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

    /// Ends the least used session if there is no room for a new session.
    async fn make_room(&self) {
        // A session with open streams has a client that waits, so it goes last.
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

    /// Counts an open stream, and wraps the stream to note the end of reading.
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
            awaited_request: None,
            ended: false,
        }
    }

    /// Notes the end of reading a stream. A call whose answer nobody fetches is cancelled some
    /// seconds later.
    fn unwatch(&self, id: &SessionId, call: Option<&str>, ended: bool, rest: Messages) {
        let mut used = self.lock();
        let Some(used) = used.get_mut(id) else { return };
        used.streams = used.streams.saturating_sub(1);
        used.last = Instant::now();
        let Some(call) = call else { return };

        if ended {
            used.calls.remove(call);
        } else if let Some((readers, _)) = used.calls.get_mut(call) {
            *readers = readers.saturating_sub(1);
            // The rest is read in the background: the answer may come before the client comes back.
            let (sessions, id, call) = (self.clone(), id.clone(), call.to_owned());
            tokio::spawn(async move { sessions.keep_or_cancel(id, call, rest).await });
        }
    }

    /// Waits for the answer to a call without readers. Keeps an answer for a minute, or cancels the
    /// call if no reader comes back.
    async fn keep_or_cancel(self, id: SessionId, call: String, mut rest: Messages) {
        let answer = async {
            while let Some(message) = rest.next().await {
                if is_answer(&message) {
                    return message;
                }
            }
            // The stream ended without an answer, because a client came back and reads on.
            std::future::pending().await
        };

        if let Ok(answer) = timeout(ABANDONED, answer).await {
            if let Some(used) = self.lock().get_mut(&id) {
                used.calls.remove(&call);
                used.missed.insert(call.clone(), answer);
            }

            // A client that never comes back must not leave its answer in memory.
            sleep(ANSWER_KEPT_FOR).await;
            self.fetch(&id, &call);
            return;
        }

        // A client that has come back meanwhile keeps its call.
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

    /// Takes the answer which nobody read on the stream `call`; `None` if there is none.
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

        // The number of the stream is known only from its first event.
        let stream = self.0.rmcp.create_stream(id, message).await?;
        let mut watched = self.watch(id, Box::pin(stream), None);
        watched.awaited_request = request;

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
        // rmcp fails for a stream that it has forgotten; an answer that was missed is kept here.
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

/// Returns the number of the stream which an event belongs to. rmcp numbers the events of a call
/// `<index>/<stream>`, and others `<index>`, which gives `None`.
fn stream_number(event_id: &str) -> Option<&str> {
    event_id.split_once('/').map(|(_, stream)| stream)
}

/// Stream of messages to a client.
type Messages = Pin<Box<dyn Stream<Item = ServerSseMessage> + Send + Sync>>;

/// Returns true for the last message of a call.
fn is_answer(message: &ServerSseMessage) -> bool {
    matches!(
        message.message.as_deref(),
        Some(ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
    )
}

/// Stream which reports the end of reading to `HttpSessions` when dropped.
struct WatchedStream {
    inner: Messages,
    sessions: HttpSessions,
    id: SessionId,
    /// Number of the call's stream. `None` until known, and for streams of no call.
    call: Option<String>,
    /// Request to enter into the table once the number of the stream is known.
    awaited_request: Option<RequestId>,
    /// True if the answer has been read or the stream has ended.
    ended: bool,
}

impl Stream for WatchedStream {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(None) => self.ended = true,
            Poll::Ready(Some(message)) => {
                // The answer ends the call, even if the reader does not wait for the end of the
                // stream.
                self.ended |= is_answer(message);

                if let Some(number) = message.event_id.as_deref().and_then(stream_number)
                    && let Some(request) = self.awaited_request.take()
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
            .unwatch(&self.id, self.call.as_deref(), self.ended, rest);
    }
}
