//! Questions that only the user can answer: during a log-in, for sudo, for guarded paths, for
//! addresses of this machine that a host wants to reach, and where the settings say `ask`.

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

pub use super::{
    approval::{ActDescription, Approval, ApprovalAnswer, ApprovalHost},
    as_root::AsRoot,
    program_input::ProgramInput,
};
use super::{askpass::Askpass, pausable_clock::PausableClock};
use crate::{event::Event, foreign_text::ForeignText, password::Password};

/// Longest wait for the user. Servers close a connection that is not logged in after two minutes
/// (`LoginGraceTime`).
const PATIENCE: Duration = Duration::from_secs(115);

/// Longest wait for the client to name the working folders.
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// Question to the user for at least a single secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPrompt {
    /// Account to which the answer goes: `user@host`.
    pub account: String,
    /// Purpose of the answer.
    pub purpose: Purpose,
    /// Prompts to answer, in order; never empty.
    pub prompts: Vec<Prompt>,
}

/// Purpose of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Password of the account (RFC 4252, section 8).
    Password,
    /// Passphrase of this key file.
    Passphrase(String),
    /// Questions of the server (RFC 4256), with the server's own introduction.
    KeyboardInteractive(ForeignText),
    /// Question of sudo on the host, for running this command as root.
    Sudo(Box<AsRoot>),
    /// Input of this running program.
    Program(Box<ProgramInput>),
}

impl Purpose {
    /// Returns the recipient of the answer, in words for the user.
    #[must_use]
    pub fn recipient(&self) -> &'static str {
        match self {
            Self::Sudo(_) => "sudo on that host",
            Self::Program(_) => "the program on that host",
            Self::Password | Self::Passphrase(_) | Self::KeyboardInteractive(_) => "the SSH log-in",
        }
    }
}

/// Single prompt of a [`SecretPrompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Text of the prompt, which may be a server's.
    pub text: ForeignText,
    /// True if the answer may be visible during typing.
    pub echo: bool,
}

/// Host key missing from every `known_hosts` file, for the user to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// Host as named in `known_hosts`.
    pub host: ForeignText,
    /// Type of the key, such as `ssh-ed25519`.
    pub key_type: ForeignText,
    /// Fingerprint of the key, in the form `SHA256:…`.
    pub fingerprint: ForeignText,
    /// File in which the key is saved once trusted.
    pub saved_in: ForeignText,
}

/// Path on this machine which a transfer or a forward may not touch without the user's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedPath {
    /// Account on the other side: `user@host`.
    pub account: String,
    /// Path on this machine, without links.
    pub path: ForeignText,
    /// Purpose for which the path is wanted.
    pub purpose: PathPurpose,
    /// Reason why the path is guarded, in words for the user.
    pub why: String,
}

/// Purpose for which a path on this machine is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathPurpose {
    /// The content would be sent to the other side.
    Send,
    /// Content of the other side would be written there.
    Write,
    /// A socket would be created there, which leads to the other side.
    Listen,
}

/// Address of this machine which a host may not reach without the user's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentAddress {
    /// Account on the host: `user@host`.
    pub account: String,
    /// Address, in words for the user.
    pub address: ForeignText,
    /// Power that the address gives to whoever reaches it; `None` if unknown.
    pub risk: Option<&'static str>,
}

/// Text of a server before the log-in (RFC 4252, section 5.4).
#[derive(Debug, Clone)]
pub struct Banner {
    /// Account and host of the log-in: `user@host`.
    pub account: String,
    /// Words of the server.
    pub words: ForeignText,
    /// Web page named in the words, if the user can be asked to open a page.
    pub page: Option<String>,
    /// End of the log-in, with or without success.
    pub login_ended: Event,
}

/// Question on the way to the user, with the way back for the answer. A dropped sender means no
/// answer.
#[derive(Debug)]
pub enum PromptRequest {
    /// Information without a question.
    Banner(Banner),
    /// Question for secrets, with an answer for each prompt.
    AskSecrets(SecretPrompt, oneshot::Sender<Vec<Password>>),
    /// Question if a host key is to be trusted.
    HostKey(UnknownKey, oneshot::Sender<bool>),
    /// Question if a guarded path may be read or written.
    Guarded(GuardedPath, oneshot::Sender<bool>),
    /// Question if a host may reach an address of this machine.
    Lend(LentAddress, oneshot::Sender<bool>),
    /// Question if the agent may do something on a host.
    Approve(Approval, oneshot::Sender<ApprovalAnswer>),
    /// Question to the client, not the user, for the working folders.
    Folders(oneshot::Sender<Vec<PathBuf>>),
}

/// Way to ask the user on behalf of a call. Each kind of question has a channel of its own, which
/// may be missing: such a question has no answer. The default can ask nothing. Clones share
/// channels and clock.
#[derive(Debug, Clone, Default)]
pub struct Prompter {
    /// Channel for questions with a yes and a no.
    choices: Option<mpsc::Sender<PromptRequest>>,
    /// Channel for secrets.
    secrets: Option<mpsc::Sender<PromptRequest>>,
    /// Channel for questions to the client itself.
    client: Option<mpsc::Sender<PromptRequest>>,
    /// Program to ask for secrets if [`secrets`](Self::secrets) is `None`.
    askpass: Option<Askpass>,
    /// Channel for banners, which have no answer.
    banners: Option<mpsc::Sender<PromptRequest>>,
    /// Clock to stop while the user is asked.
    pause: PausableClock,
}

impl Prompter {
    /// Creates a prompter with channels for yes-or-no questions and for secrets.
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

    /// Adds a channel for asking the client for the working folders.
    #[must_use]
    pub fn with_folders(self, client: Option<mpsc::Sender<PromptRequest>>) -> Self {
        Self { client, ..self }
    }

    /// Adds a channel for showing the banners of servers to the user.
    #[must_use]
    pub fn with_banners(self, banners: mpsc::Sender<PromptRequest>) -> Self {
        Self {
            banners: Some(banners),
            ..self
        }
    }

    /// Passes a banner on to the user. The web page in the banner is left out if the user cannot be
    /// asked to open a page.
    pub(in crate::ssh) fn show_banner(&self, banner: Banner) {
        let Some(banners) = self.banners.clone() else {
            return;
        };
        let page = banner.page.filter(|_| self.secrets.is_some());
        let banner = Banner { page, ..banner };
        // In a task of its own: the log-in does not wait for the recipient.
        tokio::spawn(async move { banners.send(PromptRequest::Banner(banner)).await });
    }

    /// Adds a program to ask for secrets, used only without a channel for secrets.
    #[must_use]
    pub fn or_askpass(self, askpass: Option<Askpass>) -> Self {
        Self { askpass, ..self }
    }

    /// Adds the clock to stop while the user thinks.
    #[must_use]
    pub fn pausing(self, pause: PausableClock) -> Self {
        Self { pause, ..self }
    }

    /// Returns the clock which stands still while the user thinks.
    #[must_use]
    pub fn pause(&self) -> &PausableClock {
        &self.pause
    }

    /// Returns true if somebody can be asked for secrets.
    #[must_use]
    pub fn can_ask_secrets(&self) -> bool {
        self.secrets.is_some() || self.askpass.is_some()
    }

    /// Asks for secrets, and returns an answer for each prompt. `None` if nobody answers within two
    /// minutes or the user refuses.
    pub async fn ask(&self, prompt: SecretPrompt) -> Option<Vec<Password>> {
        self.pause.during(self.ask_secret(prompt)).await
    }

    /// Asks over the channel for secrets, or by the askpass program.
    async fn ask_secret(&self, prompt: SecretPrompt) -> Option<Vec<Password>> {
        let expected = prompt.prompts.len();

        let answers = match (&self.secrets, &self.askpass) {
            (Some(secrets), _) => {
                let (answer, answered) = oneshot::channel();
                secrets
                    .send(PromptRequest::AskSecrets(prompt, answer))
                    .await
                    .ok()?;

                timeout(PATIENCE, answered).await.ok()?.ok()?
            }
            (None, Some(askpass)) => timeout(PATIENCE, ask_by_program(askpass, &prompt))
                .await
                .ok()??,
            (None, None) => return None,
        };

        // A client that answers another number of prompts has not answered these.
        (answers.len() == expected).then_some(answers)
    }

    /// Asks if the user trusts this very key; `None` if there is nobody to ask or no answer.
    pub async fn confirm_host_key(&self, key: UnknownKey) -> Option<bool> {
        self.choose(|answer| PromptRequest::HostKey(key, answer))
            .await
    }

    /// Asks if a guarded path may be read or written; `None` if there is nobody to ask or no
    /// answer.
    pub async fn allows(&self, path: GuardedPath) -> Option<bool> {
        self.choose(|answer| PromptRequest::Guarded(path, answer))
            .await
    }

    /// Asks if a host may reach an address of this machine; `None` if there is nobody to ask or no
    /// answer.
    pub async fn lends(&self, address: LentAddress) -> Option<bool> {
        self.choose(|answer| PromptRequest::Lend(address, answer))
            .await
    }

    /// Returns true if somebody can be asked for a decision.
    #[must_use]
    pub fn can_ask_choices(&self) -> bool {
        self.choices.is_some()
    }

    /// Asks if the agent may do something on a host. An answer that comes from `elsewhere` first
    /// withdraws the question. `None` if there is nobody to ask or no answer.
    pub async fn approve(
        &self,
        approval: Approval,
        elsewhere: impl Future<Output = ApprovalAnswer>,
    ) -> Option<ApprovalAnswer> {
        let choices = self.choices.as_ref()?;
        let (answer, answered) = oneshot::channel();

        let by_client = async {
            let question = PromptRequest::Approve(approval, answer);
            choices.send(question).await.ok()?;
            answered.await.ok()
        };
        let either = async {
            tokio::select! {
                answer = by_client => answer,
                answer = elsewhere => Some(answer),
            }
        };

        self.pause.during(timeout(PATIENCE, either)).await.ok()?
    }

    /// Asks a question with a yes and a no.
    async fn choose(
        &self,
        question: impl FnOnce(oneshot::Sender<bool>) -> PromptRequest,
    ) -> Option<bool> {
        let (answer, answered) = oneshot::channel();
        self.choices.as_ref()?.send(question(answer)).await.ok()?;
        self.pause
            .during(timeout(PATIENCE, answered))
            .await
            .ok()?
            .ok()
    }

    /// Asks the client for the working folders; `None` if the client does not say.
    pub async fn folders(&self) -> Option<Vec<PathBuf>> {
        let (answer, answered) = oneshot::channel();
        self.client
            .as_ref()?
            .send(PromptRequest::Folders(answer))
            .await
            .ok()?;
        timeout(CLIENT_PATIENCE, answered).await.ok()?.ok()
    }
}

/// Runs the program for each prompt in turn, in the words of `ssh`. A prompt with a server's words
/// names the account first.
async fn ask_by_program(askpass: &Askpass, prompt: &SecretPrompt) -> Option<Vec<Password>> {
    let mut answers = Vec::with_capacity(prompt.prompts.len());
    for Prompt { text, .. } in &prompt.prompts {
        let (account, text) = (ForeignText::from(&prompt.account), text.block());
        let words = match &prompt.purpose {
            Purpose::KeyboardInteractive(_) => format!("({account}) {text}"),
            Purpose::Sudo(what) => format!("({account}) {what}\n{text}"),
            Purpose::Program(what) => format!("({account}) {what}\n{text}"),
            Purpose::Password | Purpose::Passphrase(_) => text,
        };
        answers.push(askpass.answer(&words).await?);
    }

    Some(answers)
}
