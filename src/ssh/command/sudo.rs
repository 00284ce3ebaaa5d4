//! The password for sudo, and its sources.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    framing::sudo::{SudoEvent, SudoUser},
    password::Password,
    ssh::{
        connect::connection::Peer,
        prompt::prompter::{AsRoot, Prompt, Prompter, Purpose, SecretPrompt},
    },
};

/// Most prompts to the user for a single command: as many as sudo allows (`passwd_tries`,
/// sudoers(5)).
const MAX_USER_PROMPTS: usize = 3;
/// Longest line read by every sudo, in bytes (`SUDO_CONV_REPL_MAX` of older versions). The command
/// would read the rest.
const MAX_PASSWORD_BYTES: usize = 255;

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
pub struct SudoSources {
    /// Password typed earlier in this session.
    pub memory: SudoMemory,
    /// Password of the account, if the agent has been given a password for the log-in. A password
    /// typed by the user for the log-in does not count: the user was not asked about root.
    pub given: Option<Password>,
    /// Way to ask the user.
    pub prompter: Prompter,
}

/// Means of a helper script to act once more as the user as whom sudo runs a command or a shell.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct SudoRights {
    /// User of the script; `None` is root.
    pub(super) user: Option<SudoUser>,
    /// Password for sudo; `None` if none is known, because sudo has not asked.
    pub(super) password: Option<KnownPassword>,
}

/// Password for sudo which needs no question to the user.
#[derive(Debug, Clone)]
pub(super) struct KnownPassword {
    /// Account whose password it is; `None` if the password answers any prompt.
    pub(super) account: Option<String>,
    pub(super) password: Password,
}

impl SudoSources {
    /// Returns the password with which sudo would be answered first if it asked `user`; `None` if the
    /// user of this machine would be asked.
    pub(super) fn known(&self, user: &str) -> Option<KnownPassword> {
        // A locked memory is that of a question, whose answer nobody knows yet.
        let typed = self
            .memory
            .0
            .try_lock()
            .ok()
            .and_then(|typed| typed.clone());
        let given = || Some((user.to_owned(), self.given.clone()?));
        let (account, password) = typed.or_else(given)?;

        Some(KnownPassword {
            account: Some(account),
            password,
        })
    }
}

/// Reply to an event of sudo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SudoReply {
    /// sudo gets this password, as a line.
    Password(Password),
    /// sudo gets the end of the input, because there is no answer.
    NoAnswer,
    /// sudo has run the command and needs nothing more. It accepted this password, if it wanted any.
    Authenticated(Option<Password>),
}

/// Answers the prompts of a single sudo, from the first event to [`SudoReply::Authenticated`] or
/// [`SudoReply::NoAnswer`]. Dropping the responder lets the next command have the typed password.
pub(super) struct SudoResponder {
    /// Sources of answers.
    sources: SudoSources,
    /// Account whose password is the given one; `None` if the password answers any prompt.
    given_account: Option<String>,
    /// Log-in and command, as shown to the user; `None` if the user is not asked.
    shown: Option<(String, AsRoot)>,
    /// Lock on the typed password, held from the prompt until the answer has proved right or wrong;
    /// `None` before.
    memory: Option<OwnedMutexGuard<TypedPassword>>,
    /// Account of the last prompt.
    account: String,
    /// Last answer to sudo.
    last: Option<Password>,
    /// True if the given password was used.
    given_used: bool,
    /// Number of prompts to the user so far.
    user_prompts: usize,
    /// True if sudo has asked for more than a password. Such an answer, like a one-time code, is
    /// not worth keeping.
    asks_more: bool,
}

impl SudoResponder {
    /// Creates the answers for a command's sudo.
    pub(super) fn new(sources: SudoSources, peer: &Peer, command: AsRoot) -> Self {
        Self {
            given_account: Some(peer.user.clone()),
            shown: Some((format!("{}@{}", peer.user, peer.host_name), command)),
            ..Self::from_sources(sources)
        }
    }

    /// Creates the answers for a sudo that gets one password at the first prompt for its account, and
    /// then nothing more.
    pub(super) fn with_password(known: KnownPassword) -> Self {
        Self {
            given_account: known.account,
            ..Self::from_sources(SudoSources {
                given: Some(known.password),
                ..SudoSources::default()
            })
        }
    }

    /// Creates answers which give the given password to any prompt, and do not ask the user.
    fn from_sources(sources: SudoSources) -> Self {
        Self {
            sources,
            given_account: None,
            shown: None,
            memory: None,
            account: String::new(),
            last: None,
            given_used: false,
            user_prompts: 0,
            asks_more: false,
        }
    }

    /// Returns the reply to an event; `None` if sudo waits for nothing.
    pub(super) async fn reply(&mut self, event: SudoEvent) -> Option<SudoReply> {
        match event {
            SudoEvent::Started(_) | SudoEvent::Ready => None,
            SudoEvent::Authenticated(_) => Some(SudoReply::Authenticated(self.accepted())),
            SudoEvent::Prompt { account, said } => {
                self.account = account;
                let Some(password) = self.next_password(said).await else {
                    return Some(SudoReply::NoAnswer);
                };

                self.last = Some(password.clone());
                Some(SudoReply::Password(password))
            }
        }
    }

    /// Returns the password that sudo accepted, and keeps a password typed by the user for the next
    /// command.
    fn accepted(&mut self) -> Option<Password> {
        // The last answer may have been a one-time code, so no password is known for the stop
        // script.
        if self.asks_more {
            return None;
        }

        if let (Some(memory), Some(password)) = (&mut self.memory, &self.last)
            && self.user_prompts > 0
        {
            **memory = Some((self.account.clone(), password.clone()));
        }

        self.last.clone()
    }

    /// Returns the next answer for sudo; `None` if there is none left. `said` is true if sudo has
    /// printed anything since the prompt before.
    async fn next_password(&mut self, said: bool) -> Option<Password> {
        // sudo reports a wrong answer before it asks again. Without a word it asks for something
        // else.
        let more = self.last.is_some() && !said;
        self.asks_more |= more;

        // The lock comes before the prompt: of two commands at the same time, the second takes the
        // answer of the first. The command's clock stands still meanwhile, as it does for the
        // prompt itself.
        if self.memory.is_none() && !self.asks_more {
            let lock = Arc::clone(&self.sources.memory.0).lock_owned();
            let memory = self.sources.prompter.pause().during(lock).await;

            if let Some((account, password)) = &*memory
                && *account == self.account
                && self.last.as_ref() != Some(password)
            {
                return Some(password.clone());
            }

            self.memory = Some(memory);
        }

        // sudo has refused this password, so no later command should try it.
        if let Some(memory) = &mut self.memory {
            memory.take_if(|(account, password)| {
                *account == self.account && self.last.as_ref() == Some(password)
            });
        }

        // The given password is the log-in account's. With `rootpw` or `targetpw`, sudo asks for
        // another account's.
        let is_for_given = self
            .given_account
            .as_ref()
            .is_none_or(|given| *given == self.account);
        if is_for_given && !self.given_used && !more {
            self.given_used = true;
            if let Some(given) = self.sources.given.clone().filter(fits) {
                return Some(given);
            }
        }

        if self.user_prompts == MAX_USER_PROMPTS {
            return None;
        }

        self.user_prompts += 1;
        let prompt = self.user_prompt(more)?;

        self.sources.prompter.ask(prompt).await?.pop().filter(fits)
    }

    /// Writes the prompt for the user, with the command to run as root. `None` if the user is not
    /// asked.
    fn user_prompt(&self, more: bool) -> Option<SecretPrompt> {
        let (login, command) = self.shown.clone()?;
        let again = if self.last.is_some() {
            "Sorry, try again.\n"
        } else {
            ""
        };

        let text = match self.account.as_str() {
            _ if more => "sudo asks for something more, such as a one-time code: ".to_owned(),
            "" => format!("{again}[sudo] password: "),
            account => format!("{again}[sudo] password for {account}: "),
        };

        Some(SecretPrompt {
            account: login,
            purpose: Purpose::Sudo(Box::new(command)),
            prompts: vec![Prompt {
                text: text.into(),
                echo: false,
            }],
        })
    }
}

/// Returns true if sudo reads this password as a single whole line.
fn fits(password: &Password) -> bool {
    let bytes = password.reveal().as_bytes();
    bytes.len() <= MAX_PASSWORD_BYTES && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0))
}
