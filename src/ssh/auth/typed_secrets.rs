//! Secrets which the user types, now or earlier in this process.

use super::TypedSecret;
use crate::{
    event::Event,
    password::Password,
    ssh::{
        prompt::prompter::{Prompt, Prompter, Purpose, SecretPrompt},
        transport::deadline::Deadline,
    },
};

/// Source of typed secrets during a log-in. Asks the user as often as `ssh` would, and remembers
/// secrets which worked.
pub(super) struct TypedSecrets<'a> {
    /// Prompter which asks the user.
    pub(super) prompter: &'a Prompter,
    /// Deadline of the attempt, which moves on during a question.
    pub(super) deadline: &'a Deadline,
    /// End of the connection, after which an answer is of no use.
    pub(super) closed: &'a Event,
    /// Account as `user@host`, in the form which `ssh` shows.
    pub(super) account: String,
    /// Account as `user@host:port`, as dialled. A password is sent to no other account.
    pub(super) to: String,
    /// Number of questions of each kind (`NumberOfPasswordPrompts`).
    pub(super) prompts: u32,
    /// True if the user must not be asked (`BatchMode`), or has not answered before.
    pub(super) silent: bool,
    /// Secrets which were typed and have worked.
    pub(super) secrets: Vec<TypedSecret>,
}

impl TypedSecrets<'_> {
    /// Returns true if a question can reach the user.
    pub(super) fn can_ask(&self) -> bool {
        self.prompter.can_ask_secrets() && !self.silent
    }

    /// Asks the user, and returns an answer for each prompt. Returns `None` if there is no answer;
    /// then no further question is asked in this log-in.
    pub(super) async fn ask(
        &mut self,
        purpose: Purpose,
        prompts: Vec<Prompt>,
    ) -> Option<Vec<Password>> {
        if !self.can_ask() {
            return None;
        }

        let prompt = SecretPrompt {
            account: self.account.clone(),
            purpose,
            prompts,
        };

        // An answer is of no use after the server has closed the connection, as it does after
        // `LoginGraceTime`.
        let asking = async {
            tokio::select! {
                answers = self.prompter.ask(prompt) => answers,
                () = self.closed.wait() => None,
            }
        };

        let answers = self.deadline.while_asking(asking).await;
        self.silent = answers.is_none();

        answers
    }

    /// Asks the user for a single secret; `None` if there is no answer.
    pub(super) async fn ask_one(&mut self, purpose: Purpose, text: String) -> Option<Password> {
        self.ask(
            purpose,
            vec![Prompt {
                text: text.into(),
                echo: false,
            }],
        )
        .await?
        .pop()
    }

    /// Returns the secret which was typed for this purpose; `None` if there is none.
    pub(super) fn remembered(&self, purpose: &Purpose) -> Option<Password> {
        self.secrets
            .iter()
            .find(|secret| self.is_for(secret, purpose))
            .map(|secret| secret.answer.clone())
    }

    /// Keeps a typed secret which has worked, in place of any earlier secret for the purpose.
    pub(super) fn keep(&mut self, purpose: Purpose, answer: Password) {
        self.forget(&purpose);
        self.secrets.push(TypedSecret {
            to: self.to.clone(),
            purpose,
            answer,
        });
    }

    /// Forgets a secret which has not worked.
    pub(super) fn forget(&mut self, purpose: &Purpose) {
        let mut secrets = std::mem::take(&mut self.secrets);
        secrets.retain(|secret| !self.is_for(secret, purpose));
        self.secrets = secrets;
    }

    /// Returns true if the secret answers this purpose for this account. A passphrase is valid for
    /// any account, because the key file is the same.
    fn is_for(&self, secret: &TypedSecret, purpose: &Purpose) -> bool {
        secret.purpose == *purpose
            && (secret.to == self.to || matches!(purpose, Purpose::Passphrase(_)))
    }
}
