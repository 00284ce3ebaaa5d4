//! Read-only overview of a process for the status page, and the actions users can take there.

use std::sync::Arc;

use super::SessionRegistry;
use crate::{
    forward::state::ForwardState,
    lock::lock,
    session::{
        approvals::{Approvals, OpenQuestion},
        causes::with_causes,
        edits::EditEntry,
        error::SessionError,
        job::Job,
        status::{SessionStatus, ShellStatus},
        transfers::TransferEntry,
    },
};

/// Snapshot of everything in progress in this process.
#[derive(Debug)]
pub struct Overview {
    /// Questions that wait for the user, in the order in which they were asked.
    pub questions: Vec<OpenQuestion>,
    /// All sessions, sorted by name.
    pub sessions: Vec<SessionStatus>,
    /// Shells of all sessions, sorted by session and name.
    pub shells: Vec<ShellStatus>,
    /// Commands that run or have ended lately, in the order of their start.
    pub jobs: Vec<Arc<Job>>,
    /// Transfers in progress, in the order of their start.
    pub transfers: Vec<Arc<TransferEntry>>,
    /// Forwards of all sessions, in the order in which they were opened.
    pub forwards: Vec<ForwardState>,
    /// Last edits of remote files, the oldest first.
    pub edits: Vec<Arc<EditEntry>>,
    /// Notice for the user about the store; `None` if there is none.
    pub notice: Option<String>,
}

impl SessionRegistry {
    /// Returns a snapshot of everything in progress, and changes nothing.
    ///
    /// Notices and prompts stay pending for the next tool call.
    pub async fn overview(&self) -> Overview {
        // The page is useful without the store, so an unreadable store becomes a notice.
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
            questions: self.approvals().list(),
            sessions: self.statuses(loaded.as_ref(), default.as_ref()),
            shells,
            jobs: self.jobs.recent(),
            transfers: self.transfers.list(),
            forwards: self.forwards.list(),
            edits: self.edits.list(),
            // The notice is only copied: the agent has yet to receive it.
            notice: unreadable.or_else(|| lock(&self.notice).clone()),
        }
    }

    /// Returns the questions that wait for the user.
    #[must_use]
    pub fn approvals(&self) -> &Approvals {
        &self.session_env.approvals
    }

    /// Closes a session's connection at the user's request on the status page.
    ///
    /// Running commands are marked as stopped by the user, so that their callers are informed.
    ///
    /// # Errors
    /// The session does not exist.
    pub async fn disconnect_unwanted(&self, name: &str) -> Result<(), SessionError> {
        // Marked before the connection closes, because the calls answer as soon as their commands
        // end.
        for job in self
            .jobs
            .recent()
            .iter()
            .filter(|job| job.session == name && job.ended().is_none())
        {
            job.mark_stopped_by_user();
        }

        self.disconnect(Some(name), false).await.map(drop)
    }
}
