//! Logs in to a server (RFC 4252), with the methods in OpenSSH's order. A server may require
//! several methods.

mod agent;
mod attempt_log;
mod candidate;
mod certificate;
mod credentials;
mod failure;
mod identities;
mod key_file;
mod legacy_pem;
mod offer;
mod password;
mod public_key;
mod signature_algorithm;
mod trace;
mod typed_secrets;

use russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle},
};

pub use self::credentials::{Credentials, TypedSecret};
use self::{
    attempt_log::AttemptLog, identities::Identities, password::PasswordState, public_key::KeyState,
    typed_secrets::TypedSecrets,
};
use super::{
    error::{Remedy, SshError},
    known_servers::KnownKey,
    prompt::prompter::Prompter,
    transport::{
        deadline::Deadline,
        handler::{ClientHandler, ConnectionFacts},
    },
};
use crate::openssh::effective_config::EffectiveConfig;

/// Limit of the methods which a server may require for a log-in.
const MAX_STEPS: usize = 10;

/// Result of a successful log-in.
pub(super) struct LoggedIn {
    /// Methods which the server required, comma-separated.
    pub(super) methods: String,
    /// Secrets which were typed for this log-in or earlier, and which worked.
    pub(super) typed_secrets: Vec<TypedSecret>,
    /// Notice about certificates which are not valid now; `None` without such certificates.
    pub(super) notice: Option<String>,
    /// True if the server refused the method `none`, now or earlier.
    pub(super) needs_proof: bool,
    /// Key that was enough; `None` if the server required anything else.
    pub(super) key: Option<KnownKey>,
}

/// Logs in with the methods of the configuration. `destination` is the destination as the user typed
/// it.
///
/// # Errors
/// [`SshError::Authentication`] with every method tried, [`SshError::KeyFile`] for an explicit key
/// which is unusable, or [`SshError::UnsupportedAlgorithms`] if `PubkeyAcceptedAlgorithms` names no
/// supported algorithm.
pub(super) async fn authenticate(
    handle: &mut Handle<ClientHandler>,
    config: &EffectiveConfig,
    destination: &str,
    credentials: &Credentials,
    prompter: &Prompter,
    deadline: &Deadline,
    facts: &ConnectionFacts,
) -> Result<LoggedIn, SshError> {
    let typed_secrets = TypedSecrets {
        prompter,
        deadline,
        closed: &facts.closed,
        account: config.account(),
        to: format!("{}@{}:{}", config.user, config.host_name, config.port),
        prompts: config.number_of_password_prompts,
        silent: config.batch_mode,
        secrets: credentials.typed_secrets.clone(),
    };

    // A changed host key may be an impostor's, who would collect the password.
    let withheld = facts
        .host_key
        .get()
        .is_some_and(|accepted| accepted.no_passwords);
    let passwords = PasswordState::new(&typed_secrets, credentials, withheld);
    let mut identities =
        Identities::gather(handle, config, destination, credentials, &facts.trace).await?;
    let known_key = credentials.known_key.as_ref();
    let begins_with_known = known_key.is_some_and(|known| identities.begin_with(known));

    let mut login = Login {
        handle,
        config,
        facts,
        typed_secrets,
        passwords,
        keys: KeyState::new(identities, credentials.passphrase.as_ref()),
        log: AttemptLog::new(),
        // A key was asked for the last time.
        needs_proof: credentials.needs_proof || begins_with_known,
    };

    // The trace describes failed log-ins too, so the error is returned only afterwards.
    let result = login.run().await;
    login.explain(result.is_ok());
    result?;

    Ok(LoggedIn {
        methods: login.log.succeeded.join(","),
        typed_secrets: login.typed_secrets.secrets,
        notice: (!login.keys.outdated.is_empty()).then(|| login.keys.outdated.join("; ")),
        needs_proof: login.needs_proof,
        key: (login.log.succeeded == ["publickey"])
            .then(|| login.keys.known_key(known_key))
            .flatten(),
    })
}

/// State of a log-in in progress.
struct Login<'a> {
    handle: &'a mut Handle<ClientHandler>,
    config: &'a EffectiveConfig,
    facts: &'a ConnectionFacts,
    typed_secrets: TypedSecrets<'a>,
    passwords: PasswordState,
    keys: KeyState<'a>,
    log: AttemptLog,
    /// True if the account has refused the method `none`.
    needs_proof: bool,
}

/// Outcome of an authentication method.
enum MethodOutcome {
    /// The server has logged the user in.
    Done,
    /// The server accepted the method, but requires a further method.
    Partial,
    /// The method did not succeed.
    Failed,
}

/// Source of the password for an authentication method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PasswordSource {
    /// The password which is known already.
    Known,
    /// The user. Keys use this variant too, although they ask nobody.
    User,
}

impl Login<'_> {
    /// Tries methods until the server is satisfied or none is left.
    async fn run(&mut self) -> Result<(), SshError> {
        // OpenSSH tries `none` first: it suffices for accounts without a password, and its answer
        // lists the allowed methods. russh cannot combine it with another request, so it costs a
        // round trip.
        let skips_none = self.needs_proof
            && self.passwords.known.is_none()
            && !self.keys.identities.is_empty()
            && !self.keys.identities.hides_a_key()
            && !self.facts.trace.is_recording();

        if !skips_none && self.none().await? {
            return Ok(());
        }

        'again: while self.log.succeeded.len() <= MAX_STEPS {
            for (method, source) in self.order() {
                // After a skipped `none` the allowed methods are unknown. Only keys are tried
                // without knowing them.
                if method != MethodKind::PublicKey
                    && self.log.allowed.is_none()
                    && self.none().await?
                {
                    return Ok(());
                }

                if !self.log.may_try(method) {
                    continue;
                }

                let outcome = match method {
                    MethodKind::PublicKey => self.public_key().await?,
                    MethodKind::KeyboardInteractive => self.keyboard_interactive(source).await?,
                    _ => self.password(source).await?,
                };

                match outcome {
                    MethodOutcome::Failed => continue,
                    MethodOutcome::Done | MethodOutcome::Partial => {
                        self.log.succeeded.push((&method).into());
                    }
                }

                if matches!(outcome, MethodOutcome::Done) {
                    return Ok(());
                }

                // As in OpenSSH, a key which was offered before may count for the next step.
                self.keys.identities.start_over();
                continue 'again;
            }

            break;
        }

        Err(self.failure())
    }

    /// Returns the methods to try, in order. A known password comes first, followed by
    /// `PreferredAuthentications` without the methods which are disabled or need an absent user.
    fn order(&self) -> Vec<(MethodKind, PasswordSource)> {
        use MethodKind::{KeyboardInteractive, PublicKey};

        let prefers = |name: &str| {
            self.config
                .preferred_authentications
                .iter()
                .any(|preferred| preferred == name)
        };

        // No password method is used with a changed host key, which may be an impostor's.
        let enabled = |method: &MethodKind| match method {
            PublicKey => self.config.pubkey_authentication,
            KeyboardInteractive => {
                self.config.kbd_interactive_authentication && !self.passwords.withheld
            }
            _ => self.config.password_authentication && !self.passwords.withheld,
        };

        // Each method gets the known password once; afterwards the user is asked.
        let known = [MethodKind::Password, KeyboardInteractive]
            .into_iter()
            .filter(|method| self.passwords.is_unused_for(*method) && prefers(method.into()));

        let preferred = self
            .config
            .preferred_authentications
            .iter()
            .filter_map(|name| match name.as_str() {
                "publickey" => Some(PublicKey),
                "keyboard-interactive" if self.typed_secrets.can_ask() => Some(KeyboardInteractive),
                "password" if self.typed_secrets.can_ask() => Some(MethodKind::Password),
                _ => None,
            });

        let order = known
            .map(|method| (method, PasswordSource::Known))
            .chain(preferred.map(|method| (method, PasswordSource::User)));
        order.filter(|(method, _)| enabled(method)).collect()
    }

    /// Tries the method `none`, and returns true if the server requires no proof.
    async fn none(&mut self) -> Result<bool, SshError> {
        let result = self.handle.authenticate_none(&self.config.user).await;
        let done = matches!(
            self.evaluate(result, "none", "").await?,
            MethodOutcome::Done
        );
        self.needs_proof = !done;
        if done {
            self.log.succeeded.push("none");
        }
        Ok(done)
    }

    /// Evaluates the server's answer to a method, and records a failed attempt. `what` describes
    /// the key, or is empty.
    ///
    /// # Errors
    /// [`SshError::Authentication`] if the server has closed the connection.
    async fn evaluate(
        &mut self,
        result: Result<AuthResult, russh::Error>,
        method: &str,
        what: &str,
    ) -> Result<MethodOutcome, SshError> {
        let (remaining, partial) = match result {
            Ok(AuthResult::Success) => return Ok(MethodOutcome::Done),
            Ok(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => (remaining_methods, partial_success),
            Err(_) => (MethodSet::empty(), false),
        };

        let tried = format!("{method} {what}").trim_end().to_owned();

        // A server which accepts nothing more has closed the connection, or russh reports it in
        // this way. The reason is complete once the handler is gone.
        if remaining.is_empty() || self.handle.is_closed() {
            self.facts.closed.wait().await;
            let reason = self
                .facts
                .reason()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();

            let nothing_refused =
                self.log.failed.is_empty() && matches!(method, "none" | "publickey");
            self.log
                .failed
                .push(format!("{tried}: the server closed the connection{reason}"));

            // After refused keys, the likely cause is the server's limit `MaxAuthTries`.
            if !self.keys.refused.is_empty() {
                self.log.remedy = Remedy::FewerKeys;
            } else if nothing_refused {
                self.log.remedy = Remedy::Again;
            }

            return Err(self.failure());
        }

        self.log.allowed = Some(remaining);
        if partial {
            return Ok(MethodOutcome::Partial);
        }

        // A refused `none` is expected, because it mainly asks for the list of methods.
        if method != "none" {
            self.log.failed.push(format!("{tried}: refused"));
        }

        Ok(MethodOutcome::Failed)
    }
}
