//! Real sshds with known keys, and the words of the table that stand for them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use mcp_ssh_sessions::openssh::known_hosts::{HostKey, HostName, fingerprint, render_line};

use crate::support::{
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// Certificate servers: a name, the authority, the type of the key that is certified, and options for `ssh-keygen -s`.
const CERTIFIED: [(&str, &str, &str, &[&str]); 12] = [
    (
        "good",
        "ca",
        "ed25519",
        &["-h", "-n", "127.0.0.1", "-z", "300"],
    ),
    ("good-ecdsa", "ca", "ecdsa", &["-h", "-n", "127.0.0.1"]),
    (
        "by-ecdsa",
        "ca-ecdsa",
        "ed25519",
        &["-h", "-n", "127.0.0.1"],
    ),
    (
        "by-rsa",
        "ca-rsa",
        "ed25519",
        &["-h", "-n", "127.0.0.1", "-t", "rsa-sha2-256"],
    ),
    (
        "by-rsa-sha1",
        "ca-rsa",
        "ed25519",
        &["-h", "-n", "127.0.0.1", "-t", "ssh-rsa"],
    ),
    (
        "expired",
        "ca",
        "ed25519",
        &["-h", "-n", "127.0.0.1", "-V", "20200101:20200102"],
    ),
    (
        "early",
        "ca",
        "ed25519",
        &["-h", "-n", "127.0.0.1", "-V", "20900101:20900102"],
    ),
    (
        "other-name",
        "ca",
        "ed25519",
        &["-h", "-n", "other.example,Third.example"],
    ),
    ("no-name", "ca", "ed25519", &["-h"]),
    ("wildcard", "ca", "ed25519", &["-h", "-n", "127.0.*"]),
    (
        "critical",
        "ca",
        "ed25519",
        &[
            "-h",
            "-n",
            "127.0.0.1",
            "-O",
            "critical:fast@example.com=yes",
        ],
    ),
    ("users", "ca", "ed25519", &["-n", "127.0.0.1"]),
];

/// The keys of the hosts are `ed25519`, `ecdsa` and `rsa`; nobody has the others.
const KEYS: [(&str, &str); 9] = [
    ("ed25519", "ed25519"),
    ("ecdsa", "ecdsa"),
    ("rsa", "rsa"),
    ("ed25519-b", "ed25519"),
    ("ecdsa-b", "ecdsa"),
    ("ca", "ed25519"),
    ("ca-b", "ed25519"),
    ("ca-ecdsa", "ecdsa"),
    ("ca-rsa", "rsa"),
];

/// The keys, and the servers that were asked for.
pub(super) struct Servers {
    folder: tempfile::TempDir,
    running: Vec<(String, OpenSshd)>,
}

impl Servers {
    /// Starts the servers of these names: `plain`, with three host keys, or one of `CERTIFIED`.
    pub(super) fn start(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, kind) in KEYS {
            keys::ssh_keygen(&folder.path().join(name), kind, "");
        }

        let mut servers = Self {
            folder,
            running: Vec::new(),
        };

        for name in names {
            let sshd = servers.start_one(name);
            servers.running.push(((*name).to_owned(), sshd));
        }

        servers
    }

    fn start_one(&self, name: &str) -> OpenSshd {
        let mut settings = OpenSshdSettings {
            host_key_types: vec![],
            host_keys: ["ed25519", "ecdsa", "rsa"]
                .map(|key| self.path(key))
                .to_vec(),
            ..OpenSshdSettings::default()
        };

        if let Some((_, authority, key, options)) =
            CERTIFIED.iter().find(|(certified, ..)| *certified == name)
        {
            let public = self.path(&format!("{name}.pub"));
            fs::copy(self.path(&format!("{key}.pub")), &public).unwrap();
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-I", "web", "-s"])
                .arg(self.path(authority))
                .args(*options)
                .arg(&public);

            let output = command.output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
            settings.extra_config = format!(
                "HostCertificate {}",
                self.path(&format!("{name}-cert.pub")).display()
            );
        }

        OpenSshd::start(&settings)
    }

    /// The server of this name.
    pub(super) fn get(&self, name: &str) -> &OpenSshd {
        &self
            .running
            .iter()
            .find(|(running, _)| running == name)
            .unwrap_or_else(|| panic!("no server {name}"))
            .1
    }

    /// Replaces `{CERT}` by the certificate of the server `good`, `{H}` by the host field of the server on this port,
    /// `{ED}` and the like by key type and key, `{ED64}` by the key alone, `{HASHED}` by the hidden host field and
    /// `{HASHED-OTHER}` by that of another host.
    pub(super) fn fill(&self, text: &str, port: u16) -> String {
        let words = [
            ("CERT", "good-cert"),
            ("ED", "ed25519"),
            ("EC", "ecdsa"),
            ("RSA", "rsa"),
            ("ED-B", "ed25519-b"),
            ("EC-B", "ecdsa-b"),
            ("CA", "ca"),
            ("CA-B", "ca-b"),
            ("CA-EC", "ca-ecdsa"),
            ("CA-RSA", "ca-rsa"),
        ];

        let hashed = |port: u16| {
            let key =
                HostKey::parse(&BASE64_STANDARD.decode(self.base64("ed25519")).unwrap()).unwrap();
            let line = render_line(&HostName::new("127.0.0.1", port), Some([9; 20]), &key).unwrap();
            line.split_once(' ').unwrap().0.to_owned()
        };

        let mut text = text
            .replace("{H}", &format!("[127.0.0.1]:{port}"))
            .replace("{P}", &port.to_string());

        text = text
            .replace("{HASHED}", &hashed(port))
            .replace("{HASHED-OTHER}", &hashed(port ^ 1));

        for (word, key) in words {
            let (whole, encoded) = (format!("{{{word}}}"), format!("{{{word}64}}"));
            if text.contains(&whole) || text.contains(&encoded) {
                text = text
                    .replace(&encoded, &self.base64(key))
                    .replace(&whole, &self.public(key));
            }
        }

        text
    }

    /// Makes a key revocation list of a specification as in ssh-keygen(1), with the authority `ca`.
    pub(super) fn revocation_list(&self, path: &Path, specification: &str) {
        let file = path.with_extension("specification");
        fs::write(&file, specification).unwrap();
        let mut command = Command::new("ssh-keygen");

        command
            .arg("-q")
            .arg("-k")
            .arg("-f")
            .arg(path)
            .arg("-s")
            .arg(self.path("ca.pub"))
            .arg(file);

        let output = command.output().unwrap();
        assert!(output.status.success(), "{specification}: {output:?}");
    }

    /// `SHA256:…` of a key.
    pub(super) fn fingerprint(&self, key: &str) -> String {
        fingerprint(&BASE64_STANDARD.decode(self.base64(key)).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn public(&self, key: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    fn base64(&self, key: &str) -> String {
        self.public(key).split_once(' ').unwrap().1.to_owned()
    }
}
