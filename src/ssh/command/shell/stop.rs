//! Steps that stop a shell's command.

use std::{sync::Arc, time::Duration};

use russh::Sig;
use tokio::{task::JoinHandle, time::Instant};

use super::ShellTask;
use crate::{
    framing::stop::{self, StopReport, StopTarget},
    ssh::command::limits::StopReason,
};

/// Longest wait for the trailer of a stopped command, before the shell is interrupted and then
/// killed.
pub(super) const TRAILER_AFTER_STOP: Duration = Duration::from_secs(2);
/// Longest wait for the trailer while output still comes in, because the trailer comes after the
/// output.
pub(super) const TRAILER_AFTER_OUTPUT: Duration = Duration::from_secs(20);
/// Silence after the shell's exit until the output counts as complete. Background jobs may hold the
/// output open.
pub(super) const QUIET_AFTER_EXIT: Duration = Duration::from_millis(300);
/// Silence after the shell's exit while a snapshot is still to come.
pub(super) const STATE_AFTER_EXIT: Duration = Duration::from_secs(3);

/// Step towards the end of a command. Each step is taken if the step before did not bring the
/// command's trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Stops the command's processes and tells the shell to give up the command.
    Stop,
    /// Checks if the shell still computes while output comes in, or if only the trailer is late. A
    /// shell interrupted while it writes the trailer would be out of step.
    Look,
    /// Interrupts the shell, because the command removed the trap or runs a long builtin.
    Interrupt,
    /// Kills the shell, because the shell ignores the interrupt or waits for an unkillable process.
    Kill,
}

impl StopStep {
    /// Returns the next step; `None` after the last.
    pub(super) fn next(self, stop: Option<StopReason>) -> Option<Self> {
        match self {
            Self::Stop if stop != Some(StopReason::Ending) => Some(Self::Interrupt),
            Self::Stop | Self::Look | Self::Interrupt => Some(Self::Kill),
            Self::Kill => None,
        }
    }

    /// Returns the longest wait for the trailer after this step.
    pub(super) fn patience(self, stop: Option<StopReason>) -> Duration {
        match self {
            _ if stop == Some(StopReason::Ending) => Duration::ZERO,
            Self::Kill => QUIET_AFTER_EXIT,
            Self::Stop | Self::Look | Self::Interrupt => TRAILER_AFTER_STOP,
        }
    }
}

impl ShellTask {
    /// Begins a step against the command sent at `sent`, in a new task. The answer to
    /// [`StopStep::Look`] is true if the shell computes. [`StopStep::Interrupt`] answers `None`,
    /// and the other steps true if the processes are gone.
    pub(super) fn begin(
        &self,
        step: StopStep,
        why: StopReason,
        sent: Instant,
    ) -> JoinHandle<Option<bool>> {
        let (host, process, jobs) = (
            Arc::clone(&self.host),
            self.process.clone(),
            self.jobs.clone(),
        );

        // Counted from the shell's readiness, so the command may seem to have begun too early, but
        // never too late.
        let (age, lived, write) = (
            self.age(sent),
            self.ready.elapsed(),
            Arc::clone(&self.write),
        );

        tokio::spawn(async move {
            // Without a second channel, a signal request is all that is left (RFC 4254 section
            // 6.9). It has no answer.
            let (found, signal) = match step {
                StopStep::Look => {
                    let answer = host
                        .run_helper("exec /bin/sh", stop::look(&process), TRAILER_AFTER_OUTPUT)
                        .await
                        .ok()?;
                    return Some(String::from_utf8_lossy(&answer).contains(stop::BUSY));
                }
                StopStep::Interrupt => {
                    let asked = host
                        .run_helper(
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
                    (host.stop_processes(&target, None, why).await, Sig::INT)
                }
                StopStep::Kill => (
                    host.stop_processes(&StopTarget::Exec { process, lived }, None, why)
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

    /// Sends a signal to the command sent at `sent`.
    pub(super) fn signal(&self, name: &'static str, sent: Instant) {
        let (host, process, jobs) = (
            Arc::clone(&self.host),
            self.process.clone(),
            self.jobs.clone(),
        );

        let age = self.age(sent);
        tokio::spawn(async move {
            host.signal_processes(
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

    /// Returns the least time for which the shell had been running at `sent`.
    fn age(&self, sent: Instant) -> Duration {
        sent.duration_since(self.ready)
    }
}
