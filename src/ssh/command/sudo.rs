//! The password for sudo: its sources, and the moment at which it is sent.

use std::sync::Arc;

use bytes::Bytes;
use russh::{ChannelWriteHalf, client::Msg};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use zeroize::Zeroizing;

use crate::{
    framing::sudo::SudoEvent,
    password::Password,
    ssh::{
        connect::connection::Peer,
        prompt::prompter::{AsRoot, Prompt, Prompter, Purpose, SecretPrompt},
    },
};

/// Most prompts to the user for a single command: as many as sudo allows (`passwd_tries`,
/// sudoers(5)).
const MAX_QUESTIONS: usize = 3;
/// Longest line read by every sudo, in bytes (`SUDO_CONV_REPL_MAX` of older versions). The command
/// would read the rest.
const MAX_PASSWORD_BYTES: usize = 255;
/// Character at the end of a terminal's input (`VEOF`, termios(3)).
const END_OF_INPUT: &[u8] = b"\x04";

/// Password for sudo, typed by the user in this session, with the name of the account. The password
/// stays in memory until sudo refuses it or the session forgets it.
///
/// The memory is locked while the user is asked. Another command that needs the password waits for
/// the answer instead of asking again. Clones share the memory.
#[derive(Debug, Clone, Default)]
pub struct SudoMemory(Arc<Mutex<TypedPassword>>);

/// Account name and password.
type TypedPassword = Option<(String, Password)>;

/// Sources of answers for sudo, tried in this order. The default has no answer.
#[derive(Debug, Clone, Default)]
pub struct SudoRequest {
    /// Password typed earlier in this session.
    pub memory: SudoMemory,
    /// Password of the account, if the agent has been given a password for the log-in. A password
    /// typed by the user for the log-in does not count: the user was not asked about root.
    pub given: Option<Password>,
    /// Way to ask the user.
    pub prompter: Prompter,
}

/// Outcome of the exchange with a sudo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ssh) enum SudoOutcome {
    /// sudo has run the command, with this password if sudo wanted any.
    Authenticated(Option<Password>),
    /// sudo ended before the command began, or the channel was lost.
    Ended,
    /// sudo got end of file, because there was no answer, and ends.
    NoAnswer,
}

/// Answers the prompts of a single sudo.
pub(in crate::ssh) struct SudoResponder {
    /// Sources of answers.
    request: SudoRequest,
    /// User name of the log-in.
    user: String,
    /// Host name, as shown to the user.
    host: String,
    /// Description of the command, as shown to the user.
    what: AsRoot,
    /// True if the command has a terminal.
    terminal: bool,
    /// Lock on the typed password, held from the prompt until the answer has proved right or wrong;
    /// `None` before.
    memory: Option<OwnedMutexGuard<TypedPassword>>,
    /// Last answer to sudo.
    last: Option<Password>,
    /// True if the given password was used.
    given_used: bool,
    /// Number of prompts to the user so far.
    questions: usize,
    /// True if sudo has asked for more than a password. Such an answer, like a one-time code, is
    /// not worth keeping.
    asks_more: bool,
}

impl SudoResponder {
    /// Creates the answers for a command's sudo.
    pub(in crate::ssh) fn new(
        sudo: SudoRequest,
        peer: &Peer,
        what: AsRoot,
        terminal: bool,
    ) -> Self {
        Self {
            request: sudo,
            user: peer.user.clone(),
            host: peer.host_name.clone(),
            what,
            terminal,
            memory: None,
            last: None,
            given_used: false,
            questions: 0,
            asks_more: false,
        }
    }

    /// Answers prompts until sudo has run the command or ends.
    pub(in crate::ssh) async fn run(
        mut self,
        events: &mut mpsc::Receiver<SudoEvent>,
        write: &ChannelWriteHalf<Msg>,
    ) -> SudoOutcome {
        let mut whose = String::new();
        loop {
            match events.recv().await {
                None => return SudoOutcome::Ended,
                Some(SudoEvent::Started(_) | SudoEvent::Ready) => {}
                Some(SudoEvent::Through(_)) => return self.through(whose),
                Some(SudoEvent::Prompt { account, said }) => {
                    whose = account;

                    // A failed write needs no handling here: the channel ends, and with it the
                    // events.
                    let Some(password) = self.password(&whose, said).await else {
                        let _ = if self.terminal {
                            write.data_bytes(END_OF_INPUT).await
                        } else {
                            write.eof().await
                        };
                        return SudoOutcome::NoAnswer;
                    };

                    let _ = write.data_bytes(line(&password)).await;
                    self.last = Some(password);
                }
            }
        }
    }

    /// Ends the exchange with success, and keeps a password typed by the user for the next command.
    fn through(mut self, whose: String) -> SudoOutcome {
        // The last answer may have been a one-time code, so no password is known for the stop
        // script.
        if self.asks_more {
            return SudoOutcome::Authenticated(None);
        }

        if let (Some(memory), Some(password)) = (&mut self.memory, &self.last)
            && self.questions > 0
        {
            **memory = Some((whose, password.clone()));
        }

        SudoOutcome::Authenticated(self.last)
    }

    /// Returns the next answer for sudo; `None` if there is none left.
    async fn password(&mut self, whose: &str, said: bool) -> Option<Password> {
        // sudo reports a wrong answer before it asks again. Without a word it asks for something
        // else.
        let more = self.last.is_some() && !said;
        self.asks_more |= more;

        // The lock comes before the prompt: of two commands at the same time, the second takes the
        // answer of the first. The command's clock stands still meanwhile, as it does for the
        // prompt itself.
        if self.memory.is_none() && !self.asks_more {
            let lock = Arc::clone(&self.request.memory.0).lock_owned();
            let memory = self.request.prompter.pause().during(lock).await;

            if let Some((account, password)) = &*memory
                && account == whose
                && self.last.as_ref() != Some(password)
            {
                return Some(password.clone());
            }

            self.memory = Some(memory);
        }

        // sudo has refused this password, so no later command should try it.
        if let Some(memory) = &mut self.memory {
            memory.take_if(|(account, password)| {
                account == whose && self.last.as_ref() == Some(password)
            });
        }

        // The given password is the log-in account's. With `rootpw` or `targetpw`, sudo asks for
        // another account's.
        if whose == self.user && !self.given_used && !more {
            self.given_used = true;
            if let Some(given) = self.request.given.clone().filter(fits) {
                return Some(given);
            }
        }

        if self.questions == MAX_QUESTIONS {
            return None;
        }

        self.questions += 1;

        self.request
            .prompter
            .ask(self.question(whose, more))
            .await?
            .pop()
            .filter(fits)
    }

    /// Writes the prompt for the user, with the command to run as root.
    fn question(&self, whose: &str, more: bool) -> SecretPrompt {
        let again = if self.last.is_some() {
            "Sorry, try again.\n"
        } else {
            ""
        };

        let text = match whose {
            _ if more => "sudo asks for something more, such as a one-time code: ".to_owned(),
            "" => format!("{again}[sudo] password: "),
            _ => format!("{again}[sudo] password for {whose}: "),
        };

        SecretPrompt {
            account: format!("{}@{}", self.user, self.host),
            purpose: Purpose::Sudo(Box::new(self.what.clone())),
            prompts: vec![Prompt {
                text: text.into(),
                echo: false,
            }],
        }
    }
}

/// Returns true if sudo reads this password as a single whole line.
fn fits(password: &Password) -> bool {
    let bytes = password.reveal().as_bytes();
    bytes.len() <= MAX_PASSWORD_BYTES && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

/// Returns the password as a line for sudo, which is wiped once sent.
pub(in crate::ssh) fn line(password: &Password) -> Bytes {
    let mut line = Zeroizing::new(Vec::with_capacity(password.reveal().len() + 1));
    line.extend_from_slice(password.reveal().as_bytes());
    line.push(b'\n');
    Bytes::from_owner(line)
}
