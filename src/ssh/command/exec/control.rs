//! Stopping and signalling a command that runs on a channel of its own.

use std::{sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::sudo::SudoState;
use crate::{
    framing::{
        exec::windows::WindowsShell,
        sentinel::Sentinel,
        stop::{StopReport, StopTarget},
    },
    ssh::command::{
        limits::StopReason,
        remote_host::RemoteHost,
        stop_ladder::{StepResult, StopAction, StopEvent, StopLadder, StopScope, StopStep},
        sudo::SudoRights,
    },
};

/// Longest wait for the process id of a command before a stop. The command's login shell may be
/// slow to start.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the process id while the program ends.
const ANNOUNCED_AT_THE_END: Duration = Duration::from_secs(2);
/// Margin added to the known lifetime of a process. The process id and the exit status of a short
/// command arrive together, although time went by between them. No system hands out all its process
/// ids within this time.
const CLOCK_MARGIN: Duration = Duration::from_millis(50);
/// Known processes of a command with a channel of the command's own. The task that reads the
/// channel updates them.
#[derive(Debug, Clone, Default)]
pub(super) enum KnownProcesses {
    /// No process id has come yet.
    #[default]
    NotYet,
    /// No process id will come: the login shell is unknown, or the announcement could not be read.
    Never,
    /// The process id has come.
    Known {
        /// Processes for a stop script to signal.
        target: StopTarget<'static>,
        /// Time since which the first process has been running, at the latest.
        since: Instant,
        /// End of the first process; `None` while the process runs.
        ended: Option<Instant>,
    },
}

impl KnownProcesses {
    /// Returns the processes to stop, with the time for which the first has lived.
    fn target(&self) -> Option<StopTarget<'static>> {
        let Self::Known {
            target,
            since,
            ended,
        } = self
        else {
            return None;
        };

        // Process ids are reused: after the process has ended, its group is trusted only if a
        // member began during this time.
        let lived = ended
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(*since)
            + CLOCK_MARGIN;

        Some(target.clone().having_lived(lived))
    }

    /// Replaces the processes, because the same command runs in other processes from now on.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(Option<StopTarget<'static>>) -> Option<StopTarget<'static>>,
    ) {
        let target = if let Self::Known { target, .. } = &self {
            Some(target.clone())
        } else {
            None
        };

        *self = match change(target) {
            Some(target) => {
                // The age is the host's own figure, so a report that was slow to arrive loses no
                // lifetime.
                let now = Instant::now();
                let since = now.checked_sub(target.process().age()).unwrap_or(now);
                Self::Known {
                    target,
                    since,
                    ended: None,
                }
            }
            None => Self::Never,
        };
    }

    /// Records the end of the first process.
    pub(super) fn first_has_ended(&mut self) {
        if let Self::Known { ended, .. } = self {
            ended.get_or_insert_with(Instant::now);
        }
    }
}

/// Handle through which a running command is stopped and signalled. The tasks that read and write
/// the command's channel keep it up to date.
pub(super) struct CommandControl {
    /// Host of the command.
    pub(super) host: Arc<RemoteHost>,
    /// Channel of the command.
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    /// Processes of the command.
    pub(super) processes: watch::Receiver<KnownProcesses>,
    /// State of the exchange with sudo; `None` for a command without sudo.
    pub(super) sudo: Option<SudoState>,
    /// Login shell of Windows, with the mark in the command line; `None` for any other shell.
    pub(super) windows: Option<(WindowsShell, Sentinel)>,
}

impl CommandControl {
    /// Waits until a sudo without an answer should have ended. Never returns for other commands.
    pub(super) async fn outlives_sudo(&self) {
        match &self.sudo {
            Some(sudo) => sudo.outlives_no_answer().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the command's processes: by process id over a second channel, else by signal requests.
    /// Returns true if the processes are gone, false if some are left, and `None` if unknown.
    pub(super) async fn stop(&self, reason: StopReason) -> Option<bool> {
        let mut ladder = StopLadder::new(StopScope::Channel);
        let mut action = ladder.handle(StopEvent::StopWanted(reason), Instant::now());

        loop {
            action = match action {
                StopAction::Take(step, reason) => {
                    let result = self.take_step(step, reason).await;
                    ladder.handle(StopEvent::StepDone(result), Instant::now())
                }
                StopAction::Wait => {
                    let now = Instant::now();
                    sleep_until(ladder.deadline().unwrap_or(now)).await;
                    ladder.handle(StopEvent::TimeOver, Instant::now())
                }
                StopAction::GiveUp => return ladder.process_gone(),
            };
        }
    }

    /// Takes a step of a stop.
    async fn take_step(&self, step: StopStep, reason: StopReason) -> StepResult {
        if step == StopStep::Processes {
            let report = match &self.windows {
                Some((shell, mark)) => self.host.stop_on_windows(*shell, mark, reason).await,
                None => self.stop_processes(reason).await,
            };
            return report.map_or(StepResult::Unknown, StepResult::Report);
        }

        let _ = self.write.signal(step.signal_request()).await;

        StepResult::Unknown
    }

    /// Stops the command's processes by process id; `None` if no script could run.
    async fn stop_processes(&self, reason: StopReason) -> Option<StopReport> {
        // A command that has just been sent may not have reported its process id yet.
        let patience = if reason == StopReason::Ending {
            ANNOUNCED_AT_THE_END
        } else {
            ANNOUNCED_WITHIN
        };

        let mut processes = self.processes.clone();
        let known = timeout(
            patience,
            processes.wait_for(|processes| !matches!(processes, KnownProcesses::NotYet)),
        )
        .await;

        let target = known.ok().and_then(|known| known.ok()?.target())?;

        self.host
            .stop_processes(&target, self.rights(&target).as_ref(), reason)
            .await
    }

    /// Sends a single signal to the command's processes, or as a signal request if no process id is
    /// known.
    pub(super) async fn signal(&self, name: &'static str) {
        let target = self.processes.borrow().target();
        match target {
            Some(target) => {
                self.host
                    .signal_processes(&target, self.rights(&target).as_ref(), name)
                    .await;
            }
            None => drop(self.write.signal(Sig::Custom(name.to_owned())).await),
        }
    }

    /// Returns the means to signal processes of root; `None` for processes of the user.
    fn rights(&self, target: &StopTarget<'_>) -> Option<SudoRights> {
        let sudo = self.sudo.as_ref()?;
        matches!(target, StopTarget::Sudo { .. }).then(|| sudo.rights(None))
    }
}
