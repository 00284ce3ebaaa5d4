//! The channels of a log-in. The server lets each connection have only so many channels
//! (`MaxSessions`, `sshd_config(5)`), so further connections are dialled when the first is full.
//! The server's limit is learned from refusals.
//!
//! Only the opening of a channel is ever tried again over another connection, never a request sent
//! over it.

mod capacity;
mod channel_limit;
mod extra;
pub(super) mod lanes;
mod policy;
mod quick;
mod slot;
mod standby;

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::{Duration, Instant},
};

use russh::{Channel, client::Msg};
use tokio::{
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    channel_limit::ChannelLimit,
    policy::{Choice, PoolLoad, choose, look_again},
    slot::{Member, PoolState, attempt},
};
pub(super) use self::{
    policy::Priority,
    slot::{ChannelSlot, SLOT_RELEASE_LAG},
};
use super::{
    auth::Credentials,
    config::target::Target,
    connect::{connection::Connection, open::WINDOW},
    error::SshError,
    known_servers::{Capacity, ServerEntry},
};
use crate::{foreign_text::escape_line, lock::lock};

/// First pause before dialling again where sshd drops connections (`MaxStartups`); doubled each
/// time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before dialling again.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Time for which work leaves the last slot to scripts when dialling fails.
const CONTROL_SLOT_KEPT: Duration = Duration::from_secs(1);
/// Longest wait of a script for a slot when dialling fails. After that, signal requests are sent
/// instead, whose effect is less certain.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(2);

/// Connections of a log-in, and the channels over them, shared in an [`Arc`]. A channel is opened
/// over the oldest connection with room. Connections idle for a minute are closed, except the first.
///
/// Created for the first connection by the `RemoteHost`, and ends with that connection. Where a
/// connection ends with its first command, the pool goes on for whoever still has channels to open.
#[derive(Debug)]
pub(super) struct ChannelPool {
    /// Destination of every connection.
    target: Target,
    /// Credentials of the first log-in, for the later ones.
    credentials: Credentials,
    /// Time limit for connecting, in the case of each connection.
    limit: Duration,
    /// First connection, which the pool lives and dies with.
    first: Arc<Connection>,
    /// What the server takes.
    pub(in crate::ssh) server: ServerEntry,
    /// True if a channel is kept ready for the next command.
    prefetches: bool,
    /// Members and limits; locked for look-ups and assignments only.
    state: Mutex<PoolState>,
    /// Wakes callers who wait for a slot.
    changed: Notify,
    /// Token to end all waiting and dialling when the pool is closed.
    closing: CancellationToken,
}

impl ChannelPool {
    /// Creates the pool of an open connection. `prefetches` keeps a channel ready for the next
    /// command.
    pub(super) fn around(
        first: Arc<Connection>,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
        prefetches: bool,
        server: ServerEntry,
    ) -> Arc<Self> {
        let capacity = server.capacity().or(first.usual_capacity());
        let is_single = matches!(capacity, Some(Capacity::OneCommand | Capacity::OneChannel));

        // Later log-ins repeat the first with the secrets that worked there.
        Arc::new(Self {
            target: target.clone(),
            credentials: Credentials {
                typed_secrets: first.typed_secrets.clone(),
                needs_proof: first.needs_proof,
                ..credentials.clone()
            },
            limit,
            state: Mutex::new(PoolState {
                members: vec![Member::new(Arc::clone(&first))],
                limit: if is_single {
                    ChannelLimit::single()
                } else {
                    ChannelLimit::default()
                },
                dialling: false,
                trouble: None,
                hopeless: false,
                standby: None,
            }),
            prefetches: prefetches && !is_single,
            server,
            first,
            changed: Notify::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Returns the first connection.
    pub(super) fn first(&self) -> &Connection {
        &self.first
    }

    /// Returns the first connection, for channels that do not count towards `MaxSessions`.
    pub(super) fn first_shared(&self) -> Arc<Connection> {
        Arc::clone(&self.first)
    }

    /// Returns true if no channel is opened for work any more, because the first connection has
    /// ended. A server that ends each connection with its command goes on with other connections.
    fn is_closed(&self) -> bool {
        self.first.is_closed() && !self.takes_one_command()
    }

    /// Returns true if the first connection has had its only command, and waits to be closed by the
    /// server.
    pub(super) fn is_used_up(&self) -> bool {
        self.takes_one_command()
            && self
                .state()
                .member(&self.first)
                .is_some_and(|member| member.had > 0 && member.used() == 0)
    }

    /// Closes every connection with a disconnect message.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let members = std::mem::take(&mut self.state().members);
        self.changed.notify_waiters();
        futures_util::future::join_all(members.iter().map(|member| member.connection.close()))
            .await;
    }

    /// Releases the channel kept for the next command, because there will be none. The connection
    /// ends with the work that still runs over it.
    pub(super) fn retire(&self) {
        drop(self.state().standby.take());
    }

    /// Opens a session channel over a connection with room, dialled if need be. A caller may stop
    /// waiting at any time: the channel is then closed as soon as it is open.
    ///
    /// The caller must read the channel from the first moment on, because an unread channel blocks
    /// its whole connection.
    ///
    /// # Errors
    /// Fails if the server refuses the only channel of a connection, if it refuses more and no
    /// further connection opens in the time for connecting, or if the first connection has ended.
    pub(super) async fn open_channel(
        self: &Arc<Self>,
        priority: Priority,
    ) -> Result<(Channel<Msg>, ChannelSlot), SshError> {
        if let Some(prefetched) = self.take_prefetched().await {
            self.prefetch_channel();
            return Ok(prefetched);
        }

        // After each change another caller may have taken the slot, so all is decided again.
        let requested_at = Instant::now();
        loop {
            let changed = self.changed.notified();

            let Some(slot) = self.slot(priority, requested_at)? else {
                // A refusal may have come too early: the slot of a channel that was just closed is
                // free a moment later, without a message about it.
                if timeout(SLOT_RELEASE_LAG, changed).await.is_err() {
                    self.state().doubt_refusals();
                }
                continue;
            };

            let connection = Arc::clone(&slot.connection);

            match attempt(slot).await {
                Some((slot, Ok(channel))) => {
                    self.prefetch_channel();
                    return Ok((channel, slot));
                }
                Some((slot, Err(SshError::ChannelRefused(reason)))) => {
                    drop(slot);
                    if !self.is_at_limit(&connection).await {
                        return Err(SshError::ChannelRefused(reason));
                    }
                }
                Some((_, Err(error))) if Arc::ptr_eq(&connection, &self.first) => {
                    return Err(error);
                }
                // Nothing was sent over this connection yet, so another may be tried.
                Some((_, Err(_))) => self.discard(&connection),
                None => return Err(connection.lost()),
            }
        }
    }

    /// Reserves a slot for a channel; `None` if there is none for now.
    fn slot(
        self: &Arc<Self>,
        priority: Priority,
        requested_at: Instant,
    ) -> Result<Option<ChannelSlot>, SshError> {
        // Scripts may still run over the other connections after the first has ended: they stop
        // what the pool has left.
        if self.closing.is_cancelled() || (priority == Priority::Work && self.is_closed()) {
            return Err(self.first.lost());
        }

        let mut state = self.state();
        state
            .members
            .retain(|member| !member.connection.is_closed());

        let capacity = self.capacity();
        if state.members.is_empty() && capacity != Some(Capacity::OneCommand) {
            return Err(self.first.lost());
        }

        let situation = PoolLoad {
            limit: self.limit(&state),
            may_dial: !state.dialling && !state.hopeless && !self.is_closed(),
            keeps_one: state.trouble.is_none() || requested_at.elapsed() < CONTROL_SLOT_KEPT,
        };

        // A script gives up sooner, because signal requests are left to try.
        let patience = if priority == Priority::Control {
            self.limit.min(SCRIPT_PATIENCE)
        } else {
            self.limit
        };

        let loads = state.members.iter().map(|member| member.load(capacity));
        match choose(loads, priority, situation) {
            Choice::Use(index) => Ok(state
                .members
                .get_mut(index)
                .map(|member| self.slot_on(member))),
            Choice::Dial | Choice::Wait
                if state.trouble.is_some() && requested_at.elapsed() >= patience =>
            {
                Err(state
                    .trouble
                    .clone()
                    .map_or_else(|| self.first.lost(), |source| SshError::NoRoom { source }))
            }
            Choice::Dial => {
                self.start_dialling(&mut state);
                Ok(None)
            }
            Choice::Wait => Ok(None),
        }
    }

    /// Reserves a slot on this connection, which is not idle any more.
    fn slot_on(self: &Arc<Self>, member: &mut Member) -> ChannelSlot {
        member.opening += 1;
        member.idle_since = None;
        ChannelSlot {
            pool: Arc::clone(self),
            connection: Arc::clone(&member.connection),
            is_open: false,
        }
    }

    /// Starts to dial a connection in a new task, which ends with the pool.
    fn start_dialling(self: &Arc<Self>, state: &mut PoolState) {
        state.dialling = true;
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = pool.closing.cancelled() => {}
                () = pool.dial() => {}
            }
        });
    }

    /// Returns true if a refused channel may mean the server's limit. A connection that never had a
    /// channel cannot be full. The answer may have to wait for channels that were requested at the
    /// same time.
    async fn is_at_limit(&self, connection: &Arc<Connection>) -> bool {
        loop {
            let changed = self.changed.notified();

            {
                let mut state = self.state();
                let Some(member) = state.member(connection) else {
                    return true;
                };

                // A channel was granted here before, so this refusal is about their number.
                if member.had > 0 {
                    state.record_refusal(connection, Instant::now());
                    let is_single = state.limit.is_surely_one();
                    drop(state);
                    if is_single {
                        self.takes_one_channel();
                    }
                    return true;
                }

                // Nothing else is being opened, so this connection has never been granted a
                // channel.
                if member.opening == 0 {
                    return false;
                }
            }

            changed.await;
        }
    }

    /// Dials a further connection. A failure that may be due to sshd's `MaxStartups` is tried again
    /// for as long as connecting may take.
    async fn dial(self: &Arc<Self>) {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let left = self.limit.saturating_sub(started.elapsed());
            let dialled = self
                .first
                .open_another(&self.target, &self.credentials, left, WINDOW)
                .await;

            // The lock ends before the pause: no lock is held across an await.
            let again = {
                let mut state = self.state();
                match dialled {
                    _ if self.closing.is_cancelled() => return,
                    Ok(connection) => {
                        tokio::spawn(close_when_idle(
                            Arc::downgrade(self),
                            Arc::downgrade(&connection),
                        ));

                        let mut member = Member::new(connection);
                        self.make_quick(&mut member);
                        state.members.push(member);
                        (state.trouble, state.dialling) = (None, false);
                        let (host, connections) = (&self.first.peer.host_name, state.members.len());
                        tracing::info!(host, connections, "one more connection, for more channels");

                        false
                    }
                    Err(error) => {
                        let in_time = started.elapsed() + pause < self.limit;
                        let again = in_time && error.is_transient() && !self.is_closed();
                        let text = escape_line(error.to_string());

                        tracing::warn!(
                            host = self.first.peer.host_name,
                            again,
                            error = text,
                            "no further connection"
                        );

                        // Another kind of failure would come again, and repeated log-ins may lock
                        // the account.
                        state.hopeless = !error.is_transient();
                        state.trouble = Some(Arc::new(error));
                        state.dialling = again;

                        again
                    }
                }
            };

            self.changed.notify_waiters();
            if !again {
                return;
            }

            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Removes a connection from the pool, and wakes the callers who wait.
    fn discard(&self, connection: &Arc<Connection>) {
        self.state().remove(connection);
        self.changed.notify_waiters();
    }

    /// Locks the state; a poisoned lock is used all the same.
    fn state(&self) -> MutexGuard<'_, PoolState> {
        lock(&self.state)
    }
}

/// Closes a connection after some time without channels. The task holds no pool and no connection
/// alive.
async fn close_when_idle(pool: Weak<ChannelPool>, connection: Weak<Connection>) {
    let mut idle_since = None;
    while let Some(next) = look_again(idle_since, Instant::now()) {
        sleep_until(next.into()).await;
        let (Some(pool), Some(connection)) = (pool.upgrade(), connection.upgrade()) else {
            return;
        };

        // Looked at and removed under the same lock, so that nobody gets a slot in between.
        let goes = {
            let mut state = pool.state();
            let Some(member) = state.member(&connection) else {
                return;
            };
            idle_since = member.idle_since;
            let goes = look_again(idle_since, Instant::now()).is_none();
            if goes {
                state.remove(&connection);
            }

            goes
        };

        if goes {
            tracing::info!(
                host = pool.first.peer.host_name,
                "a connection was idle and is closed"
            );
            return connection.close().await;
        }
    }
}
