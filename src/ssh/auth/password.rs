//! The methods whose proof is something a person knows: `password` (RFC 4252, section 8) and `keyboard-interactive`
//! (RFC 4256).

use russh::{
    MethodKind,
    client::{AuthResult, KeyboardInteractiveAuthResponse, Prompt as Asked},
};

use super::{Login, MethodOutcome, PasswordSource};
use crate::{
    password::Password,
    ssh::{
        error::{MAX_WORDS_BYTES, Remedy, SshError, said},
        prompt::prompter::{Prompt, Purpose},
    },
};

/// A server may ask keyboard-interactive questions in rounds; more than this is no login.
const MAX_ROUNDS: usize = 10;

/// Questions of one round; more than these are for no person.
const MAX_QUESTIONS: usize = 20;

/// The secrets of one keyboard-interactive exchange.
struct Exchange {
    /// The password that need not be asked for, until it is used.
    password: Option<Password>,
    /// The one password that was typed, worth keeping if it works.
    typed: Option<Password>,
    /// The server has asked something that nobody has answered.
    unanswered: bool,
    /// The server has asked anything.
    asked: bool,
}

impl Login<'_> {
    pub(super) async fn password(
        &mut self,
        source: PasswordSource,
    ) -> Result<MethodOutcome, SshError> {
        if source == PasswordSource::Given {
            self.given_to.push(MethodKind::Password);
            let Some(password) = self.password.clone() else {
                return Ok(MethodOutcome::Failed);
            };
            let step = self.send_password(&password).await?;
            self.judge_given(&step);
            return Ok(step);
        }

        let mut again = "";

        while self.questions[0] < self.typed_secrets.prompts && self.may_ask(MethodKind::Password) {
            self.questions[0] += 1;
            let text = format!("{again}{}'s password: ", self.typed_secrets.account);
            let Some(password) = self.typed_secrets.ask_one(Purpose::Password, text).await else {
                self.attempts
                    .push("password: asked for, but not given".to_owned());
                break;
            };

            match self.send_password(&password).await? {
                MethodOutcome::Failed => again = "Permission denied, please try again.\n",
                step => {
                    self.typed_secrets.keep(Purpose::Password, password);
                    return Ok(step);
                }
            }
        }

        Ok(MethodOutcome::Failed)
    }

    /// A server that wants a new password instead asks for it with a message that russh drops (RFC 4252, section 8), so
    /// that nothing but silence is seen of it.
    async fn send_password(&mut self, password: &Password) -> Result<MethodOutcome, SshError> {
        let sending = self
            .handle
            .authenticate_password(&self.config.user, password.reveal());

        if let Ok(result) = self
            .typed_secrets
            .deadline
            .limit("authentication", sending)
            .await
        {
            return self.step(result, "password", "").await;
        }

        self.attempts.push(
            "password: neither accepted nor refused in time; the server may want a new one, because this one has expired"
                .to_owned(),
        );

        self.remedy = Remedy::NewPassword;

        Err(self.failure())
    }

    pub(super) async fn keyboard_interactive(
        &mut self,
        source: PasswordSource,
    ) -> Result<MethodOutcome, SshError> {
        if source == PasswordSource::Given {
            self.given_to.push(MethodKind::KeyboardInteractive);

            // One that the server has taken already is not what it asks for now, if there is somebody who knows.
            let used = self.succeeded.contains(&"password") && self.typed_secrets.can_ask();
            let password = self.password.clone().filter(|_| !used);
            let (step, _) = self.exchange(password).await?;
            self.judge_given(&step);
            return Ok(step);
        }

        while self.questions[1] < self.typed_secrets.prompts
            && self.may_ask(MethodKind::KeyboardInteractive)
        {
            self.questions[1] += 1;
            match self.exchange(None).await? {
                (MethodOutcome::Failed, true) => {}
                (step, _) => return Ok(step),
            }
        }

        Ok(MethodOutcome::Failed)
    }

    fn may_ask(&self, method: MethodKind) -> bool {
        self.offers(method) && self.typed_secrets.can_ask()
    }

    /// Keeps a password that was typed for an earlier connection for as long as it works.
    fn judge_given(&mut self, step: &MethodOutcome) {
        match (step, &self.password) {
            (MethodOutcome::Failed, _) => self.typed_secrets.forget(&Purpose::Password),
            (_, Some(password)) if self.password_was_typed => {
                self.typed_secrets.keep(Purpose::Password, password.clone());
            }
            _ => {}
        }
    }

    /// One exchange, and whether there is sense in another.
    async fn exchange(
        &mut self,
        password: Option<Password>,
    ) -> Result<(MethodOutcome, bool), SshError> {
        let mut exchange = Exchange {
            password,
            typed: None,
            unanswered: false,
            asked: false,
        };

        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(&self.config.user, None)
            .await;

        for _ in 0..MAX_ROUNDS {
            let result = match answer {
                Ok(KeyboardInteractiveAuthResponse::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => {
                    exchange.asked = true;
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

            let step = self.step(result, "keyboard-interactive", "").await?;
            if let (MethodOutcome::Done | MethodOutcome::Partial, Some(password)) =
                (&step, exchange.typed)
            {
                self.typed_secrets.keep(Purpose::Password, password);
            }

            return Ok((step, exchange.asked && !exchange.unanswered));
        }

        self.attempts
            .push("keyboard-interactive: the server does not stop asking".to_owned());

        Err(self.failure())
    }

    /// The answers to one round: to one question for a secret the password, else what the person says. What nobody answers
    /// is answered with nothing, since the server waits for as many answers as it has questions.
    async fn responses(
        &mut self,
        exchange: &mut Exchange,
        words: String,
        asked: &[Asked],
    ) -> Vec<String> {
        let one_secret = matches!(asked, [only] if !only.echo);
        if asked.is_empty() {
            return Vec::new();
        }

        if let Some(password) = exchange.password.take_if(|_| one_secret) {
            return vec![password.reveal().to_owned()];
        }

        let cut = |words: &str| words.chars().take(MAX_WORDS_BYTES).collect::<String>();

        let prompts: Vec<Prompt> = asked
            .iter()
            .take(MAX_QUESTIONS)
            .map(|asked| Prompt {
                text: cut(&asked.prompt),
                echo: asked.echo,
            })
            .collect();

        let texts: Vec<String> = prompts.iter().map(|prompt| prompt.text.clone()).collect();

        let answers = if asked.len() > MAX_QUESTIONS {
            None
        } else {
            self.typed_secrets
                .ask(Purpose::KeyboardInteractive(cut(&words)), prompts)
                .await
        };

        let Some(answers) = answers else {
            if !exchange.unanswered {
                self.attempts.push(format!(
                    "keyboard-interactive: the server asks {}",
                    said(&texts.join(", "))
                ));
            }

            exchange.unanswered = true;
            return asked.iter().map(|_| String::new()).collect();
        };

        // A code is good for once only; a password can be used to connect again.
        if let ([answer], [only]) = (answers.as_slice(), asked)
            && one_secret
            && only.prompt.to_lowercase().contains("password")
        {
            exchange.typed = Some(answer.clone());
        }

        answers
            .iter()
            .map(|answer| answer.reveal().to_owned())
            .collect()
    }
}
