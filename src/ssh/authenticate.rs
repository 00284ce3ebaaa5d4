//! Proves who we are (RFC 4252), in OpenSSH's order, with several methods where a server wants several.

mod identities;

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, KeyboardInteractiveAuthResponse},
};

use self::identities::{Identities, Identity};
use super::{error::SshError, handler::ClientHandler};
use crate::{openssh::effective_config::EffectiveConfig, password::Password};

/// A server may ask keyboard-interactive questions in rounds; more than this is no login.
const MOST_ROUNDS: usize = 10;

/// What the caller brought to log in with; everything else comes from the configuration and the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A private key file, which is then the only key that is tried.
    pub key_path: Option<String>,
    /// The passphrase for encrypted key files.
    pub passphrase: Option<Password>,
    /// The password. Since it was given explicitly, it is tried before keys.
    pub password: Option<Password>,
}

/// Logs in and returns the methods that it took, comma-separated.
///
/// # Errors
/// [`SshError::Authentication`] with every method tried, [`SshError::KeyFile`] for an explicit key that is unusable.
pub(super) async fn authenticate(
    handle: &mut Handle<ClientHandler>,
    config: &EffectiveConfig,
    typed: &str,
    credentials: &Credentials,
    no_passwords: bool,
) -> Result<String, SshError> {
    let mut login = Login {
        handle,
        config,
        credentials,
        no_passwords,
        identities: Identities::gather(config, typed, credentials).await?,
        succeeded: Vec::new(),
        attempts: Vec::new(),
        allowed: None,
    };
    login.run().await
}

struct Login<'a> {
    handle: &'a mut Handle<ClientHandler>,
    config: &'a EffectiveConfig,
    credentials: &'a Credentials,
    no_passwords: bool,
    identities: Identities,
    succeeded: Vec<&'static str>,
    attempts: Vec<String>,
    /// What the server said it would accept; `None` until it said something.
    allowed: Option<MethodSet>,
}

/// How one method went.
enum Step {
    /// Logged in.
    Done,
    /// The server wants a further method.
    Partial,
    /// Not this way.
    Failed,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<String, SshError> {
        // As OpenSSH does: `none` tells what the server accepts. Without a password it would cost a round trip for
        // nothing, since keys are tried in any case.
        if (self.credentials.password.is_some() || self.identities.is_empty()) && self.none().await? {
            return Ok("none".to_owned());
        }
        'again: loop {
            for method in self.order() {
                if self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&method)) {
                    continue;
                }
                let step = match method {
                    MethodKind::PublicKey => self.public_key().await?,
                    MethodKind::KeyboardInteractive => self.keyboard_interactive().await?,
                    _ => self.password().await?,
                };
                match step {
                    Step::Done | Step::Partial => self.succeeded.push((&method).into()),
                    Step::Failed => continue,
                }
                if matches!(step, Step::Done) {
                    return Ok(self.succeeded.join(","));
                }
                if self.succeeded.len() > MOST_ROUNDS {
                    break 'again;
                }
                continue 'again;
            }
            break;
        }
        Err(self.failure())
    }

    /// `PreferredAuthentications`, cut to what is enabled and not yet done; an explicit password comes first.
    fn order(&self) -> Vec<MethodKind> {
        let passwords = self.credentials.password.is_some() && !self.no_passwords;
        let mut order: Vec<MethodKind> = self
            .config
            .preferred_authentications
            .iter()
            .filter_map(|method| match method.as_str() {
                "publickey" if self.config.pubkey_authentication => Some(MethodKind::PublicKey),
                "keyboard-interactive" if passwords && self.config.kbd_interactive_authentication => {
                    Some(MethodKind::KeyboardInteractive)
                }
                "password" if passwords && self.config.password_authentication => Some(MethodKind::Password),
                _ => None,
            })
            .collect();
        if passwords {
            order.sort_by_key(|method| match method {
                MethodKind::Password => 0,
                MethodKind::KeyboardInteractive => 1,
                _ => 2,
            });
        }
        order.retain(|method| *method == MethodKind::PublicKey || !self.succeeded.contains(&method.into()));
        order
    }

    async fn none(&mut self) -> Result<bool, SshError> {
        let result = self.handle.authenticate_none(&self.config.user).await;
        Ok(matches!(self.step(result, "none", "")?, Step::Done))
    }

    async fn public_key(&mut self) -> Result<Step, SshError> {
        self.attempts.append(&mut self.identities.unusable);
        while let Some(identity) = self.identities.next(self.handle, self.config).await? {
            let user = self.config.user.clone();
            let description = identity.description();
            let result = match identity {
                Identity::File { key, .. } => self.handle.authenticate_publickey(user, key).await,
                Identity::Agent { key, hash, .. } => {
                    let Some(agent) = &mut self.identities.agent else { continue };
                    match self.handle.authenticate_publickey_with(user, key, hash, agent).await {
                        Ok(result) => Ok(result),
                        Err(error) => {
                            self.attempts.push(format!("publickey {description}: the agent did not sign: {error}"));
                            continue;
                        }
                    }
                }
            };
            match self.step(result, "publickey", &description)? {
                Step::Failed if self.offers(MethodKind::PublicKey) => {}
                step => return Ok(step),
            }
        }
        Ok(Step::Failed)
    }

    async fn password(&mut self) -> Result<Step, SshError> {
        let Some(password) = &self.credentials.password else { return Ok(Step::Failed) };
        let result = self.handle.authenticate_password(&self.config.user, password.reveal()).await;
        self.step(result, "password", "")
    }

    /// Answers the questions of RFC 4256 where they are one question for a secret, which is the password.
    async fn keyboard_interactive(&mut self) -> Result<Step, SshError> {
        let Some(password) = &self.credentials.password else { return Ok(Step::Failed) };
        let mut answer = self.handle.authenticate_keyboard_interactive_start(&self.config.user, None).await?;
        let mut given = false;
        for _ in 0..MOST_ROUNDS {
            let responses = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(Step::Done),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    let result = AuthResult::Failure { remaining_methods, partial_success };
                    return self.step(Ok(result), "keyboard-interactive", "");
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.as_slice() {
                    [] => Vec::new(),
                    [only] if !only.echo && !given => {
                        given = true;
                        vec![password.reveal().to_owned()]
                    }
                    asked => {
                        let asked: Vec<String> =
                            asked.iter().map(|prompt| prompt.prompt.escape_debug().to_string()).collect();
                        self.attempts.push(format!("keyboard-interactive: the server asks {}", asked.join(", ")));
                        return Ok(Step::Failed);
                    }
                },
            };
            answer = self.handle.authenticate_keyboard_interactive_respond(responses).await?;
        }
        self.attempts.push("keyboard-interactive: the server does not stop asking".to_owned());
        Ok(Step::Failed)
    }

    fn offers(&self, method: MethodKind) -> bool {
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&method))
    }

    fn step(&mut self, result: Result<AuthResult, russh::Error>, method: &str, what: &str) -> Result<Step, SshError> {
        match result? {
            AuthResult::Success => Ok(Step::Done),
            AuthResult::Failure { .. } if self.handle.is_closed() => {
                self.attempts.push(format!("{method} {what}: the server closed the connection"));
                Err(self.failure())
            }
            AuthResult::Failure { remaining_methods, partial_success } => {
                self.allowed = Some(remaining_methods);
                if partial_success {
                    return Ok(Step::Partial);
                }
                if method != "none" {
                    self.attempts.push(format!("{method} {what}").trim_end().to_owned() + ": refused");
                }
                Ok(Step::Failed)
            }
        }
    }

    fn failure(&mut self) -> SshError {
        self.attempts.append(&mut self.identities.unusable);
        if self.no_passwords && self.credentials.password.is_some() {
            self.attempts.push("password: not sent, because the host key has changed".to_owned());
        }
        let attempts = if self.attempts.is_empty() {
            "no key and no password to try".to_owned()
        } else {
            self.attempts.join("; ")
        };
        let remaining: Vec<&str> = self.allowed.iter().flat_map(|set| set.iter().map(Into::into)).collect();
        SshError::Authentication {
            user: self.config.user.clone(),
            host: self.config.host_name.clone(),
            attempts,
            remaining: remaining.join(","),
            needs_passphrase: self.identities.needs_passphrase,
        }
    }
}
