//! Reconnecting a session, also to a host that comes back after a while.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{OpenedSession, SessionRegistry};
use crate::session::{
    caller::Caller,
    error::SessionError,
    live::{FIRST_PAUSE, Reconnected, longer},
    status::SessionStatus,
    work::Connecting,
};

/// Least time for an attempt. A shorter rest of the wait is not used.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);

impl SessionRegistry {
    /// Ensures that a session has a connection which answers; with `fresh`, the connection is new.
    /// The text is the notice about a host that became a session.
    ///
    /// While the host cannot be reached, attempts follow one another for as long as `wait`, with
    /// pauses in between. `on_retry` gets the error of each attempt after which another follows. A
    /// `wait` of zero allows a single attempt, with the time limit of the session.
    ///
    /// # Errors
    /// The session could not be opened or connected, and another attempt makes no sense or comes too
    /// late; see [`open`](Self::open) and [`LiveSession::reconnect`](crate::session::live::LiveSession::reconnect).
    pub async fn reconnect(
        &self,
        name: Option<&str>,
        fresh: bool,
        wait: Duration,
        caller: &Caller,
        mut on_retry: impl FnMut(&SessionError),
    ) -> Result<(SessionStatus, Reconnected, Option<String>), SessionError> {
        // The default session may be another one by the next attempt.
        let default = match name {
            Some(_) => None,
            None => self.lookup(None).await.ok(),
        };
        let name = name.or(default.as_ref().map(|session| session.saved.name.as_str()));

        let deadline = Instant::now() + wait;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut pause = FIRST_PAUSE;

        loop {
            let limit = (!wait.is_zero()).then(|| left().max(LEAST_ATTEMPT));
            let error = match self.reconnect_once(name, fresh, limit, caller).await {
                Err(error) if error.may_pass() => error,
                ended => return ended,
            };

            if left() < pause + LEAST_ATTEMPT {
                return Err(error);
            }

            on_retry(&error);
            self.wait_to_retry(name, pause, caller).await?;
            pause = longer(pause);
        }
    }

    /// Makes one attempt of [`reconnect`](Self::reconnect), within `limit` if that is shorter than
    /// the session's own.
    async fn reconnect_once(
        &self,
        name: Option<&str>,
        fresh: bool,
        limit: Option<Duration>,
        caller: &Caller,
    ) -> Result<(SessionStatus, Reconnected, Option<String>), SessionError> {
        let (opened, permit) = self.open(name, Connecting, caller).await?;
        let OpenedSession {
            session, notice, ..
        } = opened;

        // A connection that this call has made is fresh.
        let reconnected = match &notice {
            Some(_) => Reconnected::Connected,
            None => session.reconnect(fresh, limit, &permit, caller).await?,
        };

        let default = self.is_default(&session).await;
        Ok((session.status(default), reconnected, notice))
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The caller gave up, the session was disconnected, or the program is ending.
    async fn wait_to_retry(
        &self,
        name: Option<&str>,
        pause: Duration,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        // A host that did not become a session cannot be disconnected.
        let closing = match self.lookup(name).await {
            Ok(session) => session.open(),
            Err(_) => self.session_env.ending.clone(),
        };

        tokio::select! {
            () = sleep(pause) => Ok(()),
            () = caller.cancelled.cancelled() => Err(SessionError::Cancelled),
            () = closing.cancelled() => Err(SessionError::Cancelled),
        }
    }
}
