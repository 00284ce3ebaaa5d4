//! What goes on in a process, for a person who looks on, and what that person puts an end to.

use std::sync::{Arc, PoisonError};

use super::SessionRegistry;
use crate::session::{
    causes::with_causes,
    error::SessionError,
    job::Job,
    status::{SessionStatus, ShellStatus},
    transfers::TransferEntry,
};

/// What goes on.
#[derive(Debug)]
pub struct Overview {
    /// Every session there is, by name.
    pub sessions: Vec<SessionStatus>,
    /// The shells of those that have any.
    pub shells: Vec<ShellStatus>,
    /// Commands that run or have ended lately, in the order of their start.
    pub jobs: Vec<Arc<Job>>,
    /// Transfers under way, in the order of their start.
    pub transfers: Vec<Arc<TransferEntry>>,
    /// What the person should know about the store.
    pub notice: Option<String>,
}

impl SessionRegistry {
    /// What goes on now. To look at it changes nothing: what an agent has yet to be told, it still is.
    pub async fn overview(&self) -> Overview {
        let loaded = self.load().await;
        let unreadable = loaded.as_ref().err().map(|error| with_causes(error));
        let loaded = loaded.ok();
        let default = self.default_name(loaded.as_ref());

        let mut shells: Vec<ShellStatus> = self
            .lock()
            .live
            .values()
            .flat_map(|session| session.shells())
            .collect();

        shells.sort_by(|one, other| (&one.session, &one.name).cmp(&(&other.session, &other.name)));

        Overview {
            sessions: self.statuses(loaded.as_ref(), default.as_ref()),
            shells,
            jobs: self.jobs.recent(),
            transfers: self.transfers.list(),
            notice: unreadable.or_else(|| {
                self.notice
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            }),
        }
    }

    /// Closes a session's connection because the person wants that: who waits for its commands is told so.
    ///
    /// # Errors
    /// As [`disconnect`](Self::disconnect).
    pub async fn disconnect_unwanted(&self, name: &str) -> Result<(), SessionError> {
        for job in self
            .jobs
            .recent()
            .iter()
            .filter(|job| job.session == name && job.ended().is_none())
        {
            job.note_stopped_by_user();
        }

        self.disconnect(Some(name), false).await.map(drop)
    }
}
