//! A channel that is opened before it is wanted, so that the next command takes one round trip instead of two.

use std::{sync::Arc, time::Duration};

use russh::{Channel, client::Msg};
use tokio::{sync::oneshot, task::yield_now, time::sleep};

use super::{ChannelSlot, Pool, slot::attempt};

/// How long it is kept while nothing is run: about as long as an agent thinks, and less than a server waits that closes
/// idle channels (`ChannelTimeout`, `sshd_config(5)`).
const STAYS: Duration = Duration::from_secs(120);

/// Longer than a keepalive takes to come and be answered where `ServerAliveInterval` says nothing.
const LATELY: Duration = Duration::from_secs(20);

impl Pool {
    /// Opens a channel for whatever comes next, where there is room for it on the first connection and none is ready or
    /// being opened.
    pub(super) fn prefetch_channel(self: &Arc<Self>) {
        if !self.prefetches || self.closing.is_cancelled() {
            return;
        }

        let wanted = {
            let mut state = self.state();
            if state.ready.as_ref().is_some_and(|ready| !ready.is_closed()) {
                return;
            }

            let (ready, wanted) = oneshot::channel();
            state.ready = Some(ready);

            wanted
        };

        tokio::spawn(Arc::clone(self).hold_prefetched(wanted));
    }

    /// The channel that is ready, or that is being opened to be. Not where the server has not been heard for a while:
    /// opening one shows whether it is still there, while what is sent over this one may be lost on the way, and could not
    /// be sent again.
    pub(super) async fn take_prefetched(&self) -> Option<(Channel<Msg>, ChannelSlot)> {
        if !self.first.traffic.heard_within(LATELY) {
            return None;
        }

        // An end of the connection that the kernel knows of comes first: the runtime looks at its sockets meanwhile, and
        // the connection's task at what came.
        for _ in 0..2 {
            yield_now().await;
        }

        if self.is_closed() {
            return None;
        }

        let ready = self.state().ready.take()?;
        let (give, take) = oneshot::channel();
        ready.send(give).ok()?;

        take.await.ok()
    }

    async fn hold_prefetched(
        self: Arc<Self>,
        mut wanted: oneshot::Receiver<oneshot::Sender<(Channel<Msg>, ChannelSlot)>>,
    ) {
        let Some((mut channel, slot)) = self.open_prefetched().await else {
            return;
        };

        let recipient = tokio::select! {
            biased;
            // Nothing is expected on it: the server closes it, or does what it should not.
            _ = channel.wait() => None,
            () = self.closing.cancelled() => None,
            recipient = &mut wanted => recipient.ok(),
            () = sleep(STAYS) => None,
        };

        let unwanted = match recipient {
            Some(recipient) => recipient.send((channel, slot)).err(),
            None => Some((channel, slot)),
        };

        if let Some((channel, _place)) = unwanted {
            // Whoever asks from now on opens one.
            drop(wanted);
            let _ = channel.close().await;
        }
    }

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

    /// Not the last place: that one is for scripts, and whoever comes first takes what is ready.
    fn slot_to_prefetch(self: &Arc<Self>) -> Option<ChannelSlot> {
        let mut state = self.state();
        let limit = state.limit();
        let member = state
            .member(&self.first)
            .filter(|member| !member.connection.is_closed())?;
        let load = member.load();
        let room = !load.full && limit.is_none_or(|limit| limit.saturating_sub(load.used) > 1);
        room.then(|| self.slot_on(member))
    }
}
