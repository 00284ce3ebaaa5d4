//! Lists of algorithms as a person writes them: `+`, `-` and `^` refer to the defaults.

use super::known_hosts::{Case, glob};

/// A list of algorithms: all of it, or what is added to the default, taken away from it, or put before it.
pub(super) fn algorithms(value: &str, default: &str) -> String {
    let names = |list: &str| list.split(',').map(str::to_owned).collect::<Vec<_>>();
    let listed = |patterns: &[String], name: &str| {
        patterns
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), name.as_bytes(), Case::Exact))
    };

    let default = names(default);

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
        _ => names(value),
    };

    changed.join(",")
}

/// The defaults of OpenSSH 10, to which `+`, `-` and `^` refer.
pub(super) fn default_algorithms(keyword: &str) -> Option<&'static str> {
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
