//! Connection of a session: reused, dialled, replaced and closed.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{
    ConnectionInfo, LiveSession,
    permit::{Grant, Permit},
};
use crate::{
    foreign_text::escape_line,
    lock::lock,
    session::{
        caller::Caller,
        error::SessionError,
        reconnect::{Reconnect, SessionSituation, decide},
        work::Connecting,
    },
    ssh::{
        command::{remote_host::RemoteHost, sudo::SudoMemory},
        connect::{UnknownHosts, UnknownOnRoute, connection::Peer, unknown_on_route},
        error::SshError,
    },
};

/// Time limit for a connection to answer when a caller asks for a reconnect.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Number of useless connections in a row after which a server is left alone for a while.
///
/// A connection is useless if the server closed it before anything came over a channel. Each
/// attempt is a log-in, and a server may allow only a few.
const MAX_USELESS: u32 = 3;
/// Time for which a server is left alone after [`MAX_USELESS`] useless connections.
const LEFT_IN_PEACE: Duration = Duration::from_secs(30);

/// Outcome of a reconnect request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnected {
    /// The connection answered and was kept.
    Kept,
    /// There was no connection before.
    Connected,
    /// The connection did not answer and was replaced.
    Replaced,
    /// The session logged in anew because the caller asked for a fresh connection.
    Renewed,
}

impl LiveSession {
    /// Returns the session's host for the work of a grant, dialling if there is no live connection.
    ///
    /// # Errors
    /// The settings or the user do not allow the work. Connecting failed, needs a password that is
    /// gone, or was cancelled.
    pub(in crate::session) async fn host(
        &self,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        self.host_within(self.limit, grant, caller).await
    }

    /// Connects the session for the work of a permit, within a time limit, if it is not connected.
    ///
    /// # Errors
    /// Connecting failed, the settings do not allow it, or the call was cancelled.
    pub async fn connect<W>(
        &self,
        permit: &Permit<W>,
        limit: Duration,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        self.host_within(limit, &permit.grant, caller).await
    }

    /// Returns the session's host like [`host`](Self::host), with a time limit for this dial.
    ///
    /// # Errors
    /// The settings or the user do not allow the work. Connecting failed, needs a password that is
    /// gone, or was cancelled.
    pub(in crate::session) async fn host_within(
        &self,
        limit: Duration,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        self.host_other_than(None, limit, grant, caller).await
    }

    /// Returns a host other than `old`, dialling if needed: the same machine over another log-in.
    ///
    /// If the dial fails, `old` stays the session's host.
    async fn host_other_than(
        &self,
        old: Option<&Arc<RemoteHost>>,
        limit: Duration,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        let closing = self.open();

        let host = tokio::select! {
            host = async {
                let _permit = self.permit_to_dial(caller).await;
                self.reuse_or_dial(old, limit, grant, caller).await
            } => host?,
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            () = closing.cancelled() => return Err(SessionError::Cancelled),
        };

        // The settings may have changed, and the address may have rules of its own.
        tokio::select! {
            checked = self.check_at(&host, grant, caller) => checked,
            () = closing.cancelled() => Err(SessionError::Cancelled),
        }?;

        self.say_where(host.peer(), caller);

        Ok(host)
    }

    /// Tells the audit log the host of the last connection, for a call that needs none.
    pub fn say_last_host(&self, caller: &Caller) {
        let peer = lock(&self.last).peer.clone();
        caller.audit.session(self.name());

        if let Some(peer) = peer {
            self.say_where(&peer, caller);
        }
    }

    fn say_where(&self, peer: &Peer, caller: &Caller) {
        let audit = caller.audit.part(self.name());
        audit.host(&self.saved.host, &peer.user, &peer.host_name, peer.port);
    }

    /// Waits for a permit of the call if the session is not connected. Returns `None` if no permit
    /// is needed.
    async fn permit_to_dial<'a>(&self, caller: &'a Caller) -> Option<SemaphorePermit<'a>> {
        let dials = caller.dials.as_deref()?;
        // The turn ends before the wait, because other calls must not wait for this call's permits.
        let host = self.connection.turn().await.value();
        if host.is_some_and(|host| !host.is_closed()) {
            return None;
        }

        dials.acquire().await.ok()
    }

    /// Returns the live host unless it is `old`, or dials. Callers that wait meanwhile share the
    /// outcome.
    async fn reuse_or_dial(
        &self,
        old: Option<&Arc<RemoteHost>>,
        limit: Duration,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        let mut turn = self.connection.turn().await;
        turn.take_if(|host| host.is_closed());

        let alive = turn
            .value()
            .filter(|host| old.is_none_or(|old| !Arc::ptr_eq(host, old)));

        let situation = SessionSituation {
            alive: alive.is_some(),
            needs_password: self.saved.password_auth || self.used_password(),
            has_password: lock(&self.credentials).have_password()
                || caller.prompter.can_ask_secrets()
                || (self.session_env.askpass.is_some() && !caller.is_unattended),
            ending: self.session_env.ending.is_cancelled(),
        };

        match (decide(situation), alive) {
            (Reconnect::Reuse, Some(host)) => return Ok(host),
            (Reconnect::NeedsPassword, _) => {
                return Err(SessionError::NeedsPassword(self.name().to_owned()));
            }
            (Reconnect::Refuse, _) => return Err(SessionError::Cancelled),
            (Reconnect::Redial | Reconnect::Reuse, _) => {}
        }

        if let Some(error) = turn.shared_error() {
            return Err(self.ssh(error));
        }

        // A server that closes every connection at once would see a log-in for each call otherwise.
        if turn
            .last_attempt()
            .is_some_and(|at| at.elapsed() < LEFT_IN_PEACE)
            && let Some(error) = self.closed_at_once(MAX_USELESS)
        {
            return Err(self.ssh(error));
        }

        let opened = self.dial(limit, grant, caller).await;
        turn.finish(&opened);

        opened.map_err(|error| self.ssh(error))
    }

    /// Returns the first host on the way whose key is not known, the session's own or a jump host's.
    /// Nobody is contacted.
    ///
    /// # Errors
    /// The SSH configuration or a `known_hosts` file is unusable.
    pub async fn unknown_on_route(&self) -> Result<Option<UnknownOnRoute>, SessionError> {
        unknown_on_route(&self.target, self.limit)
            .await
            .map_err(|error| self.ssh(error))
    }

    /// Opens a connection and records the outcome for listings and later dials.
    async fn dial(
        &self,
        limit: Duration,
        grant: &Grant,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, Arc<SshError>> {
        let askpass = self.session_env.askpass.clone();
        let prompter = caller
            .prompter
            .clone()
            .or_askpass(askpass.filter(|_| !caller.is_unattended));
        // Copied, because the mutex must not stay locked while the dial awaits.
        let credentials = lock(&self.credentials).clone();
        let unknown_hosts = if self.is_unproven() {
            UnknownHosts::Refused
        } else {
            UnknownHosts::AsConfigured
        };

        let opened = RemoteHost::open(
            &self.target,
            &credentials,
            &prompter,
            limit,
            unknown_hosts,
            &self.route_check(grant, caller),
            self.session_env.servers.known().await,
        )
        .await;
        let opened = match opened {
            Ok(host) => {
                self.end_forwards_of_other_host(host.peer());
                self.open_forwards(&host, caller).await.map(|()| host)
            }
            Err(error) => Err(error),
        };

        let mut last = lock(&self.last);

        match opened {
            Ok(host) => {
                {
                    // Kept for later log-ins, so that the user is not asked again for what worked.
                    let mut credentials = lock(&self.credentials);
                    credentials
                        .typed_secrets
                        .clone_from(&host.first().typed_secrets);
                    credentials.needs_proof = host.first().needs_proof;
                }

                let peer = host.peer().clone();

                tracing::info!(
                    session = self.name(),
                    host = peer.host_name,
                    port = peer.port,
                    "connected"
                );

                let first = last.first.or(Some(peer.connected_at));
                // Counted before the old connection, to which the count belongs, is replaced.
                let (useless, farewell) = (last.useless(), last.farewell());

                *last = ConnectionInfo {
                    first,
                    peer: Some(peer),
                    host: Some(Arc::clone(&host)),
                    error: None,
                    useless,
                    farewell,
                };

                drop(last);
                self.keep_lane_of(&host);
                self.remove_remote_temps(&host);
                self.session_env.forwards.on_connected(self, &host);

                Ok(host)
            }
            Err(error) => {
                let text = escape_line(error.to_string());
                tracing::warn!(session = self.name(), error = text, "not connected");
                last.error = Some(text);

                Err(Arc::new(error))
            }
        }
    }

    /// Opens the forwards of the SSH configuration if this connection is the session's first, and
    /// closes the connection if that fails.
    fn open_forwards<'a>(
        &'a self,
        host: &'a Arc<RemoteHost>,
        caller: &'a Caller,
    ) -> BoxFuture<'a, Result<(), SshError>> {
        // Boxed, because a forward connects its session, which makes the future recursive.
        Box::pin(async move {
            let this = self.this.upgrade().ok_or(SshError::Cancelled)?;
            let forwards = &self.session_env.forwards;
            let opened = self
                .configured_forwards
                .open_if_due(forwards, &this, host, caller);
            let opened = opened.await;
            if opened.is_err() {
                host.close().await;
            }

            opened
        })
    }

    /// Leaves the forwards of the SSH configuration to
    /// [`open_postponed_forwards`](Self::open_postponed_forwards).
    pub(in crate::session) fn postpone_forwards(&self) {
        self.configured_forwards.set_due(false);
    }

    /// Opens the forwards that were postponed. If that fails, the session is not connected.
    ///
    /// # Errors
    /// A forward is not open, and the configuration says `ExitOnForwardFailure yes`.
    pub(in crate::session) async fn open_postponed_forwards(
        &self,
        host: &Arc<RemoteHost>,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        self.configured_forwards.set_due(true);
        self.open_forwards(host, caller)
            .await
            .map_err(|error| self.ssh(error))
    }

    /// Stops running commands, closes the connection and forgets all secrets.
    ///
    /// Waits up to `patience` for commands to end. The session can be connected again afterwards.
    pub async fn close(&self, patience: Duration) {
        // Commands are stopped over the connection, so they have to end before it is closed.
        lock(&self.closing).cancel();
        self.running.close();
        let _ = timeout(patience, self.running.wait()).await;
        self.running.reopen();
        lock(&self.shells).clear();
        lock(&self.idle_files).take();
        *lock(&self.sudo) = SudoMemory::default();
        let host = self.connection.turn().await.take_if(|_| true);
        if let Some(host) = host {
            host.close().await;
            tracing::info!(session = self.name(), "disconnected");
        }

        // Last, because a dial that was in progress keeps the secrets typed for it.
        lock(&self.credentials).forget();
        lock(&self.last).host = None;
        self.configured_forwards.set_due(true);
    }

    /// Ensures a working connection, dialling if the current connection does not answer.
    ///
    /// With `fresh`, the session logs in anew in any case. Running commands stay on the old
    /// connection, which ends when nothing uses it any more. A `limit` shorter than the session's
    /// holds for the dial.
    ///
    /// # Errors
    /// Connecting failed, needs a password that is gone, or was cancelled. With `fresh`, the old
    /// connection then stays in use.
    pub async fn reconnect(
        &self,
        fresh: bool,
        limit: Option<Duration>,
        permit: &Permit<Connecting>,
        caller: &Caller,
    ) -> Result<Reconnected, SessionError> {
        let grant = &permit.grant;
        let limit = limit.map_or(self.limit, |limit| limit.min(self.limit));
        let current = self.connection.turn().await.value();

        // The reason for a fresh log-in may be another configuration of the server.
        if let Some(last) = lock(&self.last).host.as_ref().filter(|_| fresh) {
            last.forget_server();
        }

        let old = current.filter(|host| !host.is_closed());

        let Some(old) = old else {
            self.host_within(limit, grant, caller).await?;
            return Ok(Reconnected::Connected);
        };

        if fresh {
            // The reason for a fresh log-in may be a changed password, which changes sudo's as
            // well.
            *lock(&self.sudo) = SudoMemory::default();
            self.host_other_than(Some(&old), limit, grant, caller)
                .await?;
            // Only now: a failed log-in must leave the old connection as it was.
            old.retire();
            return Ok(Reconnected::Renewed);
        }

        // The connection may end while the answer is awaited, as when the host goes down.
        if old.answers(ANSWER_LIMIT).await && !old.is_closed() {
            return Ok(Reconnected::Kept);
        }

        self.drop_host(&old).await;
        self.host_within(limit, grant, caller).await?;

        Ok(Reconnected::Replaced)
    }

    /// Drops a host to which nothing could be sent.
    ///
    /// Returns true if another attempt makes sense.
    pub(super) async fn drop_dead(&self, host: &Arc<RemoteHost>, error: &SshError) -> bool {
        let dead = match error {
            // The lost connection may be an extra one, while the first still serves other calls.
            SshError::Lost(_) => host.is_closed() || !host.answers(ANSWER_LIMIT).await,
            SshError::Timeout { .. } => true,
            _ => return false,
        };

        if dead {
            self.drop_host(host).await;
        }

        true
    }

    /// Removes `host` from the session, unless another call has replaced it.
    async fn drop_host(&self, host: &Arc<RemoteHost>) {
        self.connection
            .turn()
            .await
            .take_if(|current| Arc::ptr_eq(current, host));
    }

    /// Returns the error to report if each of the last `times` connections was useless.
    fn closed_at_once(&self, times: u32) -> Option<SshError> {
        let last = lock(&self.last);
        let reason = || last.host.as_ref().and_then(|host| host.reason());
        let reason = last.farewell().or_else(reason);
        (last.useless() >= times).then_some(SshError::ClosedAtOnce { reason })
    }

    /// Wraps an SSH error, and explains a lost link by repeated immediate closes if there were any.
    pub(super) fn ssh(&self, source: impl Into<Arc<SshError>>) -> SessionError {
        let mut source = source.into();
        if matches!(*source, SshError::Lost(_))
            && let Some(clearer) = self.closed_at_once(2)
        {
            source = Arc::new(clearer);
        }

        match &*source {
            SshError::Cancelled => SessionError::Cancelled,
            SshError::NotAllowed(refusal) => self.not_allowed((**refusal).clone()),
            _ => SessionError::Ssh {
                session: self.name().to_owned(),
                source,
            },
        }
    }
}
