//! Words about algorithms that client and server do not have in common.

use russh::{AlgorithmKind, Preferred, cipher, compression, kex, mac};

use super::SshError;

/// Failed negotiation of one kind of algorithm (RFC 4253, section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    /// Kind of algorithm, in words.
    kind: &'static str,
    /// Keyword of its option in `ssh_config` and `sshd_config`.
    option: &'static str,
    /// Algorithms that this program has, comma-separated.
    supported: String,
    /// Algorithm that both sides have and the SSH configuration does not allow.
    not_allowed: Option<String>,
}

impl Negotiation {
    /// Describes the negotiation of an algorithm with a server that offers these.
    pub(super) fn new(kind: &AlgorithmKind, theirs: &[String]) -> Self {
        let (kind, option, supported) = match kind {
            AlgorithmKind::Kex => (
                "key exchange",
                "KexAlgorithms",
                names(kex::ALL_KEX_ALGORITHMS),
            ),
            AlgorithmKind::Key => ("host key algorithm", "HostKeyAlgorithms", host_keys()),
            AlgorithmKind::Cipher => ("cipher", "Ciphers", names(cipher::ALL_CIPHERS)),
            AlgorithmKind::Mac => ("MAC", "MACs", names(mac::ALL_MAC_ALGORITHMS)),
            AlgorithmKind::Compression => (
                "compression",
                "Compression",
                names(compression::ALL_COMPRESSION_ALGORITHMS),
            ),
        };

        let not_allowed = theirs.iter().find(|name| supported.contains(name)).cloned();

        Self {
            kind,
            option,
            supported: supported.join(","),
            not_allowed,
        }
    }

    /// Returns the words before the lists of both sides.
    pub(super) fn cause(&self) -> String {
        let Self {
            kind, not_allowed, ..
        } = self;

        match not_allowed {
            Some(name) => format!(
                "no common {kind}: the SSH configuration does not allow {name}, which both sides have"
            ),
            None => format!(
                "no common {kind}: this program does not have any that the server offers; it has: {}",
                self.supported
            ),
        }
    }

    /// Returns the line for a configuration, with the side that needs it.
    fn remedy(&self) -> String {
        let option = self.option;
        match (&self.not_allowed, option) {
            (Some(_), "Compression") => {
                "add this line for the host to ssh_config: `Compression yes`".into()
            }
            (Some(name), _) => format!(
                "add this line for the host to ssh_config, if that algorithm is acceptable: \
                 `{option} +{name}`"
            ),
            (None, "HostKeyAlgorithms") => {
                "have a key of another kind made on the server, by `ssh-keygen -A` there, and \
                 sshd restarted"
                    .into()
            }
            (None, _) => format!(
                "add this line to the server's sshd_config: `{option} +{}`",
                common(option).unwrap_or("none")
            ),
        }
    }
}

impl SshError {
    /// Returns the instruction that helps after an error about algorithms; empty for any other.
    pub(super) fn algorithm_remedy(&self) -> String {
        match self {
            Self::NoCommonAlgorithm { negotiation, .. } => negotiation.remedy(),
            Self::UnsupportedAlgorithms {
                option, supported, ..
            } => format!(
                "add one that this program has to {option} of this host in ssh_config: \
                 `{option} {}`",
                common(option)
                    .or_else(|| supported.split(',').next())
                    .unwrap_or_default()
            ),
            Self::HostKeySignature => "add this line for the host to ssh_config, if the server \
                 has such a key: `HostKeyAlgorithms ssh-ed25519`"
                .into(),
            _ => String::new(),
        }
    }
}

/// Returns an algorithm of an option that this program and nearly every server have.
fn common(option: &str) -> Option<&'static str> {
    match option {
        "KexAlgorithms" => Some("curve25519-sha256"),
        "Ciphers" => Some("aes128-ctr"),
        "MACs" => Some("hmac-sha2-256"),
        _ => None,
    }
}

/// Returns the algorithms of russh, without the placeholder for none of them, and without the
/// markers which are no key exchanges.
fn names<N: AsRef<str>>(all: &[&N]) -> Vec<String> {
    let names = all.iter().map(|name| (*name).as_ref().to_owned());
    names
        .filter(|name: &String| !["none", "clear"].contains(&name.as_str()))
        .collect()
}

fn host_keys() -> Vec<String> {
    let names = Preferred::DEFAULT.key.iter();
    names.map(|key| key.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Page of the manual that lists what is missing.
    const MANUAL: &str = include_str!("../../../docs/algorithms.md");

    fn kinds() -> [(AlgorithmKind, &'static str); 4] {
        [
            (AlgorithmKind::Kex, "kex"),
            (AlgorithmKind::Cipher, "cipher"),
            (AlgorithmKind::Mac, "mac"),
            (AlgorithmKind::Key, "HostKeyAlgorithms"),
        ]
    }

    #[test]
    fn the_manual_lists_every_algorithm_that_is_missing() {
        let listed: Vec<_> = MANUAL
            .lines()
            .filter(|line| line.starts_with("| "))
            .filter_map(|line| line.split('|').nth(2))
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();

        for (kind, query) in kinds() {
            let supported = Negotiation::new(&kind, &[]).supported;
            let has = |name: &str| supported.split(',').any(|other| other == name);
            assert!(!listed.iter().any(|name| has(name)), "{listed:?}");

            let output = Command::new("ssh").args(["-Q", query]).output().unwrap();
            let names = String::from_utf8(output.stdout).unwrap();
            assert!(names.lines().count() > 3, "{query}: {names}");

            // The manual has the certificates of security keys in words.
            for name in names.lines().filter(|name| !name.contains("cert")) {
                let there = has(name) || listed.contains(&name);
                assert!(there, "{name} is neither supported nor in the manual");
            }
        }
    }

    #[test]
    fn a_line_helps_the_side_that_lacks_something() {
        for (kind, theirs, cause, line) in [
            (
                AlgorithmKind::Kex,
                "sntrup761x25519-sha512",
                "this program does not have any that the server offers",
                "sshd_config: `KexAlgorithms +curve25519-sha256`",
            ),
            (
                AlgorithmKind::Kex,
                "sntrup761x25519-sha512,diffie-hellman-group1-sha1",
                "does not allow diffie-hellman-group1-sha1, which both sides have",
                "ssh_config, if that algorithm is acceptable: `KexAlgorithms +diffie-hellman-group1-sha1`",
            ),
            (
                AlgorithmKind::Cipher,
                "none,3des-cbc",
                "does not allow 3des-cbc",
                "`Ciphers +3des-cbc`",
            ),
            (
                AlgorithmKind::Mac,
                "umac-64@openssh.com,hmac-md5",
                "does not have any",
                "`MACs +hmac-sha2-256`",
            ),
            (
                AlgorithmKind::Key,
                "ssh-dss",
                "does not have any",
                "`ssh-keygen -A`",
            ),
            (
                AlgorithmKind::Compression,
                "zlib",
                "does not allow zlib",
                "`Compression yes`",
            ),
        ] {
            let theirs: Vec<_> = theirs.split(',').map(str::to_owned).collect();
            let negotiation = Negotiation::new(&kind, &theirs);
            let (said, remedy) = (negotiation.cause(), negotiation.remedy());
            assert!(said.contains(cause), "{said}");
            assert!(remedy.contains(line), "{remedy}");
        }
    }
}
