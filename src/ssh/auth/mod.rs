//! Logs in to a server (RFC 4252), with the methods in OpenSSH's order. A server may require
//! several methods.

mod agent;
mod certificate;
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

use self::{identities::Identities, typed_secrets::TypedSecrets};
use super::{
    error::{Remedy, SshError},
    prompt::prompter::{Prompter, Purpose},
    transport::{
        deadline::Deadline,
        handler::{ClientHandler, ConnectionFacts},
    },
};
use crate::{openssh::effective_config::EffectiveConfig, password::Password};

/// Limit of the methods which a server may require for a log-in.
const MAX_STEPS: usize = 10;

/// Credentials which the caller has given, or which are known from an earlier log-in. Other keys
/// come from the configuration and the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Path of a private key file, which then is the only key tried; `None` uses the configuration.
    pub key_path: Option<String>,
    /// Passphrase for encrypted key files; `None` if none was given.
    pub passphrase: Option<Password>,
    /// Password of the account; `None` if none was given. A given password is tried before any key.
    pub password: Option<Password>,
    /// Secrets which the user typed for earlier connections, and which worked.
    pub typed: Vec<TypedSecret>,
    /// True if the account refused the method `none` before. If there is a key, the method is then
    /// left out, which saves a round trip.
    pub needs_proof: bool,
}

/// Secret which the user has typed and a server or key file has accepted. Kept in memory until the
/// session is disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedSecret {
    /// Account for which the secret was typed, `user@host:port` as dialled.
    to: String,
    /// Question which the secret answers.
    purpose: Purpose,
    /// The secret itself.
    answer: Password,
}

impl Credentials {
    /// Returns true if there is a password, given or typed.
    #[must_use]
    pub fn have_password(&self) -> bool {
        self.password.is_some() || self.has_typed_password()
    }

    /// Returns the given password; `None` if there is none, or if the user typed another password
    /// since.
    #[must_use]
    pub fn given_password(&self) -> Option<&Password> {
        self.password
            .as_ref()
            .filter(|_| !self.has_typed_password())
    }

    /// Forgets all secrets, given or typed.
    pub fn forget(&mut self) {
        (self.password, self.passphrase) = (None, None);
        self.typed.clear();
    }

    /// Returns true if a typed secret is a password.
    fn has_typed_password(&self) -> bool {
        self.typed
            .iter()
            .any(|typed| typed.purpose == Purpose::Password)
    }
}

/// Result of a successful log-in.
pub(super) struct LoggedIn {
    /// Methods which the server required, comma-separated.
    pub(super) methods: String,
    /// Secrets which were typed for this log-in or earlier, and which worked.
    pub(super) typed: Vec<TypedSecret>,
    /// Notice about certificates which are not valid now; `None` without such certificates.
    pub(super) notice: Option<String>,
    /// True if the server refused the method `none`, now or earlier.
    pub(super) needs_proof: bool,
}

/// Logs in with the methods of the configuration. `typed` is the destination as the user typed it.
///
/// # Errors
/// [`SshError::Authentication`] with every method tried, [`SshError::KeyFile`] for an explicit key
/// which is unusable, or [`SshError::UnsupportedAlgorithms`] if `PubkeyAcceptedAlgorithms` names no
/// supported algorithm.
pub(super) async fn authenticate(
    handle: &mut Handle<ClientHandler>,
    config: &EffectiveConfig,
    typed: &str,
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
        typed: credentials.typed.clone(),
    };

    // A typed password is newer than a given password, and has worked.
    let typed_password = typed_secrets.remembered(&Purpose::Password);

    let mut login = Login {
        identities: Identities::gather(handle, config, typed, credentials, &facts.trace).await?,
        password_was_typed: typed_password.is_some(),
        needs_proof: credentials.needs_proof,
        password: typed_password.or_else(|| credentials.password.clone()),
        no_passwords: facts
            .host_key
            .get()
            .is_some_and(|accepted| accepted.no_passwords),
        handle,
        config,
        passphrase: credentials.passphrase.as_ref(),
        facts,
        typed_secrets,
        server_hash: None,
        given_to: Vec::new(),
        questions: [0, 0],
        succeeded: Vec::new(),
        attempts: Vec::new(),
        accepted: Vec::new(),
        outdated: Vec::new(),
        refused_keys: 0,
        allowed: None,
        remedy: Remedy::Credentials,
    };

    // The trace describes failed log-ins too, so the error is returned only afterwards.
    let ended = login.run().await;
    login.explain(ended.is_ok());
    ended?;

    Ok(LoggedIn {
        methods: login.succeeded.join(","),
        typed: login.typed_secrets.typed,
        notice: (!login.outdated.is_empty()).then(|| login.outdated.join("; ")),
        needs_proof: login.needs_proof,
    })
}

/// State of a log-in in progress.
struct Login<'a> {
    handle: &'a mut Handle<ClientHandler>,
    config: &'a EffectiveConfig,
    /// Password which need not be asked for; `None` if there is none.
    password: Option<Password>,
    /// True if `password` was typed for an earlier connection.
    password_was_typed: bool,
    passphrase: Option<&'a Password>,
    /// True if the host key has changed, so no password may be sent.
    no_passwords: bool,
    needs_proof: bool,
    facts: &'a ConnectionFacts,
    typed_secrets: TypedSecrets<'a>,
    identities: Identities,
    /// Answer of the server about RSA hashes; `None` until the server was asked.
    server_hash: Option<signature_algorithm::ServerHash>,
    /// Methods for which `password` was used already.
    given_to: Vec<MethodKind>,
    /// Number of questions to the user: for a password, and keyboard-interactive.
    questions: [u32; 2],
    /// Methods which the server accepted, in order.
    succeeded: Vec<&'static str>,
    /// Descriptions of the failed attempts.
    attempts: Vec<String>,
    /// Descriptions of the keys which the server accepted.
    accepted: Vec<String>,
    /// Descriptions of certificates which are not valid now.
    outdated: Vec<String>,
    /// Number of keys which the server refused.
    refused_keys: usize,
    /// Methods which the server would accept next; `None` before the server's first answer.
    allowed: Option<MethodSet>,
    /// Measure to suggest if the log-in fails.
    remedy: Remedy,
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

/// Source of the answers to a method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PasswordSource {
    /// The password which is known already.
    Given,
    /// The user. Keys use this variant too, although they ask nobody.
    Asked,
}

impl Login<'_> {
    /// Tries methods until the server is satisfied or none is left.
    async fn run(&mut self) -> Result<(), SshError> {
        // OpenSSH tries `none` first: it suffices for accounts without a password, and its answer
        // lists the allowed methods. russh cannot combine it with another request, so it costs a
        // round trip.
        let known = self.needs_proof
            && self.password.is_none()
            && !self.identities.is_empty()
            && !self.identities.hides_a_key()
            && !self.facts.trace.is_recording();

        if !known && self.none().await? {
            return Ok(());
        }

        'again: while self.succeeded.len() <= MAX_STEPS {
            for (method, source) in self.order() {
                // After a skipped `none` the allowed methods are unknown. Only keys are tried
                // without knowing them.
                if method != MethodKind::PublicKey && self.allowed.is_none() && self.none().await? {
                    return Ok(());
                }

                if !self.offers(method) {
                    continue;
                }

                let step = match method {
                    MethodKind::PublicKey => self.public_key().await?,
                    MethodKind::KeyboardInteractive => self.keyboard_interactive(source).await?,
                    _ => self.password(source).await?,
                };

                match step {
                    MethodOutcome::Failed => continue,
                    MethodOutcome::Done | MethodOutcome::Partial => {
                        self.succeeded.push((&method).into());
                    }
                }

                if matches!(step, MethodOutcome::Done) {
                    return Ok(());
                }

                // As in OpenSSH, a key which was offered before may count for the next step.
                self.identities.start_over();
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
            KeyboardInteractive => self.config.kbd_interactive_authentication && !self.no_passwords,
            _ => self.config.password_authentication && !self.no_passwords,
        };

        // Each method gets the known password once; afterwards the user is asked.
        let given = [MethodKind::Password, KeyboardInteractive]
            .into_iter()
            .filter(|method| {
                self.password.is_some() && !self.given_to.contains(method) && prefers(method.into())
            });

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

        let order = given
            .map(|method| (method, PasswordSource::Given))
            .chain(preferred.map(|method| (method, PasswordSource::Asked)));
        order.filter(|(method, _)| enabled(method)).collect()
    }

    /// Tries the method `none`, and returns true if the server requires no proof.
    async fn none(&mut self) -> Result<bool, SshError> {
        let result = self.handle.authenticate_none(&self.config.user).await;
        let done = matches!(self.step(result, "none", "").await?, MethodOutcome::Done);
        self.needs_proof = !done;
        if done {
            self.succeeded.push("none");
        }
        Ok(done)
    }

    /// Returns true if the server accepts the method, or has not answered yet.
    fn offers(&self, method: MethodKind) -> bool {
        self.allowed
            .as_ref()
            .is_none_or(|allowed| allowed.contains(&method))
    }

    /// Evaluates the server's answer to a method, and records a failed attempt. `what` describes
    /// the key, or is empty.
    ///
    /// # Errors
    /// [`SshError::Authentication`] if the server has closed the connection.
    async fn step(
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
                self.attempts.is_empty() && matches!(method, "none" | "publickey");
            self.attempts
                .push(format!("{tried}: the server closed the connection{reason}"));

            // After refused keys, the likely cause is the server's limit `MaxAuthTries`.
            if self.refused_keys > 0 {
                self.remedy = Remedy::FewerKeys;
            } else if nothing_refused {
                self.remedy = Remedy::Again;
            }

            return Err(self.failure());
        }

        self.allowed = Some(remaining);
        if partial {
            return Ok(MethodOutcome::Partial);
        }

        // A refused `none` is expected, because it mainly asks for the list of methods.
        if method != "none" {
            self.attempts.push(format!("{tried}: refused"));
        }

        Ok(MethodOutcome::Failed)
    }

    /// Returns the error of a failed log-in, with all recorded attempts.
    fn failure(&mut self) -> SshError {
        self.attempts.append(&mut self.identities.unusable);

        if self.no_passwords && (self.password.is_some() || self.typed_secrets.can_ask()) {
            self.attempts
                .push("password: not sent, because the host key has changed".to_owned());
        }

        if !self.succeeded.is_empty() {
            self.attempts.insert(
                0,
                format!(
                    "{}: accepted, but the server wants more",
                    self.succeeded.join(",")
                ),
            );
        }

        // As in `ssh`, the methods listed in the answer to `none` count.
        if self.refused_keys == 0 && self.accepted.is_empty() && !self.identities.is_empty() {
            let taken = self.offers(MethodKind::PublicKey);
            self.attempts.extend(
                (!taken).then(|| {
                    "publickey: not tried, because the server does not take it".to_owned()
                }),
            );
        }

        self.attempts.extend(self.unsupported());
        let attempts = if self.attempts.is_empty() {
            "no key and no password to try".to_owned()
        } else {
            self.attempts.join("; ")
        };

        let remaining: Vec<&str> = self
            .allowed
            .iter()
            .flat_map(|set| set.iter().map(Into::into))
            .collect();

        SshError::Authentication {
            user: self.config.user.clone(),
            host: self.config.host_name.clone(),
            attempts,
            remaining: remaining.join(","),
            remedy: self.remedy,
        }
    }

    /// Lists the configured methods which the server accepts but this program does not support.
    fn unsupported(&self) -> Vec<String> {
        let config = self.config;
        let mut unsupported = Vec::new();

        for (configured, method, name) in [
            (
                config.gssapi_authentication,
                MethodKind::GssapiWithMic,
                "gssapi-with-mic",
            ),
            (
                config.hostbased_authentication,
                MethodKind::HostBased,
                "hostbased",
            ),
        ] {
            if configured
                && self
                    .allowed
                    .as_ref()
                    .is_some_and(|allowed| allowed.contains(&method))
            {
                unsupported.push(format!("{name}: not supported"));
            }
        }

        if let Some(provider) = &config.pkcs11_provider {
            unsupported.push(format!(
                "PKCS11Provider {provider}: not supported; load it with `ssh-add -s {provider}`"
            ));
        }

        unsupported
    }
}
