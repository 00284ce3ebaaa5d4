//! Additional channels for work that is quicker with them, and can do without.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{Channel, client::Msg};

use super::{
    ChannelPool, ChannelSlot, Priority,
    slot::{Member, attempt},
};
use crate::ssh::{connect::connection::Connection, error::SshError, known_servers::KnownServer};

/// Longest time from the end of a command to the end of a connection that ended with the command.
const ENDS_WITH_COMMAND: Duration = Duration::from_secs(1);
/// Number of connections at which no further connection is dialled for an additional channel.
const MAX_EXTRA_CONNECTIONS: usize = 4;

impl ChannelPool {
    /// Opens an additional channel; `None` if there is no room at once.
    pub(in crate::ssh) async fn opportunistic_channel(
        self: &Arc<Self>,
    ) -> Option<(Channel<Msg>, ChannelSlot)> {
        if !self.takes_extra_channels() {
            return None;
        }

        let slot = self.slot(Priority::Opportunistic, Instant::now()).ok()??;
        self.open_in(slot).await
    }

    /// Opens an additional channel over another connection than the first, and one without channels
    /// if possible. A connection is dialled for it, unless that may need the user or cost a one-time
    /// password; then the channel shares one with others. `None` if there is no such channel.
    pub(in crate::ssh) async fn channel_on_another_connection(
        self: &Arc<Self>,
    ) -> Option<(Channel<Msg>, ChannelSlot)> {
        loop {
            // Registered before the look, so that a change in between is not missed.
            let changed = self.changed.notified();

            match self.find_extra_channel() {
                ExtraChannel::Free(slot) => return self.open_in(slot).await,
                ExtraChannel::None => return None,
                ExtraChannel::Dialling => {}
            }

            tokio::select! {
                () = changed => {}
                () = self.closing.cancelled() => return None,
            }
        }
    }

    /// Returns true if a further connection surely needs no user and costs no one-time password,
    /// which holds for a log-in by key only.
    pub(in crate::ssh) fn may_dial_without_user(&self) -> bool {
        self.credentials.typed_secrets.is_empty()
            && self.first.peer.auth_method == "publickey"
            && !self.closing.is_cancelled()
            && !self.is_closed()
    }

    /// Returns true if a further connection may be dialled for a question of this program. A log-in
    /// by `keyboard-interactive` may have cost a one-time password.
    pub(in crate::ssh) fn may_ask_apart(&self) -> bool {
        let mut methods = self.first.peer.auth_method.split(',');
        !self.closing.is_cancelled() && !methods.any(|method| method == "keyboard-interactive")
    }

    /// Returns the number of channels that the first connection has had; `None` if the connection has
    /// one now, or has ended.
    pub(in crate::ssh) fn first_idle_after(&self) -> Option<usize> {
        let mut state = self.state();
        let first = state
            .member(&self.first)
            .filter(|member| member.used() == 0)?;
        Some(first.had)
    }

    /// Watches if the first connection ends together with its first channel, from which the pool
    /// learns that the server takes one command over a connection.
    pub(in crate::ssh) fn watch_for_an_early_end(self: &Arc<Self>) {
        let (pool, facts) = (Arc::downgrade(self), Arc::clone(&self.first.facts));
        // The task holds no connection alive.
        tokio::spawn(async move {
            facts.closed.wait().await;
            let Some(pool) = pool.upgrade() else { return };
            let ended_with_command = pool.state().member(&pool.first).is_some_and(|member| {
                let just_closed = member
                    .closed_at
                    .is_some_and(|at| at.elapsed() < ENDS_WITH_COMMAND);
                member.had == 1 && member.used() == 0 && just_closed
            });

            if ended_with_command && !pool.closing.is_cancelled() {
                pool.server.learn(KnownServer::ended_early);
            }
        });
    }

    /// Dials a further connection, which does not belong to the pool. `window` is the receive
    /// window of each channel, in bytes.
    ///
    /// # Errors
    /// Connecting fails, or the pool is closed meanwhile.
    pub(in crate::ssh) async fn dial_apart(
        &self,
        window: u32,
    ) -> Result<Arc<Connection>, SshError> {
        let dialling = self
            .first
            .open_another(&self.target, &self.credentials, self.limit, window);
        tokio::select! {
            dialled = dialling => dialled,
            () = self.closing.cancelled() => Err(self.first.lost()),
        }
    }

    /// Looks for a connection without channels other than the first, and starts to dial if there is
    /// none and dialling is allowed. Otherwise a connection with room is shared.
    fn find_extra_channel(self: &Arc<Self>) -> ExtraChannel {
        let mut state = self.state();
        let limit = self.limit(&state);
        let capacity = self.capacity();
        let has_room = |member: &&mut Member| {
            let load = member.load(capacity);
            let room = !load.full && limit.is_none_or(|limit| load.used < limit);
            room && !Arc::ptr_eq(&member.connection, &self.first) && !member.connection.is_closed()
        };

        let may_dial = self.may_dial_without_user()
            && state.members.len() < MAX_EXTRA_CONNECTIONS
            && !state.hopeless
            && state.trouble.is_none();

        let emptiest = state
            .members
            .iter_mut()
            .filter(has_room)
            .min_by_key(|member| member.used());
        if let Some(member) = emptiest
            && (member.is_without_work() || !may_dial)
        {
            return ExtraChannel::Free(self.slot_on(member));
        }

        if !may_dial {
            return ExtraChannel::None;
        }

        if !state.dialling {
            self.start_dialling(&mut state);
        }

        ExtraChannel::Dialling
    }

    /// Opens a channel in this slot; `None` if the server refuses.
    async fn open_in(self: &Arc<Self>, slot: ChannelSlot) -> Option<(Channel<Msg>, ChannelSlot)> {
        let connection = Arc::clone(&slot.connection);
        match attempt(slot).await? {
            (slot, Ok(channel)) => Some((channel, slot)),
            // A refusal is only noted here: nobody waits for this channel, so no connection is
            // dialled for it.
            (slot, Err(SshError::ChannelRefused(_))) => {
                drop(slot);
                self.is_at_limit(&connection).await;
                None
            }
            _ => None,
        }
    }
}

/// Slot for a channel on a connection other than the first.
enum ExtraChannel {
    /// A connection has room.
    Free(ChannelSlot),
    /// A connection is being dialled.
    Dialling,
    /// No connection has room, and none is dialled.
    None,
}
