//! Host field of a `known_hosts` line: patterns, negations and hashed names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

/// Name under which `ssh` looks up a host in `known_hosts`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    name: String,
    without_port: Option<String>,
}

impl HostName {
    /// Creates the name of a host for a port: `host` for port 22, and `[host]:port` for any other
    /// port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        // Only a host on another port than 22 has a second name to look up.
        let host = host.to_ascii_lowercase();
        if port == 22 {
            Self {
                name: host,
                without_port: None,
            }
        } else {
            Self {
                name: format!("[{host}]:{port}"),
                without_port: Some(host),
            }
        }
    }

    /// Creates the name given by `HostKeyAlias`, which stands for the host on every port.
    #[must_use]
    pub fn alias(alias: &str) -> Self {
        Self::new(alias, 22)
    }

    /// Returns the name as written in a line which is not hashed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Returns the host name without port, or `None` on port 22. Callers look for this name if
    /// nothing is listed for `[host]:port`.
    pub(super) fn without_port(&self) -> Option<&str> {
        self.without_port.as_deref()
    }
}

/// Returns true if the host field of a line matches a name, which must be in lower case like a
/// [`HostName`].
pub(super) fn stands_for(hosts: &[u8], name: &str) -> bool {
    if hosts.starts_with(b"|") {
        // Hashes are compared as text, so that `|1|salt|hash,more` matches nothing, as in `ssh`.
        salt_of(hosts)
            .and_then(|salt| hashed(name, salt))
            .is_some_and(|expected| expected.as_bytes() == hosts)
    } else {
        listed(hosts, name)
    }
}

/// Returns a name as hidden by `HashKnownHosts`: `|1|salt|hash`, with the HMAC-SHA1 of the name and
/// the salt as key.
pub(super) fn hashed(name: &str, salt: [u8; 20]) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(format!(
        "|1|{}|{}",
        STANDARD.encode(salt),
        STANDARD.encode(mac.finalize().into_bytes())
    ))
}

/// Length of a pattern in bytes from which `ssh` matches nothing on the line. (The buffer of `ssh`
/// has 1024 bytes with the NUL.)
const PATTERN_LIMIT: usize = 1023;

/// Returns the salt of a hashed host field.
fn salt_of(hosts: &[u8]) -> Option<[u8; 20]> {
    let salt = hosts
        .strip_prefix(b"|1|")?
        .split(|byte| *byte == b'|')
        .next()?;
    STANDARD.decode(salt).ok()?.try_into().ok()
}

/// Returns true if a list of patterns matches a name. A matching negation excludes the name,
/// wherever it stands.
fn listed(hosts: &[u8], name: &str) -> bool {
    // The whole list is searched after a match too, because a negation may follow.
    let mut found = false;
    for pattern in hosts.split(|byte| *byte == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };

        if pattern.len() >= PATTERN_LIMIT {
            return false;
        }

        if glob(pattern, name.as_bytes(), Case::Folded) {
            // A negation wins over every other pattern of the list.
            if negated {
                return false;
            }
            found = true;
        }
    }

    found
}

/// Treatment of ASCII case in a pattern. Host fields ignore case, principals of certificates do
/// not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::openssh) enum Case {
    Exact,
    Folded,
}

/// Matches a text against a pattern with `*` and `?`, which stands for one byte as in `ssh`.
pub(in crate::openssh) fn glob(pattern: &[u8], text: &[u8], case: Case) -> bool {
    glob_by(pattern, text, |a, b| {
        a == b || case == Case::Folded && a.eq_ignore_ascii_case(&b)
    })
}

/// Matches a text of bytes or characters against a pattern with `*` and `?`. Only the last `*` is
/// tried again, so the time is at most the product of the two lengths.
#[must_use]
pub fn glob_by<T: Copy + PartialEq + From<u8>>(
    pattern: &[T],
    text: &[T],
    same: impl Fn(T, T) -> bool,
) -> bool {
    let [any, one] = [b'*', b'?'].map(T::from);
    let (mut p, mut t) = (0, 0);
    // Trying every `*` again would take exponential time for a pattern with many of them.
    let mut star = None;

    loop {
        match (pattern.get(p), text.get(t)) {
            (Some(wanted), _) if *wanted == any => {
                p += 1;
                star = Some((p, t));
            }
            (Some(wanted), Some(found)) if *wanted == one || same(*wanted, *found) => {
                p += 1;
                t += 1;
            }
            (None, None) => return true,
            // After a mismatch, the last `*` takes one more. Earlier ones need no second try: the
            // last one could have taken the same part of the text.
            _ => match star {
                Some((after_star, from)) if from < text.len() => {
                    star = Some((after_star, from + 1));
                    p = after_star;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_looked_up_has_the_port_unless_it_is_22() {
        for (name, text, bare) in [
            (HostName::new("H.Ex", 22), "h.ex", None),
            (HostName::new("H.Ex", 2222), "[h.ex]:2222", Some("h.ex")),
            (HostName::new("::1", 22), "::1", None),
            (HostName::new("::1", 99), "[::1]:99", Some("::1")),
            (HostName::alias("AL"), "al", None),
        ] {
            assert_eq!((name.as_str(), name.without_port()), (text, bare));
        }
    }

    #[test]
    fn patterns_match_as_in_ssh() {
        for (hosts, name, expected) in [
            ("h.ex", "h.ex", true),
            ("H.EX", "h.ex", true),
            ("h.ex", "h.ex2", false),
            ("h.e", "h.ex", false),
            ("a,h.ex,b", "h.ex", true),
            (",h.ex,", "h.ex", true),
            ("h.e?", "h.ex", true),
            ("h.ex?", "h.ex", false),
            ("*", "[h.ex]:2222", true),
            ("*.e*", "h.ex", true),
            ("*a*b*c", "xaybzbc", true),
            ("*a*b*c", "xaybzb", false),
            ("*,!h.ex", "h.ex", false),
            ("!h.ex,*", "h.ex", false),
            ("!o.ex,*", "h.ex", true),
            ("!o.ex", "h.ex", false),
            ("*,!h.*", "[h.ex]:22", true),
            ("[h.ex]:22", "h.ex", false),
            ("[h.ex]:2222", "[h.ex]:2222", true),
            ("[h.ex]:*", "[h.ex]:2222", true),
            ("h*", "h*", true),
        ] {
            assert_eq!(
                stands_for(hosts.as_bytes(), name),
                expected,
                "{hosts} {name}"
            );
        }
    }

    #[test]
    fn a_pattern_too_long_for_ssh_spoils_its_line() {
        for (length, expected) in [(1022, true), (1023, false)] {
            let long = "x".repeat(length);
            assert_eq!(
                stands_for(format!("{long},h.ex").as_bytes(), "h.ex"),
                expected
            );

            assert_eq!(
                stands_for(format!("h.ex,{long}").as_bytes(), "h.ex"),
                expected
            );
        }
    }

    #[test]
    fn many_stars_are_matched_in_bounded_time() {
        assert!(!stands_for("*a".repeat(400).as_bytes(), &"a".repeat(399)));
        assert!(stands_for("*a".repeat(400).as_bytes(), &"a".repeat(4000)));
    }

    #[test]
    fn hashed_names_made_by_ssh_keygen_match_their_name_alone() {
        let plain = "|1|YNaH82wlTleueiYEl2r9NAQoEf8=|a+7P+nhZTrZLa1IhBa+DSo9FEvk=";
        let with_port = "|1|7vkicsVvh4R+FhfYyIAih9jWcVA=|N1+AyqeSr/+foa846fFY1bvQJ4o=";
        for (hosts, name, expected) in [
            (plain.to_owned(), "h.ex", true),
            (plain.to_owned(), "h.exx", false),
            (with_port.to_owned(), "[h.ex]:2222", true),
            (with_port.to_owned(), "h.ex", false),
            (format!("{plain},foo"), "h.ex", false),
            (format!("foo,{plain}"), "h.ex", false),
            (plain.trim_end_matches('=').to_owned(), "h.ex", false),
            (plain.replacen("|1|", "|2|", 1), "h.ex", false),
            ("|1|abc".to_owned(), "h.ex", false),
            ("|1|".to_owned(), "h.ex", false),
            ("|".to_owned(), "|", false),
        ] {
            assert_eq!(
                stands_for(hosts.as_bytes(), name),
                expected,
                "{hosts} {name}"
            );
        }
    }

    #[test]
    fn hashing_writes_what_ssh_keygen_wrote() {
        let written = "|1|YNaH82wlTleueiYEl2r9NAQoEf8=|a+7P+nhZTrZLa1IhBa+DSo9FEvk=";
        let salt = salt_of(written.as_bytes()).unwrap();
        assert_eq!(hashed("h.ex", salt).as_deref(), Some(written));
    }
}
