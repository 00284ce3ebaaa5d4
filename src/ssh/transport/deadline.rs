//! Deadline of a connection attempt, which moves on while the user is asked.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::ssh::error::SshError;

/// Extension of the deadline during a question. The value exceeds the time limit of any question.
const WHILE_ASKING: Duration = Duration::from_secs(24 * 60 * 60);

/// Deadline of a connection attempt, jump hosts included. The time of a question to the user is
/// added to it. Clones share the same end.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct Deadline {
    /// Time limit as the caller gave it, for the error message.
    limit: Duration,
    /// Current end, watched by all waiting stages.
    until: watch::Sender<Instant>,
}

/// Deadlines of a transport until the server has shown an accepted host key.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct ConnectDeadlines {
    /// Deadline of `ConnectTimeout`.
    pub(in crate::ssh) connecting: Deadline,
    /// Deadline of the whole attempt, jump hosts included.
    pub(in crate::ssh) attempt: Deadline,
}

impl ConnectDeadlines {
    /// Waits for the user's answer, while both deadlines stand still. Otherwise the time to think
    /// would count against `ConnectTimeout`.
    pub(in crate::ssh) async fn while_asking<T>(&self, asking: impl Future<Output = T>) -> T {
        let asking = self.connecting.while_asking(asking);
        self.attempt.while_asking(asking).await
    }
}

impl Deadline {
    /// Creates a deadline at `limit` from now.
    pub(in crate::ssh) fn after(limit: Duration) -> Self {
        Self {
            limit,
            until: watch::Sender::new(Instant::now() + limit),
        }
    }

    /// Returns a separate deadline: `limit` from now, but no later than this deadline. The two
    /// deadlines move on independently. With `None` the end is the same.
    pub(in crate::ssh) fn within(&self, limit: Option<Duration>) -> Self {
        let limit = limit.filter(|limit| Instant::now() + *limit < self.at());
        limit.map_or_else(
            || Self {
                limit: self.limit,
                until: watch::Sender::new(self.at()),
            },
            Self::after,
        )
    }

    /// Returns the current end, for stages in which nobody is asked.
    pub(in crate::ssh) fn at(&self) -> Instant {
        *self.until.borrow()
    }

    /// Returns the remaining time.
    pub(in crate::ssh) fn left(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Waits for `future` until the deadline at the latest.
    ///
    /// # Errors
    /// [`SshError::Timeout`] with the name of the stage, if the deadline passes first.
    pub(in crate::ssh) async fn limit<T>(
        &self,
        stage: &'static str,
        future: impl Future<Output = T>,
    ) -> Result<T, SshError> {
        let mut moved = self.until.subscribe();
        let mut future = pin!(future);
        loop {
            let until = *moved.borrow_and_update();
            select! {
                // Finished work wins over a deadline that has passed in the same moment.
                biased;
                output = &mut future => return Ok(output),
                Ok(()) = moved.changed() => {}
                () = sleep_until(until) => return Err(SshError::Timeout { stage, after: self.limit }),
            }
        }
    }

    /// Waits for the user's answer. The duration of the wait is added to the deadline.
    pub(in crate::ssh) async fn while_asking<T>(&self, asking: impl Future<Output = T>) -> T {
        /// Guard which sets the new end, even if nobody waits for the answer any more.
        struct Asking<'a> {
            deadline: &'a Deadline,
            until: Instant,
            started: Instant,
        }

        impl Drop for Asking<'_> {
            fn drop(&mut self) {
                self.deadline
                    .until
                    .send_replace(self.until + self.started.elapsed());
            }
        }

        // `limit` waits meanwhile, so the end moves far away now, and not only after the answer.
        let _asking = Asking {
            deadline: self,
            until: self.at(),
            started: Instant::now(),
        };

        self.until.send_replace(self.at() + WHILE_ASKING);

        asking.await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slow_work_is_abandoned_but_time_of_the_person_does_not_count() {
        let seconds = Duration::from_secs;
        for (before, asking, after, in_time) in [
            (1, 0, 1, true),
            (6, 0, 6, false),
            (4, 100, 4, true),
            (1, 5, 20, false),
        ] {
            let deadline = Deadline::after(seconds(10));
            let stage = async {
                sleep(seconds(before)).await;
                deadline.while_asking(sleep(seconds(asking))).await;
                sleep(seconds(after)).await;
            };

            let started = Instant::now();
            assert_eq!(
                deadline.limit("testing", stage).await.is_ok(),
                in_time,
                "{before} {asking} {after}"
            );

            assert_eq!(
                started.elapsed(),
                seconds(if in_time {
                    before + asking + after
                } else {
                    10 + asking
                })
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_question_extends_the_deadline_by_its_own_time() {
        let seconds = Duration::from_secs;
        let (deadline, started) = (Deadline::after(seconds(10)), Instant::now());
        let asking = deadline.while_asking(sleep(seconds(100)));
        assert!(tokio::time::timeout(seconds(7), asking).await.is_err());
        assert_eq!(deadline.at() - started, seconds(17));
    }
}
