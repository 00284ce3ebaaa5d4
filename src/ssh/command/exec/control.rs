//! Stopping and signalling a command that runs on a channel of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use russh::{ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    framing::stop::StopTarget,
    password::Password,
    ssh::{
        command::{
            exit_status::ExitStatus, limits::StopReason, remote_host::RemoteHost, sudo::SudoOutcome,
        },
        error::SudoRefusal,
    },
};

/// Longest wait for the process id of a command before a stop. The command's login shell may be
/// slow to start.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for the process id while the program ends.
const ANNOUNCED_AT_THE_END: Duration = Duration::from_secs(2);
/// Grace period of sudo after end of file in place of a password. sudo delays its answer to a wrong
/// password by some seconds.
const ENDS_UNANSWERED: Duration = Duration::from_secs(10);
/// Margin added to the known lifetime of a process. The process id and the exit status of a short
/// command arrive together, although time went by between them. No system hands out all its process
/// ids within this time.
const TOGETHER: Duration = Duration::from_millis(50);
/// Exit status of a shell without the wanted program (POSIX, "Exit Status for Commands").
const NO_SUCH_PROGRAM: u32 = 127;

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
    Told {
        /// Processes for a stop script to signal.
        target: StopTarget<'static>,
        /// Time since which the first process has been running, at the latest.
        at: Instant,
        /// End of the first process; `None` while the process runs.
        ended: Option<Instant>,
    },
}

impl KnownProcesses {
    /// Returns the processes to stop, with the time for which the first has lived.
    fn target(&self) -> Option<StopTarget<'static>> {
        let Self::Told { target, at, ended } = self else {
            return None;
        };

        // Process ids are reused: after the process has ended, its group is trusted only if a
        // member began during this time.
        let lived = ended
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(*at)
            + TOGETHER;

        Some(target.clone().having_lived(lived))
    }

    /// Replaces the processes, because the same command runs in other processes from now on.
    pub(super) fn change(
        &mut self,
        change: impl FnOnce(Option<StopTarget<'static>>) -> Option<StopTarget<'static>>,
    ) {
        let target = if let Self::Told { target, .. } = &self {
            Some(target.clone())
        } else {
            None
        };

        *self = match change(target) {
            Some(target) => {
                // The age is the host's own figure, so a report that was slow to arrive loses no
                // lifetime.
                let now = Instant::now();
                let at = now.checked_sub(target.process().age()).unwrap_or(now);
                Self::Told {
                    target,
                    at,
                    ended: None,
                }
            }
            None => Self::Never,
        };
    }

    /// Notes the end of the first process.
    pub(super) fn end(&mut self) {
        if let Self::Told { ended, .. } = self {
            ended.get_or_insert_with(Instant::now);
        }
    }
}

/// Handle through which a running command is stopped and signalled. Its receivers are fed by the
/// tasks that read and write the command's channel.
pub(super) struct CommandControl {
    /// Processes of the command.
    pub(super) known: watch::Receiver<KnownProcesses>,
    /// Outcome of the exchange with sudo; `None` before the end of the exchange.
    pub(super) answered: watch::Receiver<Option<SudoOutcome>>,
    /// True if the host gets no password, because the host key has changed.
    pub(super) withholds_passwords: bool,
}

impl CommandControl {
    /// Returns the outcome of the exchange with sudo; `None` before the end of the exchange.
    pub(super) fn answered(&self) -> Option<SudoOutcome> {
        self.answered.borrow().clone()
    }

    /// Waits until a sudo without an answer should have ended. Never returns if sudo got an answer.
    pub(super) async fn outlived_no_answer(&self) {
        let mut answered = self.answered.clone();
        if answered
            .wait_for(|answered| *answered == Some(SudoOutcome::NoAnswer))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }

        sleep(ENDS_UNANSWERED).await;
    }

    /// Returns the reason why sudo did not run the command, given the exit status. `None` if the
    /// command was only stopped or cut off before.
    pub(super) fn refusal(
        &self,
        stopped: bool,
        status: Option<&ExitStatus>,
    ) -> Option<SudoRefusal> {
        match (self.answered(), status) {
            (Some(SudoOutcome::NoAnswer), _) if self.withholds_passwords => {
                Some(SudoRefusal::ChangedHostKey)
            }
            (Some(SudoOutcome::NoAnswer), _) => Some(SudoRefusal::Unanswered),
            _ if stopped => None,
            (_, Some(ExitStatus::Code(NO_SUCH_PROGRAM))) => Some(SudoRefusal::Missing),
            (_, status) => status.map(|_| SudoRefusal::Refused),
        }
    }

    /// Returns the password accepted by sudo for this command, if any.
    fn password(&self) -> Option<Password> {
        if let Some(SudoOutcome::Authenticated(password)) = self.answered() {
            password
        } else {
            None
        }
    }
}

impl RemoteHost {
    /// Stops a command's processes: by process id over a second channel, else by signal requests.
    /// Returns true if the processes are gone, false if some are left, and `None` if unknown.
    pub(super) async fn stop_exec(
        self: &Arc<Self>,
        stop: StopReason,
        control: &CommandControl,
        write: &ChannelWriteHalf<Msg>,
    ) -> Option<bool> {
        // A command that has just been sent may not have reported its process id yet.
        let patience = if stop == StopReason::Ending {
            ANNOUNCED_AT_THE_END
        } else {
            ANNOUNCED_WITHIN
        };

        let mut known = control.known.clone();
        let known = timeout(
            patience,
            known.wait_for(|known| !matches!(known, KnownProcesses::NotYet)),
        )
        .await;

        let target = known.ok().and_then(|known| known.ok()?.target());

        if let Some(target) = target
            && let Some(found) = self
                .stop_processes(&target, control.password().as_ref(), stop)
                .await
        {
            return found.gone();
        }

        // A signal request has no answer (RFC 4254 section 6.9): all three are sent in turn, and
        // the result stays unknown.
        for signal in [Sig::INT, Sig::TERM, Sig::KILL] {
            let _ = write.signal(signal).await;
            sleep(Duration::from_millis(u64::from(stop.grace_tenths()) * 30)).await;
        }

        None
    }

    /// Sends a single signal to a command's processes, or as a signal request if no process id is
    /// known.
    pub(super) async fn signal_exec(
        self: &Arc<Self>,
        name: &'static str,
        control: &CommandControl,
        write: &ChannelWriteHalf<Msg>,
    ) {
        let target = control.known.borrow().target();
        match target {
            Some(target) => {
                self.signal_processes(&target, control.password().as_ref(), name)
                    .await;
            }
            None => drop(write.signal(Sig::Custom(name.to_owned())).await),
        }
    }
}
