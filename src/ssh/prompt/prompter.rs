//! Questions that only the person can answer: while a connection is being made, and for sudo.

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use super::as_root::AsRoot;
use super::{askpass::Askpass, pausable_clock::PausableClock};
use crate::{password::Password, render::is_line_unsafe};

/// How long a person may take: servers close a connection that is not logged in after two minutes (`LoginGraceTime`).
const PATIENCE: Duration = Duration::from_secs(115);

/// How long a client may take to say which folders it works in.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// What the person is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPrompt {
    /// For whom: `user@host`.
    pub account: String,
    /// What for.
    pub purpose: Purpose,
    /// What to answer, in order; at least one.
    pub prompts: Vec<Prompt>,
}

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// The account's password (RFC 4252, section 8).
    Password,
    /// The passphrase of this key file.
    Passphrase(String),
    /// Questions of the server (RFC 4256), with its own words about them, which are not to be trusted.
    KeyboardInteractive(String),
    /// What sudo asks on the host, to run this as root.
    Sudo(Box<AsRoot>),
}

impl Purpose {
    /// What the answer goes into.
    #[must_use]
    pub fn recipient(&self) -> &'static str {
        if matches!(self, Self::Sudo(_)) {
            "sudo on that host"
        } else {
            "the SSH log-in"
        }
    }
}

/// One thing to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The words, which may be a server's and are not to be trusted.
    pub text: String,
    /// Whether the answer may be seen while it is typed.
    pub echo: bool,
}

/// A host key that no `known_hosts` file has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// The host as `known_hosts` names it.
    pub host: String,
    /// Such as `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The file in which it is saved once it is trusted.
    pub saved_in: String,
}

/// A path of this machine that a transfer does not touch by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedPath {
    /// The other side: `user@host`.
    pub account: String,
    /// The path on this machine, without links.
    pub path: String,
    /// It is sent to the other side; else what comes from there is written to it.
    pub is_read: bool,
    /// Why it is guarded.
    pub why: String,
}

/// What a server says before it lets anybody in (RFC 4252, section 5.4).
#[derive(Debug, Clone)]
pub struct Banner {
    /// Who says so, and to whom: `user@host`.
    pub account: String,
    /// The words, which are the server's and not to be trusted.
    pub words: String,
    /// The web page that they name, if the person can be asked to open it.
    pub page: Option<String>,
    /// Cancelled when the log-in has ended.
    pub login_ended: CancellationToken,
}

/// A question on its way to the person, and where the answer goes; dropped unanswered, there is none.
#[derive(Debug)]
pub enum PromptRequest {
    /// Nothing is asked, but the person should know.
    Banner(Banner),
    /// For secrets, one a prompt.
    Secrets(SecretPrompt, oneshot::Sender<Vec<Password>>),
    /// Whether a host key is to be trusted.
    HostKey(UnknownKey, oneshot::Sender<bool>),
    /// Whether a guarded path may be read or written.
    Guarded(GuardedPath, oneshot::Sender<bool>),
    /// Which folders the client works in; it is asked, not the person.
    Folders(oneshot::Sender<Vec<PathBuf>>),
}

/// The way to the person behind a call, if there is one.
#[derive(Debug, Clone, Default)]
pub struct Prompter {
    /// For questions with a yes and a no.
    choices: Option<mpsc::Sender<PromptRequest>>,
    secrets: Option<mpsc::Sender<PromptRequest>>,
    /// For what the client itself can say.
    client: Option<mpsc::Sender<PromptRequest>>,
    askpass: Option<Askpass>,
    /// For what is only told.
    told: Option<mpsc::Sender<PromptRequest>>,
    pause: PausableClock,
}

impl Prompter {
    /// A person who is asked for a yes or no, and for secrets, through these channels.
    #[must_use]
    pub fn new(
        choices: Option<mpsc::Sender<PromptRequest>>,
        secrets: Option<mpsc::Sender<PromptRequest>>,
    ) -> Self {
        Self {
            choices,
            secrets,
            ..Self::default()
        }
    }

    /// The same person at a client that can say which folders it works in.
    #[must_use]
    pub fn with_folders(self, client: Option<mpsc::Sender<PromptRequest>>) -> Self {
        Self { client, ..self }
    }

    /// The same person, who is told through this channel what servers say.
    #[must_use]
    pub fn told(self, told: mpsc::Sender<PromptRequest>) -> Self {
        Self {
            told: Some(told),
            ..self
        }
    }

    /// Tells the person what a server says; its page is for those alone who can be asked to open one.
    pub(in crate::ssh) fn tell(&self, banner: Banner) {
        let Some(told) = self.told.clone() else {
            return;
        };
        let page = banner.page.filter(|_| self.secrets.is_some());
        let banner = Banner { page, ..banner };
        // The log-in does not wait for whoever passes it on.
        tokio::spawn(async move { told.send(PromptRequest::Banner(banner)).await });
    }

    /// The same person, asked for secrets by this program where there is no channel for them.
    #[must_use]
    pub fn or_askpass(self, askpass: Option<Askpass>) -> Self {
        Self { askpass, ..self }
    }

    /// The same person, whose time of thinking stops these clocks.
    #[must_use]
    pub fn pausing(self, pause: PausableClock) -> Self {
        Self { pause, ..self }
    }

    /// What stops while the person thinks.
    #[must_use]
    pub fn pause(&self) -> &PausableClock {
        &self.pause
    }

    /// Whether there is anybody to ask for secrets.
    #[must_use]
    pub fn can_ask_secrets(&self) -> bool {
        self.secrets.is_some() || self.askpass.is_some()
    }

    /// The answers, one a prompt; `None` if nobody answers within two minutes or the person will not.
    pub async fn ask(&self, question: SecretPrompt) -> Option<Vec<Password>> {
        self.pause.during(self.ask_secret(question)).await
    }

    async fn ask_secret(&self, question: SecretPrompt) -> Option<Vec<Password>> {
        let expected = question.prompts.len();

        let answers = match (&self.secrets, &self.askpass) {
            (Some(secrets), _) => {
                let (give, take) = oneshot::channel();
                secrets
                    .send(PromptRequest::Secrets(question, give))
                    .await
                    .ok()?;

                timeout(PATIENCE, take).await.ok()?.ok()?
            }
            (None, Some(askpass)) => timeout(PATIENCE, ask_by_program(askpass, &question))
                .await
                .ok()??,
            (None, None) => return None,
        };

        (answers.len() == expected).then_some(answers)
    }

    /// Whether the person trusts this very key; `None` if there is nobody to ask, or no answer.
    pub async fn confirm_host_key(&self, key: UnknownKey) -> Option<bool> {
        let (give, take) = oneshot::channel();
        self.choices
            .as_ref()?
            .send(PromptRequest::HostKey(key, give))
            .await
            .ok()?;
        self.pause.during(timeout(PATIENCE, take)).await.ok()?.ok()
    }

    /// Whether a guarded path may be read or written; `None` if there is nobody to ask, or no answer.
    pub async fn allows(&self, path: GuardedPath) -> Option<bool> {
        let (give, take) = oneshot::channel();
        self.choices
            .as_ref()?
            .send(PromptRequest::Guarded(path, give))
            .await
            .ok()?;
        self.pause.during(timeout(PATIENCE, take)).await.ok()?.ok()
    }

    /// The folders that the client works in; `None` if it does not say.
    pub async fn folders(&self) -> Option<Vec<PathBuf>> {
        let (give, take) = oneshot::channel();
        self.client
            .as_ref()?
            .send(PromptRequest::Folders(give))
            .await
            .ok()?;
        timeout(CLIENT_PATIENCE, take).await.ok()?.ok()
    }
}

/// One prompt after the other, in the words of `ssh`, which says of a server's words for whom they are.
async fn ask_by_program(askpass: &Askpass, question: &SecretPrompt) -> Option<Vec<Password>> {
    let mut answers = Vec::with_capacity(question.prompts.len());
    for Prompt { text, .. } in &question.prompts {
        let words = match &question.purpose {
            Purpose::KeyboardInteractive(_) => format!("({}) {text}", question.account),
            Purpose::Sudo(what) => format!("({}) {what}\n{text}", question.account),
            Purpose::Password | Purpose::Passphrase(_) => text.clone(),
        };
        answers.push(askpass.answer(&shown(&words)).await?);
    }

    Some(answers)
}

/// What a program that asks in a terminal can show.
fn shown(words: &str) -> String {
    words
        .chars()
        .filter(|letter| !is_line_unsafe(*letter) || matches!(letter, '\n' | '\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_holds_nothing_that_a_terminal_obeys() {
        for (words, expected) in [
            ("Passwort für é:\n\t", "Passwort für é:\n\t"),
            ("\u{1b}[2J\u{7}a\r\n\u{9b}31m\u{7f}", "[2Ja\n31m"),
            ("\u{202e}b\u{2066}\u{2028}c", "bc"),
        ] {
            assert_eq!(shown(words), expected);
        }
    }
}
