//! What a running command is stopped by.

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
        command::{exit_status::ExitStatus, limits::StopReason, sudo::SudoOutcome},
        error::SudoRefusal,
        pool::Pool,
    },
};

/// How long a command that is to be stopped may take to tell its process id: its login shell may be slow to start.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// The same when the program ends.
const ANNOUNCED_AT_THE_END: Duration = Duration::from_secs(2);
/// How long sudo may take to end where nobody has an answer for it: it holds up a wrong one for some seconds.
const ENDS_UNANSWERED: Duration = Duration::from_secs(10);
/// The process id and the exit status of a short command arrive together, although time went by between them. No system
/// gives away all its process ids within this.
const TOGETHER: Duration = Duration::from_millis(50);
/// The exit status of a shell that has found no such program (POSIX, "Exit Status for Commands").
const NO_SUCH_PROGRAM: u32 = 127;

/// The processes of a command on a channel of its own, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(super) enum KnownProcesses {
    /// It has not told them yet.
    #[default]
    NotYet,
    /// It does not tell them.
    Never,
    /// These.
    Told {
        target: StopTarget<'static>,
        /// Since when the first of them has been there, as far as that is known.
        at: Instant,
        /// When the first of them had ended.
        ended: Option<Instant>,
    },
}

impl KnownProcesses {
    /// What to stop, and for how long it has lived.
    fn target(&self) -> Option<StopTarget<'static>> {
        let Self::Told { target, at, ended } = self else {
            return None;
        };

        let lived = ended
            .unwrap_or_else(Instant::now)
            .saturating_duration_since(*at)
            + TOGETHER;

        Some(target.clone().having_lived(lived))
    }

    /// The same command, which runs in other processes from now on.
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

    /// Its first process has ended.
    pub(super) fn end(&mut self) {
        if let Self::Told { ended, .. } = self {
            ended.get_or_insert_with(Instant::now);
        }
    }
}

/// What a running command is stopped by.
pub(super) struct CommandControl {
    /// Its processes.
    pub(super) known: watch::Receiver<KnownProcesses>,
    /// How it went with sudo, once that is known.
    pub(super) answered: watch::Receiver<Option<SudoOutcome>>,
    /// Whether its host is given no password.
    pub(super) withholds_passwords: bool,
}

impl CommandControl {
    /// How it went with sudo, as far as that is known.
    pub(super) fn answered(&self) -> Option<SudoOutcome> {
        self.answered.borrow().clone()
    }

    /// Waits until a sudo should have ended that was told that there is no answer.
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

    /// Why sudo has not let it through, given how that ended; `None` where it was only stopped or cut off before.
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

    fn password(&self) -> Option<Password> {
        if let Some(SudoOutcome::Authenticated(password)) = self.answered() {
            password
        } else {
            None
        }
    }
}

impl Pool {
    /// Ends a command's processes: by its process id through a second channel, else by signal requests.
    pub(super) async fn stop_exec(
        self: &Arc<Self>,
        stop: StopReason,
        control: &CommandControl,
        write: &ChannelWriteHalf<Msg>,
    ) -> Option<bool> {
        // A command that has just been sent may not have told its process id yet.
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

        for signal in [Sig::INT, Sig::TERM, Sig::KILL] {
            let _ = write.signal(signal).await;
            sleep(Duration::from_millis(u64::from(stop.grace_tenths()) * 30)).await;
        }

        None
    }

    /// Sends one signal, in the same two ways.
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
