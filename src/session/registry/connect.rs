//! Connecting a session by request, with settings that replace earlier ones of the same name.

use std::{sync::Arc, time::Duration};

use super::{DISCONNECT_PATIENCE, SessionRegistry};
use crate::session::{
    caller::Caller,
    causes::with_causes,
    error::SessionError,
    live::{CONNECT_LIMIT, ConnectOptions, LiveSession},
    name::SessionName,
    saved::SavedSession,
    status::{ConnectionState, SessionStatus},
    work::Connecting,
};

/// Longest wait for the facts about the host, which came on their way right after the log-in. The
/// first command needs the same answer, so the wait is not lost.
const FACTS_PATIENCE: Duration = Duration::from_millis(300);

/// Request to connect a session.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Settings to save.
    pub saved: SavedSession,
    /// Settings which are never saved: secrets and the time limit.
    pub secrets: ConnectOptions,
}

/// Session that is being connected, and its entry in the registry.
///
/// A new name is entered at once, so that a second call for it shares the connection being made.
/// Dropping the reservation removes a session that never connected, and leaves any other.
pub(super) struct Reservation<'a> {
    registry: &'a SessionRegistry,
    name: SessionName,
    pub(super) session: Arc<LiveSession>,
    /// Session of the same name with other settings; stays in use until the new session has
    /// connected.
    old: Option<Arc<LiveSession>>,
}

impl SessionRegistry {
    /// Connects a session and saves the settings.
    ///
    /// Returns the session's status and notices for the user. A session of the same name with other
    /// settings is replaced, and its connection closed.
    ///
    /// # Errors
    /// The connection could not be made. An existing session of the same name is left as it was.
    pub async fn connect(
        &self,
        request: ConnectRequest,
        caller: &Caller,
    ) -> Result<(SessionStatus, Vec<String>), SessionError> {
        let limit = request.secrets.limit.unwrap_or(CONNECT_LIMIT);
        let session = LiveSession::new(request.saved, request.secrets, self.session_env.clone())?;

        let reservation = self.reserve(session);
        let permit = reservation.session.permit(Connecting, caller).await?;
        let host = reservation.session.connect(&permit, limit, caller).await?;
        let (session, old) = reservation.enter();

        let name = &session.saved.name;
        let mut notices = Vec::new();

        if let Some(old) = old {
            if old.status(false).state == ConnectionState::Connected {
                notices.push(format!(
                    "the session {name} had another destination or other credentials before; \
                     that connection was closed"
                ));
            }
            old.close(DISCONNECT_PATIENCE).await;
            session.open_postponed_forwards(&host, caller).await?;
        }

        notices.extend(session.notices());
        notices.extend(session.take_forward_notices());
        notices.extend(self.forwards_notice(name));
        let saved = session.to_save();

        match self.update(move |document| document.save(saved)).await {
            Ok(()) => notices.extend(self.take_notice()),
            Err(error) => notices.push(format!(
                "it is connected, but could not be saved: {}",
                with_causes(&error)
            )),
        }

        let default = self.default_name(None).as_ref() == Some(name);
        let status = session.status(default);
        // Only the facts are as they come: a server that ends the connection after this question
        // is connected anew by the next call.
        host.wait_for_facts(FACTS_PATIENCE).await;

        let status = SessionStatus {
            facts: host.facts(),
            ..status
        };

        Ok((status, notices))
    }

    /// Returns the notice that names the open forwards of a session. `None` if there are none.
    fn forwards_notice(&self, name: &SessionName) -> Option<String> {
        let forwards = self.forwards.list().into_iter();
        let lines: Vec<String> = forwards
            .filter(|forward| forward.session.raw() == name.as_str())
            .map(|forward| forward.to_string())
            .collect();

        (!lines.is_empty()).then(|| format!("forwards: {}", lines.join("; ")))
    }

    /// Reserves the name of a session. A session with the same settings is reused.
    fn reserve(&self, wanted: Arc<LiveSession>) -> Reservation<'_> {
        let name = wanted.saved.name.clone();
        let mut sessions = self.lock();

        // Fixed before a session is replaced: replacing must not change which session was first.
        sessions.first = sessions.first();

        let (session, old) = match sessions.live.get(&name).cloned() {
            Some(same) if same.is_same(&wanted) => (same, None),
            Some(old) => {
                // The old session may have opened the same forwards.
                wanted.postpone_forwards();
                (wanted, Some(old))
            }
            None => {
                sessions.live.insert(name.clone(), Arc::clone(&wanted));
                (wanted, None)
            }
        };

        Reservation {
            registry: self,
            name,
            session,
            old,
        }
    }
}

impl SessionRegistry {
    /// Reserves the name of a session. Any session of the same name is reused.
    pub(super) fn reserve_unused(&self, wanted: Arc<LiveSession>) -> Reservation<'_> {
        let name = wanted.saved.name.clone();
        let mut sessions = self.lock();
        let session = sessions.live.entry(name.clone());
        let session = Arc::clone(session.or_insert(wanted));

        Reservation {
            registry: self,
            name,
            session,
            old: None,
        }
    }
}

impl Reservation<'_> {
    /// Enters the session after its log-in. Returns the session, and the session which it replaces.
    fn enter(self) -> (Arc<LiveSession>, Option<Arc<LiveSession>>) {
        let mut sessions = self.registry.lock();
        sessions
            .live
            .insert(self.name.clone(), Arc::clone(&self.session));
        sessions.first = sessions.first();

        (Arc::clone(&self.session), self.old.clone())
    }

    /// Keeps the session in the registry after its log-in, unless another call has entered one of
    /// the same name. Returns the session that is there.
    pub(super) fn keep(self) -> Arc<LiveSession> {
        let mut sessions = self.registry.lock();
        let session = sessions.live.entry(self.name.clone());
        let session = Arc::clone(session.or_insert_with(|| Arc::clone(&self.session)));
        sessions.first = sessions.first();

        session
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut sessions = self.registry.lock();
        let is_entered = sessions
            .live
            .get(&self.name)
            .is_some_and(|entered| Arc::ptr_eq(entered, &self.session));

        // Another call may have connected this session.
        if is_entered && self.session.first_connected_at().is_none() {
            sessions.live.remove(&self.name);
        }
    }
}
