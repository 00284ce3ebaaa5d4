//! Task that follows one detached job. The remote machine is queried only while a call watches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    session::{
        caller::Caller,
        detached::{DetachedJob, DetachedState, Following, JobId, Known, SyncState, Watchers},
        error::{Refusal, SessionError},
        job::{FinishedJob, JobRunner, Signal},
        live::{FIRST_PAUSE, Grant, LiveSession, longer},
    },
    ssh::command::{
        detached::{DetachedError, MAX_WAIT, Mirror, StopOutcome},
        exec::CommandResult,
        exit_status::{Ending, ExitStatus},
        output::{CommandOutput, Output},
        remote_host::RemoteHost,
    },
};

/// State of the task following a detached job.
///
/// The task copies the output from the remote machine, forwards signals, and reports the end of the
/// job. It ends with the job, or when no call can watch the job any more.
pub(super) struct Follower {
    session: Arc<LiveSession>,
    id: JobId,
    following: Following,
    /// Watch period for which the remote machine was queried last.
    period: u64,
    runner: JobRunner,
    mirror: Mirror,
    /// Start time of the job, by the local clock.
    running_since: Instant,
    /// Outcome of the signals sent to stop the job; `None` if none was sent.
    stopped: Option<StopOutcome>,
}

impl Follower {
    /// Creates a follower for a job which has been running for `since`.
    pub(super) fn new(
        session: Arc<LiveSession>,
        id: JobId,
        following: Following,
        runner: JobRunner,
        output: &Output,
        since: Duration,
    ) -> Self {
        let now = Instant::now();
        let running_since = now.checked_sub(since).unwrap_or(now);
        Self {
            session,
            id,
            following,
            period: 0,
            runner,
            mirror: Mirror::new(output),
            running_since,
            stopped: None,
        }
    }

    /// Follows the job whenever somebody watches, until the end of the job.
    pub(super) async fn run(mut self) {
        let mut watchers = self.following.watchers.clone();
        let mut wanted = watchers.borrow_and_update().count > 0;
        loop {
            while !wanted {
                // Every handle is gone, so nobody can watch any more: the job is forgotten.
                if watchers.changed().await.is_err() {
                    return;
                }
                // After an error for good, only a change of the watchers starts another attempt.
                wanted = watchers.borrow_and_update().count > 0;
            }

            match self.while_watched().await {
                Ok(Some(end)) => return self.finish(end).await,
                Ok(None) => {}
                Err(error) => {
                    self.tell(SyncState::Failed {
                        error: Arc::new(error),
                        goes_on: false,
                    });
                }
            }

            wanted =
                watchers.has_changed().unwrap_or(false) && watchers.borrow_and_update().count > 0;
        }
    }

    /// Follows the job to the end, or until nobody watches. Returns `None` in the latter case.
    async fn while_watched(&mut self) -> Result<Option<FollowerEnd>, SessionError> {
        let session = Arc::clone(&self.session);
        let mut watchers = self.following.watchers.clone();

        // A session that is disconnected from now on must not be connected again by this task.
        let caller = Caller {
            cancelled: session.open(),
            ..Caller::default()
        };

        // The first failure may be a connection that died unnoticed. A retry follows without pause
        // and without report.
        let mut pause = Duration::ZERO;

        while watchers.borrow_and_update().count > 0 {
            let error = match self.round(&session, &caller).await {
                Ok(Some(end)) => return Ok(Some(end)),
                Ok(None) => {
                    pause = Duration::ZERO;
                    continue;
                }
                Err(error) => error,
            };

            if !error.may_pass() || caller.cancelled.is_cancelled() {
                return Err(error);
            }

            if pause.is_zero() {
                pause = FIRST_PAUSE;
                self.tell(SyncState::Stale);
                continue;
            }

            self.tell(SyncState::Failed {
                error: Arc::new(error),
                goes_on: true,
            });

            tokio::select! {
                () = sleep(pause) => {}
                _ = watchers.wait_for(|watchers| watchers.count == 0) => {}
            }

            pause = longer(pause);
        }

        Ok(None)
    }

    /// Queries the remote machine once and handles the answer. Returns the end of the job, if
    /// reached.
    async fn round(
        &mut self,
        session: &LiveSession,
        caller: &Caller,
    ) -> Result<Option<FollowerEnd>, SessionError> {
        let _running = session.running.token();
        let mut watchers = self.following.watchers.clone();
        let period = watchers.borrow().period;
        self.period = period;

        let host = session.host(&Grant::upkeep(caller), caller).await?;
        // The answer is first wanted at once; once everything is known, the script waits for news.
        let is_fresh = matches!(
            self.following.known.borrow().in_period(period),
            SyncState::Current
        );

        let patience = if is_fresh { MAX_WAIT } else { Duration::ZERO };
        let are_others = |watchers: &Watchers| watchers.count == 0 || watchers.period != period;

        // Signals come first: a query can last minutes, and the user waits for the job to stop.
        let answer = tokio::select! {
            biased;
            signal = self.runner.signals.next() => Err(signal),
            answer = host.wait_for_detached(&self.id, patience, &self.mirror) => Ok(answer),
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            _ = watchers.wait_for(are_others) => return Ok(None),
        };

        let answer = match answer {
            Ok(answer) => answer,
            Err(signal) => return self.signal(session, &host, signal).await.map(|()| None),
        };

        let job = match answer {
            Err(DetachedError::Refused(Refusal::Unknown)) => return Ok(Some(FollowerEnd::Gone)),
            Ok(job) => job,
            Err(error) => return Err(session.failed(&host, error).await),
        };

        if let Err(error) = host.fetch_detached(&job, &mut self.mirror).await {
            return Err(session.failed(&host, error).await);
        }

        // One query fetches a bounded portion; the next round fetches the rest.
        if !self.mirror.has_all_of(&job) {
            self.tell(SyncState::CatchingUp);
            return Ok(None);
        }

        match job.state {
            DetachedState::Running => {
                self.tell(SyncState::Current);
                Ok(None)
            }
            DetachedState::Elsewhere(host) => Err(session.detached(DetachedError::Refused(
                Refusal::Failed(format!("it runs on {}, not here", host.raw()).into()),
            ))),
            _ => Ok(Some(FollowerEnd::Reported(job))),
        }
    }

    /// Sends a signal to the job on the remote machine.
    async fn signal(
        &mut self,
        session: &LiveSession,
        host: &Arc<RemoteHost>,
        signal: Signal,
    ) -> Result<(), SessionError> {
        match host.signal_detached(&self.id, signal).await {
            Ok(outcome) => self.stopped = outcome.or(self.stopped),
            Err(error) => return Err(session.failed(host, error).await),
        }
        self.tell(SyncState::Stale);
        Ok(())
    }

    /// Publishes the sync state for the watch period of the last query.
    fn tell(&self, sync_state: SyncState) {
        self.following.known.send_replace(Known {
            period: self.period,
            sync_state,
        });
    }

    /// Reports the end of the job, and removes the remote files once a call has passed the report
    /// on.
    async fn finish(self, end: FollowerEnd) {
        let Self {
            session,
            id,
            following,
            period,
            runner,
            mirror,
            running_since,
            stopped,
        } = self;

        let Following {
            known,
            mut end_reported,
            ..
        } = following;
        let elapsed = running_since.elapsed();
        let output = mirror.finish().await;

        // Output that could not be kept here stays on the remote machine.
        let leaves = matches!(end, FollowerEnd::Reported(_)) && output.trouble.is_none();
        runner.finish(Ok(FinishedJob {
            command: end.result(stopped, elapsed, output),
            shell: None,
        }));

        // After the result, so that a call which sees `Current` also sees the end.
        known.send_replace(Known {
            period,
            sync_state: SyncState::Current,
        });

        drop(known);

        // The files also stay if the job is forgotten before its end was reported to a call.
        if leaves && end_reported.wait_for(|reported| *reported).await.is_ok() {
            session.remove_detached(&id).await;
        }
    }
}

/// End of a detached job.
enum FollowerEnd {
    /// The remote machine reported how the job ended.
    Reported(DetachedJob),
    /// The job's directory is gone from the remote machine.
    Gone,
}

impl FollowerEnd {
    /// Converts the end of a job into the result of a command.
    fn result(
        self,
        stopped: Option<StopOutcome>,
        elapsed: Duration,
        output: CommandOutput,
    ) -> CommandResult {
        let mut notice = None;
        let mut stopped = stopped;
        let (mut ending, mut duration) = (Ending::Exited(ExitStatus::Unreported), elapsed);

        match self {
            Self::Gone => {
                notice = Some(
                    "its directory on the remote machine is gone: another process has read it"
                        .to_owned(),
                );
            }
            Self::Reported(job) => {
                let mut ended = job.started;
                match job.state {
                    DetachedState::Exited { code, ended: at } => {
                        (ending, ended) = (Ending::Exited(ExitStatus::Code(code)), at);
                    }
                    DetachedState::Signaled { signal, ended: at } => {
                        (ending, ended) = (Ending::Exited(ExitStatus::Signal(signal)), at);
                    }
                    DetachedState::TimedOut { gone, ended: at } => {
                        (ending, ended, stopped) =
                            (Ending::TimedOut, at, Some(StopOutcome { gone: Some(gone) }));
                    }
                    DetachedState::Lost | DetachedState::Running | DetachedState::Elsewhere(_) => {
                        notice = Some(
                            "its processes are gone and nobody saw how it ended, as after a reboot"
                                .to_owned(),
                        );
                    }
                }

                // The remote times are in full seconds, by a clock that may be wrong. The local
                // clock is an upper bound.
                duration = elapsed.min(Duration::from_secs(ended.saturating_sub(job.started) + 1));
            }
        }

        CommandResult {
            ending,
            stopped: stopped.is_some(),
            process_gone: stopped.and_then(|stopped| stopped.gone),
            output,
            duration,
            notice,
        }
    }
}
