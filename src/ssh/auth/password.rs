//! Methods which prove the user's knowledge: `password` (RFC 4252, section 8) and
//! `keyboard-interactive` (RFC 4256).

use russh::{
    MethodKind,
    client::{AuthResult, KeyboardInteractiveAuthResponse, Prompt as ServerPrompt},
};

use super::{Credentials, Login, MethodOutcome, PasswordSource, typed_secrets::TypedSecrets};
use crate::{
    password::Password,
    ssh::{
        error::{Remedy, SshError, excerpt},
        prompt::prompter::{Prompt, Purpose},
    },
};

/// Limit of the rounds of questions in a keyboard-interactive exchange.
const MAX_ROUNDS: usize = 10;

/// Limit of the questions in a round. More questions are not shown to the user.
const MAX_QUESTIONS: usize = 20;

/// State of the password methods during a log-in.
pub(super) struct PasswordState {
    /// Password which need not be asked for; `None` if there is none.
    pub(super) known: Option<Password>,
    /// True if the known password was typed for an earlier connection.
    was_typed: bool,
    /// True if no password may be sent, because the host key has changed.
    pub(super) withheld: bool,
    /// Methods for which the known password was used already.
    used_for: Vec<MethodKind>,
    /// Number of times the user was asked for a password.
    password_prompts: u32,
    /// Number of keyboard-interactive exchanges with the user.
    interactive_prompts: u32,
}

impl PasswordState {
    /// Creates the state before the first method. A typed password is newer than a given password,
    /// and has worked.
    pub(super) fn new(
        typed_secrets: &TypedSecrets<'_>,
        credentials: &Credentials,
        withheld: bool,
    ) -> Self {
        let typed_password = typed_secrets.remembered(&Purpose::Password);
        Self {
            was_typed: typed_password.is_some(),
            known: typed_password.or_else(|| credentials.password.clone()),
            withheld,
            used_for: Vec::new(),
            password_prompts: 0,
            interactive_prompts: 0,
        }
    }

    /// Returns true if there is a known password which was not used for this method yet.
    pub(super) fn is_unused_for(&self, method: MethodKind) -> bool {
        self.known.is_some() && !self.used_for.contains(&method)
    }
}

/// State of a keyboard-interactive exchange.
struct Exchange {
    /// Password which need not be asked for; `None` if there is none, or after its use.
    password: Option<Password>,
    /// Typed password, worth keeping if the exchange succeeds; `None` if none was typed.
    typed_password: Option<Password>,
    /// True if nobody answered a question of the server.
    unanswered: bool,
    /// True if the server has asked anything.
    had_questions: bool,
}

/// Result of one `keyboard-interactive` exchange with the server (RFC 4256).
struct ExchangeEnd {
    outcome: MethodOutcome,
    /// True if another exchange makes sense: the server asked, and every question was answered.
    may_repeat: bool,
}

impl Login<'_> {
    /// Tries the method `password`, with the known password or by asking the user.
    ///
    /// # Errors
    /// The server has closed the connection, or does not answer.
    pub(super) async fn password(
        &mut self,
        source: PasswordSource,
    ) -> Result<MethodOutcome, SshError> {
        if source == PasswordSource::Known {
            self.passwords.used_for.push(MethodKind::Password);
            let Some(password) = self.passwords.known.clone() else {
                return Ok(MethodOutcome::Failed);
            };

            let outcome = self.send_password(&password).await?;
            self.keep_or_forget_known(&outcome);
            return Ok(outcome);
        }

        let mut refusal = "";

        // As often as in `ssh`: `NumberOfPasswordPrompts`.
        while self.passwords.password_prompts < self.typed_secrets.prompts
            && self.may_ask(MethodKind::Password)
        {
            self.passwords.password_prompts += 1;
            let text = format!("{refusal}{}'s password: ", self.typed_secrets.account);
            let Some(password) = self.typed_secrets.ask_one(Purpose::Password, text).await else {
                self.log
                    .failed
                    .push("password: asked for, but not given".to_owned());
                break;
            };

            match self.send_password(&password).await? {
                MethodOutcome::Failed => refusal = "Permission denied, please try again.\n",
                outcome => {
                    self.typed_secrets.keep(Purpose::Password, password);
                    return Ok(outcome);
                }
            }
        }

        Ok(MethodOutcome::Failed)
    }

    /// Sends a password. If the server does not answer in time, the password has probably expired:
    /// russh drops the message which requests a new password (RFC 4252, section 8).
    ///
    /// # Errors
    /// The server has closed the connection, or does not answer.
    async fn send_password(&mut self, password: &Password) -> Result<MethodOutcome, SshError> {
        let sending = self
            .handle
            .authenticate_password(&self.config.user, password.reveal());

        // The outer deadline alone would give no hint of the likely cause.
        if let Ok(result) = self
            .typed_secrets
            .deadline
            .limit("authentication", sending)
            .await
        {
            return self.evaluate(result, "password", "").await;
        }

        self.log.failed.push(
            "password: neither accepted nor refused in time; the server may want a new one, because this one has expired"
                .to_owned(),
        );

        self.log.remedy = Remedy::NewPassword;

        Err(self.failure())
    }

    /// Tries the method `keyboard-interactive`, with the known password or by asking the user.
    ///
    /// # Errors
    /// The server has closed the connection, or does not stop asking.
    pub(super) async fn keyboard_interactive(
        &mut self,
        source: PasswordSource,
    ) -> Result<MethodOutcome, SshError> {
        if source == PasswordSource::Known {
            self.passwords
                .used_for
                .push(MethodKind::KeyboardInteractive);

            // After an accepted password, the server asks for something else, such as a code.
            let used = self.log.succeeded.contains(&"password") && self.typed_secrets.can_ask();
            let password = self.passwords.known.clone().filter(|_| !used);
            let outcome = self.exchange(password).await?.outcome;
            self.keep_or_forget_known(&outcome);
            return Ok(outcome);
        }

        while self.passwords.interactive_prompts < self.typed_secrets.prompts
            && self.may_ask(MethodKind::KeyboardInteractive)
        {
            self.passwords.interactive_prompts += 1;
            let ExchangeEnd {
                outcome,
                may_repeat,
            } = self.exchange(None).await?;

            if !may_repeat || !matches!(outcome, MethodOutcome::Failed) {
                return Ok(outcome);
            }
        }

        Ok(MethodOutcome::Failed)
    }

    /// Returns true if the server accepts the method, and the user can be asked.
    fn may_ask(&self, method: MethodKind) -> bool {
        self.log.may_try(method) && self.typed_secrets.can_ask()
    }

    /// Keeps a password which was typed for an earlier connection, but forgets the password on
    /// failure.
    fn keep_or_forget_known(&mut self, outcome: &MethodOutcome) {
        match (outcome, &self.passwords.known) {
            (MethodOutcome::Failed, _) => self.typed_secrets.forget(&Purpose::Password),
            (_, Some(password)) if self.passwords.was_typed => {
                self.typed_secrets.keep(Purpose::Password, password.clone());
            }
            _ => {}
        }
    }

    /// Runs a keyboard-interactive exchange, in which `password` answers a question.
    async fn exchange(&mut self, password: Option<Password>) -> Result<ExchangeEnd, SshError> {
        let mut exchange = Exchange {
            password,
            typed_password: None,
            unanswered: false,
            had_questions: false,
        };

        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(&self.config.user, None)
            .await;

        // RFC 4256 sets no limit of rounds, but an endless server must not hold the user.
        for _ in 0..MAX_ROUNDS {
            let result = match answer {
                Ok(KeyboardInteractiveAuthResponse::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => {
                    exchange.had_questions = true;
                    let words = [name, instructions]
                        .into_iter()
                        .filter(|words| !words.is_empty())
                        .collect::<Vec<_>>();

                    let responses = self
                        .responses(&mut exchange, words.join("\n"), &prompts)
                        .await;

                    answer = self
                        .handle
                        .authenticate_keyboard_interactive_respond(responses)
                        .await;

                    continue;
                }
                Ok(KeyboardInteractiveAuthResponse::Success) => Ok(AuthResult::Success),
                Ok(KeyboardInteractiveAuthResponse::Failure {
                    remaining_methods,
                    partial_success,
                }) => Ok(AuthResult::Failure {
                    remaining_methods,
                    partial_success,
                }),
                Err(error) => Err(error),
            };

            // A typed password is kept only after the server has accepted the exchange.
            let outcome = self.evaluate(result, "keyboard-interactive", "").await?;
            if let (MethodOutcome::Done | MethodOutcome::Partial, Some(password)) =
                (&outcome, exchange.typed_password)
            {
                self.typed_secrets.keep(Purpose::Password, password);
            }

            return Ok(ExchangeEnd {
                outcome,
                may_repeat: exchange.had_questions && !exchange.unanswered,
            });
        }

        self.log
            .failed
            .push("keyboard-interactive: the server does not stop asking".to_owned());

        Err(self.failure())
    }

    /// Answers a round of questions. The known password answers a single question for a secret, and
    /// the user answers all else. Without the user, all answers are empty, because the server
    /// expects as many answers as questions (RFC 4256, section 3.4).
    async fn responses(
        &mut self,
        exchange: &mut Exchange,
        words: String,
        questions: &[ServerPrompt],
    ) -> Vec<String> {
        let one_secret = matches!(questions, [only] if !only.echo);
        if questions.is_empty() {
            return Vec::new();
        }

        // The password answers a single question: the next question may be for a code.
        if let Some(password) = exchange.password.take_if(|_| one_secret) {
            return vec![password.reveal().to_owned()];
        }

        // Excerpts, because a server could otherwise fill the user's screen with its words.
        let prompts: Vec<Prompt> = questions
            .iter()
            .take(MAX_QUESTIONS)
            .map(|question| Prompt {
                text: excerpt(&question.prompt),
                echo: question.echo,
            })
            .collect();

        let answers = if questions.len() > MAX_QUESTIONS {
            None
        } else {
            self.typed_secrets
                .ask(Purpose::KeyboardInteractive(excerpt(&words)), prompts)
                .await
        };

        // The error shows the unanswered questions, because these explain which secret is missing.
        let Some(answers) = answers else {
            if !exchange.unanswered {
                let texts: Vec<&str> = questions
                    .iter()
                    .map(|question| question.prompt.as_str())
                    .collect();

                self.log.failed.push(format!(
                    "keyboard-interactive: the server asks {}",
                    excerpt(texts.join(", "))
                ));
            }

            exchange.unanswered = true;
            return questions.iter().map(|_| String::new()).collect();
        };

        // A code is valid once, whereas a password can serve to connect again.
        if let ([answer], [only]) = (answers.as_slice(), questions)
            && one_secret
            && only.prompt.to_lowercase().contains("password")
        {
            exchange.typed_password = Some(answer.clone());
        }

        answers
            .iter()
            .map(|answer| answer.reveal().to_owned())
            .collect()
    }
}
