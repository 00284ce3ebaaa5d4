//! Checks the server's host key. This module reads the files named by the configuration; `decision`
//! decides about a key, and `save` and `update` write accepted keys.

mod address;
mod decision;
mod locked_file;
mod save;
mod shown_key;
mod update;

pub(in crate::ssh) use self::{
    decision::{HostKeyDecision, UnknownHost},
    shown_key::ShownKey,
    update::update,
};

use std::{env, fs, io, net::IpAddr, path::Path};

use crate::{
    openssh::{
        effective_config::{
            EffectiveConfig, StrictHostKeyChecking, split_paths, with_program_data,
        },
        known_hosts::{
            CERTIFICATE_SUFFIX, HostKey, HostName, KnownHostsFile, listed_keys, order_algorithms,
            plain_key_type,
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
        let destination = target.destination.as_str();
        let user_files = expand_all(
            "UserKnownHostsFile",
            &config.user_known_hosts_files,
            config,
            destination,
        )?;

        // On Windows, `ssh -G` prints the folder of the global files as `__PROGRAMDATA__`.
        let global = with_program_data(
            &config.global_known_hosts_files,
            env::var("ProgramData").ok().as_deref(),
        );
        let global = expand_all("GlobalKnownHostsFile", &global, config, destination)?;

        let mut files = Vec::new();
        // The user's files come first, as `ssh` reads them.
        for path in user_files.iter().cloned().chain(global) {
            if let Some(text) = read(&path)? {
                files.push((path, text));
            }
        }

        let revoked = expand_all(
            "RevokedHostKeys",
            config.revoked_host_keys.as_deref().unwrap_or_default(),
            config,
            destination,
        )?
        .into_iter()
        .map(read_revoked)
        .collect::<Result<_, _>>()?;

        Ok(Self::new(config, target, user_files, files, revoked))
    }

    /// Creates the rules from the configuration and the content of the files.
    fn new(
        config: &EffectiveConfig,
        target: &Target,
        user_files: Vec<String>,
        files: Vec<(String, Vec<u8>)>,
        revoked: Vec<(String, RevokedKeys)>,
    ) -> Self {
        let host = match &config.host_key_alias {
            Some(alias) => HostName::alias(alias),
            None => HostName::new(&config.host_name, config.port),
        };

        // As in `ssh`, algorithms of known keys come first. Otherwise a known host could show an
        // unlisted key.
        let algorithms = order_algorithms(&config.host_key_algorithms, &view(&files), &host);

        Self {
            principal: config
                .host_key_alias
                .clone()
                .unwrap_or_else(|| config.host_name.clone()),
            destination: target.arguments(),
            recordable: !user_files.is_empty() && !config.host_name.contains(UNRECORDED),
            user_files,
            policy: config.strict_host_key_checking,
            hash_names: config.hash_known_hosts,
            update: config.update_host_keys,
            revoked,
            ca_signature_algorithms: config.ca_signature_algorithms.clone(),
            smallest_rsa: config.required_rsa_size.max(SMALLEST_RSA),
            by_address: address::AddressRules::new(config),
            address: None,
            keeps_nothing: false,
            algorithms,
            host,
            files,
        }
    }

    /// Makes the check strict: a host whose key the files do not list is refused, whatever
    /// `StrictHostKeyChecking` says.
    pub(in crate::ssh) fn refuse_unknown(&mut self) {
        self.policy = StrictHostKeyChecking::Yes;
    }

    /// Returns true if the files list a key of the host which a strict check would accept, or an
    /// authority for certificates of the host.
    pub(in crate::ssh) fn knows_host(&self) -> bool {
        let listed = listed_keys(&view(&self.files), &self.host);
        let certificates = || {
            self.algorithms
                .iter()
                .any(|name| name.ends_with(CERTIFICATE_SUFFIX))
        };

        listed.has_authority && certificates()
            || listed.plain.into_iter().any(|key| {
                let shown = ShownKey {
                    key,
                    certificate: None,
                };
                matches!(self.decide(shown, 0), HostKeyDecision::Accept(_))
            })
    }

    /// Returns the name under which `known_hosts` files list the host.
    pub(in crate::ssh) fn host(&self) -> &str {
        self.host.as_str()
    }

    /// Returns the host key algorithms to offer, best first. The order is that of
    /// `HostKeyAlgorithms`, except that algorithms of known keys come first.
    pub(in crate::ssh) fn algorithms(&self) -> &[String] {
        &self.algorithms
    }

    /// Returns true if `HostKeyAlgorithms` allows a plain key of this type.
    fn allows(&self, key: &HostKey) -> bool {
        let plain = |name: &String| {
            !name.ends_with(CERTIFICATE_SUFFIX) && plain_key_type(name) == Some(key.key_type())
        };
        self.algorithms.iter().any(plain)
    }
}

/// Returns `known_hosts` files, as path and content, in the form which the pure functions read.
fn view(files: &[(String, Vec<u8>)]) -> Vec<KnownHostsFile<'_>> {
    files
        .iter()
        .map(|(path, text)| KnownHostsFile { path, text })
        .collect()
}

/// Splits the paths which an option lists on a line, and expands each.
fn expand_all(
    option: &'static str,
    value: &str,
    config: &EffectiveConfig,
    destination: &str,
) -> Result<Vec<String>, SshError> {
    let paths = split_paths(value, |path| Path::new(path).exists());
    paths
        .iter()
        .filter(|path| *path != "none")
        .map(|path| expand_path(option, path, config, destination))
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
