//! Which algorithms are offered: what the configuration allows, cut to what this program has.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, keys::Algorithm, mac};

use super::error::SshError;
use crate::openssh::effective_config::EffectiveConfig;

/// Ciphers by speed on a CPU with AES instructions, which is every current one. The configuration says which may be used,
/// not how fast they are here.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
];

/// What is used only where the configuration names it, for devices that have nothing better.
const OLD_CIPHERS: [cipher::Name; 3] = [cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];

/// The algorithms to offer, those host key types first for which a key of the host is known already (as
/// `order_hostkeyalgs` of OpenSSH: else a host known by another type of key would look like a new one).
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`], naming both lists, where nothing is left of one.
pub(super) fn preferred(config: &EffectiveConfig, known_key_types: &[&str]) -> Result<Preferred, SshError> {
    let old = OLD_CIPHERS.into_iter().filter(|name| config.ciphers.iter().any(|named| named == name.as_ref()));
    let ciphers: Vec<_> =
        CIPHERS.into_iter().filter(|name| allows(&config.ciphers, name.as_ref())).chain(old).collect();
    let mut kexes: Vec<_> = if config.kex_algorithms.is_empty() {
        Preferred::DEFAULT.kex.to_vec()
    } else {
        named(&config.kex_algorithms, &usable(kex::ALL_KEX_ALGORITHMS))
    };
    let macs: Vec<_> = if config.macs.is_empty() {
        Preferred::DEFAULT.mac.to_vec()
    } else {
        named(&config.macs, &usable(mac::ALL_MAC_ALGORITHMS))
    };
    let mut keys: Vec<Algorithm> = if config.host_key_algorithms.is_empty() {
        Preferred::DEFAULT.key.to_vec()
    } else {
        config.host_key_algorithms.iter().filter_map(|name| plain_key_algorithm(name)).collect()
    };
    keys.sort_by_key(|key| !known_key_types.contains(&key_type(key)));
    for (option, left, configured, supported) in [
        ("Ciphers", ciphers.len(), &config.ciphers, join(&[CIPHERS.as_slice(), &OLD_CIPHERS].concat())),
        ("KexAlgorithms", kexes.len(), &config.kex_algorithms, join(&usable(kex::ALL_KEX_ALGORITHMS))),
        ("MACs", macs.len(), &config.macs, join(&usable(mac::ALL_MAC_ALGORITHMS))),
        ("HostKeyAlgorithms", keys.len(), &config.host_key_algorithms, join_keys(&Preferred::DEFAULT.key)),
    ] {
        if left == 0 {
            return Err(SshError::UnsupportedAlgorithms { option, configured: configured.join(","), supported });
        }
    }
    kexes.extend([kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
    let compression: &[compression::Name] = if config.compression {
        &[compression::ZLIB_LEGACY, compression::ZLIB, compression::NONE]
    } else {
        &[compression::NONE]
    };
    Ok(Preferred {
        kex: Cow::Owned(kexes),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        compression: Cow::Owned(compression.to_vec()),
    })
}

/// The type of key behind a signature algorithm: both RSA hashes belong to `ssh-rsa` (RFC 8332).
fn key_type(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

fn plain_key_algorithm(name: &str) -> Option<Algorithm> {
    let algorithm = Algorithm::new(name).ok()?;
    matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }).then_some(algorithm)
}

fn allows(configured: &[String], name: &str) -> bool {
    configured.is_empty() || configured.iter().any(|allowed| allowed == name)
}

/// Those of `all` that the configuration names, in its order.
fn named<N: AsRef<str> + Copy>(configured: &[String], all: &[N]) -> Vec<N> {
    configured.iter().filter_map(|name| all.iter().copied().find(|known| known.as_ref() == name)).collect()
}

/// All that the engine has, without the `none` of tests.
fn usable<N: AsRef<str> + Copy>(all: &[&N]) -> Vec<N> {
    all.iter().map(|name| **name).filter(|name| !["none", "clear"].contains(&name.as_ref())).collect()
}

fn join<N: AsRef<str>>(names: &[N]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",")
}

fn join_keys(keys: &[Algorithm]) -> String {
    keys.iter().map(Algorithm::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> EffectiveConfig {
        EffectiveConfig::parse(&format!("hostname h\nuser u\n{text}")).unwrap()
    }

    #[test]
    fn ciphers_keep_to_the_configuration_and_go_by_speed() {
        let preferred =
            preferred(&config("ciphers chacha20-poly1305@openssh.com,umac,aes128-gcm@openssh.com"), &[]).unwrap();
        assert_eq!(join(&preferred.cipher), "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com");
        let old = self::preferred(&config("ciphers 3des-cbc,aes128-cbc,aes128-ctr"), &[]).unwrap();
        assert_eq!(join(&old.cipher), "aes128-ctr,aes128-cbc");
        assert!(!join(&self::preferred(&config(""), &[]).unwrap().cipher).contains("cbc"));
    }

    #[test]
    fn key_exchange_keeps_the_configured_order_and_always_offers_strict_kex() {
        let preferred = preferred(
            &config("kexalgorithms sntrup761x25519-sha512,diffie-hellman-group14-sha256,curve25519-sha256"),
            &[],
        );
        assert_eq!(
            join(&preferred.unwrap().kex),
            "diffie-hellman-group14-sha256,curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com"
        );
    }

    #[test]
    fn host_key_types_that_are_known_come_first() {
        let text = "hostkeyalgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256";
        let order = |known: &[&str]| join_keys(&preferred(&config(text), known).unwrap().key);
        assert_eq!(order(&[]), "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,rsa-sha2-256");
        assert_eq!(order(&["ssh-rsa"]), "rsa-sha2-512,rsa-sha2-256,ssh-ed25519,ecdsa-sha2-nistp256");
    }

    #[test]
    fn nothing_in_common_names_both_lists() {
        for (lines, configured, supported) in [
            ("ciphers 3des-cbc", "3des-cbc", "aes128-gcm@openssh.com"),
            ("ciphers none", "none", "aes128-gcm@openssh.com"),
            ("macs none", "none", "hmac-sha2-256"),
            ("kexalgorithms none", "none", "ecdh-sha2-nistp256"),
        ] {
            let error = preferred(&config(lines), &[]).unwrap_err().to_string();
            assert!(error.contains(configured) && error.contains(supported), "{error}");
        }
    }
}
