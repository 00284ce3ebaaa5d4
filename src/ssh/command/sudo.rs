//! The password for sudo: where it comes from, and when it is sent.

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

/// How often a person is asked for one command: as often as sudo does (`passwd_tries`, sudoers(5)).
const MAX_QUESTIONS: usize = 3;
/// What every sudo reads of a line, in bytes (`SUDO_CONV_REPL_MAX` of older ones). The command would read what is left over.
const MAX_PASSWORD_BYTES: usize = 255;
/// What ends the input of a terminal (`VEOF`, termios(3)).
const END_OF_INPUT: &[u8] = b"\x04";

/// The password that a person has typed for sudo in a session, and whose it is. It stays in memory, until it is refused or
/// forgotten.
///
/// Locked while the person is asked: whoever needs it too waits for the answer instead of asking once more. Clones share
/// it.
#[derive(Debug, Clone, Default)]
pub struct SudoMemory(Arc<Mutex<TypedPassword>>);

type TypedPassword = Option<(String, Password)>;

/// What sudo is answered with; by default nothing.
#[derive(Debug, Clone, Default)]
pub struct SudoRequest {
    /// What was typed earlier, in this session.
    pub memory: SudoMemory,
    /// The password of the account, if it was given to log in with. One that a person has typed to log in is none that the
    /// agent may use as root: the person has not been asked about that.
    pub given: Option<Password>,
    /// Who knows it otherwise.
    pub prompter: Prompter,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ssh) enum SudoOutcome {
    /// sudo is through, with this password if it wanted one.
    Authenticated(Option<Password>),
    /// It has ended before, or lost its channel.
    Ended,
    /// It was told that there is no answer, and ends.
    NoAnswer,
}

/// Answers one sudo.
pub(in crate::ssh) struct SudoResponder {
    request: SudoRequest,
    user: String,
    host: String,
    what: AsRoot,
    terminal: bool,
    /// Held from the question to the person until it shows what the answer is worth.
    memory: Option<OwnedMutexGuard<TypedPassword>>,
    last: Option<Password>,
    given_used: bool,
    questions: usize,
    /// It has asked for more than a password, which is then not worth keeping.
    asks_more: bool,
}

impl SudoResponder {
    /// For this command.
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

    /// Answers until sudo is through or ends.
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

                    // A failure shows in the end of the channel.
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

    fn through(mut self, whose: String) -> SudoOutcome {
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

    async fn password(&mut self, whose: &str, said: bool) -> Option<Password> {
        // After a wrong answer sudo says so; without a word it asks for something else.
        let more = self.last.is_some() && !said;
        self.asks_more |= more;

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

        if let Some(memory) = &mut self.memory {
            memory.take_if(|(account, password)| {
                account == whose && self.last.as_ref() == Some(password)
            });
        }

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
            prompts: vec![Prompt { text, echo: false }],
        }
    }
}

/// Whether sudo reads it as one line.
fn fits(password: &Password) -> bool {
    let bytes = password.reveal().as_bytes();
    bytes.len() <= MAX_PASSWORD_BYTES && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}

/// The password as sudo reads it, wiped when it has been sent.
pub(in crate::ssh) fn line(password: &Password) -> Bytes {
    let mut line = Zeroizing::new(Vec::with_capacity(password.reveal().len() + 1));
    line.extend_from_slice(password.reveal().as_bytes());
    line.push(b'\n');
    Bytes::from_owner(line)
}
