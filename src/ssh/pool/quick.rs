//! A first command on a new connection, after which the server answers without delay.
//!
//! OpenSSH's server sets `TCP_NODELAY` when a command begins. Until then, it holds each answer back
//! until the one before has been acknowledged, which costs a round trip.

use std::{sync::Arc, time::Duration};

use russh::{Channel, client::Msg};
use tokio::time::timeout;

use super::{
    Capacity, ChannelPool,
    slot::{Member, attempt},
};

/// Time limit of the command.
const QUICK_LIMIT: Duration = Duration::from_secs(5);

impl ChannelPool {
    /// Makes a further connection quick in the background, where it takes several channels. Does
    /// nothing for an account that may have a forced command in place of a login shell.
    pub(super) fn make_quick(self: &Arc<Self>, member: &mut Member) {
        let account = self.server.account(&self.first.peer.user);
        if account.shell.is_none() || self.capacity() != Some(Capacity::ManyChannels) {
            return;
        }

        member.is_getting_quick = true;
        let (slot, pool) = (self.slot_on(member), Arc::clone(self));
        let connection = Arc::clone(&member.connection);
        tokio::spawn(async move {
            if let Some((slot, Ok(channel))) = attempt(slot).await {
                run_nothing(channel).await;
                drop(slot);
            }

            if let Some(member) = pool.state().member(&connection) {
                member.is_getting_quick = false;
            }
        });
    }
}

/// Runs a command that does nothing. A connection where the command fails is merely slower: an account
/// may permit forwarding only.
pub(super) async fn run_nothing(mut channel: Channel<Msg>) {
    let run = async {
        channel.exec(true, "exit").await?;
        // A forced command may wait for its input.
        channel.eof().await?;
        while channel.wait().await.is_some() {}

        Ok::<_, russh::Error>(())
    };

    let _ = timeout(QUICK_LIMIT, run).await;
}
