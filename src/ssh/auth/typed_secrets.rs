//! Secrets beyond those that were given: typed by a person now, or earlier in this process.

use tokio_util::sync::CancellationToken;

use super::TypedSecret;
use crate::{
    password::Password,
    ssh::{
        prompt::prompter::{Prompt, Prompter, Purpose, SecretPrompt},
        transport::deadline::Deadline,
    },
};

/// Asks the person, as often as `ssh` would, and knows what was typed.
pub(super) struct TypedSecrets<'a> {
    pub(super) prompter: &'a Prompter,
    pub(super) deadline: &'a Deadline,
    /// Cancelled when the connection has ended: then no answer is of use.
    pub(super) closed: &'a CancellationToken,
    /// `user@host` as `ssh` shows it to a person.
    pub(super) account: String,
    /// `user@host:port` that was dialled: a password goes nowhere else.
    pub(super) to: String,
    /// `NumberOfPasswordPrompts`, for each kind of question.
    pub(super) prompts: u32,
    /// The person cannot be asked (`BatchMode`), or does not answer.
    pub(super) silent: bool,
    pub(super) typed: Vec<TypedSecret>,
}

impl TypedSecrets<'_> {
    /// Whether there is any sense in asking.
    pub(super) fn can_ask(&self) -> bool {
        self.prompter.can_ask_secrets() && !self.silent
    }

    /// The answers, one a prompt. Once there are none, nothing more is asked.
    pub(super) async fn ask(
        &mut self,
        purpose: Purpose,
        prompts: Vec<Prompt>,
    ) -> Option<Vec<Password>> {
        if !self.can_ask() {
            return None;
        }

        let question = SecretPrompt {
            account: self.account.clone(),
            purpose,
            prompts,
        };

        let asking = async {
            tokio::select! {
                answers = self.prompter.ask(question) => answers,
                () = self.closed.cancelled() => None,
            }
        };

        let answers = self.deadline.while_asking(asking).await;
        self.silent = answers.is_none();

        answers
    }

    /// The same for one secret.
    pub(super) async fn ask_one(&mut self, purpose: Purpose, text: String) -> Option<Password> {
        self.ask(purpose, vec![Prompt { text, echo: false }])
            .await?
            .pop()
    }

    /// What was typed for this purpose.
    pub(super) fn remembered(&self, purpose: &Purpose) -> Option<Password> {
        self.typed
            .iter()
            .find(|typed| self.is_for(typed, purpose))
            .map(|typed| typed.answer.clone())
    }

    /// Keeps what was typed and has worked.
    pub(super) fn keep(&mut self, purpose: Purpose, answer: Password) {
        self.forget(&purpose);
        self.typed.push(TypedSecret {
            to: self.to.clone(),
            purpose,
            answer,
        });
    }

    /// Forgets what has not worked.
    pub(super) fn forget(&mut self, purpose: &Purpose) {
        let mut typed = std::mem::take(&mut self.typed);
        typed.retain(|typed| !self.is_for(typed, purpose));
        self.typed = typed;
    }

    /// A passphrase opens its file wherever the key is used.
    fn is_for(&self, typed: &TypedSecret, purpose: &Purpose) -> bool {
        typed.purpose == *purpose
            && (typed.to == self.to || matches!(purpose, Purpose::Passphrase(_)))
    }
}
