//! Chooses the algorithms to offer: those which the configuration allows and this program has.

use std::borrow::Cow;

use russh::{Names, Preferred, cipher, compression, kex, keys::Algorithm, mac};

use crate::{
    openssh::{effective_config::EffectiveConfig, known_hosts::CERTIFICATE_SUFFIX},
    ssh::error::SshError,
};

/// Ciphers, ordered by speed on a CPU with AES instructions. The configuration decides which are
/// allowed, but its order says nothing about their speed here.
const CIPHERS: [cipher::Name; 6] = [
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
];

/// Ciphers used only if the configuration names them, for devices without better ciphers.
const OLD_CIPHERS: [cipher::Name; 4] = [
    cipher::AES_256_CBC,
    cipher::AES_192_CBC,
    cipher::AES_128_CBC,
    cipher::TRIPLE_DES_CBC,
];

/// Returns the algorithms to offer, with the host key algorithms in the order of
/// `host_key_algorithms`.
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`] if an option leaves no supported algorithm. The error lists
/// the configured and the supported algorithms.
pub(in crate::ssh) fn preferred(
    config: &EffectiveConfig,
    host_key_algorithms: &[String],
) -> Result<Preferred, SshError> {
    // An allowed cipher need not be named: an empty list allows the defaults, but never the old
    // ciphers.
    let old = OLD_CIPHERS
        .into_iter()
        .filter(|name| config.ciphers.iter().any(|named| named == name.as_ref()));

    let ciphers: Vec<_> = CIPHERS
        .into_iter()
        .filter(|name| allows(&config.ciphers, name.as_ref()))
        .chain(old)
        .collect();

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

    let supported = || {
        host_key_algorithms
            .iter()
            .filter_map(|name| host_key_algorithm(name))
    };

    // russh asks for certificates before plain keys. A certificate listed after a plain key would
    // jump the order, and a server with a certificate has the plain key too.
    let certificates: Vec<_> = supported()
        .map_while(|(key, certified)| certified.then_some(key))
        .collect();

    let keys: Vec<_> = supported()
        .filter_map(|(key, certified)| (!certified).then_some(key))
        .collect();

    // An empty list would fail in the handshake with a message which names no option.
    for (option, left, configured, supported) in [
        (
            "Ciphers",
            ciphers.len(),
            &config.ciphers,
            join(&[CIPHERS.as_slice(), &OLD_CIPHERS].concat()),
        ),
        (
            "KexAlgorithms",
            kexes.len(),
            &config.kex_algorithms,
            join(&usable(kex::ALL_KEX_ALGORITHMS)),
        ),
        (
            "MACs",
            macs.len(),
            &config.macs,
            join(&usable(mac::ALL_MAC_ALGORITHMS)),
        ),
        (
            "HostKeyAlgorithms",
            certificates.len() + keys.len(),
            &config.host_key_algorithms,
            join_keys(&Preferred::DEFAULT.key),
        ),
    ] {
        if left == 0 {
            return Err(SshError::UnsupportedAlgorithms {
                option,
                configured: configured.join(","),
                supported,
            });
        }
    }

    // These markers are no key exchanges: RFC 8308 extensions, and OpenSSH's strict key exchange.
    // They come after the check, which they would always pass.
    kexes.extend([
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ]);

    let compression: &[compression::Name] = if config.compression {
        &[
            compression::ZLIB_LEGACY,
            compression::ZLIB,
            compression::NONE,
        ]
    } else {
        &[compression::NONE]
    };

    Ok(Preferred {
        kex: Cow::Owned(kexes),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Owned(certificates),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        compression: Cow::Owned(compression.to_vec()),
    })
}

/// Describes the agreed algorithms in words.
pub(in crate::ssh) fn agreed(names: &Names) -> String {
    // An AEAD cipher authenticates the data itself, so no MAC is in use.
    let cipher: &str = names.cipher.as_ref();
    let own = cipher.contains("gcm") || cipher.contains("poly1305");
    let mac = if own {
        String::new()
    } else {
        format!(", MAC {}", names.server_mac.as_ref())
    };

    format!(
        "{}, host key by {}, cipher {cipher}{mac}",
        names.kex.as_ref(),
        names.key.as_str()
    )
}

/// Parses the name of a host key algorithm. Returns the algorithm and true for a certificate;
/// `None` if the algorithm is not supported.
fn host_key_algorithm(name: &str) -> Option<(Algorithm, bool)> {
    let plain = name.strip_suffix(CERTIFICATE_SUFFIX);
    let algorithm = Algorithm::new(plain.unwrap_or(name)).ok()?;
    let supported = matches!(
        algorithm,
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }
    );
    supported.then_some((algorithm, plain.is_some()))
}

/// Returns true if the list is empty or contains the name.
fn allows(configured: &[String], name: &str) -> bool {
    configured.is_empty() || configured.iter().any(|allowed| allowed == name)
}

/// Returns the algorithms of `all` which the configuration names, in the configured order.
fn named<N: AsRef<str> + Copy>(configured: &[String], all: &[N]) -> Vec<N> {
    configured
        .iter()
        .filter_map(|name| all.iter().copied().find(|known| known.as_ref() == name))
        .collect()
}

/// Returns the algorithms of russh, without the placeholders `none` and `clear`.
fn usable<N: AsRef<str> + Copy>(all: &[&N]) -> Vec<N> {
    all.iter()
        .map(|name| **name)
        .filter(|name| !["none", "clear"].contains(&name.as_ref()))
        .collect()
}

/// Joins algorithm names with commas.
fn join<N: AsRef<str>>(names: &[N]) -> String {
    names
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join(",")
}

/// Joins the names of key algorithms with commas.
fn join_keys(keys: &[Algorithm]) -> String {
    keys.iter()
        .map(Algorithm::as_str)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> EffectiveConfig {
        EffectiveConfig::parse(&format!("hostname h\nuser u\n{text}")).unwrap()
    }

    fn any() -> Vec<String> {
        vec!["ssh-ed25519".to_owned()]
    }

    #[test]
    fn ciphers_keep_to_the_configuration_and_go_by_speed() {
        let preferred = preferred(
            &config("ciphers chacha20-poly1305@openssh.com,umac,aes128-gcm@openssh.com"),
            &any(),
        )
        .unwrap();

        assert_eq!(
            join(&preferred.cipher),
            "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"
        );

        let old =
            self::preferred(&config("ciphers 3des-cbc,aes128-cbc,aes128-ctr"), &any()).unwrap();
        assert_eq!(join(&old.cipher), "aes128-ctr,aes128-cbc,3des-cbc");
        assert!(!join(&self::preferred(&config(""), &any()).unwrap().cipher).contains("cbc"));
    }

    #[test]
    fn key_exchange_keeps_its_order_and_always_offers_strict_kex() {
        let preferred = preferred(
            &config(
                "kexalgorithms sntrup761x25519-sha512,diffie-hellman-group14-sha256,curve25519-sha256",
            ),
            &any(),
        );

        assert_eq!(
            join(&preferred.unwrap().kex),
            "diffie-hellman-group14-sha256,curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com"
        );
    }

    #[test]
    fn host_keys_are_requested_in_order_with_certificates_first() {
        for (order, certificates, keys) in [
            (
                "ssh-ed25519-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,ecdsa-sha2-nistp256,ssh-ed25519",
                "ssh-ed25519-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com",
                "ecdsa-sha2-nistp256,ssh-ed25519",
            ),
            (
                "sk-ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp384-cert-v01@openssh.com,rsa-sha2-512,\
                 sk-ssh-ed25519@openssh.com,ssh-ed25519-cert-v01@openssh.com,ssh-rsa",
                "ecdsa-sha2-nistp384-cert-v01@openssh.com",
                "rsa-sha2-512,ssh-rsa",
            ),
            (
                "rsa-sha2-512-cert-v01@openssh.com",
                "rsa-sha2-512-cert-v01@openssh.com",
                "",
            ),
        ] {
            let order: Vec<String> = order.split(',').map(str::to_owned).collect();
            let preferred = preferred(&config(""), &order).unwrap();
            let offered: Vec<_> = preferred
                .host_key_certificates
                .iter()
                .map(Algorithm::to_certificate_type)
                .collect();

            assert_eq!(
                (offered.join(","), join_keys(&preferred.key)),
                (certificates.to_owned(), keys.to_owned())
            );
        }
    }

    #[test]
    fn nothing_in_common_names_both_lists() {
        for (lines, configured, supported) in [
            (
                "macs umac-64@openssh.com",
                "umac-64@openssh.com",
                "hmac-sha2-256",
            ),
            ("ciphers none", "none", "aes128-gcm@openssh.com"),
            ("macs none", "none", "hmac-sha2-256"),
            ("kexalgorithms none", "none", "ecdh-sha2-nistp256"),
        ] {
            let error = preferred(&config(lines), &any()).unwrap_err().to_string();
            assert!(
                error.contains(configured) && error.contains(supported),
                "{error}"
            );
        }
    }
}
