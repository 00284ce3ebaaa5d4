//! What a running command is stopped by.

use std::{sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, Sig, client::Msg};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    framing::stop::Target,
    password::Password,
    ssh::{bounds::Stop, error::SudoRefusal, exit_status::ExitStatus, pool::Pool, sudo::Answered},
};

/// How long a command that is to be stopped may take to tell its process id: its login shell may be slow to start.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(10);
/// The same when the program ends.
const ANNOUNCED_AT_THE_END: Duration = Duration::from_secs(2);
/// How long sudo may take to end where nobody has an answer for it: it holds up a wrong one for some seconds.
const ENDS_UNANSWERED: Duration = Duration::from_secs(10);
/// The exit status of a shell that has found no such program (POSIX, "Exit Status for Commands").
const NO_SUCH_PROGRAM: u32 = 127;

/// What is known of a command on a channel of its own.
pub(super) struct Reins {
    /// Its processes, once they are known.
    pub(super) target: watch::Receiver<Option<Target<'static>>>,
    /// How it went with sudo, once that is known.
    pub(super) answered: watch::Receiver<Option<Answered>>,
    /// Whether its host is given no password.
    pub(super) lends_no_passwords: bool,
}

impl Reins {
    /// How it went with sudo, as far as that is known.
    pub(super) fn answered(&self) -> Option<Answered> {
        self.answered.borrow().clone()
    }

    /// Waits until a sudo should have ended that was told that there is no answer.
    pub(super) async fn outlived_no_answer(&self) {
        let mut answered = self.answered.clone();
        if answered.wait_for(|answered| *answered == Some(Answered::NoAnswer)).await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(ENDS_UNANSWERED).await;
    }

    /// Why sudo has not let it through, given how that ended; `None` where it was only stopped or cut off before.
    pub(super) fn refusal(&self, stopped: bool, status: Option<&ExitStatus>) -> Option<SudoRefusal> {
        match (self.answered(), status) {
            (Some(Answered::NoAnswer), _) if self.lends_no_passwords => Some(SudoRefusal::ChangedHostKey),
            (Some(Answered::NoAnswer), _) => Some(SudoRefusal::Unanswered),
            _ if stopped => None,
            (_, Some(ExitStatus::Code(NO_SUCH_PROGRAM))) => Some(SudoRefusal::Missing),
            (_, status) => status.map(|_| SudoRefusal::Refused),
        }
    }

    fn password(&self) -> Option<Password> {
        if let Some(Answered::Through(password)) = self.answered() { password } else { None }
    }
}

impl Pool {
    /// Ends a command's processes: by its process id through a second channel, else by signal requests.
    pub(super) async fn stop_exec(
        self: &Arc<Self>,
        stop: Stop,
        reins: &Reins,
        write: &ChannelWriteHalf<Msg>,
    ) -> Option<bool> {
        // A command that has just been sent may not have told its process id yet.
        let patience = if stop == Stop::Ending { ANNOUNCED_AT_THE_END } else { ANNOUNCED_WITHIN };
        let mut target = reins.target.clone();
        let target = timeout(patience, target.wait_for(Option::is_some)).await;
        if let Ok(Ok(target)) = target.map(|told| told.map(|target| *target))
            && let Some(target) = target
            && let Some(found) = self.stop_processes(target, reins.password().as_ref(), stop).await
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
        reins: &Reins,
        write: &ChannelWriteHalf<Msg>,
    ) {
        let known = *reins.target.borrow();
        match known {
            Some(target) => self.signal_processes(target, reins.password().as_ref(), name).await,
            None => drop(write.signal(Sig::Custom(name.to_owned())).await),
        }
    }
}
