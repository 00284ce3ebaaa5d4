//! Order in which a client asks for host key algorithms.

use super::{
    host_key::{CERTIFICATE_SUFFIX, plain_key_type},
    host_pattern::HostName,
    line::{Marker, MatchingLine},
    verdict::{KnownHostsFile, all_lines},
};

/// Returns the algorithms of `HostKeyAlgorithms` in the order of preference of `ssh`. Algorithms
/// for which the host is known, by a key or by an authority, come first: a known host could
/// otherwise present a key which is not listed. An empty `configured` stands for all algorithms,
/// and a list in an order of the user's own is returned unchanged.
///
/// `ssh -G` does not show whether a list was set. A list in one of OpenSSH's own orders, which `-`
/// and `+` preserve, counts as not set.
#[must_use]
pub fn order_algorithms(
    configured: &[String],
    files: &[KnownHostsFile<'_>],
    host: &HostName,
) -> Vec<String> {
    // An empty list means that no list was printed; the order of OpenSSH is then the default.
    let configured = if configured.is_empty() {
        in_order(&KINDS)
    } else {
        configured.to_vec()
    };

    // `ssh` keeps the list too if its first choice is known (`order_hostkeyalgs` of sshconnect2.c).
    let lines: Vec<MatchingLine> = all_lines(files, host.as_str())
        .map(|(_, line)| line)
        .collect();
    let known = |algorithm: &String| is_known(&lines, plain_key_type(algorithm));
    if !in_default_order(&configured) || configured.first().is_some_and(known) {
        return configured;
    }

    // An authority can vouch for a key of any type, so all certificates come first.
    let has_authority = lines
        .iter()
        .any(|line| line.marker == Marker::CertAuthority);

    let preferred = |algorithm: &String| {
        has_authority && algorithm.ends_with(CERTIFICATE_SUFFIX)
            || is_known(&lines, plain_key_type(algorithm))
    };

    let (mut first, last): (Vec<String>, Vec<String>) = configured.into_iter().partition(preferred);
    first.extend(last);

    first
}

/// Types of keys in the order of OpenSSH.
const KINDS: [&str; 9] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// Types of keys in the order of OpenSSH before 8.5.
const EARLIER_KINDS: [&str; 8] = [
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// Returns the default list of OpenSSH for these types: all certificates, then all keys.
fn in_order(kinds: &[&str]) -> Vec<String> {
    let certificate =
        |kind: &&str| kind.trim_end_matches("@openssh.com").to_owned() + CERTIFICATE_SUFFIX;
    kinds
        .iter()
        .map(certificate)
        .chain(kinds.iter().map(ToString::to_string))
        .collect()
}

/// Returns true if a plain key of this type is listed. A type whose first key is revoked counts as
/// not listed, as in `ssh`.
fn is_known(lines: &[MatchingLine], key_type: Option<&str>) -> bool {
    let plain = |line: &&MatchingLine| {
        line.marker == Marker::Plain && !line.certified && Some(line.key.key_type()) == key_type
    };

    lines.iter().find(plain).is_some_and(|first| {
        !lines
            .iter()
            .any(|line| line.marker == Marker::Revoked && line.key == first.key)
    })
}

/// Returns true if the list follows a default order of OpenSSH. Other algorithms may stand in the
/// list (`+`), but not at the beginning (`^`).
fn in_default_order(algorithms: &[String]) -> bool {
    // An older `ssh` on this machine prints the older order, which the user has not chosen either.
    [&KINDS[..], &EARLIER_KINDS].into_iter().any(|kinds| {
        let order = in_order(kinds);
        let rank = |algorithm: &String| order.iter().position(|known| known == algorithm);
        algorithms
            .first()
            .is_some_and(|first| order.contains(first))
            && algorithms.iter().filter_map(rank).is_sorted()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEWnAdgUI5xeVstDYKxRrye+cckk1i73w1e8xLDyNUSDUPd8ny44mLSUePI49xwZUJgen8i0N17XnQ/zzvZw2jY=";

    /// Ordered for `[h.ex]:2222`, in short: `ed-cert ec-cert rsa-cert ed ec rsa`.
    fn ordered(configured: &str, text: &str) -> String {
        let long = |short: &str| {
            let plain = short.trim_end_matches("-cert");
            let name = match plain {
                "ed" => "ssh-ed25519",
                "ec" => "ecdsa-sha2-nistp256",
                "rsa" => "rsa-sha2-512",
                _ => "ssh-rsa",
            };

            if short == plain {
                name.to_owned()
            } else {
                format!("{name}-cert-v01@openssh.com")
            }
        };

        let short = |name: &String| {
            let plain = name.trim_end_matches("-cert-v01@openssh.com");
            let short = match plain {
                "ssh-ed25519" => "ed",
                "ecdsa-sha2-nistp256" => "ec",
                "rsa-sha2-512" => "rsa",
                _ => "old",
            };

            format!("{short}{}", if plain == name { "" } else { "-cert" })
        };

        let configured: Vec<String> = configured.split(' ').map(long).collect();
        let files = [KnownHostsFile {
            path: "user",
            text: text.as_bytes(),
        }];

        let ordered = order_algorithms(&configured, &files, &HostName::new("h.ex", 2222));
        ordered.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_known_comes_first() {
        let all = "ed-cert ec-cert rsa-cert ed ec rsa";
        let (ed, ec) = (format!("[h.ex]:2222 {ED}\n"), format!("[h.ex]:2222 {EC}\n"));
        for (text, expected) in [
            (String::new(), all),
            (ed.clone(), all),
            (format!("{ec}{ed}"), all),
            (ec.clone(), "ec-cert ec ed-cert rsa-cert ed rsa"),
            (format!("@cert-authority [h.ex]:* {ED}"), all),
            (
                format!("{ec}@cert-authority * {ED}"),
                "ed-cert ec-cert rsa-cert ec ed rsa",
            ),
            (
                format!("{ec}@cert-authority x {ED}"),
                "ec-cert ec ed-cert rsa-cert ed rsa",
            ),
            (format!("{ec}@revoked * {EC}"), all),
            (format!("@revoked * {EC}"), all),
            // The bare name is another server's, perhaps.
            (format!("h.ex {EC}"), all),
        ] {
            assert_eq!(ordered(all, &text), expected, "{text}");
        }
    }

    #[test]
    fn an_order_of_the_persons_own_stays() {
        let ec = format!("[h.ex]:2222 {EC}");
        for (configured, expected) in [
            ("rsa ed ec", "rsa ed ec"),
            ("rsa ed-cert ec-cert ed ec", "rsa ed-cert ec-cert ed ec"),
            (
                "ed-cert rsa-cert ed ec rsa old",
                "ec ed-cert rsa-cert ed rsa old",
            ),
            ("old ed-cert ed ec rsa", "old ed-cert ed ec rsa"),
            // OpenSSH 8.4.
            (
                "ec-cert ed-cert old-cert ec ed rsa old",
                "ec-cert ed-cert old-cert ec ed rsa old",
            ),
            ("ed rsa", "ed rsa"),
        ] {
            assert_eq!(ordered(configured, &ec), expected);
        }
    }

    #[test]
    fn the_order_of_earlier_releases_is_no_persons_own() {
        let ed = format!("[h.ex]:2222 {ED}");
        let before = "ec-cert ed-cert rsa-cert old-cert ec ed rsa old";
        assert_eq!(
            ordered(before, &ed),
            "ed-cert ed ec-cert rsa-cert old-cert ec rsa old"
        );
    }

    #[test]
    fn without_a_list_everything_is_asked_for() {
        let all = order_algorithms(&[], &[], &HostName::new("h", 22));
        assert_eq!(
            (all.len(), all[0].as_str(), all[17].as_str()),
            (18, "ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-256")
        );
        assert_eq!(all[4], "sk-ssh-ed25519-cert-v01@openssh.com");
    }
}
