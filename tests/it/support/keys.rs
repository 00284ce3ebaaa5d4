//! Key pairs for the servers and the clients of the tests.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{Cipher, Kdf, LineEnding};
use russh::keys::{PrivateKey, PublicKey, load_public_key};

/// Rounds of bcrypt for a key with a passphrase: far below `ssh-keygen`'s 16, because tests guard no secret.
const PASSPHRASE_ROUNDS: u32 = 2;

/// A new Ed25519 key pair.
pub(crate) fn ed25519() -> PrivateKey {
    let keypair = Ed25519Keypair::from_seed(&random::<32>());
    PrivateKey::new(KeypairData::from(keypair), "test")
        .expect("an Ed25519 key pair is a private key")
}

/// Writes `key` in OpenSSH's format with mode 0600, encrypted when there is a passphrase, and the public key beside it
/// as `….pub`.
pub(crate) fn write_private_key(path: &Path, key: &PrivateKey, passphrase: Option<&str>) {
    let text = match passphrase {
        Some(passphrase) => {
            let kdf = Kdf::Bcrypt {
                salt: random::<16>().to_vec(),
                rounds: PASSPHRASE_ROUNDS,
            };

            key.encrypt_with(
                Cipher::Aes256Ctr,
                kdf,
                u32::from_ne_bytes(random()),
                passphrase,
            )
            .expect("the key is not encrypted yet")
            .to_openssh(LineEnding::LF)
        }
        None => key.to_openssh(LineEnding::LF),
    }
    .expect("a private key has an OpenSSH form");

    let _ = fs::remove_file(path);

    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));

    let public = key
        .public_key()
        .to_openssh()
        .expect("a public key has an OpenSSH form");

    fs::write(public_path(path), public + "\n").expect("the folder of the private key is writable");
}

/// Generates a key pair with `ssh-keygen -t kind -N passphrase -f path` (`kind`: `rsa`, `ecdsa`, `ed25519`), for the
/// types that have no generator here. An RSA key has 2048 bits: more take seconds.
pub(crate) fn ssh_keygen(path: &Path, kind: &str, passphrase: &str) -> PublicKey {
    let status = Command::new("ssh-keygen")
        .args(if kind == "rsa" {
            &["-b", "2048"][..]
        } else {
            &[]
        })
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .expect("ssh-keygen is missing: install the OpenSSH client");

    assert!(status.success(), "ssh-keygen -t {kind}: {status}");
    load_public_key(public_path(path)).expect("ssh-keygen writes the public key")
}

/// The `known_hosts` line (sshd(8)) of a server on 127.0.0.1, with a line end.
pub(crate) fn known_hosts_line(port: u16, key: &PublicKey) -> String {
    let bare = PublicKey::new(key.key_data().clone(), "");
    format!(
        "[127.0.0.1]:{port} {}\n",
        bare.to_openssh()
            .expect("a public key has an OpenSSH form")
            .trim_end()
    )
}

/// `N` random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

fn public_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}
