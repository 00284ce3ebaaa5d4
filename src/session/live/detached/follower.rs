//! The task that knows about one detached job. It asks the remote machine only while somebody watches.

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
        live::{FIRST_PAUSE, LiveSession, MAX_PAUSE},
    },
    ssh::{
        command::{
            detached::{DetachedError, MAX_WAIT, Mirror, StopOutcome},
            exec::CommandResult,
            exit_status::{Ending, ExitStatus},
            output::{CommandOutput, Output},
        },
        pool::Pool,
        prompt::prompter::Prompter,
    },
};

pub(super) struct Follower {
    session: Arc<LiveSession>,
    id: JobId,
    following: Following,
    /// The period of the watchers for whom the remote machine was asked last.
    period: u64,
    work: JobRunner,
    mirror: Mirror,
    /// When it was begun, by our clock.
    begun: Instant,
    /// What came of stopping it, if it was told to.
    stopped: Option<StopOutcome>,
}

impl Follower {
    pub(super) fn new(
        session: Arc<LiveSession>,
        id: JobId,
        following: Following,
        work: JobRunner,
        output: &Output,
        since: Duration,
    ) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(since).unwrap_or(now);
        Self {
            session,
            id,
            following,
            period: 0,
            work,
            mirror: Mirror::new(output),
            begun,
            stopped: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut watchers = self.following.watchers.clone();
        let mut wanted = watchers.borrow_and_update().count > 0;
        loop {
            while !wanted {
                // Nobody can come any more: the job is forgotten.
                if watchers.changed().await.is_err() {
                    return;
                }
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

    /// Follows the job to its end, or as long as somebody watches.
    async fn while_watched(&mut self) -> Result<Option<FollowerEnd>, SessionError> {
        let session = Arc::clone(&self.session);
        let mut watchers = self.following.watchers.clone();

        // What is disconnected after this is not connected again.
        let caller = Caller {
            cancelled: session.open(),
            prompter: Prompter::default(),
        };

        // A connection that had died unnoticed is worth no pause and no word.
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

            pause = (pause * 2).min(MAX_PAUSE);
        }

        Ok(None)
    }

    /// One question to the remote machine, and what follows from the answer.
    async fn round(
        &mut self,
        session: &LiveSession,
        caller: &Caller,
    ) -> Result<Option<FollowerEnd>, SessionError> {
        let _running = session.running.token();
        let mut watchers = self.following.watchers.clone();
        let period = watchers.borrow().period;
        self.period = period;

        let pool = session.connection(caller).await?;
        let is_fresh = matches!(
            self.following.known.borrow().in_period(period),
            SyncState::Current
        );

        let patience = if is_fresh { MAX_WAIT } else { Duration::ZERO };
        let are_others = |watchers: &Watchers| watchers.count == 0 || watchers.period != period;

        let asked = tokio::select! {
            biased;
            signal = self.work.signals.next() => Err(signal),
            asked = pool.wait_for_detached(&self.id, patience, &self.mirror) => Ok(asked),
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            _ = watchers.wait_for(are_others) => return Ok(None),
        };

        let asked = match asked {
            Ok(asked) => asked,
            Err(signal) => return self.signal(session, &pool, signal).await.map(|()| None),
        };

        let job = match asked {
            Err(DetachedError::Refused(Refusal::Unknown)) => return Ok(Some(FollowerEnd::Gone)),
            Ok(job) => job,
            Err(error) => return Err(session.failed(&pool, error).await),
        };

        if let Err(error) = pool.fetch_detached(&job, &mut self.mirror).await {
            return Err(session.failed(&pool, error).await);
        }

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
                Refusal::Trouble(format!("it runs on {host}, not here")),
            ))),
            _ => Ok(Some(FollowerEnd::Told(job))),
        }
    }

    async fn signal(
        &mut self,
        session: &LiveSession,
        pool: &Arc<Pool>,
        signal: Signal,
    ) -> Result<(), SessionError> {
        match pool.signal_detached(&self.id, signal).await {
            Ok(told) => self.stopped = told.or(self.stopped),
            Err(error) => return Err(session.failed(pool, error).await),
        }
        self.tell(SyncState::Stale);
        Ok(())
    }

    /// Says how much is known, for those for whom the remote machine was asked.
    fn tell(&self, news: SyncState) {
        self.following.known.send_replace(Known {
            period: self.period,
            news,
        });
    }

    async fn finish(self, end: FollowerEnd) {
        let Self {
            session,
            id,
            following,
            period,
            work,
            mirror,
            begun,
            stopped,
        } = self;

        let Following {
            known, mut told, ..
        } = following;
        let elapsed = begun.elapsed();
        let output = mirror.finish().await;

        // What could not be kept here stays there.
        let leaves = matches!(end, FollowerEnd::Told(_)) && output.trouble.is_none();
        work.finish(Ok(FinishedJob {
            command: end.result(stopped, elapsed, output),
            shell: None,
        }));

        known.send_replace(Known {
            period,
            news: SyncState::Current,
        });

        drop(known);

        // A job that is forgotten before somebody was told of its end stays there, too.
        if leaves && told.wait_for(|told| *told).await.is_ok() {
            session.remove_detached(&id).await;
        }
    }
}

/// The end of a job.
enum FollowerEnd {
    /// As the remote machine tells it.
    Told(DetachedJob),
    /// There is nothing left of it.
    Gone,
}

impl FollowerEnd {
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
            Self::Told(job) => {
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

                // To the second, by a clock that may be wrong; ours knows better how short it was.
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
