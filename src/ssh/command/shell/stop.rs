//! The steps towards the end of a shell's command that is to be stopped.

use std::{sync::Arc, time::Duration};

use russh::Sig;
use tokio::{task::JoinHandle, time::Instant};

use super::ShellTask;
use crate::{
    framing::stop::{self, StopReport, StopTarget},
    ssh::command::limits::StopReason,
};

/// How long a stopped command's trailer may take before the shell itself is interrupted, and then ended.
pub(super) const TRAILER_AFTER_STOP: Duration = Duration::from_secs(2);
/// The same while output still comes in: the trailer is behind it.
pub(super) const TRAILER_AFTER_OUTPUT: Duration = Duration::from_secs(20);
/// Output of a shell that has ended may be held open by its background jobs; this long without any is the end of it.
pub(super) const QUIET_AFTER_EXIT: Duration = Duration::from_millis(300);
/// The same while the shell's state is on its way.
pub(super) const STATE_AFTER_EXIT: Duration = Duration::from_secs(3);

/// A step, taken if the one before did not bring the command's trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Its processes are stopped, and the shell is told to give it up.
    Stop,
    /// Output still comes in: whether the shell makes it, or only the trailer is behind it. A shell that is interrupted while
    /// it writes its trailer is out of step.
    Look,
    /// The shell is interrupted: the command took its trap away, or is in the middle of a long builtin.
    Interrupt,
    /// The shell itself is ended: it ignores that too, or something that cannot be killed holds it.
    Kill,
}

impl StopStep {
    /// What comes after this one; nothing after the last.
    pub(super) fn next(self, stop: Option<StopReason>) -> Option<Self> {
        match self {
            Self::Stop if stop != Some(StopReason::Ending) => Some(Self::Interrupt),
            Self::Stop | Self::Look | Self::Interrupt => Some(Self::Kill),
            Self::Kill => None,
        }
    }

    /// How long the trailer may take after it.
    pub(super) fn patience(self, stop: Option<StopReason>) -> Duration {
        match self {
            _ if stop == Some(StopReason::Ending) => Duration::ZERO,
            Self::Kill => QUIET_AFTER_EXIT,
            Self::Stop | Self::Look | Self::Interrupt => TRAILER_AFTER_STOP,
        }
    }
}

impl ShellTask {
    /// Begins a step for the command that was `sent` then, in a task of its own. Its answer is, after
    /// [`StopStep::Look`], whether the shell is at work; after an interrupt, nothing; else whether the processes are gone.
    pub(super) fn begin(
        &self,
        step: StopStep,
        why: StopReason,
        sent: Instant,
    ) -> JoinHandle<Option<bool>> {
        let (pool, process, jobs) = (
            Arc::clone(self.slot.pool()),
            self.process.clone(),
            self.jobs.clone(),
        );

        let (age, lived, write) = (
            self.age(sent),
            self.ready.elapsed(),
            Arc::clone(&self.write),
        );

        tokio::spawn(async move {
            // Where there is no second channel, a signal request (RFC 4254 section 6.9): what comes of it is not known.
            let (found, signal) = match step {
                StopStep::Look => {
                    let answer = pool
                        .ask("exec /bin/sh", stop::look(&process), TRAILER_AFTER_OUTPUT)
                        .await
                        .ok()?;
                    return Some(String::from_utf8_lossy(&answer).contains(stop::BUSY));
                }
                StopStep::Interrupt => {
                    let asked = pool
                        .ask(
                            "exec /bin/sh",
                            stop::interrupt(&process),
                            TRAILER_AFTER_STOP,
                        )
                        .await;

                    (asked.ok().map(|_| StopReport::Unsure), Sig::INT)
                }
                StopStep::Stop => {
                    let target = StopTarget::Shell {
                        process,
                        jobs: &jobs,
                        age,
                    };
                    (pool.stop_processes(&target, None, why).await, Sig::INT)
                }
                StopStep::Kill => (
                    pool.stop_processes(&StopTarget::Exec { process, lived }, None, why)
                        .await,
                    Sig::KILL,
                ),
            };

            if found.is_none() {
                let _ = write.signal(signal).await;
            }

            found.and_then(StopReport::gone)
        })
    }

    /// Sends a signal to the command that was `sent` then.
    pub(super) fn signal(&self, name: &'static str, sent: Instant) {
        let (pool, process, jobs) = (
            Arc::clone(self.slot.pool()),
            self.process.clone(),
            self.jobs.clone(),
        );

        let age = self.age(sent);
        tokio::spawn(async move {
            pool.signal_processes(
                &StopTarget::Shell {
                    process,
                    jobs: &jobs,
                    age,
                },
                None,
                name,
            )
            .await;
        });
    }

    /// How long the shell had been running then, at least.
    fn age(&self, sent: Instant) -> Duration {
        sent.duration_since(self.ready)
    }
}
