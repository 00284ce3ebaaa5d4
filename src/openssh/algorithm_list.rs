//! Algorithm lists as written in `ssh_config`: a leading `+`, `-` or `^` changes the default list.

use super::known_hosts::{Case, glob};

/// Applies an algorithm option to the default list. `+` appends names, `-` removes patterns, and
/// `^` moves names to the front; any other value replaces the list.
pub(super) fn algorithms(value: &str, default: &str) -> String {
    // As in `ssh`, only `-` takes patterns. `+` and `^` take literal names.
    let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
    let listed = |patterns: &[String], name: &str| {
        patterns
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), name.as_bytes(), Case::Exact))
    };

    let default = names(default);

    // A name that the default already has is not listed twice: its first place decides the
    // preference.
    let changed = match value.split_at_checked(1) {
        Some(("+", more)) => {
            let more = names(more)
                .into_iter()
                .filter(|name| !default.contains(name))
                .collect();
            [default.clone(), more].concat()
        }
        Some(("-", less)) => default
            .into_iter()
            .filter(|name| !listed(&names(less), name))
            .collect(),
        Some(("^", first)) => {
            let first = names(first);
            let rest = default
                .into_iter()
                .filter(|name| !first.contains(name))
                .collect();

            [first, rest].concat()
        }
        // A list without a sign replaces the default as a whole.
        _ => names(value),
    };

    changed.join(",")
}

/// Returns the default list of OpenSSH 10 for an algorithm option in lower case. `None` for any
/// other option.
pub(super) fn default_algorithms(keyword: &str) -> Option<&'static str> {
    // These lists serve machines without `ssh`; elsewhere `ssh -G` prints the effective lists.
    Some(match keyword {
        "ciphers" => {
            "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"
        }
        "macs" => {
            "umac-64-etm@openssh.com,umac-128-etm@openssh.com,hmac-sha2-256-etm@openssh.com,\
             hmac-sha2-512-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com,\
             hmac-sha2-256,hmac-sha2-512,hmac-sha1"
        }
        "kexalgorithms" => {
            "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,curve25519-sha256,\
             curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521"
        }
        "hostkeyalgorithms" | "pubkeyacceptedalgorithms" => {
            "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,\
             ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,\
             sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,\
             rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,\
             ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,\
             rsa-sha2-512,rsa-sha2-256"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_changed_as_its_sign_says() {
        for (value, expected) in [
            ("x,y", "x,y"),
            ("+c,b,d", "a1,a2,b,c,d"),
            ("-a*", "b"),
            ("-b,c", "a1,a2"),
            ("^b,z", "b,z,a1,a2"),
        ] {
            assert_eq!(algorithms(value, "a1,a2,b"), expected, "{value}");
        }

        assert!(default_algorithms("ciphers").is_some() && default_algorithms("port").is_none());
    }
}
