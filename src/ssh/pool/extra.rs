//! Channels that work is quicker with and can do without.

use std::{sync::Arc, time::Instant};

use russh::{Channel, client::Msg};

use super::{
    ChannelSlot, Pool, Priority,
    slot::{Member, attempt},
};
use crate::ssh::error::SshError;

/// Connections of a pool beyond which none is dialled for what can do without.
const MAX_APART: usize = 4;

impl Pool {
    /// Opens a channel that work can do without; `None` where there is no room for it at once.
    pub(in crate::ssh) async fn opportunistic_channel(
        self: &Arc<Self>,
    ) -> Option<(Channel<Msg>, ChannelSlot)> {
        let slot = self.slot(Priority::Opportunistic, Instant::now()).ok()??;
        self.take(slot).await
    }

    /// The same over another connection than the first, dialled for it unless that may need a person or cost a
    /// one-time password.
    pub(in crate::ssh) async fn channel_on_another_connection(
        self: &Arc<Self>,
    ) -> Option<(Channel<Msg>, ChannelSlot)> {
        loop {
            let changed = self.changed.notified();

            match self.place_apart() {
                ExtraChannel::Here(slot) => return self.take(slot).await,
                ExtraChannel::Nowhere => return None,
                ExtraChannel::Soon => {}
            }

            tokio::select! {
                () = changed => {}
                () = self.closing.cancelled() => return None,
            }
        }
    }

    fn place_apart(self: &Arc<Self>) -> ExtraChannel {
        let mut state = self.state();
        let limit = state.limit();
        let apart = |member: &&mut Member| {
            let room = !member.load().full && limit.is_none_or(|limit| member.load().used < limit);
            room && !Arc::ptr_eq(&member.connection, &self.first) && !member.connection.is_closed()
        };

        if let Some(member) = state.members.iter_mut().find(apart) {
            return ExtraChannel::Here(self.slot_on(member));
        }

        let by_key = self.credentials.typed.is_empty() && self.peer().auth_method == "publickey";

        if !by_key
            || state.members.len() >= MAX_APART
            || state.hopeless
            || state.trouble.is_some()
            || self.closing.is_cancelled()
            || self.is_closed()
        {
            return ExtraChannel::Nowhere;
        }

        if !state.dialling {
            self.start_dialling(&mut state);
        }

        ExtraChannel::Soon
    }

    async fn take(self: &Arc<Self>, slot: ChannelSlot) -> Option<(Channel<Msg>, ChannelSlot)> {
        let connection = Arc::clone(&slot.connection);
        match attempt(slot).await? {
            (slot, Ok(channel)) => Some((channel, slot)),
            (slot, Err(SshError::ChannelRefused(_))) => {
                drop(slot);
                self.is_at_limit(&connection).await;
                None
            }
            _ => None,
        }
    }
}

/// A place on another connection than the first.
enum ExtraChannel {
    Here(ChannelSlot),
    /// Such a connection is being dialled.
    Soon,
    Nowhere,
}
