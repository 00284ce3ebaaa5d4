//! The exchange with the sudo around a command, which ends before the command begins.

use std::{sync::Arc, time::Duration};

use russh::{ChannelWriteHalf, client::Msg};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{
    framing::sudo::{SudoEvent, SudoUser},
    password::Password,
    ssh::{
        command::{
            exit_status::ExitStatus,
            remote_host::RemoteHost,
            sudo::{KnownPassword, SudoReply, SudoResponder, SudoRights, SudoSources},
        },
        error::SudoRefusal,
        pool::ChannelSlot,
        prompt::prompter::{AsRoot, Prompter},
    },
};

/// Capacity of the queue of [`SudoEvent`]s. sudo says one thing at a time, so more than this is not
/// to be expected.
pub(in crate::ssh::command) const MAX_SUDO_EVENTS: usize = 8;
/// Grace period of sudo after end of file in place of a password. sudo delays its answer to a wrong
/// password by some seconds.
const ENDS_UNANSWERED: Duration = Duration::from_secs(10);
/// Exit status of a shell without the wanted program (POSIX, "Exit Status for Commands").
const NO_SUCH_PROGRAM: u32 = 127;
/// Character at the end of a terminal's input (`VEOF`, termios(3)).
const END_OF_INPUT: &[u8] = b"\x04";

/// Outcome of the exchange with a sudo.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SudoOutcome {
    /// sudo has run the command, with this password if sudo wanted any.
    Authenticated(Option<Password>),
    /// sudo ended before the command began, or the channel was lost.
    Ended,
    /// sudo got end of file, because there was no answer, and ends.
    NoAnswer,
}

/// Exchange with the sudo around a command, for the task that writes the command's stdin.
pub(in crate::ssh::command) struct SudoExchange {
    responder: SudoResponder,
    outcome: watch::Sender<Option<SudoOutcome>>,
}

/// State of the exchange, for whoever waits for the command or stops it.
pub(in crate::ssh::command) struct SudoState {
    /// Outcome of the exchange; `None` before the end of the exchange.
    outcome: watch::Receiver<Option<SudoOutcome>>,
    /// True if the host gets no password, because the host key has changed.
    withholds_passwords: bool,
    /// Sources of passwords, without the way to ask the user.
    sources: SudoSources,
    /// User of the log-in.
    login_user: String,
}

impl SudoExchange {
    /// Creates the exchange for a command on this channel slot, with the state to watch. `shown`
    /// describes the command to the user.
    pub(in crate::ssh::command) fn new(
        host: &RemoteHost,
        slot: &ChannelSlot,
        shown: AsRoot,
        sources: SudoSources,
    ) -> (Self, SudoState) {
        // After a changed host key the peer may be anybody: no stored password, and no prompt.
        let withholds_passwords = slot.connection().withholds_passwords();
        let sources = if withholds_passwords {
            SudoSources::default()
        } else {
            sources
        };

        let (send_outcome, outcome) = watch::channel(None);
        let quiet_sources = SudoSources {
            prompter: Prompter::default(),
            ..sources.clone()
        };

        (
            Self {
                responder: SudoResponder::new(sources, host.peer(), shown),
                outcome: send_outcome,
            },
            SudoState {
                outcome,
                withholds_passwords,
                sources: quiet_sources,
                login_user: host.peer().user.clone(),
            },
        )
    }

    /// Answers sudo's prompts. Returns true once sudo has run the command, and false if sudo ends.
    pub(in crate::ssh::command) async fn run(
        self,
        events: &mut mpsc::Receiver<SudoEvent>,
        write: &Arc<ChannelWriteHalf<Msg>>,
        pty: bool,
    ) -> bool {
        let outcome = answer(self.responder, events, write, pty).await;
        let has_run = matches!(outcome, SudoOutcome::Authenticated(_));
        self.outcome.send_replace(Some(outcome));
        has_run
    }
}

impl SudoState {
    /// Returns true while sudo may still want a password.
    pub(super) fn is_pending(&self) -> bool {
        self.outcome.borrow().is_none()
    }

    /// Returns the means to act once more as `user`, who is root if `None`.
    pub(in crate::ssh::command) fn rights(&self, user: Option<&SudoUser>) -> SudoRights {
        let accepted = match &*self.outcome.borrow() {
            Some(SudoOutcome::Authenticated(password)) => password.clone(),
            _ => None,
        };

        // A sudo that did not ask may have remembered an earlier answer, and may ask the next time.
        let password = match accepted {
            Some(password) => Some(KnownPassword {
                account: None,
                password,
            }),
            None => self.sources.known(&self.login_user),
        };

        SudoRights {
            user: user.cloned(),
            password,
        }
    }

    /// Waits until a sudo without an answer should have ended. Never returns if sudo got an answer.
    pub(in crate::ssh::command) async fn outlives_no_answer(&self) {
        let mut outcome = self.outcome.clone();
        if outcome
            .wait_for(|outcome| *outcome == Some(SudoOutcome::NoAnswer))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }

        sleep(ENDS_UNANSWERED).await;
    }

    /// Returns the reason why sudo did not run the command, given the exit status. `None` if the
    /// command was only stopped or cut off before.
    pub(in crate::ssh::command) fn refusal(
        &self,
        stopped: bool,
        status: Option<&ExitStatus>,
    ) -> Option<SudoRefusal> {
        match (&*self.outcome.borrow(), status) {
            (Some(SudoOutcome::NoAnswer), _) if self.withholds_passwords => {
                Some(SudoRefusal::ChangedHostKey)
            }
            (Some(SudoOutcome::NoAnswer), _) => Some(SudoRefusal::Unanswered),
            _ if stopped => None,
            (_, Some(ExitStatus::Code(NO_SUCH_PROGRAM))) => Some(SudoRefusal::Missing),
            (_, status) => status.map(|_| SudoRefusal::Refused),
        }
    }
}

/// Answers prompts until sudo has run the command or ends.
async fn answer(
    mut responder: SudoResponder,
    events: &mut mpsc::Receiver<SudoEvent>,
    write: &ChannelWriteHalf<Msg>,
    pty: bool,
) -> SudoOutcome {
    // A failed write needs no handling here: the channel ends, and with it the events.
    while let Some(event) = events.recv().await {
        match responder.reply(event).await {
            None => {}
            Some(SudoReply::Password(password)) => {
                let _ = write.data_bytes(password.line(b'\n')).await;
            }
            Some(SudoReply::NoAnswer) => {
                let _ = if pty {
                    write.data_bytes(END_OF_INPUT).await
                } else {
                    write.eof().await
                };
                return SudoOutcome::NoAnswer;
            }
            Some(SudoReply::Authenticated(password)) => {
                return SudoOutcome::Authenticated(password);
            }
        }
    }

    SudoOutcome::Ended
}
