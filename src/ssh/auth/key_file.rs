//! Reads identity files: private keys in the formats of OpenSSH, and their public halves.

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

/// Size limit of a key file, in bytes. A private key takes a few kilobytes.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

/// Content of an `IdentityFile`, read without decrypting the key.
pub(super) struct IdentityFile {
    /// Public key or certificate to offer; `None` until the private key is decrypted.
    pub(super) offer: Option<Offer>,
    /// Private key, or the reason why the key cannot be used.
    pub(super) private: Result<Arc<PrivateKeyFile>, KeyProblem>,
    /// True if there is neither a private key nor a public half.
    pub(super) missing: bool,
}

/// Text of a private key file, perhaps encrypted. The text is wiped from memory on drop.
pub(super) struct PrivateKeyFile {
    /// Path of the file.
    pub(super) path: String,
    /// True if the key needs a passphrase.
    pub(super) encrypted: bool,
    text: Zeroizing<String>,
}

/// Reason why a private key cannot be used.
#[derive(Debug, Clone)]
pub(super) struct KeyProblem {
    /// Description of the problem.
    pub(super) reason: String,
    /// True if the passphrase is missing or wrong.
    pub(super) passphrase: bool,
}

impl KeyProblem {
    /// Creates a problem which is not about the passphrase.
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passphrase: false,
        }
    }

    /// Creates a problem with a missing or wrong passphrase.
    pub(super) fn of_passphrase(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passphrase: true,
        }
    }
}

impl IdentityFile {
    /// Reads an identity file. As in OpenSSH, the public half is taken from three places. The file
    /// itself may be a public key whose private half the agent holds. The next places are
    /// `PATH.pub` and the unencrypted part of a private key in OpenSSH's format.
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

        // Checked before the permissions, because a public key may be readable by anybody.
        if let Some(offer) = parse_offer(&text) {
            let private = Err(KeyProblem::new("it is a public key; name the private one"));
            return Self {
                offer: Some(offer),
                private,
                missing: false,
            };
        }

        // Only OpenSSH's format has the public key in clear, so other formats may leave nothing to
        // offer.
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

        // The private half of a security key stays in the device, which only the agent can use.
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
    /// Decodes and decrypts the key. The work runs on a blocking thread, because key derivation is
    /// slow by design.
    ///
    /// # Errors
    /// The passphrase is missing or wrong, or the file is malformed.
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

    /// Decodes and decrypts the key on the current thread.
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

        // russh decrypts this format with AES-128 only.
        if legacy_pem::is_legacy(&self.text) {
            let plain = legacy_pem::decrypt(&self.text, passphrase).ok_or_else(wrong)?;
            return decode_secret_key(&plain, None).map_err(|_| wrong());
        }

        decode_secret_key(&self.text, Some(passphrase)).map_err(|_| wrong())
    }
}

/// Parses the text of a public key file as a key or a certificate; `None` if the text is neither.
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

/// Reads a public key file; `None` if the file is missing or no public key.
pub(super) fn public_file(path: &str) -> Option<Offer> {
    parse_offer(&read_key(Path::new(path)).ok()?.0)
}

/// Reads a key file, and returns the text and the metadata of the file.
fn read_key(path: &Path) -> io::Result<(Zeroizing<String>, Metadata)> {
    let none = || io::Error::other("it is not a private key file");
    let name = LocalName::resolve(path)?;
    // A pipe or device in place of the file would block the read.
    if !matches!(name.find()?, Some((EntryKind::File(_), _)) | None) {
        return Err(none());
    }

    let mut file = name.open()?;
    let metadata = file.metadata()?;
    if metadata.len() > MAX_KEY_FILE_BYTES {
        return Err(none());
    }

    // The text may be an unencrypted private key, so it is wiped on drop.
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;

    Ok((text, metadata))
}

/// Returns true if a key outside of OpenSSH's format is encrypted. PKCS#8 says so in its first
/// line, OpenSSL's old format in a header, and `PuTTY`'s format in a line of its own.
fn is_encrypted(text: &str) -> bool {
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || legacy_pem::is_legacy(text)
        || (is_putty(text)
            && !text
                .lines()
                .any(|line| line.trim_end() == "Encryption: none"))
}

/// Returns true for a key in the format of `PuTTY`.
fn is_putty(text: &str) -> bool {
    text.starts_with("PuTTY-User-Key-File-")
}

/// Refuses a private key which other users may access, as OpenSSH does.
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

/// Accepts every file, since there are no permission bits.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn refuse_open_permissions(_: &Metadata) -> Result<(), String> {
    Ok(())
}
