//! A forwarded port of a session.

mod local;
mod remote;

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use crate::{
    event::Event,
    foreign_text::ForeignText,
    forward::{
        address::ConnectAddress,
        listen::ListenAddress,
        probe::FarEnd,
        request::ForwardRequest,
        state::{ForwardCounts, ForwardDirection, ForwardState, ForwardWay},
    },
    lock::lock,
    session::live::{Grant, LaneUse, LiveSession, Permit, SessionTie},
    ssh::{
        command::remote_host::RemoteHost,
        forward::{
            channel::ForwardChannelError,
            listener::ForwardListener,
            local_address,
            relay::{RelayEnd, RelayedBytes},
            remote::RemoteListener,
        },
    },
};

/// Time limit for the first look at the other end.
pub const PROBE_LIMIT: Duration = Duration::from_secs(5);
/// Time without a connection after which a forward ends.
const IDLE_LIMIT: Duration = Duration::from_secs(8 * 60 * 60);

/// Forwarded port of a session. A local forward listens on this machine and connects on the far
/// side, a remote forward does the opposite. [`Forwards`](super::Forwards) creates and
/// holds it.
///
/// Survives the link. A new connection to a local forward waits until the session is connected
/// again; a remote forward connects the session by itself, to listen there again. Ends when the
/// session is closed, replaced or forgotten, after 8 hours without a connection, and by
/// [`close`](Self::close). The end stops listening and resets the connections.
#[derive(Debug)]
pub struct Forward {
    id: u64,
    session: String,
    direction: ForwardDirection,
    listen: ListenAddress,
    /// True if the other end speaks HTTP.
    is_http: AtomicBool,
    shared: Arc<Shared>,
}

/// Open listener of a forward, on either side.
#[derive(Debug)]
pub(super) enum Listener {
    /// Listener on this machine.
    Local(ForwardListener),
    /// Listener on the host, over the present connection.
    Remote(RemoteListener),
}

/// Reason why the first look at the other end found nothing. The forward stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// The other end refuses, for this reason.
    Refused(ForeignText),
    /// No answer has come within [`PROBE_LIMIT`].
    NoAnswer,
    /// The link was lost.
    Lost,
}

/// Connects once to the address of a request, over the host or on this machine, and returns what
/// answers there. A SOCKS proxy leads nowhere by itself, so nothing is tried. On this machine it
/// counts that anything answers.
///
/// # Errors
/// The other end refuses, no answer comes within [`PROBE_LIMIT`], or the link is lost.
pub async fn probe(host: &RemoteHost, request: &ForwardRequest) -> Result<FarEnd, ProbeError> {
    let refused = |reason: String| ProbeError::Refused(reason.into());
    let probing = async {
        match (&request.to, request.direction) {
            (ConnectAddress::Socks, _) => Ok(FarEnd::Silent),
            (to, ForwardDirection::Remote) => match local_address::connect(to).await {
                Ok(_) => Ok(FarEnd::Silent),
                Err(error) => Err(refused(error.to_string())),
            },
            (to, ForwardDirection::Local) => match host.try_forward(to).await {
                Ok(far_end) => Ok(far_end),
                Err(ForwardChannelError::Refused(refusal)) => Err(refused(refusal.to_string())),
                Err(ForwardChannelError::Lost(_)) => Err(ProbeError::Lost),
            },
        }
    };

    timeout(PROBE_LIMIT, probing)
        .await
        .unwrap_or(Err(ProbeError::NoAnswer))
}

/// Listener of a forward, and what its connections need. [`run`](Self::run) serves them.
#[derive(Debug)]
pub(super) struct Serving {
    shared: Arc<Shared>,
    listener: Listener,
    /// Held until the connections are closed, for the session to wait.
    work: TaskTrackerToken,
    /// Held while a connection may come.
    lanes: LaneUse,
}

/// State that the forward shares with its connections.
#[derive(Debug)]
struct Shared {
    session: Weak<LiveSession>,
    /// Grant by which the forward uses connections of the session.
    grant: Grant,
    to: ConnectAddress,
    bytes: RelayedBytes,
    open: AtomicUsize,
    accepted: AtomicU64,
    failed: AtomicU64,
    reset: AtomicU64,
    strangers: AtomicU64,
    /// Reason of the latest refusal at the address `to`; `None` after a success. Locked for an
    /// assignment only.
    refused: Mutex<Option<ForeignText>>,
    /// State of the listener: open, or the reason why the host does not listen. Locked for an
    /// assignment only.
    listening: Mutex<ForwardWay>,
    /// Host of the session's latest connection.
    connected: watch::Sender<Weak<RemoteHost>>,
    /// Time of the latest beginning or end of a connection. Locked for an assignment only.
    used: Mutex<Instant>,
    /// Cancelled when the forward is to end, and with the session.
    closing: CancellationToken,
    /// Set when nobody listens any more.
    closed: Event,
}

impl Forward {
    /// Creates a forward, and what serves its connections. `id` is unique in the process.
    pub(super) fn new(
        id: u64,
        session: &Arc<LiveSession>,
        SessionTie { closing, work }: SessionTie,
        listener: Listener,
        permit: Permit<ForwardRequest>,
    ) -> (Arc<Self>, Serving) {
        let (direction, listen) = match &listener {
            Listener::Local(listener) => (ForwardDirection::Local, listener.address()),
            Listener::Remote(listener) => (ForwardDirection::Remote, listener.address()),
        };

        let shared = Arc::new(Shared {
            session: Arc::downgrade(session),
            to: permit.work().to.clone(),
            grant: permit.grant,
            bytes: RelayedBytes::default(),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            reset: AtomicU64::new(0),
            strangers: AtomicU64::new(0),
            refused: Mutex::new(None),
            listening: Mutex::new(ForwardWay::Open),
            connected: watch::Sender::new(Weak::new()),
            used: Mutex::new(Instant::now()),
            closing,
            closed: Event::new(),
        });

        let forward = Self {
            id,
            session: session.saved.name.to_string(),
            direction,
            listen: listen.clone(),
            is_http: AtomicBool::new(false),
            shared: Arc::clone(&shared),
        };
        let serving = Serving {
            shared,
            listener,
            work,
            lanes: session.use_lanes(),
        };

        (Arc::new(forward), serving)
    }

    /// Returns the name of the session to which the forward belongs.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Returns true if the forward belongs to this session, and not to another of the same name.
    pub(super) fn is_of(&self, session: &LiveSession) -> bool {
        std::ptr::eq(self.shared.session.as_ptr(), session)
    }

    /// Returns true for a remote forward.
    pub(super) fn is_remote(&self) -> bool {
        self.direction == ForwardDirection::Remote
    }

    /// Returns true if this is the forward that the request means. A request without an address to
    /// listen at means any.
    pub(super) fn is(&self, session: &LiveSession, request: &ForwardRequest) -> bool {
        self.is_of(session)
            && self.shared.to == request.to
            && request.direction == self.direction
            && request
                .listen
                .as_ref()
                .is_none_or(|listen| *listen == self.listen)
    }

    /// Returns true if the forward is about to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// Stops listening and resets the connections. Returns the last state when nobody listens any
    /// more.
    pub async fn close(&self) -> ForwardState {
        self.end();
        self.shared.closed.wait().await;

        self.state()
    }

    /// Begins to close the forward, without waiting for the end.
    pub(super) fn end(&self) {
        self.shared.closing.cancel();
    }

    /// Tells the forward over which host the session is connected from now on.
    pub(super) fn connected(&self, host: &Arc<RemoteHost>) {
        self.shared.connected.send_replace(Arc::downgrade(host));
    }

    /// Records what the first look at the other end has found.
    pub fn note(&self, probed: &Result<FarEnd, ProbeError>) {
        let is_http = matches!(probed, Ok(FarEnd::Http));
        self.is_http.store(is_http, Ordering::Relaxed);

        if let Err(ProbeError::Refused(reason)) = probed {
            self.shared.note_refusal(Some(reason));
        }
    }

    /// Returns the state at this moment.
    #[must_use]
    pub fn state(&self) -> ForwardState {
        let shared = &self.shared;
        let session = shared.session.upgrade();
        let is_connected = session.is_some_and(|session| session.is_connected());

        let listening = lock(&shared.listening).clone();
        let way = match (listening, lock(&shared.refused).clone()) {
            (ForwardWay::Open, _) if !is_connected => ForwardWay::Reconnecting,
            (ForwardWay::Open, Some(reason)) => ForwardWay::Refused(reason),
            (listening, _) => listening,
        };

        // The relay counts from the side of this machine.
        let (outwards, inwards) = (&shared.bytes.to, &shared.bytes.from);
        let (bytes_to, bytes_from) = match self.direction {
            ForwardDirection::Local => (outwards, inwards),
            ForwardDirection::Remote => (inwards, outwards),
        };

        ForwardState {
            id: self.id,
            session: ForeignText::from(&self.session),
            direction: self.direction,
            listen: self.listen.clone(),
            to: shared.to.clone(),
            is_http: self.is_http.load(Ordering::Relaxed),
            way,
            counts: ForwardCounts {
                open: shared.open.load(Ordering::Relaxed),
                accepted: shared.accepted.load(Ordering::Relaxed),
                failed: shared.failed.load(Ordering::Relaxed),
                reset: shared.reset.load(Ordering::Relaxed),
                strangers: shared.strangers.load(Ordering::Relaxed),
                bytes_to: bytes_to.load(Ordering::Relaxed),
                bytes_from: bytes_from.load(Ordering::Relaxed),
            },
        }
    }
}

impl Serving {
    /// Accepts connections until the forward ends, and serves each in a task of its own. Calls
    /// `ended` when nobody listens any more.
    pub(super) async fn run(self, ended: impl FnOnce()) {
        let Self {
            shared,
            listener,
            work,
            lanes: _lanes,
        } = self;

        match listener {
            Listener::Local(listener) => local::accept(&shared, listener, &work).await,
            Listener::Remote(listener) => remote::accept(&shared, listener, &work).await,
        }

        shared.closing.cancel();
        ended();
        shared.closed.set();
    }
}

/// Waits for the end of the forward.
async fn ended(shared: &Shared) {
    tokio::select! {
        () = shared.closing.cancelled() => {}
        () = unused(shared) => {}
    }
}

/// Waits until the forward has had no connection for 8 hours.
async fn unused(shared: &Shared) {
    loop {
        let until = *lock(&shared.used) + IDLE_LIMIT;
        sleep_until(until).await;

        let is_open = shared.open.load(Ordering::Relaxed) > 0;
        if is_open {
            shared.touch();
        } else if *lock(&shared.used) + IDLE_LIMIT <= Instant::now() {
            return;
        }
    }
}

impl Shared {
    /// Records that the forward is used now.
    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// Records the reason of a refusal at the address `to`, or a success.
    fn note_refusal(&self, refused: Option<impl ToString>) {
        *lock(&self.refused) = refused.map(|reason| ForeignText::from(reason.to_string()));
    }

    /// Counts a connection that begins.
    fn count_begin(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        self.touch();
    }

    /// Counts the end of a connection. `None` means that the other end was not reached.
    fn count_end(&self, ended: Option<RelayEnd>) {
        self.touch();
        self.open.fetch_sub(1, Ordering::Relaxed);

        match ended {
            Some(RelayEnd::Finished) => {}
            Some(_) => drop(self.reset.fetch_add(1, Ordering::Relaxed)),
            None => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::{caller::Caller, live::SessionEnv, name::SessionName, saved::SavedSession},
        ssh::command::output::OutputFolder,
    };

    /// A session that never connects.
    fn session() -> Arc<LiveSession> {
        let saved = SavedSession {
            name: SessionName::try_from("web").unwrap(),
            host: "web".to_owned(),
            user: None,
            port: None,
            key_path: None,
            password_auth: false,
            extra: serde_json::Map::new(),
        };
        let env = SessionEnv {
            config_file: None,
            machine: Arc::default(),
            folder: OutputFolder::new(None),
            askpass: None,
            settings: Arc::default(),
            approvals: Arc::default(),
            forwards: Arc::default(),
            servers: crate::session::servers::SavedServers::new(crate::session::store::Store::new(
                None,
            )),
            ending: CancellationToken::new(),
        };

        LiveSession::new(saved, crate::session::live::ConnectOptions::default(), env).unwrap()
    }

    async fn forward(session: &Arc<LiveSession>) -> Arc<Forward> {
        let listener = ForwardListener::open_any(None).await.unwrap();
        let request = ForwardRequest {
            to: ConnectAddress::Socks,
            listen: None,
            direction: ForwardDirection::Local,
        };
        let permit = session.permit(request, &Caller::default()).await.unwrap();
        let (forward, serving) =
            Forward::new(1, session, session.tie(), Listener::Local(listener), permit);
        tokio::spawn(serving.run(|| {}));
        forward
    }

    #[tokio::test]
    async fn a_forward_ends_after_eight_hours_without_a_connection() {
        let session = session();
        let forward = forward(&session).await;
        tokio::time::pause();

        let began = Instant::now();
        forward.shared.open.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(3 * IDLE_LIMIT).await;
        assert!(!forward.is_closing(), "a connection is open");

        forward.shared.open.fetch_sub(1, Ordering::Relaxed);
        forward.shared.touch();
        forward.shared.closed.wait().await;
        assert_eq!((began.elapsed().as_secs()) / IDLE_LIMIT.as_secs(), 4);
    }

    #[tokio::test]
    async fn a_forward_ends_when_its_session_is_dropped_or_closed() {
        let dropped = session();
        let forward_of_dropped = forward(&dropped).await;
        drop(dropped);
        forward_of_dropped.shared.closed.wait().await;

        let closed = session();
        let forward_of_closed = forward(&closed).await;
        closed.close(Duration::from_secs(60)).await;
        assert!(forward_of_closed.shared.closed.is_set());
        assert!(
            forward(&closed).await.is_closing(),
            "a forward does not open a closed session again"
        );
    }
}
