//! Verdict of the `known_hosts` files about the key of a host.

use super::{
    certificate::HostCertificate,
    host_key::{HostKey, fingerprint},
    host_pattern::HostName,
    line::{Marker, MatchingLine, lines_for},
};

/// A `known_hosts` file as read by the caller. A missing file counts as empty.
#[derive(Debug, Clone, Copy)]
pub struct KnownHostsFile<'a> {
    /// Path of the file, for messages.
    pub path: &'a str,
    /// Content of the file.
    pub text: &'a [u8],
}

/// Verdict about a host key. Line numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The key is listed for the host.
    Trusted {
        /// Path of the file which lists the key.
        file: String,
        /// First line which lists the key.
        line: usize,
        /// True if the line is for the host without port, because nothing is listed for
        /// `[host]:port`.
        without_port: bool,
    },
    /// No key is listed for the host.
    Unknown,
    /// The host is listed only with other keys, of this or another type.
    Changed {
        /// Path of the file which lists another key.
        file: String,
        /// Line of the other key: the last line for the host, which `ssh` names too.
        line: usize,
        /// Type of the other key in the form of `ssh` messages, such as `ED25519`, or
        /// `ED25519-CERT` for a certificate.
        key_type: String,
        /// Fingerprint of the other key.
        fingerprint: String,
    },
    /// The key is marked `@revoked` for the host and must not be accepted, even if another line
    /// lists the key.
    Revoked {
        /// Path of the file which revokes the key.
        file: String,
        /// Line which revokes the key.
        line: usize,
    },
}

/// Verdict about the authority which signed a host's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Authority {
    /// A `@cert-authority` line lists the authority for the host.
    Listed {
        /// Path of the file which lists the authority.
        file: String,
        /// First line which lists the authority.
        line: usize,
    },
    /// The authority is not listed for the host, so only the plain key in the certificate counts.
    Unlisted,
    /// The authority or the host's own key is marked `@revoked` for the host.
    Revoked {
        /// Path of the file which revokes the key.
        file: String,
        /// Line which revokes the key.
        line: usize,
    },
}

/// Judges the plain key (not a certificate) of a host by all files together, user files first.
///
/// As in `ssh`, a host which is listed only with keys of other types counts as changed. Otherwise a
/// server could make a known host look new by presenting another type.
/// [`order_algorithms`](super::order_algorithms) returns the types to ask for. If nothing is listed
/// for `[host]:port`, a line for the host without port may vouch for the key.
pub fn verdict(files: &[KnownHostsFile<'_>], host: &HostName, key: &HostKey) -> Verdict {
    match (judge(files, host.as_str(), key), host.without_port()) {
        // The host without port may be another server, so its other keys say nothing. For a key
        // revoked under that name, `ssh` only warns and treats the key as new; here the key stays
        // revoked.
        (Verdict::Unknown, Some(bare)) => match judge(files, bare, key) {
            Verdict::Trusted { file, line, .. } => Verdict::Trusted {
                file,
                line,
                without_port: true,
            },
            Verdict::Changed { .. } => Verdict::Unknown,
            other => other,
        },
        (verdict, _) => verdict,
    }
}

/// Judges the authority of a certificate by all files together, user files first. If the authority
/// is not listed for `[host]:port`, a line for the host without port counts.
pub fn authority(
    files: &[KnownHostsFile<'_>],
    host: &HostName,
    certificate: &HostCertificate,
) -> Authority {
    // As in `ssh`, the search without the port follows only if nothing is listed with the port.
    match (
        judge_authority(files, host.as_str(), certificate),
        host.without_port(),
    ) {
        (Authority::Unlisted, Some(bare)) => judge_authority(files, bare, certificate),
        (authority, _) => authority,
    }
}

/// Judges the authority of a certificate for a name, with or without port.
fn judge_authority(
    files: &[KnownHostsFile<'_>],
    name: &str,
    certificate: &HostCertificate,
) -> Authority {
    // Every line is read: a revocation counts wherever it stands, even after a match.
    let mut listed = Authority::Unlisted;
    for (file, line) in all_lines(files, name) {
        let signed = line.key == certificate.authority;
        let location = || (file.to_owned(), line.number);
        // A revoked key stays revoked in a new certificate.
        if line.marker == Marker::Revoked && (signed || line.key == certificate.key) {
            let (file, line) = location();
            return Authority::Revoked { file, line };
        }

        if line.marker == Marker::CertAuthority && signed && listed == Authority::Unlisted {
            let (file, line) = location();
            listed = Authority::Listed { file, line };
        }
    }

    listed
}

/// Judges a plain key for a name, with or without port.
fn judge(files: &[KnownHostsFile<'_>], name: &str, key: &HostKey) -> Verdict {
    // Every line is read: a revocation counts wherever it stands, and the last of the other keys is
    // the one in the message.
    let mut trusted = None;
    let mut other = None;

    for (file, line) in all_lines(files, name) {
        let same_key = line.key == *key;
        let (file, number) = (file.to_owned(), line.number);
        match line.marker {
            Marker::Revoked if same_key => return Verdict::Revoked { file, line: number },
            Marker::Plain if same_key && !line.certified => {
                trusted.get_or_insert(Verdict::Trusted {
                    file,
                    line: number,
                    without_port: false,
                });
            }
            // A certificate on a plain line does not vouch for the key in it, as in `ssh`: it
            // counts as another key of the host.
            Marker::Plain => {
                let key_type = format!(
                    "{}{}",
                    line.key.short_type(),
                    if line.certified { "-CERT" } else { "" }
                );

                let fingerprint = fingerprint(line.key.blob());
                other = Some(Verdict::Changed {
                    file,
                    line: number,
                    key_type,
                    fingerprint,
                });
            }
            // A revocation of another key, or an authority, says nothing about a plain key.
            Marker::Revoked | Marker::CertAuthority => {}
        }
    }

    trusted.or(other).unwrap_or(Verdict::Unknown)
}

/// Returns the lines which match a name in all files, with the path of each file.
pub(super) fn all_lines<'a>(
    files: &'a [KnownHostsFile<'a>],
    name: &'a str,
) -> impl Iterator<Item = (&'a str, MatchingLine)> {
    files
        .iter()
        .flat_map(move |file| lines_for(file.text, name).map(move |line| (file.path, line)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::openssh::known_hosts::certificate::tests::{Parts, ed25519, encoded};

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const OTHER_ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEWnAdgUI5xeVstDYKxRrye+cckk1i73w1e8xLDyNUSDUPd8ny44mLSUePI49xwZUJgen8i0N17XnQ/zzvZw2jY=";

    fn key(line: &str) -> HostKey {
        HostKey::parse(&STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap()).unwrap()
    }

    /// The verdict on `ED`, in short: `trusted user:1`.
    fn judged(user: &str, global: &str, host: &HostName) -> String {
        let files = [
            KnownHostsFile {
                path: "user",
                text: user.as_bytes(),
            },
            KnownHostsFile {
                path: "global",
                text: global.as_bytes(),
            },
        ];

        match verdict(&files, host, &key(ED)) {
            Verdict::Trusted {
                file,
                line,
                without_port,
            } => {
                format!(
                    "trusted {file}:{line}{}",
                    if without_port { " without port" } else { "" }
                )
            }
            Verdict::Unknown => "unknown".to_owned(),
            Verdict::Changed {
                file,
                line,
                key_type,
                fingerprint: shown,
            } => {
                let listed = if key_type == "ED25519" { OTHER_ED } else { EC };
                assert_eq!(shown, fingerprint(key(listed).blob()));
                format!("changed {file}:{line} {key_type}")
            }
            Verdict::Revoked { file, line } => format!("revoked {file}:{line}"),
        }
    }

    #[test]
    fn a_key_is_judged_as_ssh_judges_it() {
        for (user, global, expected) in [
            (format!("h.ex {ED}"), String::new(), "trusted user:1"),
            (String::new(), format!("#\nh.ex {ED}"), "trusted global:2"),
            (format!("x {ED}"), String::new(), "unknown"),
            (
                format!("h.ex {OTHER_ED}\nh.ex {ED}\nh.ex {ED}"),
                String::new(),
                "trusted user:2",
            ),
            (
                format!("h.ex {ED}"),
                format!("h.ex {OTHER_ED}"),
                "trusted user:1",
            ),
            (
                format!("h.ex {OTHER_ED}"),
                String::new(),
                "changed user:1 ED25519",
            ),
            (format!("h.ex {EC}"), String::new(), "changed user:1 ECDSA"),
            (
                format!("h.ex {OTHER_ED}\nh.ex {EC}"),
                String::new(),
                "changed user:2 ECDSA",
            ),
            (
                format!("h.ex {EC}"),
                format!("h.ex {OTHER_ED}"),
                "changed global:1 ED25519",
            ),
            (
                format!("h.ex ssh-ed25519 @@@\nh.ex {ED}"),
                String::new(),
                "trusted user:2",
            ),
            (
                format!("@cert-authority h.ex {ED}"),
                String::new(),
                "unknown",
            ),
            (
                format!("@cert-authority h.ex {OTHER_ED}"),
                String::new(),
                "unknown",
            ),
            (
                format!("h.ex {ED}\n@revoked * {ED}"),
                String::new(),
                "revoked user:2",
            ),
            (
                format!("h.ex {ED}"),
                format!("@revoked h.ex {ED}"),
                "revoked global:1",
            ),
            (format!("@revoked * {ED}"), String::new(), "revoked user:1"),
            (
                format!("@revoked other {ED}\nh.ex {ED}"),
                String::new(),
                "trusted user:2",
            ),
            (
                format!("@revoked h.ex {OTHER_ED}\nh.ex {ED}"),
                String::new(),
                "trusted user:2",
            ),
            (
                format!("@revoked h.ex {OTHER_ED}"),
                String::new(),
                "unknown",
            ),
            (format!("[h.ex]:22 {ED}"), String::new(), "unknown"),
        ] {
            assert_eq!(
                judged(&user, &global, &HostName::new("H.ex", 22)),
                expected,
                "{user}\n--\n{global}"
            );
        }
    }

    #[test]
    fn another_port_is_looked_up_first_with_it_and_then_without() {
        for (user, expected) in [
            (format!("[h.ex]:2222 {ED}"), "trusted user:1"),
            (format!("h.ex {ED}"), "trusted user:1 without port"),
            (format!("h.ex {OTHER_ED}"), "unknown"),
            (
                format!("[h.ex]:2222 {OTHER_ED}\nh.ex {ED}"),
                "changed user:1 ED25519",
            ),
            (
                format!("[h.ex]:2222 {EC}\nh.ex {ED}"),
                "changed user:1 ECDSA",
            ),
            (
                format!("@cert-authority [h.ex]:2222 {OTHER_ED}\nh.ex {ED}"),
                "trusted user:2 without port",
            ),
            (
                format!("@revoked h.ex {ED}\n[h.ex]:2222 {ED}"),
                "trusted user:2",
            ),
            (format!("@revoked h.ex {ED}\nh.ex {ED}"), "revoked user:1"),
            (format!("[h.ex]:2223 {ED}"), "unknown"),
        ] {
            assert_eq!(
                judged(&user, "", &HostName::new("h.ex", 2222)),
                expected,
                "{user}"
            );
        }

        assert_eq!(
            judged(&format!("h.ex {ED}"), "", &HostName::alias("al")),
            "unknown"
        );

        assert_eq!(
            judged(&format!("al {ED}"), "", &HostName::alias("AL")),
            "trusted user:1"
        );
    }

    #[test]
    fn an_authority_is_found_and_revocation_of_either_key_wins() {
        let certificate = HostCertificate::parse(&encoded(&Parts::default())).unwrap();

        let line = |marker: &str, hosts: &str, key: &HostKey| {
            format!(
                "{marker} {hosts} ssh-ed25519 {}\n",
                STANDARD.encode(key.blob())
            )
        };

        let (key, signer, other) = (ed25519(1), ed25519(2), ed25519(3));
        let listed = line("@cert-authority", "h.ex", &signer);

        for (text, expected) in [
            (listed.clone(), "listed 1"),
            (
                line("@cert-authority", "*", &other)
                    + &line("@cert-authority", "*.ex", &signer)
                    + &listed,
                "listed 2",
            ),
            (line("@cert-authority", "x", &signer), "unlisted"),
            (line("@cert-authority", "h.ex", &key), "unlisted"),
            (line("", "h.ex", &signer), "unlisted"),
            (line("", "h.ex", &key), "unlisted"),
            (
                listed.clone() + &line("@revoked", "*", &signer),
                "revoked 2",
            ),
            (listed.clone() + &line("@revoked", "*", &key), "revoked 2"),
            (line("@revoked", "h.ex", &key), "revoked 1"),
            (
                listed.clone() + &line("@revoked", "x", &signer) + &line("@revoked", "*", &other),
                "listed 1",
            ),
        ] {
            for port in [22, 2222] {
                let files = [KnownHostsFile {
                    path: "user",
                    text: text.as_bytes(),
                }];

                let found = match authority(&files, &HostName::new("h.ex", port), &certificate) {
                    Authority::Listed { line, .. } => format!("listed {line}"),
                    Authority::Unlisted => "unlisted".to_owned(),
                    Authority::Revoked { line, .. } => format!("revoked {line}"),
                };

                assert_eq!(found, expected, "{port} {text}");
            }
        }
    }

    #[test]
    fn a_certificate_line_only_revokes_or_counts_as_another_key() {
        let certificate = STANDARD.encode(encoded(&Parts::default()));
        let name = "ssh-ed25519-cert-v01@openssh.com";

        for (marker, changed) in [("", true), ("@revoked", false)] {
            let text = format!("{marker} h.ex {name} {certificate}");
            let files = [KnownHostsFile {
                path: "user",
                text: text.as_bytes(),
            }];

            let found = verdict(&files, &HostName::new("h.ex", 22), &ed25519(1));
            assert_eq!(
                matches!(found, Verdict::Changed { .. }),
                changed,
                "{found:?}"
            );

            assert_eq!(
                matches!(found, Verdict::Revoked { .. }),
                !changed,
                "{found:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn bytes_around_a_line_do_not_change_what_it_says(
            before: Vec<u8>,
            after in proptest::collection::vec("[ -~\t\r\n|@#*]{0,40}|@revoked x |h.ex ssh-", 0..8),
        ) {
            let line = format!("\nh.ex {ED}\n");
            let text = [&before, line.as_bytes(), after.concat().as_bytes()].concat();
            let files = [KnownHostsFile { path: "user", text: &text }];
            let number = before.split(|byte| *byte == b'\n').count() + 1;
            let expected = Verdict::Trusted { file: "user".into(), line: number, without_port: false };
            prop_assert_eq!(verdict(&files, &HostName::new("h.ex", 22), &key(ED)), expected);
        }
    }
}
