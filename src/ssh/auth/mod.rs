//! Proves who we are (RFC 4252), in OpenSSH's order, with several methods where a server wants several.

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

/// A server may want several methods one after the other; more than this is no login.
const MAX_STEPS: usize = 10;

/// What the caller brought to log in with; everything else comes from the configuration and the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A private key file, which is then the only key that is tried.
    pub key_path: Option<String>,
    /// The passphrase for encrypted key files.
    pub passphrase: Option<Password>,
    /// The password. Since it was given explicitly, it is tried before keys.
    pub password: Option<Password>,
    /// What a person has typed for earlier connections, and what worked.
    pub typed: Vec<TypedSecret>,
    /// An earlier log-in has shown that the account wants a proof: where there is a key, the round trip to find that out is
    /// left out.
    pub needs_proof: bool,
}

/// A secret that a person has typed and that has worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedSecret {
    /// `user@host:port` that was dialled.
    to: String,
    purpose: Purpose,
    answer: Password,
}

impl Credentials {
    /// Whether there is a password, given or typed.
    #[must_use]
    pub fn have_password(&self) -> bool {
        self.password.is_some() || self.has_typed_password()
    }

    /// The password that was given, unless it did not do and a person has typed another.
    #[must_use]
    pub fn given_password(&self) -> Option<&Password> {
        self.password
            .as_ref()
            .filter(|_| !self.has_typed_password())
    }

    /// Forgets all that is secret, given or typed.
    pub fn forget(&mut self) {
        (self.password, self.passphrase) = (None, None);
        self.typed.clear();
    }

    fn has_typed_password(&self) -> bool {
        self.typed
            .iter()
            .any(|typed| typed.purpose == Purpose::Password)
    }
}

/// How a log-in succeeded.
pub(super) struct LoggedIn {
    /// The methods that it took, comma-separated.
    pub(super) methods: String,
    /// What was typed, now or earlier, and works.
    pub(super) typed: Vec<TypedSecret>,
    /// What the person should know all the same.
    pub(super) notice: Option<String>,
    /// The server has refused `none`, now or earlier.
    pub(super) needs_proof: bool,
}

/// Logs in.
///
/// # Errors
/// [`SshError::Authentication`] with every method tried, [`SshError::KeyFile`] for an explicit key that is unusable,
/// [`SshError::UnsupportedAlgorithms`] for a `PubkeyAcceptedAlgorithms` without anything that there is here.
pub(super) async fn authenticate(
    handle: &mut Handle<ClientHandler>,
    config: &EffectiveConfig,
    typed: &str,
    credentials: &Credentials,
    prompter: &Prompter,
    deadline: &Deadline,
    facts: &ConnectionFacts,
) -> Result<LoggedIn, SshError> {
    let host = config.host_key_alias.as_ref().unwrap_or(&config.host_name);

    let typed_secrets = TypedSecrets {
        prompter,
        deadline,
        closed: &facts.closed,
        account: format!("{}@{host}", config.user),
        to: format!("{}@{}:{}", config.user, config.host_name, config.port),
        prompts: config.number_of_password_prompts,
        silent: config.batch_mode,
        typed: credentials.typed.clone(),
    };

    // What was typed came after what was given, and has worked.
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

struct Login<'a> {
    handle: &'a mut Handle<ClientHandler>,
    config: &'a EffectiveConfig,
    /// The password that need not be asked for.
    password: Option<Password>,
    password_was_typed: bool,
    passphrase: Option<&'a Password>,
    no_passwords: bool,
    needs_proof: bool,
    facts: &'a ConnectionFacts,
    typed_secrets: TypedSecrets<'a>,
    identities: Identities,
    /// What the server said of RSA; `None` until it was asked.
    server_hash: Option<signature_algorithm::ServerHash>,
    /// The methods to which the password was given.
    given_to: Vec<MethodKind>,
    /// How often the person was asked for a password, and keyboard-interactively.
    questions: [u32; 2],
    succeeded: Vec<&'static str>,
    attempts: Vec<String>,
    /// The keys that the server has taken, and how.
    accepted: Vec<String>,
    /// Certificates that are not valid now.
    outdated: Vec<String>,
    refused_keys: usize,
    /// What the server said it would accept; `None` until it said something.
    allowed: Option<MethodSet>,
    remedy: Remedy,
}

/// How one method went.
enum MethodOutcome {
    /// Logged in.
    Done,
    /// The server wants a further method.
    Partial,
    /// Not this way.
    Failed,
}

/// Where the answers to a method come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PasswordSource {
    /// The password that there is.
    Given,
    /// The person; keys need nobody.
    Asked,
}

impl Login<'_> {
    async fn run(&mut self) -> Result<(), SshError> {
        // As OpenSSH does: `none` is enough for accounts without a password and for servers that know us otherwise, and
        // tells what the others accept. russh sends nothing along with it, so that it takes a round trip, once.
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

                self.identities.start_over();
                continue 'again;
            }

            break;
        }

        Err(self.failure())
    }

    /// A password that there is comes first, since it is there for that; then `PreferredAuthentications`, cut to what is
    /// enabled and can be done.
    fn order(&self) -> Vec<(MethodKind, PasswordSource)> {
        use MethodKind::{KeyboardInteractive, PublicKey};

        let prefers = |name: &str| {
            self.config
                .preferred_authentications
                .iter()
                .any(|preferred| preferred == name)
        };

        let enabled = |method: &MethodKind| match method {
            PublicKey => self.config.pubkey_authentication,
            KeyboardInteractive => self.config.kbd_interactive_authentication && !self.no_passwords,
            _ => self.config.password_authentication && !self.no_passwords,
        };

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

    /// `true` if the server wants no proof at all.
    async fn none(&mut self) -> Result<bool, SshError> {
        let result = self.handle.authenticate_none(&self.config.user).await;
        let done = matches!(self.step(result, "none", "").await?, MethodOutcome::Done);
        self.needs_proof = !done;
        if done {
            self.succeeded.push("none");
        }
        Ok(done)
    }

    fn offers(&self, method: MethodKind) -> bool {
        self.allowed
            .as_ref()
            .is_none_or(|allowed| allowed.contains(&method))
    }

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

        // A server that accepts nothing any more has closed, or russh does it for it.
        if remaining.is_empty() || self.handle.is_closed() {
            self.facts.closed.cancelled().await;
            let reason = self
                .facts
                .reason()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();

            let nothing_refused =
                self.attempts.is_empty() && matches!(method, "none" | "publickey");
            self.attempts
                .push(format!("{tried}: the server closed the connection{reason}"));

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

        if method != "none" {
            self.attempts.push(format!("{tried}: refused"));
        }

        Ok(MethodOutcome::Failed)
    }

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

        // What `none` was answered with counts, as for `ssh`.
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

    /// What the configuration would have `ssh` try, and this program cannot do.
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
