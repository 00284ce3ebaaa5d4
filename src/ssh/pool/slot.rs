//! What a pool knows of its connections, and the places on them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{Channel, client::Msg};
use tokio::sync::oneshot;

use super::{Pool, policy::Load};
use crate::ssh::{connect::connection::Connection, error::SshError};

/// sshd refuses a channel that comes in one packet with the end of another: that one's place is not free yet.
pub(super) const SLOT_RELEASE_LAG: Duration = Duration::from_millis(200);
/// How long a limit is believed in that such a refusal has shown.
const REFUSAL_STANDS: Duration = Duration::from_secs(1);

/// Takes the channel from the task that has it.
pub(super) type Standby = oneshot::Sender<oneshot::Sender<(Channel<Msg>, ChannelSlot)>>;

#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) members: Vec<Member>,
    /// When a channel was last refused where others were open: there is a limit, it seems.
    pub(super) refused: Option<Instant>,
    /// It was refused although no other had just been closed there, or it is known of this kind of server: so
    /// [`most`](Self::most) is all there can be.
    pub(super) proven: bool,
    /// The most channels that were open over one connection.
    pub(super) most: usize,
    pub(super) dialling: bool,
    /// Why the last dial failed.
    pub(super) trouble: Option<Arc<SshError>>,
    /// It would fail again, and perhaps lock the account: no dial any more.
    pub(super) hopeless: bool,
    /// Has the channel that is ready for the next command.
    pub(super) ready: Option<Standby>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) connection: Arc<Connection>,
    pub(super) open: usize,
    pub(super) opening: usize,
    /// How many channels it has had.
    pub(super) had: usize,
    pub(super) full: bool,
    pub(super) idle_since: Option<Instant>,
    closed_at: Option<Instant>,
}

/// A channel's place on a connection: free again when this is dropped, which comes after the channel is closed.
#[derive(Debug)]
pub(in crate::ssh) struct ChannelSlot {
    pub(super) pool: Arc<Pool>,
    pub(super) connection: Arc<Connection>,
    pub(super) is_open: bool,
}

impl PoolState {
    pub(super) fn member(&mut self, connection: &Arc<Connection>) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.connection, connection))
    }

    pub(super) fn remove(&mut self, connection: &Arc<Connection>) {
        self.members
            .retain(|member| !Arc::ptr_eq(&member.connection, connection));
    }

    /// How many channels a connection of this server may have, as far as refusals have shown it.
    pub(super) fn limit(&self) -> Option<usize> {
        let stands = self.proven || self.refused.is_some_and(|at| at.elapsed() < REFUSAL_STANDS);
        stands.then_some(self.most)
    }

    pub(super) fn note_refusal(&mut self, connection: &Arc<Connection>, now: Instant) {
        if let Some(member) = self.member(connection) {
            member.full = true;
            let settled = member
                .closed_at
                .is_none_or(|at| now.duration_since(at) >= SLOT_RELEASE_LAG);
            self.proven |= settled;
        }

        self.refused = Some(now);
    }

    pub(super) fn doubt_refusals(&mut self) {
        for member in &mut self.members {
            member.full = false;
        }
    }
}

impl Member {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            open: 0,
            opening: 0,
            had: 0,
            full: false,
            idle_since: Some(Instant::now()),
            closed_at: None,
        }
    }

    pub(super) fn load(&self) -> Load {
        let used = self.open + self.opening;
        Load {
            used,
            full: self.full || (used == 0 && self.connection.may_drop_new_channel(self.had)),
        }
    }
}

impl ChannelSlot {
    /// The connection that the channel runs over.
    pub(in crate::ssh) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The pool that it belongs to.
    pub(in crate::ssh) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn opened(&mut self) {
        self.is_open = true;
        let mut state = self.pool.state();
        if let Some(member) = state.member(&self.connection) {
            member.opening -= 1;
            member.open += 1;
            member.had += 1;
            let open = member.open;
            state.most = state.most.max(open);
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
            if self.is_open {
                member.closed_at = Some(now);
            }

            if member.load().used == 0 {
                member.idle_since = Some(now);
            }
        }

        if self.is_open {
            state.doubt_refusals();
        }

        drop(state);
        self.pool.changed.notify_waiters();
    }
}

/// Opens the channel in a task of its own, which closes it where nobody waits for it any more. `None`: the task is gone.
pub(super) async fn attempt(
    mut slot: ChannelSlot,
) -> Option<(ChannelSlot, Result<Channel<Msg>, SshError>)> {
    let (give, take) = oneshot::channel();
    tokio::spawn(async move {
        let opened = slot.connection.open_channel().await;
        if opened.is_ok() {
            slot.opened();
        }

        if let Err((_place, Ok(unwanted))) = give.send((slot, opened)) {
            let _ = unwanted.close().await;
        }
    });

    take.await.ok()
}
