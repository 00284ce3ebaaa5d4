//! Local handle of a detached job, a command that outlives its connection on the remote machine.
//!
//! The remote machine is queried only while a call watches the job. A task of the session follows
//! the job and owns `Following`. Tool calls use [`Detached`], which sends requests to the session
//! and reads the state published by the task.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{caller::Caller, error::SessionError};
use crate::ssh::error::SshError;

pub use crate::framing::detached::answer::{DetachedJob, DetachedState, JobId};

/// Time limit for fetching the output a job has written so far. After that, a call continues with
/// the part that has arrived.
const CATCHING_UP: Duration = Duration::from_secs(10);
/// Capacity of the request queue of a job. The task starts each request at once, so the queue stays
/// short.
const REQUEST_QUEUE: usize = 8;

/// Handle of a detached job, shared by all calls of this process.
///
/// Created by the session when a job is started or found. The job lives on the remote machine and
/// outlives the handle.
#[derive(Debug)]
pub struct Detached {
    /// Name of the job, the same here and on the remote machine.
    pub id: JobId,
    /// Name of the session.
    session: String,
    requests: mpsc::Sender<Request>,
    watchers: watch::Sender<Watchers>,
    known: watch::Receiver<Known>,
    /// True once a call has reported the end of the job.
    end_reported: watch::Sender<bool>,
}

/// Counterpart of a [`Detached`], owned by the task following the job. Dropping it means that
/// nothing more will become known.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) watchers: watch::Receiver<Watchers>,
    pub(super) known: watch::Sender<Known>,
    /// True once a call has reported the end of the job.
    pub(super) end_reported: watch::Receiver<bool>,
}

/// Request of a call about a detached job.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) demand: Demand,
    pub(super) caller: Caller,
    /// Channel for the result; closed when the call is gone.
    pub(super) answer: oneshot::Sender<Result<(), SessionError>>,
}

/// Action requested by a [`Request`].
#[derive(Debug)]
pub(super) enum Demand {
    /// Connect to the remote machine if there is no connection.
    Connect,
    /// Write to the stdin of the command.
    Feed(Feed),
}

/// Input for a detached job.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) bytes: Bytes,
    /// True if stdin ends after these bytes.
    pub(super) closes: bool,
    /// True for a line that must be in no file, not even for a moment.
    pub(super) is_secret: bool,
}

/// Calls currently watching a job.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watchers {
    pub(super) count: usize,
    /// Number of the current watch period.
    ///
    /// A period begins when the number of watchers rises from zero. State from an earlier period
    /// may be out of date.
    pub(super) period: u64,
}

/// Sync state of a job, tagged with the watch period in which the state was observed.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) period: u64,
    pub(super) sync_state: SyncState,
}

/// Degree to which local knowledge of a job matches the remote machine.
#[derive(Debug, Clone)]
pub(super) enum SyncState {
    /// Nothing was learned in this period yet.
    Stale,
    /// The remote machine has answered, and output is still being fetched.
    CatchingUp,
    /// Everything the remote machine knows is known here.
    Current,
    /// The remote machine could not be queried.
    Failed {
        error: Arc<SessionError>,
        /// True if the query will be tried again.
        goes_on: bool,
    },
}

/// Registration of a watcher of a detached job.
///
/// Created by [`Detached::watch`]. The remote machine is queried as long as at least one
/// subscription of the job exists; dropping the subscription ends the registration.
#[derive(Debug)]
pub struct Subscription<'a> {
    detached: &'a Detached,
    period: u64,
}

impl Known {
    /// Returns what is known about the job to a subscription that began in `period`. `Stale` if the
    /// host has not answered since the subscription began.
    pub(super) fn in_period(&self, period: u64) -> &SyncState {
        if self.period == period {
            &self.sync_state
        } else {
            &SyncState::Stale
        }
    }
}

impl Detached {
    /// Creates the handle of a job, the queue of requests and the counterpart for the following
    /// task.
    pub(super) fn new(id: JobId, session: String) -> (Self, mpsc::Receiver<Request>, Following) {
        let (requests, take_requests) = mpsc::channel(REQUEST_QUEUE);
        let (watchers, see_watchers) = watch::channel(Watchers::default());
        let (tell, known) = watch::channel(Known {
            period: 0,
            sync_state: SyncState::Stale,
        });

        let (end_reported, see_end_reported) = watch::channel(false);
        let following = Following {
            watchers: see_watchers,
            known: tell,
            end_reported: see_end_reported,
        };

        (
            Self {
                id,
                session,
                requests,
                watchers,
                known,
                end_reported,
            },
            take_requests,
            following,
        )
    }

    /// Starts watching the job until the returned subscription is dropped.
    #[must_use]
    pub fn watch(&self) -> Subscription<'_> {
        let mut period = 0;
        self.watchers.send_modify(|watchers| {
            // Nobody watched before, so the published state may be old.
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

    /// Connects to the remote machine if there is no connection.
    ///
    /// # Errors
    /// The connection could not be made.
    pub async fn connect(&self, caller: &Caller) -> Result<(), SessionError> {
        self.demand(Demand::Connect, caller).await
    }

    /// Writes input to the stdin of the job.
    ///
    /// # Errors
    /// The input could not be delivered; a part of the input may have arrived.
    pub(super) async fn feed(&self, input: Feed, caller: &Caller) -> Result<(), SessionError> {
        self.demand(Demand::Feed(input), caller).await
    }

    /// Has the job's files on the remote machine removed in the background.
    ///
    /// To be called once the end of the job was reported and the output is here. Only the first
    /// call has an effect.
    pub fn remove_remote_files(&self) {
        self.end_reported.send_replace(true);
    }

    async fn demand(&self, demand: Demand, caller: &Caller) -> Result<(), SessionError> {
        let (answer, answered) = oneshot::channel();
        let request = Request {
            demand,
            caller: caller.clone(),
            answer,
        };

        // No task takes or answers requests once the program is ending.
        self.requests
            .send(request)
            .await
            .map_err(|_| SessionError::Cancelled)?;

        answered.await.unwrap_or(Err(SessionError::Cancelled))
    }
}

impl Subscription<'_> {
    /// Waits until everything the remote machine knows about the job is known here.
    ///
    /// The following task makes a new connection if the old one is lost. After the first answer, at
    /// most ten seconds more are spent on output that is still being fetched.
    ///
    /// # Errors
    /// The remote machine could not be queried, or did not answer within `patience`.
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
            // A job may write faster than its output can be fetched, so this wait is bounded.
            Ok(true) => drop(timeout(CATCHING_UP, known.wait_for(is_final)).await),
            // The task is gone: the job has ended or was forgotten, and no more can become known.
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

    /// Waits until querying the remote machine has failed for good.
    ///
    /// Never returns if the job ends first.
    pub async fn given_up(&self) {
        let mut known = self.detached.known.clone();
        let is_given_up = |known: &Known| {
            matches!(
                known.in_period(self.period),
                SyncState::Failed { goes_on: false, .. }
            )
        };

        // An error means that the following task is gone. The job's end is reported through the
        // job.
        if known.wait_for(is_given_up).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the error of the latest query in this period, or `None` if the query did not fail.
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
    async fn facts_from_an_earlier_subscription_do_not_count() {
        let (detached, _requests, following) = detached();
        let tell = |period, sync_state| following.known.send_replace(Known { period, sync_state });
        let give_up = || SyncState::Failed {
            error: Arc::new(SessionError::Cancelled),
            goes_on: false,
        };

        let first = detached.watch();
        let period = following.watchers.borrow().period;
        tell(period, SyncState::Current);
        assert!(first.up_to_date(Duration::ZERO).await.is_ok());
        let second = detached.watch();
        assert!(
            second.up_to_date(Duration::ZERO).await.is_ok(),
            "somebody has watched all the time"
        );

        tell(period, give_up());
        assert!(second.trouble().is_some());
        drop((first, second));

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
        let input = Feed {
            bytes: Bytes::from("x"),
            closes: false,
            is_secret: false,
        };
        let refused = detached.feed(input, &Caller::default()).await;
        assert!(
            matches!(refused, Err(SessionError::Cancelled)),
            "{refused:?}"
        );
    }
}
