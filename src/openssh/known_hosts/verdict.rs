//! What the `known_hosts` files say about the key a host presents.

use super::host_key::{HostKey, fingerprint};
use super::host_pattern::HostName;
use super::line::{Line, Marker, lines_for};

/// One `known_hosts` file, read by the caller. A missing file is an empty one.
#[derive(Debug, Clone, Copy)]
pub struct KnownHostsFile<'a> {
    /// Where it was read from, for messages.
    pub path: &'a str,
    /// Its bytes, unchanged.
    pub text: &'a [u8],
}

/// What to make of a host key. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The key is listed for the host.
    Trusted {
        /// Path of the file that lists it.
        file: String,
        /// The first line that does.
        line: usize,
    },
    /// Nothing is listed for the host.
    Unknown,
    /// The host is listed with other keys only, of this or another type.
    Changed {
        /// Path of the file that lists another key.
        file: String,
        /// The line of that key: the last of the type the host presented, else the last of any type.
        line: usize,
        /// The type of that key.
        key_type: &'static str,
        /// The fingerprint of that key.
        fingerprint: String,
    },
    /// The key is marked `@revoked` for the host; it must not be accepted, whatever else is listed.
    Revoked {
        /// Path of the file that revokes it.
        file: String,
        /// The line that does.
        line: usize,
    },
}

/// Judges the plain key (no certificate) a host presents by all files together, user files first.
///
/// As in `ssh`, a host listed by keys of another type counts as changed too: asking a server for a type that
/// is not listed must not turn a known host into a new one. [`known_key_types`] says what to ask for. When
/// nothing is listed for `[host]:port`, a line for the bare `host` may vouch for the key.
pub fn verdict(files: &[KnownHostsFile<'_>], host: &HostName, key: &HostKey) -> Verdict {
    match (judge(files, host.as_str(), key), host.without_port()) {
        // The bare name can be another server behind another port, so its other keys say nothing. `ssh` only
        // warns of a key revoked under the bare name and goes on as if it were new; here it stays revoked.
        (Verdict::Unknown, Some(bare)) => match judge(files, bare, key) {
            Verdict::Changed { .. } => Verdict::Unknown,
            other => other,
        },
        (verdict, _) => verdict,
    }
}

/// The types of the keys listed for `host`, in file order without repetition: the ones to prefer in the key
/// exchange, so that a known host presents a key that can be checked.
#[must_use]
pub fn known_key_types(files: &[KnownHostsFile<'_>], host: &HostName) -> Vec<&'static str> {
    let types_for = |name: &str| {
        let mut types = Vec::new();
        for (_, line) in all_lines(files, name).filter(|(_, line)| line.marker == Marker::Plain) {
            if !types.contains(&line.key.key_type()) {
                types.push(line.key.key_type());
            }
        }
        types
    };
    match (types_for(host.as_str()), host.without_port()) {
        (types, Some(bare)) if types.is_empty() => types_for(bare),
        (types, _) => types,
    }
}

fn judge(files: &[KnownHostsFile<'_>], name: &str, key: &HostKey) -> Verdict {
    let mut trusted = None;
    let mut other: Option<(&str, Line)> = None;
    for (file, line) in all_lines(files, name) {
        let same_key = line.key == *key;
        match line.marker {
            Marker::Revoked if same_key => {
                return Verdict::Revoked { file: file.to_owned(), line: line.number };
            }
            Marker::Plain if same_key => {
                trusted.get_or_insert_with(|| Verdict::Trusted { file: file.to_owned(), line: line.number });
            }
            Marker::Plain => {
                let same_type = |line: &Line| line.key.key_type() == key.key_type();
                if same_type(&line) || !other.as_ref().is_some_and(|(_, earlier)| same_type(earlier)) {
                    other = Some((file, line));
                }
            }
            Marker::Revoked | Marker::CertAuthority => {}
        }
    }
    let changed = |(file, line): (&str, Line)| Verdict::Changed {
        file: file.to_owned(),
        line: line.number,
        key_type: line.key.key_type(),
        fingerprint: fingerprint(line.key.blob()),
    };
    trusted.or_else(|| other.map(changed)).unwrap_or(Verdict::Unknown)
}

fn all_lines<'a>(files: &'a [KnownHostsFile<'a>], name: &'a str) -> impl Iterator<Item = (&'a str, Line)> {
    files.iter().flat_map(move |file| lines_for(file.text, name).map(move |line| (file.path, line)))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const OTHER_ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEWnAdgUI5xeVstDYKxRrye+cckk1i73w1e8xLDyNUSDUPd8ny44mLSUePI49xwZUJgen8i0N17XnQ/zzvZw2jY=";

    fn key(line: &str) -> HostKey {
        HostKey::parse(&STANDARD.decode(line.split(' ').nth(1).unwrap()).unwrap()).unwrap()
    }

    /// The verdict on `ED`, in short: `trusted user:1`.
    fn judged(user: &str, global: &str, host: &HostName) -> String {
        let files = [
            KnownHostsFile { path: "user", text: user.as_bytes() },
            KnownHostsFile { path: "global", text: global.as_bytes() },
        ];
        match verdict(&files, host, &key(ED)) {
            Verdict::Trusted { file, line } => format!("trusted {file}:{line}"),
            Verdict::Unknown => "unknown".to_owned(),
            Verdict::Changed { file, line, key_type, fingerprint: printed } => {
                let listed = if key_type == "ssh-ed25519" { OTHER_ED } else { EC };
                assert_eq!(printed, fingerprint(key(listed).blob()));
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
            (format!("h.ex {OTHER_ED}\nh.ex {ED}\nh.ex {ED}"), String::new(), "trusted user:2"),
            (format!("h.ex {ED}"), format!("h.ex {OTHER_ED}"), "trusted user:1"),
            (format!("h.ex {OTHER_ED}"), String::new(), "changed user:1 ssh-ed25519"),
            (format!("h.ex {EC}"), String::new(), "changed user:1 ecdsa-sha2-nistp256"),
            (format!("h.ex {OTHER_ED}\nh.ex {EC}"), String::new(), "changed user:1 ssh-ed25519"),
            (format!("h.ex {EC}"), format!("h.ex {OTHER_ED}"), "changed global:1 ssh-ed25519"),
            (format!("h.ex ssh-ed25519 @@@\nh.ex {ED}"), String::new(), "trusted user:2"),
            (format!("@cert-authority h.ex {ED}"), String::new(), "unknown"),
            (format!("@cert-authority h.ex {OTHER_ED}"), String::new(), "unknown"),
            (format!("h.ex {ED}\n@revoked * {ED}"), String::new(), "revoked user:2"),
            (format!("h.ex {ED}"), format!("@revoked h.ex {ED}"), "revoked global:1"),
            (format!("@revoked * {ED}"), String::new(), "revoked user:1"),
            (format!("@revoked other {ED}\nh.ex {ED}"), String::new(), "trusted user:2"),
            (format!("@revoked h.ex {OTHER_ED}\nh.ex {ED}"), String::new(), "trusted user:2"),
            (format!("@revoked h.ex {OTHER_ED}"), String::new(), "unknown"),
            (format!("[h.ex]:22 {ED}"), String::new(), "unknown"),
        ] {
            assert_eq!(judged(&user, &global, &HostName::new("H.ex", 22)), expected, "{user}\n--\n{global}");
        }
    }

    #[test]
    fn another_port_is_looked_up_first_with_it_and_then_without() {
        for (user, expected) in [
            (format!("[h.ex]:2222 {ED}"), "trusted user:1"),
            (format!("h.ex {ED}"), "trusted user:1"),
            (format!("h.ex {OTHER_ED}"), "unknown"),
            (format!("[h.ex]:2222 {OTHER_ED}\nh.ex {ED}"), "changed user:1 ssh-ed25519"),
            (format!("[h.ex]:2222 {EC}\nh.ex {ED}"), "changed user:1 ecdsa-sha2-nistp256"),
            (format!("@cert-authority [h.ex]:2222 {OTHER_ED}\nh.ex {ED}"), "trusted user:2"),
            (format!("@revoked h.ex {ED}\n[h.ex]:2222 {ED}"), "trusted user:2"),
            (format!("@revoked h.ex {ED}\nh.ex {ED}"), "revoked user:1"),
            (format!("[h.ex]:2223 {ED}"), "unknown"),
        ] {
            assert_eq!(judged(&user, "", &HostName::new("h.ex", 2222)), expected, "{user}");
        }
        assert_eq!(judged(&format!("h.ex {ED}"), "", &HostName::alias("al")), "unknown");
        assert_eq!(judged(&format!("al {ED}"), "", &HostName::alias("AL")), "trusted user:1");
    }

    #[test]
    fn known_key_types_come_in_file_order_and_once() {
        let text = format!("@revoked h.ex {OTHER_ED}\n[h.ex]:99 {ED}\nh.ex {EC}\nh.ex {ED}\nh.ex {OTHER_ED}");
        let files = [KnownHostsFile { path: "user", text: text.as_bytes() }];
        for (port, expected) in [
            (22, vec!["ecdsa-sha2-nistp256", "ssh-ed25519"]),
            (99, vec!["ssh-ed25519"]),
            (98, vec!["ecdsa-sha2-nistp256", "ssh-ed25519"]),
        ] {
            assert_eq!(known_key_types(&files, &HostName::new("h.ex", port)), expected, "{port}");
        }
        assert!(known_key_types(&files, &HostName::new("x", 22)).is_empty());
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
            let expected = Verdict::Trusted { file: "user".into(), line: number };
            prop_assert_eq!(verdict(&files, &HostName::new("h.ex", 22), &key(ED)), expected);
        }
    }
}
