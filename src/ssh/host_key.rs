//! Decides about the server's host key: reads the `known_hosts` files that the configuration names, asks the pure
//! [`verdict`], applies `StrictHostKeyChecking`, and saves what is accepted.

use std::{
    env, fs, io,
    io::{Read as _, Write as _},
    path::Path,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use russh::keys::{PublicKey, PublicKeyBase64 as _};

use super::{
    error::{HostKeyError, SshError},
    local_path::expand_path,
    resolve::Target,
};
use crate::openssh::{
    effective_config::{EffectiveConfig, StrictHostKeyChecking, split_paths, with_program_data},
    known_hosts::{HostKey, HostName, KnownHostsFile, Verdict, fingerprint, known_key_types, render_line, verdict},
};

/// Everything that decides about the key of one host, read before it is contacted.
pub(super) struct HostKeyCheck {
    host: HostName,
    destination: String,
    files: Vec<(String, Vec<u8>)>,
    /// Where a newly accepted key is saved: the first user file.
    save_to: Option<String>,
    policy: StrictHostKeyChecking,
    hash_names: bool,
    revoked: Option<(String, Vec<u8>)>,
}

/// How a host key came to be accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// `SHA256:…`.
    pub(super) fingerprint: String,
    /// With `StrictHostKeyChecking no`, OpenSSH goes on after a changed key but sends no password to it.
    pub(super) no_passwords: bool,
    /// What the person should know.
    pub(super) notice: Option<String>,
}

impl HostKeyCheck {
    /// Reads `UserKnownHostsFile`, `GlobalKnownHostsFile` and `RevokedHostKeys`. A missing `known_hosts` file is empty.
    ///
    /// # Errors
    /// A file that exists and cannot be read, and a `RevokedHostKeys` file that is missing or binary (a KRL).
    pub(super) fn load(config: &EffectiveConfig, target: &Target) -> Result<Self, SshError> {
        let typed = target.destination.as_str();
        let host = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.host_name, config.port),
        };
        let exists = |path: &str| Path::new(path).exists();
        let user =
            expand_all("UserKnownHostsFile", &split_paths(&config.user_known_hosts_files, exists), config, typed)?;
        let global = with_program_data(&config.global_known_hosts_files, env::var("ProgramData").ok().as_deref());
        let global = expand_all("GlobalKnownHostsFile", &split_paths(&global, exists), config, typed)?;
        let save_to = user.first().cloned();
        let mut files = Vec::new();
        for path in user.into_iter().chain(global) {
            match fs::read(&path) {
                Ok(text) => files.push((path, text)),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(HostKeyError::Unreadable { file: path, message: error.to_string() }.into()),
            }
        }
        let revoked = config.revoked_host_keys.as_ref().map(|path| read_revoked(path, config, typed)).transpose()?;
        let (policy, hash_names) = (config.strict_host_key_checking, config.hash_known_hosts);
        let destination = target.arguments();
        Ok(Self { host, destination, files, save_to, policy, hash_names, revoked })
    }

    /// The types of the keys that are known for this host.
    pub(super) fn known_key_types(&self) -> Vec<&'static str> {
        known_key_types(&self.view(), &self.host)
    }

    /// Accepts the key, or says why not.
    ///
    /// # Errors
    /// [`HostKeyError`] wherever OpenSSH would end the connection, or would have to ask.
    pub(super) fn decide(&self, shown: &PublicKey) -> Result<Accepted, HostKeyError> {
        let blob = shown.public_key_bytes();
        let key_type = shown.algorithm().to_string();
        let fingerprint = fingerprint(&blob);
        let host = self.host.as_str().to_owned();
        let key = HostKey::parse(&blob).ok_or_else(|| HostKeyError::Unusable(key_type.clone()))?;
        if let Some((file, line)) = self.revoked_line(&blob) {
            return Err(HostKeyError::Revoked { host, key_type, fingerprint, file, line });
        }
        let accepted = |notice| Ok(Accepted { fingerprint: fingerprint.clone(), no_passwords: false, notice });
        match verdict(&self.view(), &self.host, &key) {
            Verdict::Trusted { .. } => accepted(None),
            Verdict::Revoked { file, line } => Err(HostKeyError::Revoked { host, key_type, fingerprint, file, line }),
            Verdict::Unknown => match self.policy {
                StrictHostKeyChecking::AcceptNew | StrictHostKeyChecking::No => {
                    accepted(Some(self.save(&key, &fingerprint)))
                }
                StrictHostKeyChecking::Yes | StrictHostKeyChecking::Ask => Err(HostKeyError::Unknown {
                    host,
                    destination: self.destination.clone(),
                    key_type,
                    fingerprint,
                    policy: if self.policy == StrictHostKeyChecking::Yes { "yes" } else { "ask" },
                }),
            },
            Verdict::Changed { file, line, .. } if self.policy == StrictHostKeyChecking::No => Ok(Accepted {
                fingerprint,
                no_passwords: true,
                notice: Some(format!(
                    "the host key has changed ({file} line {line} has another); StrictHostKeyChecking is no, so the \
                     connection goes on, without passwords"
                )),
            }),
            Verdict::Changed { file, line, .. } => {
                Err(HostKeyError::Changed { host, key_type, fingerprint, file, line })
            }
        }
    }

    fn view(&self) -> Vec<KnownHostsFile<'_>> {
        self.files.iter().map(|(path, text)| KnownHostsFile { path, text }).collect()
    }

    /// Where the key stands in `RevokedHostKeys`: one public key a line, with or without options before it.
    fn revoked_line(&self, blob: &[u8]) -> Option<(String, usize)> {
        let (path, text) = self.revoked.as_ref()?;
        let encoded = BASE64_STANDARD.encode(blob);
        let line = String::from_utf8_lossy(text).lines().position(|line| {
            !line.trim_start().starts_with('#') && line.split_whitespace().any(|field| field == encoded)
        })?;
        Some((path.clone(), line + 1))
    }

    /// Appends the key to the first user file and says so; a file that cannot be written is said too, as in OpenSSH.
    fn save(&self, key: &HostKey, fingerprint: &str) -> String {
        let new = format!("the host key {fingerprint} of {} was new and has been accepted", self.host.as_str());
        let Some(path) = &self.save_to else { return format!("{new}; no UserKnownHostsFile to save it in") };
        match self.append(path, key) {
            Ok(()) => format!("{new} and saved in {path}"),
            Err(error) => format!("{new}, but {path} could not be written: {error}"),
        }
    }

    fn append(&self, path: &str, key: &HostKey) -> io::Result<()> {
        let salt = if self.hash_names {
            let mut salt = [0; 20];
            getrandom::fill(&mut salt).map_err(io::Error::other)?;
            Some(salt)
        } else {
            None
        };
        let line = render_line(&self.host, salt, key).ok_or(io::ErrorKind::InvalidInput)?;
        if let Some(folder) = Path::new(path).parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(folder)?;
        }
        let mut options = fs::OpenOptions::new();
        options.append(true).read(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.lock()?;
        // Through the same handle: on Windows the lock holds off all others, of this process too.
        let mut before = Vec::new();
        file.read_to_end(&mut before)?;
        let newline = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
        file.write_all(format!("{newline}{line}\n").as_bytes())
    }
}

fn expand_all(
    option: &'static str,
    paths: &[String],
    config: &EffectiveConfig,
    typed: &str,
) -> Result<Vec<String>, SshError> {
    paths.iter().filter(|path| *path != "none").map(|path| expand_path(option, path, config, typed)).collect()
}

/// OpenSSH refuses every host while this file is missing; so do we, and while it is in a form we cannot read.
fn read_revoked(path: &str, config: &EffectiveConfig, typed: &str) -> Result<(String, Vec<u8>), SshError> {
    let path = expand_path("RevokedHostKeys", path, config, typed)?;
    match fs::read(&path) {
        Ok(text) if text.starts_with(b"SSHKRL\n\0") => Err(SshError::Unsupported {
            option: "RevokedHostKeys",
            value: format!("{path} (a binary key revocation list)"),
        }),
        Ok(text) => Ok((path, text)),
        Err(error) => Err(HostKeyError::Unreadable { file: path, message: error.to_string() }.into()),
    }
}
