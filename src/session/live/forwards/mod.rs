//! Forwarded ports of a process, of all sessions.

pub mod forward;
mod opening;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use self::forward::{Forward, Listener};
pub use self::opening::{OpenForwardError, OpenedForward};
use super::{LiveSession, Permit};
use crate::{
    forward::{
        request::ForwardRequest,
        state::{ForwardDirection, ForwardState},
    },
    lock::lock,
    ssh::{
        command::remote_host::RemoteHost,
        forward::{
            listener::{ForwardListenError, ForwardListener},
            remote::RemoteListenError,
        },
        transfer::Guard,
    },
};

/// Forwards of a process. A forward is in the list from the moment it listens until it ends by
/// itself, or with its session, or by [`close`](Self::close).
#[derive(Debug, Default)]
pub struct Forwards {
    last_id: AtomicU64,
    /// Forwards by their numbers. Locked for look-ups and changes only.
    open: Mutex<BTreeMap<u64, Arc<Forward>>>,
}

/// Reason why a forward is not open.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The listener on this machine cannot be opened.
    #[error(transparent)]
    Listen(#[from] ForwardListenError),
    /// The host does not listen.
    #[error(transparent)]
    RemoteListen(#[from] RemoteListenError),
    /// The session was disconnected meanwhile, which ends all forwards.
    #[error("the session was disconnected meanwhile")]
    Disconnected,
}

impl Forwards {
    /// Opens a forward of a session, or returns the open one that is the same. The flag is true for
    /// a new forward. `host` is that of the session's connection. The guard asks the user where a
    /// socket needs consent; `None` is for the user's own configuration, which needs none.
    ///
    /// The caller has made sure that the user allows a remote forward.
    ///
    /// # Errors
    /// The forward cannot listen, the user does not permit it, or the session is disconnected.
    pub async fn open(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        host: &Arc<RemoteHost>,
        permit: Permit<ForwardRequest>,
        guard: Option<&Guard>,
    ) -> Result<(Arc<Forward>, bool), ForwardError> {
        let request = permit.work();
        // An equal call waits, and finds the forward of this one.
        let _turn = session.forward_turn.lock().await;
        let same = |forward: &Arc<Forward>| forward.is(session, request);
        if let Some(forward) = self.all().into_iter().find(same) {
            return Ok((forward, false));
        }

        let tie = session.tie();
        let listener = tokio::select! {
            biased;
            () = tie.closing.cancelled() => return Err(ForwardError::Disconnected),
            listener = listen(host, request, guard) => listener?,
        };

        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (forward, serving) = Forward::new(id, session, tie, listener, permit);
        forward.connected(host);
        self.lock().insert(id, Arc::clone(&forward));

        let forwards = Arc::downgrade(self);
        tokio::spawn(serving.run(move || {
            if let Some(forwards) = forwards.upgrade() {
                forwards.lock().remove(&id);
            }
        }));

        Ok((forward, true))
    }

    /// Has the forwards of a session use the connection that the session has from now on.
    pub(super) fn on_connected(&self, session: &LiveSession, host: &Arc<RemoteHost>) {
        for forward in self.all() {
            if forward.is_of(session) {
                forward.connected(host);
            }
        }
    }

    /// Begins to close the remote forwards of a session, without waiting for the end.
    pub(super) fn end_remote(&self, session: &LiveSession) {
        for forward in self.all() {
            if forward.is_of(session) && forward.is_remote() {
                forward.end();
            }
        }
    }

    /// Returns the states of all forwards, in the order in which they were opened.
    #[must_use]
    pub fn list(&self) -> Vec<ForwardState> {
        self.all().iter().map(|forward| forward.state()).collect()
    }

    /// Closes a forward: the listener, and each connection. Returns the last state when nobody
    /// listens any more, or `None` if there is no such forward.
    pub async fn close(&self, id: u64) -> Option<ForwardState> {
        let forward = self.lock().get(&id).cloned()?;
        Some(forward.close().await)
    }

    /// Begins to close a forward, without waiting for the end.
    pub(super) fn end(&self, id: u64) {
        if let Some(forward) = self.lock().get(&id) {
            forward.end();
        }
    }

    /// Closes all forwards, or those of the session with this name. Returns their last states.
    pub async fn close_all(&self, session: Option<&str>) -> Vec<ForwardState> {
        let mut forwards = self.all();
        forwards.retain(|forward| session.is_none_or(|name| forward.session() == name));

        let mut closed = Vec::new();
        for forward in forwards {
            closed.push(forward.close().await);
        }

        closed
    }

    /// Returns the forwards that are not closing.
    fn all(&self) -> Vec<Arc<Forward>> {
        let open = self.lock();
        let all = open.values().filter(|forward| !forward.is_closing());
        all.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Forward>>> {
        lock(&self.open)
    }
}

/// Opens the listener of a forward.
async fn listen(
    host: &RemoteHost,
    request: &ForwardRequest,
    guard: Option<&Guard>,
) -> Result<Listener, ForwardError> {
    let port = request.to.port();

    Ok(match (request.direction, &request.listen) {
        (ForwardDirection::Local, Some(listen)) => {
            Listener::Local(ForwardListener::open(listen, guard).await?)
        }
        (ForwardDirection::Local, None) => Listener::Local(ForwardListener::open_any(port).await?),
        (ForwardDirection::Remote, Some(listen)) => Listener::Remote(host.listen(listen).await?),
        (ForwardDirection::Remote, None) => Listener::Remote(host.listen_any(port).await?),
    })
}
