//! A channel that is opened in advance, so that the next command takes a single round trip.

use std::{sync::Arc, time::Duration};

use russh::{Channel, client::Msg};
use tokio::{sync::oneshot, task::yield_now, time::sleep};

use super::{Capacity, ChannelPool, ChannelSlot, slot::attempt};

/// Time for which an unused channel is kept: about as long as an agent thinks, and less than a
/// server waits before closing idle channels (`ChannelTimeout`, `sshd_config(5)`).
const STAYS: Duration = Duration::from_secs(120);

/// Longest silence of the server after which the channel is still used. Longer than a keepalive and
/// its answer take with the default for `ServerAliveInterval`.
const LATELY: Duration = Duration::from_secs(20);

impl ChannelPool {
    /// Opens a channel for the next command in the background. Does nothing if a channel is ready
    /// or being opened, or if the first connection has no room.
    pub(in crate::ssh) fn prefetch_channel(self: &Arc<Self>) {
        if !self.prefetches || !self.takes_extra_channels() || self.closing.is_cancelled() {
            return;
        }

        let wanted = {
            let mut state = self.state();
            if state
                .standby
                .as_ref()
                .is_some_and(|standby| !standby.is_closed())
            {
                return;
            }

            let (standby, wanted) = oneshot::channel();
            state.standby = Some(standby);

            wanted
        };

        tokio::spawn(Arc::clone(self).hold_prefetched(wanted));
    }

    /// Returns true if a channel may be opened that nobody has asked for. Some servers break at a
    /// second channel, so this one must be known to take several at once.
    pub(super) fn takes_extra_channels(&self) -> bool {
        self.capacity() == Some(Capacity::ManyChannels) || self.state().limit.most() > 1
    }

    /// Takes the channel kept ready or being opened. Returns `None` if there is none, or if the
    /// server has been silent for a while. In that case opening a channel shows if the server is
    /// still there. A command sent over the ready channel might be lost on the way, and could not
    /// be sent again.
    pub(super) async fn take_prefetched(&self) -> Option<(Channel<Msg>, ChannelSlot)> {
        if !self.first.traffic.heard_within(LATELY) {
            return None;
        }

        // If the kernel knows that the connection has ended, that must come out first. Yielding
        // lets the runtime look at its sockets, and the connection's task at new data.
        for _ in 0..2 {
            yield_now().await;
        }

        if self.is_closed() {
            return None;
        }

        let standby = self.state().standby.take()?;
        let (reply, answer) = oneshot::channel();
        standby.send(reply).ok()?;

        answer.await.ok()
    }

    /// Opens a channel and keeps the channel ready until somebody takes the channel, the server
    /// ends the channel, or [`STAYS`] has passed.
    async fn hold_prefetched(
        self: Arc<Self>,
        mut wanted: oneshot::Receiver<oneshot::Sender<(Channel<Msg>, ChannelSlot)>>,
    ) {
        let Some((mut channel, slot)) = self.open_prefetched().await else {
            return;
        };

        let recipient = tokio::select! {
            biased;
            // Nothing is expected on this channel: the server closes it, or does something wrong.
            _ = channel.wait() => None,
            () = self.closing.cancelled() => None,
            recipient = &mut wanted => recipient.ok(),
            () = sleep(STAYS) => None,
        };

        let not_taken = match recipient {
            Some(recipient) => recipient.send((channel, slot)).err(),
            None => Some((channel, slot)),
        };

        if let Some((channel, _slot)) = not_taken {
            // Callers from now on open a channel themselves.
            drop(wanted);
            let _ = channel.close().await;
        }
    }

    /// Opens the channel, if the first connection has room.
    async fn open_prefetched(self: &Arc<Self>) -> Option<(Channel<Msg>, ChannelSlot)> {
        let slot = self.slot_to_prefetch()?;
        match attempt(slot).await? {
            (slot, Ok(channel)) => Some((channel, slot)),
            (slot, Err(_)) => {
                let connection = Arc::clone(slot.connection());
                drop(slot);
                self.is_at_limit(&connection).await;

                None
            }
        }
    }

    /// Reserves a slot for the channel, but never the last slot. The last slot is kept for scripts,
    /// and the ready channel goes to whoever comes first.
    fn slot_to_prefetch(self: &Arc<Self>) -> Option<ChannelSlot> {
        let mut state = self.state();
        let limit = self.limit(&state);
        let member = state
            .member(&self.first)
            .filter(|member| !member.connection.is_closed())?;
        let load = member.load(self.capacity());
        let room = !load.full && limit.is_none_or(|limit| limit.saturating_sub(load.used) > 1);
        room.then(|| self.slot_on(member))
    }
}
