//! Decides whether the server's host key is accepted. This module reads the files named by the
//! configuration, asks the pure functions [`verdict`] and [`authority`], applies
//! `StrictHostKeyChecking`, and saves accepted keys.

mod address;
mod save;
mod update;

pub(in crate::ssh) use self::update::update;

use std::{
    env, fs, io,
    net::IpAddr,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use russh::keys::{HashAlg, PublicKeyBase64 as _, PublicKeyOrCertificate};

use crate::{
    openssh::{
        effective_config::{
            EffectiveConfig, StrictHostKeyChecking, split_paths, with_program_data,
        },
        known_hosts::{
            Authority, CERTIFICATE_SUFFIX, HostCertificate, HostKey, HostName, KnownHostsFile,
            Verdict, authority, fingerprint, order_algorithms, plain_key_type, verdict,
        },
        revoked_keys::RevokedKeys,
    },
    ssh::{
        config::{expand::expand_path, target::Target},
        error::{HostKeyError, SshError},
    },
};

/// Rules for accepting a host's key, read before the host is contacted. Created by
/// [`load`](Self::load) for each connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(in crate::ssh) struct HostKeyCheck {
    /// Name looked up in the `known_hosts` files.
    host: HostName,
    /// Name which a certificate must contain: the host without its port, or `HostKeyAlias`.
    principal: String,
    /// Destination as the user would pass it to `ssh`, for error messages.
    destination: String,
    /// Paths of `UserKnownHostsFile`. A newly accepted key is saved in the first.
    user_files: Vec<String>,
    /// Path and content of each existing `known_hosts` file, the user's files first.
    files: Vec<(String, Vec<u8>)>,
    /// True if the host can be recorded. OpenSSH refuses an unknown host which cannot be recorded,
    /// whatever `StrictHostKeyChecking` says.
    recordable: bool,
    policy: StrictHostKeyChecking,
    hash_names: bool,
    update: bool,
    /// Path and parsed content of each `RevokedHostKeys` file.
    revoked: Vec<(String, RevokedKeys)>,
    /// Host key algorithms to offer, best first.
    algorithms: Vec<String>,
    ca_signature_algorithms: Vec<String>,
    /// Smallest accepted RSA key, in bits (`RequiredRSASize`, but at least 1024).
    smallest_rsa: u32,
    /// Rules of `CheckHostIP` and `NoHostAuthenticationForLocalhost`.
    by_address: address::AddressRules,
    /// Address which was dialled; `None` through a jump host or `ProxyCommand`.
    pub(in crate::ssh) address: Option<IpAddr>,
    /// True if accepted keys are not saved, as for `doctor`.
    pub(in crate::ssh) keeps_nothing: bool,
}

/// Accepted host key of a connection, and the reason for accepting the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::ssh) struct AcceptedHostKey {
    /// Type of the key, such as `ssh-ed25519`.
    pub(in crate::ssh) key_type: String,
    /// Fingerprint of the key, `SHA256:…`.
    pub(in crate::ssh) fingerprint: String,
    /// Reason for accepting the key, as the end of a sentence.
    pub(in crate::ssh) because: String,
    /// True if no password may be sent to the host. With `StrictHostKeyChecking no`, OpenSSH goes
    /// on after a changed key, but without passwords.
    pub(in crate::ssh) no_passwords: bool,
    /// Notice for the user, such as about a saved key; `None` if nothing was saved and nothing is
    /// wrong.
    pub(in crate::ssh) notice: Option<String>,
    /// True if the server may announce further keys (`UpdateHostKeys`). This requires a key which
    /// the user's own files list under the host's full name.
    pub(in crate::ssh) may_update: bool,
}

/// Characters which exclude a host name from `known_hosts`: such a name would stand for other hosts
/// too, or for none.
const UNRECORDED: [char; 10] = ['@', '?', '*', '#', '[', ']', '|', '\'', '"', '\\'];
/// Length of the shortest RSA key which OpenSSH reads at all, in bits.
const SMALLEST_RSA: u32 = 1024;

impl HostKeyCheck {
    /// Reads `UserKnownHostsFile`, `GlobalKnownHostsFile` and `RevokedHostKeys`. A missing
    /// `known_hosts` file counts as empty.
    ///
    /// # Errors
    /// A file exists but cannot be read, or a `RevokedHostKeys` file is missing or malformed.
    pub(in crate::ssh) fn load(
        config: &EffectiveConfig,
        target: &Target,
    ) -> Result<Self, SshError> {
        let typed = target.destination.as_str();
        let host = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.host_name, config.port),
        };

        let user = expand_all(
            "UserKnownHostsFile",
            &config.user_known_hosts_files,
            config,
            typed,
        )?;

        // On Windows, `ssh -G` prints the folder of the global files as `__PROGRAMDATA__`.
        let global = with_program_data(
            &config.global_known_hosts_files,
            env::var("ProgramData").ok().as_deref(),
        );

        let global = expand_all("GlobalKnownHostsFile", &global, config, typed)?;
        let mut files = Vec::new();
        // The user's files come first, as `ssh` reads them.
        for path in user.iter().cloned().chain(global) {
            if let Some(text) = read(&path)? {
                files.push((path, text));
            }
        }

        let revoked = expand_all(
            "RevokedHostKeys",
            config.revoked_host_keys.as_deref().unwrap_or_default(),
            config,
            typed,
        )?;

        let view: Vec<_> = files
            .iter()
            .map(|(path, text)| KnownHostsFile { path, text })
            .collect();

        // As in `ssh`, algorithms of known keys come first. Otherwise a known host could show an
        // unlisted key.
        let algorithms = order_algorithms(&config.host_key_algorithms, &view, &host);

        Ok(Self {
            principal: config
                .host_key_alias
                .clone()
                .unwrap_or_else(|| config.host_name.clone()),
            destination: target.arguments(),
            recordable: !user.is_empty() && !config.host_name.contains(UNRECORDED),
            user_files: user,
            policy: config.strict_host_key_checking,
            hash_names: config.hash_known_hosts,
            update: config.update_host_keys,
            revoked: revoked
                .into_iter()
                .map(read_revoked)
                .collect::<Result<_, _>>()?,
            ca_signature_algorithms: config.ca_signature_algorithms.clone(),
            smallest_rsa: config.required_rsa_size.max(SMALLEST_RSA),
            by_address: address::AddressRules::new(config),
            address: None,
            keeps_nothing: false,
            algorithms,
            host,
            files,
        })
    }

    /// Returns the host key algorithms to offer, best first. The order is that of
    /// `HostKeyAlgorithms`, except that algorithms of known keys come first.
    pub(in crate::ssh) fn algorithms(&self) -> &[String] {
        &self.algorithms
    }

    /// Returns the file for saving a key which the user trusts; `None` if the user must not be
    /// asked.
    pub(in crate::ssh) fn asks_to_save_in(&self) -> Option<&str> {
        let asks = self.policy == StrictHostKeyChecking::Ask && self.recordable;
        self.user_files.first().filter(|_| asks).map(String::as_str)
    }

    /// Accepts or refuses the key shown by the server. `trusted` is the user's answer to the
    /// question of `StrictHostKeyChecking ask`, or false before the question.
    ///
    /// # Errors
    /// [`HostKeyError`] wherever OpenSSH would end the connection, or would have to ask.
    pub(in crate::ssh) fn decide(
        &self,
        shown: &PublicKeyOrCertificate,
        trusted: bool,
    ) -> Result<AcceptedHostKey, HostKeyError> {
        let (key, certificate) = parse(shown)?;
        let fingerprint = fingerprint(key.blob());

        let accepted = |because| AcceptedHostKey {
            key_type: key.key_type().to_owned(),
            fingerprint: fingerprint.clone(),
            because,
            ..AcceptedHostKey::default()
        };

        let revoked = |place| HostKeyError::Revoked {
            host: self.host.as_str().to_owned(),
            key_type: key.key_type().to_owned(),
            fingerprint: fingerprint.clone(),
            place,
        };

        if let Some(bits) = key.rsa_bits().filter(|bits| *bits < self.smallest_rsa) {
            let smallest = self.smallest_rsa;
            return Err(HostKeyError::Unusable(format!(
                "an RSA key of {bits} bits; the least is {smallest}"
            )));
        }

        // Revocation comes before every reason to accept the key: a revoked key is never accepted.
        for (file, keys) in &self.revoked {
            if let Some(reason) = keys.reason(&key, certificate.as_ref()) {
                return Err(revoked(format!("{reason} of {file} (RevokedHostKeys)")));
            }
        }

        if self.is_exempt() {
            return Ok(accepted(
                "which is not checked (NoHostAuthenticationForLocalhost)".to_owned(),
            ));
        }

        // Without a certificate, the key itself must be listed.
        let Some(certificate) = certificate else {
            return self.decide_plain(&key, "", trusted);
        };

        let fault = match authority(&self.view(), &self.host, &certificate) {
            Authority::Revoked { file, line } => {
                return Err(revoked(format!("@revoked in {file}:{line}")));
            }
            // A listed authority is not enough: the certificate must be valid now, for this host,
            // and be signed by an allowed algorithm.
            Authority::Listed { file, line } => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs());
                let fault = certificate.fault(&self.principal, now, &self.ca_signature_algorithms);
                let Some(fault) = fault else {
                    return Ok(accepted(format!(
                        "whose certificate is by the authority in {file}:{line}"
                    )));
                };

                format!("{fault} (its authority is in {file}:{line})")
            }
            Authority::Unlisted => {
                "no @cert-authority line lists its authority for this host".to_owned()
            }
        };

        // As in OpenSSH, a key without an accepted certificate is judged like a plain key.
        self.decide_plain(
            &key,
            &format!("; its certificate was not accepted: {fault}"),
            trusted,
        )
    }

    /// Accepts or refuses a key which no file lists, according to `StrictHostKeyChecking`.
    fn decide_unknown(
        &self,
        key: &HostKey,
        shown: String,
        fault: &str,
        trusted: bool,
    ) -> Result<AcceptedHostKey, HostKeyError> {
        let (host, key_type) = (self.host.as_str().to_owned(), key.key_type().to_owned());
        // As in OpenSSH, an unknown host which cannot be recorded is refused under every policy.
        let policy = match self.policy {
            StrictHostKeyChecking::Ask if trusted => {
                return Ok(AcceptedHostKey {
                    notice: Some(self.save(&self.host, None, key)),
                    key_type,
                    fingerprint: shown,
                    because: "which the person trusts".to_owned(),
                    ..AcceptedHostKey::default()
                });
            }
            StrictHostKeyChecking::AcceptNew | StrictHostKeyChecking::No if self.recordable => {
                let saved = self.check_address(key, false)?;
                let notice = Some(saved.unwrap_or_else(|| self.save(&self.host, None, key)));
                let because = "which is new (StrictHostKeyChecking)".to_owned();

                return Ok(AcceptedHostKey {
                    key_type,
                    fingerprint: shown,
                    because,
                    notice,
                    ..AcceptedHostKey::default()
                });
            }
            StrictHostKeyChecking::Yes => "yes",
            StrictHostKeyChecking::Ask => "ask",
            StrictHostKeyChecking::AcceptNew => "accept-new, but it cannot be recorded",
            StrictHostKeyChecking::No => "no, but it cannot be recorded",
        };

        let (destination, policy) = (self.destination.clone(), format!("{policy}{fault}").into());

        Err(HostKeyError::Unknown {
            host,
            destination,
            key_type,
            fingerprint: shown,
            policy,
        })
    }

    /// Accepts or refuses a plain key. `fault` says why a certificate sent with the key was not
    /// accepted; empty if there was no certificate.
    fn decide_plain(
        &self,
        key: &HostKey,
        fault: &str,
        trusted: bool,
    ) -> Result<AcceptedHostKey, HostKeyError> {
        let (host, key_type) = (self.host.as_str().to_owned(), key.key_type().to_owned());
        let shown = fingerprint(key.blob());

        // A list may allow certificates of a type, but no plain keys of that type.
        if !self.allows(key) {
            return Err(HostKeyError::Unusable(format!(
                "HostKeyAlgorithms does not allow {key_type}{fault}"
            )));
        }

        match verdict(&self.view(), &self.host, key) {
            Verdict::Trusted {
                file,
                line,
                without_port,
            } => Ok(AcceptedHostKey {
                notice: self.check_address(key, true)?,
                key_type,
                fingerprint: shown,
                because: format!("known by {file}:{line}"),
                may_update: self.update && !without_port && self.user_files.contains(&file),
                ..AcceptedHostKey::default()
            }),
            Verdict::Revoked { file, line } => {
                let place = format!("@revoked in {file}:{line}");
                Err(HostKeyError::Revoked {
                    host,
                    key_type,
                    fingerprint: shown,
                    place,
                })
            }
            Verdict::Unknown => self.decide_unknown(key, shown, fault, trusted),
            Verdict::Changed {
                file,
                line,
                key_type: listed,
                fingerprint,
            } => {
                let offending = format!("{listed} key in {file}:{line} ({fingerprint}){fault}");

                // As in OpenSSH, the connection goes on without passwords, which an impostor could
                // collect.
                if self.policy == StrictHostKeyChecking::No {
                    let notice = format!(
                        "the host key has changed (offending {offending}); StrictHostKeyChecking is no, so the \
                         connection goes on, without passwords"
                    );

                    let because = "which has changed (StrictHostKeyChecking no)".to_owned();
                    let (no_passwords, notice, may_update) = (true, Some(notice), false);

                    return Ok(AcceptedHostKey {
                        key_type,
                        fingerprint: shown,
                        because,
                        no_passwords,
                        notice,
                        may_update,
                    });
                }

                Err(HostKeyError::Changed {
                    host,
                    key_type,
                    fingerprint: shown,
                    file,
                    offending: offending.into(),
                })
            }
        }
    }

    /// Returns true if `HostKeyAlgorithms` allows a plain key of this type.
    fn allows(&self, key: &HostKey) -> bool {
        let plain = |name: &String| {
            !name.ends_with(CERTIFICATE_SUFFIX) && plain_key_type(name) == Some(key.key_type())
        };
        self.algorithms.iter().any(plain)
    }

    /// Returns the `known_hosts` files in the form which the pure functions read.
    fn view(&self) -> Vec<KnownHostsFile<'_>> {
        self.files
            .iter()
            .map(|(path, text)| KnownHostsFile { path, text })
            .collect()
    }
}

/// Parses the key shown by the server, and the certificate if there is one. The certificate's
/// signature is verified.
///
/// # Errors
/// The key or certificate is malformed, of an unknown type, or has no valid signature.
fn parse(
    shown: &PublicKeyOrCertificate,
) -> Result<(HostKey, Option<HostCertificate>), HostKeyError> {
    let broken = || HostKeyError::Unusable("it is broken or of an unknown type".to_owned());
    match shown {
        PublicKeyOrCertificate::PublicKey { key, .. } => {
            let key = HostKey::parse(&key.public_key_bytes()).ok_or_else(broken)?;
            Ok((key, None))
        }
        PublicKeyOrCertificate::Certificate(certificate) => {
            // Only the signature is checked here, so any time within the validity will do. Validity
            // now is a separate question, which `HostCertificate::fault` answers.
            let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
            certificate
                .validate_at(certificate.valid_after(), [&signer])
                .map_err(|_| {
                    HostKeyError::Unusable("its certificate has no good signature".to_owned())
                })?;

            let blob = certificate.to_bytes().map_err(|_| broken())?;
            let certificate = HostCertificate::parse(&blob).ok_or_else(broken)?;
            Ok((certificate.key.clone(), Some(certificate)))
        }
    }
}

/// Splits the paths which an option lists on a line, and expands each.
fn expand_all(
    option: &'static str,
    printed: &str,
    config: &EffectiveConfig,
    typed: &str,
) -> Result<Vec<String>, SshError> {
    let paths = split_paths(printed, |path| Path::new(path).exists());
    paths
        .iter()
        .filter(|path| *path != "none")
        .map(|path| expand_path(option, path, config, typed))
        .collect()
}

/// Reads a `known_hosts` file; `None` if the file does not exist.
fn read(path: &str) -> Result<Option<Vec<u8>>, HostKeyError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(HostKeyError::Unreadable {
            file: path.to_owned(),
            message: error.to_string(),
        }),
    }
}

/// Reads a `RevokedHostKeys` file. As in OpenSSH, a missing or malformed file is an error, so every
/// host is refused.
fn read_revoked(path: String) -> Result<(String, RevokedKeys), HostKeyError> {
    let bytes = fs::read(&path).map_err(|error| error.to_string());
    match bytes.and_then(|bytes| RevokedKeys::parse(&bytes).map_err(|error| error.to_string())) {
        Ok(keys) => Ok((path, keys)),
        Err(message) => Err(HostKeyError::Unreadable {
            file: path,
            message,
        }),
    }
}
