//! Lines which `ssh` appends to `known_hosts` for an accepted host key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{
    host_key::HostKey,
    host_pattern::{HostName, hashed, stands_for},
};

/// Returns the line to append for a key, without a line end. With a `salt` (random, and fresh for
/// each line) the host name is hidden as by `HashKnownHosts`. The caller first ends the last line
/// of the file if necessary.
///
/// Returns `None` if the name has a special meaning in plain text. `ssh` would write `*` or `a,b`
/// unchanged and so trust the key for other hosts. Such a name can still be hashed.
#[must_use]
pub fn render_line(host: &HostName, salt: Option<[u8; 20]>, key: &HostKey) -> Option<String> {
    // A hashed name needs no check: the hash never matches another name.
    let name = match salt {
        Some(salt) => hashed(host.as_str(), salt)?,
        None => literal(host.as_str())?.to_owned(),
    };

    Some(format!(
        "{name} {} {}",
        key.key_type(),
        STANDARD.encode(key.blob())
    ))
}

/// Returns a name which may be written in plain text, or `None`.
fn literal(name: &str) -> Option<&str> {
    let special = |c: char| matches!(c, '*' | '?' | ',') || c.is_whitespace() || c.is_control();
    let plain =
        !name.is_empty() && !name.starts_with(['!', '#', '@', '|']) && !name.contains(special);
    (plain && stands_for(name.as_bytes(), name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::openssh::known_hosts::verdict::{KnownHostsFile, Verdict, verdict};

    fn ed25519(bytes: [u8; 32]) -> HostKey {
        HostKey::parse(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20".as_slice(), &bytes].concat()).unwrap()
    }

    #[test]
    fn lines_are_the_ones_ssh_writes() {
        let key = HostKey::parse(
            &STANDARD
                .decode("AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b")
                .unwrap(),
        )
        .unwrap();

        let salt: [u8; 20] = STANDARD
            .decode("YNaH82wlTleueiYEl2r9NAQoEf8=")
            .unwrap()
            .try_into()
            .unwrap();

        for (host, salt, expected) in [
            (
                HostName::new("H.ex", 22),
                None,
                "h.ex ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b",
            ),
            (
                HostName::new("H.ex", 2222),
                None,
                "[h.ex]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b",
            ),
            (
                HostName::new("H.ex", 22),
                Some(salt),
                "|1|YNaH82wlTleueiYEl2r9NAQoEf8=|a+7P+nhZTrZLa1IhBa+DSo9FEvk= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b",
            ),
        ] {
            assert_eq!(render_line(&host, salt, &key).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_name_that_matches_other_hosts_is_hashed_or_not_written() {
        let key = ed25519([7; 32]);
        let long = "h".repeat(1023);
        for name in [
            "*", "h?", "a,b", "!h", "#h", "@h", "|h", "a b", "a\nb", "", &long,
        ] {
            let host = HostName::new(name, 22);
            assert_eq!(render_line(&host, None, &key), None, "{name:?}");
            let line = render_line(&host, Some([1; 20]), &key).unwrap();
            assert_eq!(judged(line.as_bytes(), &host, &key), trusted(1), "{name:?}");
        }
    }

    fn judged(text: &[u8], host: &HostName, key: &HostKey) -> Verdict {
        verdict(&[KnownHostsFile { path: "kh", text }], host, key)
    }

    fn trusted(line: usize) -> Verdict {
        Verdict::Trusted {
            file: "kh".into(),
            line,
            without_port: false,
        }
    }

    proptest! {
        #[test]
        fn a_written_line_is_trusted_again(name: String, port: u16, salt: Option<[u8; 20]>, bytes: [u8; 32]) {
            let (host, key) = (HostName::new(&name, port), ed25519(bytes));
            if let Some(line) = render_line(&host, salt, &key) {
                prop_assert_eq!(judged(line.as_bytes(), &host, &key), trusted(1));
                let other = HostName::new(&format!("{name}x"), port);
                prop_assert_eq!(judged(line.as_bytes(), &other, &key), Verdict::Unknown);
            }
        }

        #[test]
        fn a_plain_name_is_always_written(name in "[a-zA-Z0-9.:_%-]{1,80}", port: u16, bytes: [u8; 32]) {
            prop_assert!(render_line(&HostName::new(&name, port), None, &ed25519(bytes)).is_some());
        }
    }
}
