//! Steps that stop a shell's command.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use super::{as_user::ShellSudo, task::ShellTask};
use crate::{
    framing::stop::{self, Process, StopReport, StopTarget},
    ssh::command::{
        limits::StopReason,
        remote_host::RemoteHost,
        stop_ladder::{END_AFTER_OUTPUT, END_AFTER_STOP, StepResult, StopStep},
        sudo::SudoRights,
    },
};

/// Silence after the shell's exit while a snapshot is still to come.
pub(super) const STATE_AFTER_EXIT: Duration = Duration::from_secs(3);

impl ShellTask {
    /// Begins a step against the command sent at `sent`, in a new task.
    pub(super) fn begin(
        &self,
        step: StopStep,
        reason: StopReason,
        sent: Instant,
    ) -> JoinHandle<StepResult> {
        let (host, process, jobs) = (
            Arc::clone(&self.host),
            self.process.clone(),
            self.jobs.clone(),
        );

        // Counted from the shell's readiness, so the command may seem to have begun too early, but
        // never too late.
        let (age, lived, write) = (
            self.age(sent),
            self.started.elapsed(),
            Arc::clone(&self.write),
        );

        let rights = self.rights();
        tokio::spawn(async move {
            let rights = rights.as_ref();
            let report = match step {
                StopStep::Look => return look(&host, &process, rights).await,
                StopStep::Interrupt => interrupt(&host, &process, rights).await,
                StopStep::Processes => {
                    let target = StopTarget::Shell {
                        process,
                        jobs: &jobs,
                        age,
                    };
                    host.stop_processes(&target, rights, reason).await
                }
                StopStep::Kill => {
                    let target = StopTarget::Exec { process, lived };
                    host.stop_processes(&target, rights, reason).await
                }
                StopStep::Request(_) => None,
            };

            if let Some(report) = report {
                return StepResult::Report(report);
            }

            // Without a second channel, a signal request is all that is left (RFC 4254 section
            // 6.9). It has no answer.
            let _ = write.signal(step.signal_request()).await;

            StepResult::Unknown
        })
    }

    /// Sends a signal to the command sent at `sent`.
    pub(super) fn signal(&self, name: &'static str, sent: Instant) {
        let (host, process, jobs) = (
            Arc::clone(&self.host),
            self.process.clone(),
            self.jobs.clone(),
        );

        let (age, rights) = (self.age(sent), self.rights());
        tokio::spawn(async move {
            host.signal_processes(
                &StopTarget::Shell {
                    process,
                    jobs: &jobs,
                    age,
                },
                rights.as_ref(),
                name,
            )
            .await;
        });
    }

    /// Returns the means to signal the shell's processes; `None` if they belong to the user of the
    /// log-in.
    fn rights(&self) -> Option<SudoRights> {
        self.sudo.as_ref().map(ShellSudo::rights)
    }

    /// Returns the least time for which the shell had been running at `sent`.
    fn age(&self, sent: Instant) -> Duration {
        sent.duration_since(self.started)
    }
}

/// Checks if the shell computes.
async fn look(host: &Arc<RemoteHost>, shell: &Process, rights: Option<&SudoRights>) -> StepResult {
    let answer = host
        .run_helper_of(rights, stop::look(shell), END_AFTER_OUTPUT)
        .await;

    match answer {
        Ok(answer) if String::from_utf8_lossy(&answer).contains(stop::BUSY) => StepResult::Busy,
        _ => StepResult::Unknown,
    }
}

/// Interrupts the shell itself; `None` if no script could run.
async fn interrupt(
    host: &Arc<RemoteHost>,
    shell: &Process,
    rights: Option<&SudoRights>,
) -> Option<StopReport> {
    host.run_helper_of(rights, stop::interrupt(shell), END_AFTER_STOP)
        .await
        .ok()
        .map(|_| StopReport::Unsure)
}
