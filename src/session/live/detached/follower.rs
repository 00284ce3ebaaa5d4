//! The task that knows about one detached job. It asks the remote machine only while somebody watches.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    framing::{
        detached::answer::{DetachedJob, Refusal, State},
        stop::Signal,
    },
    session::{
        caller::Caller,
        detached::{Detached, News},
        error::SessionError,
        job::{Finished, Work},
        live::{FIRST_PAUSE, LONGEST_PAUSE, LiveSession},
    },
    ssh::{
        command::{
            detached::{DetachedError, LONGEST_WAIT, Mirror, Stopped},
            exec::CommandResult,
            exit_status::{Ending, ExitStatus},
            output::{CommandOutput, Output},
        },
        pool::Pool,
        prompt::prompter::Person,
    },
};

pub(super) struct Follower {
    detached: Arc<Detached>,
    work: Work,
    mirror: Mirror,
    /// When it was begun, by our clock.
    begun: Instant,
    /// What came of stopping it, if it was told to.
    stopped: Option<Stopped>,
}

impl Follower {
    pub(super) fn new(detached: Arc<Detached>, work: Work, output: &Output, since: Duration) -> Self {
        let now = Instant::now();
        let begun = now.checked_sub(since).unwrap_or(now);
        Self { detached, work, mirror: Mirror::new(output), begun, stopped: None }
    }

    pub(super) async fn run(mut self) {
        let detached = Arc::clone(&self.detached);
        let mut watchers = detached.watchers.subscribe();
        let mut wanted = *watchers.borrow_and_update() > 0;
        loop {
            while !wanted {
                // It does not fail: the sender is ours too.
                let _ = watchers.changed().await;
                wanted = *watchers.borrow_and_update() > 0;
            }
            match self.while_watched().await {
                Ok(Some(end)) => return self.finish(end).await,
                Ok(None) => {}
                Err(error) => {
                    detached.news.send_replace(News::Trouble { error: Arc::new(error), goes_on: false });
                }
            }
            wanted = watchers.has_changed().unwrap_or(false) && *watchers.borrow_and_update() > 0;
        }
    }

    /// Follows the job to its end, or as long as somebody watches.
    async fn while_watched(&mut self) -> Result<Option<End>, SessionError> {
        let session = Arc::clone(&self.detached.session);
        let mut watchers = self.detached.watchers.subscribe();
        // What is disconnected after this is not connected again.
        let caller = Caller { cancelled: session.open(), person: Person::default() };
        // A connection that had died unnoticed is worth no pause and no word.
        let mut pause = Duration::ZERO;
        while *watchers.borrow_and_update() > 0 {
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
                self.detached.news.send_replace(News::Old);
                continue;
            }
            self.detached.news.send_replace(News::Trouble { error: Arc::new(error), goes_on: true });
            tokio::select! {
                () = sleep(pause) => {}
                _ = watchers.wait_for(|watchers| *watchers == 0) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(None)
    }

    /// One question to the remote machine, and what follows from the answer.
    async fn round(&mut self, session: &LiveSession, caller: &Caller) -> Result<Option<End>, SessionError> {
        let _running = session.running.token();
        let pool = session.connection(caller).await?;
        let is_fresh = matches!(*self.detached.news.borrow(), News::Fresh);
        let patience = if is_fresh { LONGEST_WAIT } else { Duration::ZERO };
        let mut watchers = self.detached.watchers.subscribe();
        let asked = tokio::select! {
            biased;
            signal = self.work.signals.next() => Err(signal),
            asked = pool.wait_for_detached(&self.detached.id, patience, &self.mirror) => Ok(asked),
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            _ = watchers.wait_for(|watchers| *watchers == 0) => return Ok(None),
        };
        let asked = match asked {
            Ok(asked) => asked,
            Err(signal) => return self.signal(session, &pool, signal).await.map(|()| None),
        };
        let job = match asked {
            Err(DetachedError::Refused(Refusal::Unknown)) => return Ok(Some(End::Gone)),
            Ok(job) => job,
            Err(error) => return Err(session.failed(&pool, error).await),
        };
        if let Err(error) = pool.fetch_detached(&job, &mut self.mirror).await {
            return Err(session.failed(&pool, error).await);
        }
        if !self.mirror.has_all_of(&job) {
            self.detached.news.send_replace(News::Behind);
            return Ok(None);
        }
        match job.state {
            State::Running => {
                self.detached.news.send_replace(News::Fresh);
                Ok(None)
            }
            State::Elsewhere(host) => {
                Err(session.detached(DetachedError::Refused(Refusal::Trouble(format!("it runs on {host}, not here")))))
            }
            _ => Ok(Some(End::Told(job))),
        }
    }

    async fn signal(&mut self, session: &LiveSession, pool: &Arc<Pool>, signal: Signal) -> Result<(), SessionError> {
        match pool.signal_detached(&self.detached.id, signal).await {
            Ok(told) => self.stopped = told.or(self.stopped),
            Err(error) => return Err(session.failed(pool, error).await),
        }
        self.detached.news.send_replace(News::Old);
        Ok(())
    }

    async fn finish(self, end: End) {
        let Self { detached, work, mirror, begun, stopped } = self;
        let elapsed = begun.elapsed();
        let output = mirror.finish().await;
        // What could not be kept here stays there.
        detached.leaves.store(matches!(end, End::Told(_)) && output.trouble.is_none(), Ordering::Relaxed);
        work.finish(Ok(Finished { command: end.result(stopped, elapsed, output), shell: None }));
        detached.news.send_replace(News::Fresh);
    }
}

/// The end of a job.
enum End {
    /// As the remote machine tells it.
    Told(DetachedJob),
    /// There is nothing left of it.
    Gone,
}

impl End {
    fn result(self, stopped: Option<Stopped>, elapsed: Duration, output: CommandOutput) -> CommandResult {
        let mut notice = None;
        let mut stopped = stopped;
        let (mut ending, mut duration) = (Ending::Exited(ExitStatus::Unreported), elapsed);
        match self {
            Self::Gone => {
                notice = Some("its directory on the remote machine is gone: another process has read it".to_owned());
            }
            Self::Told(job) => {
                let mut ended = job.started;
                match job.state {
                    State::Exited { code, ended: at } => {
                        (ending, ended) = (Ending::Exited(ExitStatus::Code(code)), at);
                    }
                    State::Signaled { signal, ended: at } => {
                        (ending, ended) = (Ending::Exited(ExitStatus::Signal(signal)), at);
                    }
                    State::TimedOut { gone, ended: at } => {
                        (ending, ended, stopped) = (Ending::TimedOut, at, Some(Stopped { gone: Some(gone) }));
                    }
                    State::Lost | State::Running | State::Elsewhere(_) => {
                        notice =
                            Some("its processes are gone and nobody saw how it ended, as after a reboot".to_owned());
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
