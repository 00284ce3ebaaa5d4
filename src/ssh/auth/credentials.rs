//! Credentials for a log-in: given by the caller, or typed by the user.

use crate::{
    password::Password,
    ssh::{known_servers::KnownKey, prompt::prompter::Purpose},
};

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
    pub typed_secrets: Vec<TypedSecret>,
    /// True if the account refused the method `none` before. If there is a key, the method is then
    /// left out, which saves a round trip.
    pub needs_proof: bool,
    /// Key that was enough for the last log-in to this account; `None` if not known. Set for each
    /// server when its host key is known.
    pub known_key: Option<KnownKey>,
}

/// Secret which the user has typed and a server or key file has accepted. Kept in memory until the
/// session is disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedSecret {
    /// Account for which the secret was typed, `user@host:port` as dialled.
    pub(super) to: String,
    /// Question which the secret answers.
    pub(super) purpose: Purpose,
    /// The secret itself.
    pub(super) answer: Password,
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
        self.typed_secrets.clear();
    }

    /// Returns true if a typed secret is a password.
    fn has_typed_password(&self) -> bool {
        self.typed_secrets
            .iter()
            .any(|secret| secret.purpose == Purpose::Password)
    }
}
