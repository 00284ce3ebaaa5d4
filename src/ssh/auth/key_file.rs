//! Identity files: private keys in the formats that OpenSSH reads, and their public halves.

use std::{
    fs::Metadata,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::{legacy_pem, offer::Offer};
#[cfg(unix)]
use crate::local::folder::mode_of;
use crate::{local::LocalName, password::Password, tree::entry::EntryKind};

/// A private key is a few kilobytes; a larger file is none.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

/// What the file of an `IdentityFile` is.
pub(super) struct IdentityFile {
    /// What can be offered before the private key is known.
    pub(super) offer: Option<Offer>,
    /// The private key, or why it cannot be used.
    pub(super) private: Result<Arc<PrivateKeyFile>, KeyProblem>,
    /// There is neither a private key nor a public half.
    pub(super) missing: bool,
}

/// A private key as it is in its file, perhaps encrypted.
pub(super) struct PrivateKeyFile {
    pub(super) path: String,
    pub(super) encrypted: bool,
    text: Zeroizing<String>,
}

/// Why a private key cannot be used.
#[derive(Debug, Clone)]
pub(super) struct KeyProblem {
    pub(super) reason: String,
    /// The passphrase is missing or wrong.
    pub(super) passphrase: bool,
}

impl KeyProblem {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passphrase: false,
        }
    }

    pub(super) fn of_passphrase(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passphrase: true,
        }
    }
}

impl IdentityFile {
    /// Looks for the public half where OpenSSH does: the file itself, which may be a public key whose other half the agent
    /// has; `PATH.pub`; the clear part of a private key in OpenSSH's format.
    pub(super) fn read(path: &str) -> Self {
        let (text, metadata) = match read_key(Path::new(path)) {
            Ok(read) => read,
            Err(error) => {
                let offer = public_file(&format!("{path}.pub"));
                let missing = error.kind() == io::ErrorKind::NotFound;
                let reason = if missing {
                    "there is no such file".to_owned()
                } else {
                    error.to_string()
                };

                return Self {
                    missing: missing && offer.is_none(),
                    offer,
                    private: Err(KeyProblem::new(reason)),
                };
            }
        };

        // Before the permissions, which a public key leaves open rightly.
        if let Some(offer) = parse_offer(&text) {
            let private = Err(KeyProblem::new("it is a public key; name the private one"));
            return Self {
                offer: Some(offer),
                private,
                missing: false,
            };
        }

        let openssh = PrivateKey::from_openssh(text.as_bytes()).ok();
        let offer = public_file(&format!("{path}.pub")).or_else(|| {
            openssh
                .as_ref()
                .map(|key| Offer::Key(PublicKey::new(key.public_key().key_data().clone(), "")))
        });

        let encrypted = match &openssh {
            Some(key) => key.is_encrypted(),
            None => is_encrypted(&text),
        };

        let security_key = openssh
            .as_ref()
            .is_some_and(|key| key.algorithm().as_str().starts_with("sk-"));

        let private = refuse_open_permissions(&metadata)
            .and_then(
                |()| match text.contains("PRIVATE KEY-----") || is_putty(&text) {
                    true if security_key => {
                        Err("it is a security key: add it to ssh-agent with ssh-add".to_owned())
                    }
                    true => Ok(()),
                    false => Err("it is not a private key".to_owned()),
                },
            )
            .map(|()| {
                Arc::new(PrivateKeyFile {
                    path: path.to_owned(),
                    encrypted,
                    text,
                })
            })
            .map_err(KeyProblem::new);

        Self {
            offer,
            private,
            missing: false,
        }
    }
}

impl PrivateKeyFile {
    /// Decodes and decrypts the key, off the async threads: key derivation is slow by design.
    ///
    /// # Errors
    /// The passphrase is wrong, or the file broken.
    pub(super) async fn unlock(
        self: &Arc<Self>,
        passphrase: Option<Password>,
    ) -> Result<PrivateKey, KeyProblem> {
        let file = Arc::clone(self);
        let decoding =
            spawn_blocking(move || file.decode(passphrase.as_ref().map(Password::reveal)));
        decoding
            .await
            .unwrap_or_else(|error| Err(KeyProblem::new(error.to_string())))
    }

    fn decode(&self, passphrase: Option<&str>) -> Result<PrivateKey, KeyProblem> {
        if !self.encrypted {
            let broken = |error| KeyProblem::new(format!("it is not a private key ({error})"));
            return decode_secret_key(&self.text, None).map_err(broken);
        }

        let Some(passphrase) = passphrase else {
            return Err(KeyProblem::of_passphrase(
                "it is encrypted and no passphrase was given",
            ));
        };

        let wrong = || {
            KeyProblem::of_passphrase(
                "wrong passphrase, or a form of encryption that is not supported",
            )
        };

        if legacy_pem::is_legacy(&self.text) {
            let plain = legacy_pem::decrypt(&self.text, passphrase).ok_or_else(wrong)?;
            return decode_secret_key(&plain, None).map_err(|_| wrong());
        }

        decode_secret_key(&self.text, Some(passphrase)).map_err(|_| wrong())
    }
}

/// What is offered for the text of a public key file: a key or a certificate.
pub(super) fn parse_offer(text: &str) -> Option<Offer> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'))?;

    let kind = line.split_whitespace().next()?;
    if kind.ends_with("-cert-v01@openssh.com") {
        return Certificate::from_openssh(line)
            .ok()
            .map(|certificate| Offer::Certificate(Box::new(certificate)));
    }

    let is_kind = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix));

    is_kind
        .then(|| PublicKey::from_openssh(line).ok())
        .flatten()
        .map(Offer::Key)
}

/// What is offered for a public key file, if it is one.
pub(super) fn public_file(path: &str) -> Option<Offer> {
    parse_offer(&read_key(Path::new(path)).ok()?.0)
}

/// The text of a key file, and what the file is.
fn read_key(path: &Path) -> io::Result<(Zeroizing<String>, Metadata)> {
    let none = || io::Error::other("it is not a private key file");
    let place = LocalName::resolve(path)?;
    if !matches!(place.find()?, Some((EntryKind::File(_), _)) | None) {
        return Err(none());
    }

    let mut file = place.open()?;
    let metadata = file.metadata()?;
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(none());
    }

    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;

    Ok((text, metadata))
}

/// Whether a key that is not in OpenSSH's format is encrypted: PKCS#8 says so in its first line, OpenSSL's old form in a
/// header, `PuTTY`'s in a line of its own.
fn is_encrypted(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || legacy_pem::is_legacy(text)
        || (is_putty(text)
            && !text
                .lines()
                .any(|line| line.trim_end() == "Encryption: none"))
}

fn is_putty(text: &str) -> bool {
    text.starts_with("PuTTY-User-Key-File-")
}

/// As OpenSSH: a private key that others may read is not used.
#[cfg(unix)]
fn refuse_open_permissions(metadata: &Metadata) -> Result<(), String> {
    let mode = mode_of(metadata) & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "its permissions {mode:04o} are too open; run chmod 600 on it"
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn refuse_open_permissions(_: &Metadata) -> Result<(), String> {
    Ok(())
}
