//! The SSH connection that a session keeps ready for its forwards.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use super::LiveSession;
use crate::{lock::lock, ssh::command::remote_host::RemoteHost};

/// Number of the forwards of a session that use lanes.
#[derive(Debug, Default)]
pub(super) struct LaneUsers(AtomicUsize);

/// Use of a session's lanes by a forward. Dropping the last one releases the lanes.
#[derive(Debug)]
pub struct LaneUse(Weak<LiveSession>);

impl LiveSession {
    /// Keeps a lane ready over this connection and later ones, for as long as the answer lives.
    #[must_use]
    pub fn use_lanes(self: &Arc<Self>) -> LaneUse {
        self.lane_users.0.fetch_add(1, Ordering::Relaxed);
        let host = lock(&self.last).host.clone();
        if let Some(host) = host {
            self.keep_lane_of(&host);
        }

        LaneUse(Arc::downgrade(self))
    }

    /// Keeps a lane of this host ready if a forward may use it.
    pub(super) fn keep_lane_of(&self, host: &RemoteHost) {
        if self.lane_users.0.load(Ordering::Relaxed) > 0 {
            host.keep_lane();
        }
    }
}

impl Drop for LaneUse {
    fn drop(&mut self) {
        let Some(session) = self.0.upgrade() else {
            return;
        };
        if session.lane_users.0.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(host) = &lock(&session.last).host
        {
            host.release_lanes();
        }
    }
}
