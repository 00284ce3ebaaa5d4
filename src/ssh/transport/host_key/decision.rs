//! Decides about the host key shown by a server. Everything here is pure: the files were read
//! before, the time is an argument, and nothing is saved.

use super::{HostKeyCheck, shown_key::ShownKey, view};
use crate::{
    openssh::{
        effective_config::StrictHostKeyChecking,
        known_hosts::{Authority, HostKey, HostName, Verdict, authority, fingerprint, verdict},
    },
    ssh::{error::HostKeyError, prompt::prompter::UnknownKey},
};

/// Decision about the host key shown by a server. Created by [`HostKeyCheck::decide`], once for
/// each key exchange.
#[derive(Debug)]
pub(in crate::ssh) enum HostKeyDecision {
    /// The connection goes on.
    Accept(Acceptance),
    /// The user decides, because no file lists a key of the host (`StrictHostKeyChecking ask`).
    Ask(Box<UnknownHost>),
    /// OpenSSH would end the connection for this reason.
    Refuse(HostKeyError),
}

/// Accepted key, with the consequences of accepting it. Nothing is saved before
/// [`HostKeyCheck::accept`].
#[derive(Debug)]
pub(in crate::ssh) struct Acceptance {
    pub(super) key: HostKey,
    /// Reason for accepting the key, as the end of a sentence.
    pub(super) because: String,
    /// Names under which the key is to be saved; empty if nothing is to be saved.
    pub(super) save_as: Vec<HostName>,
    /// Warning for the user; `None` if nothing is wrong.
    pub(super) warning: Option<String>,
    /// True if no password may be sent to the host.
    pub(super) no_passwords: bool,
    /// True if the server may announce further keys (`UpdateHostKeys`).
    pub(super) may_update: bool,
}

/// Unknown host, with both possible ends of the question to the user.
#[derive(Debug)]
pub(in crate::ssh) struct UnknownHost {
    /// Key to show to the user.
    pub(in crate::ssh) key: UnknownKey,
    /// Acceptance, if the user trusts the key.
    pub(in crate::ssh) acceptance: Acceptance,
    /// Error, if the user does not trust the key or cannot be asked.
    pub(in crate::ssh) refusal: HostKeyError,
}

impl HostKeyCheck {
    /// Decides about the key shown by the server. `now` is the time in seconds since 1970, for the
    /// validity of a certificate.
    pub(in crate::ssh) fn decide(&self, shown: ShownKey, now: u64) -> HostKeyDecision {
        let ShownKey { key, certificate } = shown;

        if let Some(bits) = key.rsa_bits().filter(|bits| *bits < self.smallest_rsa) {
            let smallest = self.smallest_rsa;
            return HostKeyDecision::Refuse(HostKeyError::Unusable(format!(
                "an RSA key of {bits} bits; at least {smallest} are required"
            )));
        }

        // Revocation comes before every reason to accept the key: a revoked key is never accepted.
        for (file, revoked) in &self.revoked {
            if let Some(reason) = revoked.reason(&key, certificate.as_ref()) {
                let location = format!("{reason} of {file} (RevokedHostKeys)");
                return HostKeyDecision::Refuse(revoked_error(&self.host, &key, location));
            }
        }

        if self.is_exempt() {
            let because = "which is not checked (NoHostAuthenticationForLocalhost)".to_owned();
            return HostKeyDecision::Accept(Acceptance::new(key, because));
        }

        // Without a certificate, the key itself must be listed.
        let Some(certificate) = certificate else {
            return self.decide_plain(key, "");
        };

        let fault = match authority(&view(&self.files), &self.host, &certificate) {
            Authority::Revoked { file, line } => {
                let location = format!("@revoked in {file}:{line}");
                return HostKeyDecision::Refuse(revoked_error(&self.host, &key, location));
            }
            // A listed authority is not enough: the certificate must be valid now, for this host,
            // and be signed by an allowed algorithm.
            Authority::Listed { file, line } => {
                let fault = certificate.fault(&self.principal, now, &self.ca_signature_algorithms);
                let Some(fault) = fault else {
                    let because = format!("whose certificate is by the authority in {file}:{line}");
                    return HostKeyDecision::Accept(Acceptance::new(key, because));
                };

                format!("{fault} (its authority is in {file}:{line})")
            }
            Authority::Unlisted => {
                "no @cert-authority line lists its authority for this host".to_owned()
            }
        };

        // As in OpenSSH, a key without an accepted certificate is judged like a plain key.
        self.decide_plain(key, &format!("; its certificate was not accepted: {fault}"))
    }

    /// Decides about a plain key. `fault` says why a certificate sent with the key was not
    /// accepted; empty if there was no certificate.
    fn decide_plain(&self, key: HostKey, fault: &str) -> HostKeyDecision {
        // A list may allow certificates of a type, but no plain keys of that type.
        if !self.allows(&key) {
            return HostKeyDecision::Refuse(HostKeyError::Unusable(format!(
                "HostKeyAlgorithms does not allow {}{fault}",
                key.key_type()
            )));
        }

        match verdict(&view(&self.files), &self.host, &key) {
            Verdict::Trusted {
                file,
                line,
                without_port,
            } => self.with_address(Acceptance {
                may_update: self.update && !without_port && self.user_files.contains(&file),
                ..Acceptance::new(key, format!("known by {file}:{line}"))
            }),
            Verdict::Unknown => self.decide_unknown(key, fault),
            Verdict::Revoked { file, line } => {
                let location = format!("@revoked in {file}:{line}");
                HostKeyDecision::Refuse(revoked_error(&self.host, &key, location))
            }
            Verdict::Changed {
                file,
                line,
                key_type: listed,
                fingerprint,
            } => {
                let offending = format!("{listed} key in {file}:{line} ({fingerprint}){fault}");
                if self.policy != StrictHostKeyChecking::No {
                    return HostKeyDecision::Refuse(changed_error(
                        &self.host, &key, file, offending,
                    ));
                }

                // As in OpenSSH, the connection goes on without passwords, which an impostor could
                // collect.
                let warning = format!(
                    "the host key has changed (offending {offending}); StrictHostKeyChecking is no, \
                     so the connection goes on, without passwords"
                );
                let because = "which has changed (StrictHostKeyChecking no)".to_owned();
                HostKeyDecision::Accept(Acceptance {
                    warning: Some(warning),
                    no_passwords: true,
                    ..Acceptance::new(key, because)
                })
            }
        }
    }

    /// Decides about a key of a host which no file lists, according to `StrictHostKeyChecking`.
    fn decide_unknown(&self, key: HostKey, fault: &str) -> HostKeyDecision {
        let host = self.host.as_str().to_owned();
        let key_type = key.key_type().to_owned();
        let fingerprint = fingerprint(key.blob());

        // As in OpenSSH, an unknown host which cannot be recorded is refused under every policy.
        let recordable_in = self.user_files.first().filter(|_| self.recordable);

        let policy = match (self.policy, recordable_in) {
            (StrictHostKeyChecking::AcceptNew | StrictHostKeyChecking::No, Some(_)) => {
                let because = "which is new (StrictHostKeyChecking)".to_owned();
                return self.with_address(Acceptance {
                    save_as: vec![self.host.clone()],
                    ..Acceptance::new(key, because)
                });
            }
            (StrictHostKeyChecking::AcceptNew, None) => "accept-new, but it cannot be recorded",
            (StrictHostKeyChecking::No, None) => "no, but it cannot be recorded",
            (StrictHostKeyChecking::Yes, _) => "yes",
            (StrictHostKeyChecking::Ask, _) => "ask",
        };

        let refusal = HostKeyError::Unknown {
            host: host.clone(),
            destination: self.destination.clone(),
            key_type: key_type.clone(),
            fingerprint: fingerprint.clone(),
            policy: format!("{policy}{fault}").into(),
        };

        let (StrictHostKeyChecking::Ask, Some(file)) = (self.policy, recordable_in) else {
            return HostKeyDecision::Refuse(refusal);
        };

        HostKeyDecision::Ask(Box::new(UnknownHost {
            key: UnknownKey {
                host: host.into(),
                key_type: key_type.into(),
                fingerprint: fingerprint.into(),
                saved_in: file.into(),
            },
            acceptance: Acceptance {
                save_as: vec![self.host.clone()],
                ..Acceptance::new(key, "which the person trusts".to_owned())
            },
            refusal,
        }))
    }
}

impl Acceptance {
    /// Creates the acceptance of a key, without further consequences.
    fn new(key: HostKey, because: String) -> Self {
        Self {
            key,
            because,
            save_as: Vec::new(),
            warning: None,
            no_passwords: false,
            may_update: false,
        }
    }
}

/// Creates the error for a revoked key. `host` is the name of the host or address.
pub(super) fn revoked_error(host: &HostName, key: &HostKey, location: String) -> HostKeyError {
    HostKeyError::Revoked {
        host: host.as_str().to_owned(),
        key_type: key.key_type().to_owned(),
        fingerprint: fingerprint(key.blob()),
        location,
    }
}

/// Creates the error for a host or address which is listed in `file` with another key.
pub(super) fn changed_error(
    host: &HostName,
    key: &HostKey,
    file: String,
    offending: String,
) -> HostKeyError {
    HostKeyError::Changed {
        host: host.as_str().to_owned(),
        key_type: key.key_type().to_owned(),
        fingerprint: fingerprint(key.blob()),
        file,
        offending: offending.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        openssh::{
            destination::Destination, effective_config::EffectiveConfig, revoked_keys::RevokedKeys,
        },
        ssh::config::target::Target,
    };

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6";

    /// Returns the decision about `KEY`, shown by `h.ex` at 10.0.0.1, in a short form.
    fn decide(options: &str, known_hosts: &str, revoked: &str) -> String {
        let config = EffectiveConfig::parse(&format!(
            "hostname h.ex\nuser u\n{options}\nuserknownhostsfile kh"
        ))
        .unwrap();
        let target = Target {
            destination: Destination::parse("h.ex").unwrap(),
            user: None,
            port: None,
            config_file: None,
        };

        let user_files = match config.user_known_hosts_files.as_str() {
            "none" => Vec::new(),
            file => vec![file.to_owned()],
        };
        let files = vec![("kh".to_owned(), known_hosts.as_bytes().to_vec())];
        let revoked = RevokedKeys::parse(revoked.as_bytes()).unwrap();
        let revoked = vec![("rk".to_owned(), revoked)];
        let mut check = HostKeyCheck::new(&config, &target, user_files, files, revoked);
        check.address = Some("10.0.0.1".parse().unwrap());

        let key = russh::keys::PublicKey::from_openssh(KEY).unwrap();
        let shown = ShownKey::parse(&russh::keys::PublicKeyOrCertificate::from(key)).unwrap();

        let names = |save_as: &[HostName]| {
            save_as
                .iter()
                .flat_map(|name| [" +", name.as_str()])
                .collect::<String>()
        };

        match check.decide(shown, 0) {
            HostKeyDecision::Accept(acceptance) => format!(
                "accept{}{}{}{}",
                names(&acceptance.save_as),
                acceptance.warning.map_or("", |_| " with warning"),
                if acceptance.no_passwords {
                    " without passwords"
                } else {
                    ""
                },
                if acceptance.may_update {
                    " and update"
                } else {
                    ""
                },
            ),
            HostKeyDecision::Ask(unknown) => format!(
                "ask{} in {}",
                names(&unknown.acceptance.save_as),
                unknown.key.saved_in
            ),
            HostKeyDecision::Refuse(error) => match error {
                HostKeyError::Unknown { policy, .. } => format!("refuse unknown: {policy}"),
                HostKeyError::Changed { host, .. } => format!("refuse changed {host}"),
                HostKeyError::Revoked { location, .. } => format!("refuse revoked {location}"),
                error => format!("refuse {error}"),
            },
        }
    }

    #[test]
    fn the_files_and_the_options_decide_about_a_key() {
        let known = format!("h.ex {KEY}\n");
        let changed = format!("h.ex {OTHER}\n");
        let revoked = format!("{known}@revoked h.ex {KEY}\n");
        let other_address = format!("10.0.0.1 {OTHER}\n");
        let policy = |value: &str| format!("stricthostkeychecking {value}\n");
        let unsaved = |value: &str| policy(value) + "userknownhostsfile none";
        let by_address = |value: &str| policy(value) + "checkhostip yes\n";

        for (options, known_hosts, expected) in [
            (policy("yes"), "", "refuse unknown: yes"),
            (policy("ask"), "", "ask +h.ex in kh"),
            (policy("accept-new"), "", "accept +h.ex"),
            (policy("no"), "", "accept +h.ex"),
            (policy("yes"), known.as_str(), "accept"),
            (
                policy("yes") + "updatehostkeys yes",
                &known,
                "accept and update",
            ),
            (policy("yes"), &changed, "refuse changed h.ex"),
            (policy("accept-new"), &changed, "refuse changed h.ex"),
            (
                policy("no"),
                &changed,
                "accept with warning without passwords",
            ),
            (policy("no"), &revoked, "refuse revoked @revoked in kh:2"),
            // An unknown host which cannot be recorded is refused under every policy.
            (unsaved("ask"), "", "refuse unknown: ask"),
            (
                unsaved("accept-new"),
                "",
                "refuse unknown: accept-new, but it cannot be recorded",
            ),
            (
                unsaved("no"),
                "",
                "refuse unknown: no, but it cannot be recorded",
            ),
            // The address counts under `CheckHostIP`, but not before the user has trusted the key.
            (by_address("ask"), "", "ask +h.ex in kh"),
            (by_address("accept-new"), "", "accept +h.ex +10.0.0.1"),
            (by_address("yes"), &known, "accept +10.0.0.1"),
            (
                by_address("accept-new"),
                &other_address,
                "refuse changed 10.0.0.1",
            ),
            (
                by_address("no"),
                &other_address,
                "accept +h.ex with warning",
            ),
            (
                policy("no") + "hostkeyalgorithms rsa-sha2-512",
                &known,
                "refuse the server showed a host key that cannot be used: HostKeyAlgorithms does not \
                 allow ssh-ed25519",
            ),
        ] {
            assert_eq!(
                decide(&options, known_hosts, ""),
                expected,
                "{options} {known_hosts}"
            );
        }

        // `RevokedHostKeys` comes before everything else.
        let decision = decide(&policy("no"), &known, KEY);
        assert!(decision.starts_with("refuse revoked "), "{decision}");
    }
}
