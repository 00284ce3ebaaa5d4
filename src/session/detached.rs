//! What this process keeps of a command that lives on the remote machine: it is asked about while somebody wants to know.
//!
//! A task of the session follows the command and owns what it knows (`Following`); [`Detached`] asks it and reads that.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{caller::Caller, error::SessionError};
use crate::ssh::error::SshError;

pub use crate::framing::detached::answer::{DetachedJob, DetachedState, JobId};

/// How long what a job has written so far may take to be fetched before a call goes on without all of it.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// Requests that may wait until the task takes them, each of which it hands on at once.
const REQUEST_QUEUE: usize = 8;

/// A command on the remote machine.
#[derive(Debug)]
pub struct Detached {
    /// Its name there and here.
    pub id: JobId,
    /// The session's name.
    session: String,
    requests: mpsc::Sender<Request>,
    watchers: watch::Sender<Watchers>,
    known: watch::Receiver<Known>,
    /// `true` once a call has told its end.
    told: watch::Sender<bool>,
}

/// The other end of a [`Detached`], for the task that follows the command. Dropped, it says that there is no more to know.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) watchers: watch::Receiver<Watchers>,
    pub(super) known: watch::Sender<Known>,
    /// `true` once a call has told its end.
    pub(super) told: watch::Receiver<bool>,
}

/// Something to be done on the remote machine for a call.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) demand: Demand,
    pub(super) caller: Caller,
    /// Closed when the call is gone.
    pub(super) answer: oneshot::Sender<Result<(), SessionError>>,
}

#[derive(Debug)]
pub(super) enum Demand {
    /// Connect to it, if need be.
    Connect,
    /// Give the command something to read, and with `close` end its stdin.
    Feed { input: Vec<u8>, close: bool },
}

/// The calls that want to know about a command.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watchers {
    pub(super) count: usize,
    /// Counts the periods in which there was somebody at any time: what was known in an earlier one may be out of date.
    pub(super) period: u64,
}

/// How much this process knew in a period.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) period: u64,
    pub(super) news: SyncState,
}

/// How much this process knows.
#[derive(Debug, Clone)]
pub(super) enum SyncState {
    /// What it knew when somebody asked last.
    Stale,
    /// More than that: output is being fetched.
    CatchingUp,
    /// All there is.
    Current,
    /// Not all, for this reason.
    Failed {
        error: Arc<SessionError>,
        /// Whether it is being tried again.
        goes_on: bool,
    },
}

/// Somebody who wants to know about a detached command, until this is dropped.
#[derive(Debug)]
pub struct Subscription<'a> {
    detached: &'a Detached,
    period: u64,
}

impl Known {
    /// What is known in this period.
    pub(super) fn in_period(&self, period: u64) -> &SyncState {
        if self.period == period {
            &self.news
        } else {
            &SyncState::Stale
        }
    }
}

impl Detached {
    /// A command of this name in the session of that name, what calls ask of it, and its other end.
    pub(super) fn new(id: JobId, session: String) -> (Self, mpsc::Receiver<Request>, Following) {
        let (requests, take_requests) = mpsc::channel(REQUEST_QUEUE);
        let (watchers, see_watchers) = watch::channel(Watchers::default());
        let (tell, known) = watch::channel(Known {
            period: 0,
            news: SyncState::Stale,
        });

        let (told, see_told) = watch::channel(false);
        let following = Following {
            watchers: see_watchers,
            known: tell,
            told: see_told,
        };

        (
            Self {
                id,
                session,
                requests,
                watchers,
                known,
                told,
            },
            take_requests,
            following,
        )
    }

    /// Has the remote machine asked from now on, as long as the answer is held.
    #[must_use]
    pub fn watch(&self) -> Subscription<'_> {
        let mut period = 0;
        self.watchers.send_modify(|watchers| {
            if watchers.count == 0 {
                watchers.period += 1;
            }

            watchers.count += 1;
            period = watchers.period;
        });

        Subscription {
            detached: self,
            period,
        }
    }

    /// Makes sure that the remote machine can be asked.
    ///
    /// # Errors
    /// It cannot be connected to.
    pub async fn connect(&self, caller: &Caller) -> Result<(), SessionError> {
        self.demand(Demand::Connect, caller).await
    }

    /// Gives it something to read, and with `close` ends its stdin.
    ///
    /// # Errors
    /// It could not be given it; a part may have arrived.
    pub async fn feed(
        &self,
        input: &[u8],
        close: bool,
        caller: &Caller,
    ) -> Result<(), SessionError> {
        self.demand(
            Demand::Feed {
                input: input.to_vec(),
                close,
            },
            caller,
        )
        .await
    }

    /// Has what is left of it on the remote machine removed, once, in the background: its end has been told, and its
    /// output is here.
    pub fn remove_remote_files(&self) {
        self.told.send_replace(true);
    }

    async fn demand(&self, demand: Demand, caller: &Caller) -> Result<(), SessionError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            demand,
            caller: caller.clone(),
            answer,
        };

        // Nobody takes or answers requests once the program is ending.
        self.requests
            .send(request)
            .await
            .map_err(|_| SessionError::Cancelled)?;

        answered.await.unwrap_or(Err(SessionError::Cancelled))
    }
}

impl Subscription<'_> {
    /// Waits until all is known that the remote machine knows, over another connection if need be.
    ///
    /// # Errors
    /// Why that cannot be had, or not within `patience`.
    pub async fn up_to_date(&self, patience: Duration) -> Result<(), Arc<SessionError>> {
        let is_final = |known: &Known| {
            matches!(
                known.in_period(self.period),
                SyncState::Current | SyncState::Failed { goes_on: false, .. }
            )
        };

        let mut known = self.detached.known.clone();

        let is_asked = |known: &Known| {
            is_final(known) || matches!(known.in_period(self.period), SyncState::CatchingUp)
        };

        match timeout(patience, known.wait_for(is_asked))
            .await
            .map(|known| known.is_ok())
        {
            // A job may write faster than can be fetched.
            Ok(true) => drop(timeout(CATCHING_UP, known.wait_for(is_final)).await),
            // It has ended.
            Ok(false) => return Ok(()),
            Err(_) => {}
        }

        let known = known.borrow();
        match known.in_period(self.period) {
            SyncState::Current | SyncState::CatchingUp => Ok(()),
            SyncState::Failed { error, .. } => Err(Arc::clone(error)),
            SyncState::Stale => Err(Arc::new(self.no_answer(patience))),
        }
    }

    /// Waits until the remote machine is not asked any more, for a reason that trying again does not mend.
    pub async fn given_up(&self) {
        let mut known = self.detached.known.clone();
        let is_given_up = |known: &Known| {
            matches!(
                known.in_period(self.period),
                SyncState::Failed { goes_on: false, .. }
            )
        };

        if known.wait_for(is_given_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Why not all is known.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<SessionError>> {
        match self.detached.known.borrow().in_period(self.period) {
            SyncState::Failed { error, .. } => Some(Arc::clone(error)),
            _ => None,
        }
    }

    fn no_answer(&self, after: Duration) -> SessionError {
        let source = SshError::Timeout {
            stage: "asking about the job on the remote machine",
            after,
        };

        SessionError::Ssh {
            session: self.detached.session.clone(),
            source: Arc::new(source),
        }
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.detached
            .watchers
            .send_modify(|watchers| watchers.count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detached() -> (Detached, mpsc::Receiver<Request>, Following) {
        Detached::new(JobId::from_random([1; 4]), "box".to_owned())
    }

    #[tokio::test]
    async fn what_was_known_when_somebody_watched_before_counts_for_nothing() {
        let (detached, _requests, following) = detached();
        let tell = |period, news| following.known.send_replace(Known { period, news });
        let give_up = || SyncState::Failed {
            error: Arc::new(SessionError::Cancelled),
            goes_on: false,
        };

        let first = detached.watch();
        let period = following.watchers.borrow().period;
        tell(period, SyncState::Current);
        assert!(first.up_to_date(Duration::ZERO).await.is_ok());
        let beside = detached.watch();
        assert!(
            beside.up_to_date(Duration::ZERO).await.is_ok(),
            "somebody has watched all the time"
        );

        tell(period, give_up());
        assert!(beside.trouble().is_some());
        drop((first, beside));

        let later = detached.watch();
        assert!(later.trouble().is_none());
        let error = later.up_to_date(Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("session \"box\""), "{error}");
        tell(following.watchers.borrow().period, give_up());
        later.given_up().await;
        assert!(matches!(
            *later.up_to_date(Duration::ZERO).await.unwrap_err(),
            SessionError::Cancelled
        ));
    }

    #[tokio::test]
    async fn nothing_is_waited_for_once_the_task_has_ended() {
        let (detached, requests, following) = detached();
        drop((requests, following));

        assert!(detached.watch().up_to_date(Duration::MAX).await.is_ok());
        let refused = detached.feed(b"x", false, &Caller::default()).await;
        assert!(
            matches!(refused, Err(SessionError::Cancelled)),
            "{refused:?}"
        );
    }
}
