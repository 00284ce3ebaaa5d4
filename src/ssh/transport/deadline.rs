//! The end of the time that connecting may take.

use std::{future::Future, pin::pin, time::Duration};

use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::ssh::error::SshError;

/// Far longer than any person is asked for: whoever asks has a limit of its own.
const WHILE_ASKING: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of the time that connecting may take, hops and all. It moves on while a person is being asked.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct Deadline {
    /// What was asked for, to be told as it was.
    limit: Duration,
    end: watch::Sender<Instant>,
}

impl Deadline {
    /// From now on.
    pub(in crate::ssh) fn after(limit: Duration) -> Self {
        Self {
            limit,
            end: watch::Sender::new(Instant::now() + limit),
        }
    }

    /// The end of a part of the time, if that comes earlier. It moves on by itself, not with this one.
    pub(in crate::ssh) fn within(&self, limit: Option<Duration>) -> Self {
        let limit = limit.filter(|limit| Instant::now() + *limit < self.at());
        limit.map_or_else(
            || Self {
                limit: self.limit,
                end: watch::Sender::new(self.at()),
            },
            Self::after,
        )
    }

    /// Where it is now, for stages in which nobody is asked.
    pub(in crate::ssh) fn at(&self) -> Instant {
        *self.end.borrow()
    }

    /// What is left of the time.
    pub(in crate::ssh) fn left(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Waits for `work`, but not beyond the deadline.
    ///
    /// # Errors
    /// [`SshError::Timeout`] with the name of the stage.
    pub(in crate::ssh) async fn limit<T>(
        &self,
        stage: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, SshError> {
        let mut moved = self.end.subscribe();
        let mut work = pin!(work);
        loop {
            let end = *moved.borrow_and_update();
            select! {
                biased;
                done = &mut work => return Ok(done),
                Ok(()) = moved.changed() => {}
                () = sleep_until(end) => return Err(SshError::Timeout { stage, after: self.limit }),
            }
        }
    }

    /// Waits for a person; the time that it takes does not count.
    pub(in crate::ssh) async fn while_asking<T>(&self, asking: impl Future<Output = T>) -> T {
        /// Sets the end also where nobody waits for the answer any more.
        struct Asking<'a> {
            deadline: &'a Deadline,
            end: Instant,
            started: Instant,
        }

        impl Drop for Asking<'_> {
            fn drop(&mut self) {
                self.deadline
                    .end
                    .send_replace(self.end + self.started.elapsed());
            }
        }

        let _asking = Asking {
            deadline: self,
            end: self.at(),
            started: Instant::now(),
        };

        self.end.send_replace(self.at() + WHILE_ASKING);

        asking.await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_given_up_but_the_time_of_a_person_does_not_count() {
        let seconds = Duration::from_secs;
        for (before, asking, after, in_time) in [
            (1, 0, 1, true),
            (6, 0, 6, false),
            (4, 100, 4, true),
            (1, 5, 20, false),
        ] {
            let deadline = Deadline::after(seconds(10));
            let work = async {
                sleep(seconds(before)).await;
                deadline.while_asking(sleep(seconds(asking))).await;
                sleep(seconds(after)).await;
            };

            let started = Instant::now();
            assert_eq!(
                deadline.limit("testing", work).await.is_ok(),
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
    async fn a_question_that_is_given_up_moves_the_end_by_its_own_time_alone() {
        let seconds = Duration::from_secs;
        let (deadline, started) = (Deadline::after(seconds(10)), Instant::now());
        let asking = deadline.while_asking(sleep(seconds(100)));
        assert!(tokio::time::timeout(seconds(7), asking).await.is_err());
        assert_eq!(deadline.at() - started, seconds(17));
    }
}
