//! Explains why a log-in failed.

use russh::MethodKind;

use super::Login;
use crate::{openssh::effective_config::EffectiveConfig, ssh::error::SshError};

impl Login<'_> {
    /// Returns the error of a failed log-in, with all recorded attempts.
    pub(super) fn failure(&mut self) -> SshError {
        self.log.failed.append(&mut self.keys.identities.unusable);

        let has_password = self.passwords.known.is_some() || self.typed_secrets.can_ask();
        if self.passwords.withheld && has_password {
            self.log
                .failed
                .push("password: not sent, because the host key has changed".to_owned());
        }

        if !self.log.succeeded.is_empty() {
            let methods = self.log.succeeded.join(",");
            let accepted = format!("{methods}: accepted, but the server wants more");
            self.log.failed.insert(0, accepted);
        }

        // As in `ssh`, the methods listed in the answer to `none` count.
        if !self.keys.was_offered()
            && !self.keys.identities.is_empty()
            && !self.log.may_try(MethodKind::PublicKey)
        {
            self.log
                .failed
                .push("publickey: not tried, because the server does not take it".to_owned());
        }

        let unsupported = unsupported(self.config, |method| self.log.is_allowed(method));
        self.log.failed.extend(unsupported);

        SshError::Authentication {
            user: self.config.user.clone(),
            host: self.config.host_name.clone(),
            attempts: self.log.summary(),
            remaining: self.log.allowed_names().join(","),
            remedy: self.log.remedy,
        }
    }
}

/// Describes the configured methods which this program does not support, as far as the server
/// accepts them.
fn unsupported(config: &EffectiveConfig, is_allowed: impl Fn(MethodKind) -> bool) -> Vec<String> {
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
        if configured && is_allowed(method) {
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
