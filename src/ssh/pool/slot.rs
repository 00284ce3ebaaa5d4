//! State of a pool's connections, and the slots on them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use russh::{Channel, client::Msg};
use tokio::sync::oneshot;

use super::{ChannelPool, channel_limit::ChannelLimit, policy::Load};
use crate::ssh::{connect::connection::Connection, error::SshError, known_servers::Capacity};

/// Time in which the slot of a closed channel may not be free yet. sshd refuses a channel that
/// arrives in the same packet as the end of another.
pub(in crate::ssh) const SLOT_RELEASE_LAG: Duration = Duration::from_millis(200);

/// Way to take the channel from the task keeping the channel ready.
pub(super) type Standby = oneshot::Sender<oneshot::Sender<(Channel<Msg>, ChannelSlot)>>;

/// State of a pool, behind the pool's mutex.
#[derive(Debug)]
pub(super) struct PoolState {
    /// Connections, in the order of dialling.
    pub(super) members: Vec<Member>,
    /// Limit of channels on each connection.
    pub(super) limit: ChannelLimit,
    /// True while a connection is being dialled.
    pub(super) dialling: bool,
    /// Error of the last dial; `None` after a success.
    pub(super) trouble: Option<Arc<SshError>>,
    /// True if a further dial would fail again, and perhaps lock the account. No connection is
    /// dialled then.
    pub(super) hopeless: bool,
    /// Way to the task with the channel for the next command; `None` if no channel is ready.
    pub(super) standby: Option<Standby>,
}

/// Connection of a pool, with the number of channels.
#[derive(Debug)]
pub(super) struct Member {
    /// The connection.
    pub(super) connection: Arc<Connection>,
    /// Number of open channels.
    pub(super) open: usize,
    /// Number of channels being opened.
    pub(super) opening: usize,
    /// Number of channels ever granted by the server.
    pub(super) had: usize,
    /// True if the server has refused a channel since a slot was last freed.
    pub(super) full: bool,
    /// Time since which no channel is open; `None` while the connection is in use.
    pub(super) idle_since: Option<Instant>,
    /// Time at which a channel was last closed.
    pub(super) closed_at: Option<Instant>,
    /// True while one of the channels only makes the connection quick.
    pub(super) is_getting_quick: bool,
}

/// Reservation for a channel on a connection. Dropping the slot frees it, which must come after the
/// channel is closed.
#[derive(Debug)]
pub(in crate::ssh) struct ChannelSlot {
    /// Pool to which the slot goes back.
    pub(super) pool: Arc<ChannelPool>,
    /// Connection of the channel.
    pub(super) connection: Arc<Connection>,
    /// True once the channel is open, false during the opening.
    pub(super) is_open: bool,
}

impl PoolState {
    /// Returns the state of this connection.
    pub(super) fn member(&mut self, connection: &Arc<Connection>) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.connection, connection))
    }

    /// Removes a connection from the pool.
    pub(super) fn remove(&mut self, connection: &Arc<Connection>) {
        self.members
            .retain(|member| !Arc::ptr_eq(&member.connection, connection));
    }

    /// Notes a refused channel on this connection.
    pub(super) fn record_refusal(&mut self, connection: &Arc<Connection>, now: Instant) {
        let is_settled = self.member(connection).is_some_and(|member| {
            member.full = true;
            member
                .closed_at
                .is_none_or(|at| now.duration_since(at) >= SLOT_RELEASE_LAG)
        });

        self.limit.note_refusal(is_settled, now);
    }

    /// Makes all connections open to new attempts, because a slot may have become free.
    pub(super) fn doubt_refusals(&mut self) {
        for member in &mut self.members {
            member.full = false;
        }
    }
}

impl Member {
    /// Creates the state of a new connection.
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            open: 0,
            opening: 0,
            had: 0,
            full: false,
            idle_since: Some(Instant::now()),
            closed_at: None,
            is_getting_quick: false,
        }
    }

    /// Returns true if no channel is open or being opened for work.
    pub(super) fn is_without_work(&self) -> bool {
        self.used() <= usize::from(self.is_getting_quick)
    }

    /// Returns the load of this connection, for the policy.
    /// `capacity` is that of a connection to the server.
    pub(super) fn load(&self, capacity: Option<Capacity>) -> Load {
        let used = self.used();
        let is_unusable = match capacity {
            Some(Capacity::OneCommand) => self.had > 0,
            Some(Capacity::OneChannel) => used == 0 && self.connection.has_channels_left(self.had),
            Some(Capacity::ManyChannels) | None => false,
        };

        Load {
            used,
            full: self.full || is_unusable,
        }
    }

    /// Returns the number of channels open or being opened.
    pub(super) fn used(&self) -> usize {
        self.open + self.opening
    }
}

impl ChannelSlot {
    /// Returns the connection of the channel.
    pub(in crate::ssh) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Notes that the channel is being opened next to another one, if the server is not known to take
    /// that. Returns true in this case.
    fn begin_risk(&self) -> bool {
        let mut state = self.pool.state();
        let is_next_to_others = state
            .member(&self.connection)
            .is_some_and(|member| member.open > 0);
        drop(state);

        let risk = is_next_to_others && self.pool.capacity() != Some(Capacity::ManyChannels);
        if risk {
            let openings = &self.connection.facts.openings_at_risk;
            openings.fetch_add(1, Ordering::Relaxed);
        }

        risk
    }

    /// Learns from the opening. The note stays if the connection has ended, because the other channel
    /// ended with the connection.
    async fn end_risk(&self) {
        let broke = self.connection.is_closed() && self.connection.ends_now().await;
        if broke {
            self.pool.takes_one_channel();
        } else {
            let openings = &self.connection.facts.openings_at_risk;
            openings.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes the opening of the channel.
    fn opened(&mut self) {
        self.is_open = true;
        let mut state = self.pool.state();
        if let Some(member) = state.member(&self.connection) {
            member.opening -= 1;
            member.open += 1;
            member.had += 1;
            let open = member.open;
            state.limit.note_open(open);
        }
    }
}

impl Drop for ChannelSlot {
    fn drop(&mut self) {
        let mut state = self.pool.state();

        if let Some(member) = state.member(&self.connection) {
            *(if self.is_open {
                &mut member.open
            } else {
                &mut member.opening
            }) -= 1;

            let now = Instant::now();
            // Noted because sshd may still count this channel for a moment.
            if self.is_open {
                member.closed_at = Some(now);
            }

            if member.used() == 0 {
                member.idle_since = Some(now);
            }
        }

        // A slot is free again, so an earlier refusal says nothing any more.
        if self.is_open {
            state.doubt_refusals();
        }

        drop(state);
        self.pool.changed.notify_waiters();
    }
}

/// Opens a channel in a new task, which closes the channel again if the caller has gone. Returns
/// `None` if the task is gone.
pub(super) async fn attempt(
    mut slot: ChannelSlot,
) -> Option<(ChannelSlot, Result<Channel<Msg>, SshError>)> {
    let (reply, answer) = oneshot::channel();
    // A task of its own, because a cancelled caller must not leave behind a channel that nobody
    // reads.
    tokio::spawn(async move {
        let risk = slot.begin_risk();
        let opened = slot.connection.open_channel().await;
        if opened.is_ok() {
            slot.opened();
        }
        if risk {
            slot.end_risk().await;
        }

        if let Err((_slot, Ok(unwanted))) = reply.send((slot, opened)) {
            let _ = unwanted.close().await;
        }
    });

    answer.await.ok()
}
