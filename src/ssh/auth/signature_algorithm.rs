//! Chooses the signature algorithm for a key: an algorithm which `PubkeyAcceptedAlgorithms` allows
//! and the server accepts.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg, ssh_key::public::KeyData};

use crate::{openssh::effective_config::EffectiveConfig, ssh::error::SshError};

/// Answer of a server about hashes for RSA signatures (RFC 8308).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerHash {
    /// The server has announced nothing.
    Unannounced,
    /// The server has announced this hash as the best; `None` stands for SHA-1.
    Announced(Option<HashAlg>),
}

/// RSA signature algorithms, strongest first.
const RSA: [Algorithm; 3] = [
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
    Algorithm::Rsa { hash: None },
];

/// Signature algorithms of the other key types.
const OTHERS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
];

/// Checks for a supported algorithm in `PubkeyAcceptedAlgorithms`.
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`] with the configured and the supported algorithms.
pub(super) fn check(config: &EffectiveConfig) -> Result<(), SshError> {
    let supported: Vec<String> = OTHERS
        .iter()
        .chain(&RSA)
        .flat_map(|algorithm| [name(algorithm, false), name(algorithm, true)])
        .collect();

    let configured = &config.pubkey_accepted_algorithms;
    if configured.is_empty() || configured.iter().any(|name| supported.contains(name)) {
        return Ok(());
    }

    Err(SshError::UnsupportedAlgorithms {
        option: "PubkeyAcceptedAlgorithms",
        configured: configured.join(","),
        supported: supported.join(","),
    })
}

/// Returns the signature algorithm for a key; `None` if the configuration allows none. A server
/// which announces nothing gets SHA-1 if the configuration allows SHA-1, as from `ssh`, and SHA-2
/// otherwise. A server which announces SHA-2 never gets SHA-1.
pub(super) fn signature_algorithm(
    key: &Algorithm,
    certificate: bool,
    config: &EffectiveConfig,
    server: ServerHash,
) -> Option<Algorithm> {
    let [sha512, sha256, sha1] = &RSA;

    let allowed = &config.pubkey_accepted_algorithms;
    let sha1_is_allowed = allowed.contains(&name(sha1, certificate));

    // Only RSA keys have a choice. A server without an announcement is old, but may know SHA-2.
    let candidates = match (key, server) {
        (Algorithm::Rsa { .. }, ServerHash::Unannounced) if sha1_is_allowed => vec![sha1],
        (
            Algorithm::Rsa { .. },
            ServerHash::Unannounced | ServerHash::Announced(Some(HashAlg::Sha512)),
        ) => vec![sha512, sha256],
        (Algorithm::Rsa { .. }, ServerHash::Announced(Some(_))) => vec![sha256],
        (Algorithm::Rsa { .. }, ServerHash::Announced(None)) => vec![sha1],
        (other, _) => vec![other],
    };

    // The order of the configuration decides among the algorithms which the server accepts.
    let rank = |algorithm: &Algorithm| {
        if allowed.is_empty() {
            return Some(0);
        }

        let name = name(algorithm, certificate);
        allowed.iter().position(|other| *other == name)
    };

    let usable = candidates
        .into_iter()
        .filter(|algorithm| rank(algorithm).is_some());
    usable.min_by_key(|algorithm| rank(algorithm)).cloned()
}

/// Returns true for an RSA key with fewer bits than `required` (`RequiredRSASize`).
pub(super) fn is_too_small(key: &KeyData, required: u32) -> bool {
    let modulus = key.rsa().and_then(|key| key.n().as_positive_bytes());
    let bits = modulus.and_then(|bytes| {
        let unused = bytes.first()?.leading_zeros();
        u32::try_from(bytes.len() * 8).ok()?.checked_sub(unused)
    });
    bits.is_some_and(|bits| bits < required)
}

/// Returns the hash of an RSA algorithm; `None` for SHA-1 and for other key types.
pub(super) fn hash_of(algorithm: &Algorithm) -> Option<HashAlg> {
    match algorithm {
        Algorithm::Rsa { hash } => *hash,
        _ => None,
    }
}

/// Returns the name of the algorithm in `ssh_config`.
pub(super) fn name(algorithm: &Algorithm, certificate: bool) -> String {
    if certificate {
        algorithm.to_certificate_type()
    } else {
        algorithm.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(accepted: &str) -> EffectiveConfig {
        let line = if accepted.is_empty() {
            String::new()
        } else {
            format!("pubkeyacceptedalgorithms {accepted}")
        };
        EffectiveConfig::parse(&format!("hostname h\nuser u\n{line}")).unwrap()
    }

    #[test]
    fn rsa_keys_sign_with_the_first_hash_that_the_server_accepts() {
        let (rsa, sha512, sha256) = (
            Algorithm::Rsa { hash: None },
            Some(HashAlg::Sha512),
            Some(HashAlg::Sha256),
        );

        let certificates = "rsa-sha2-256-cert-v01@openssh.com";
        for (accepted, certificate, server, expected) in [
            ("", false, None, Some(sha512)),
            ("", true, Some(sha256), Some(sha256)),
            (
                "rsa-sha2-512,rsa-sha2-256",
                false,
                Some(sha512),
                Some(sha512),
            ),
            (
                "rsa-sha2-256,rsa-sha2-512",
                false,
                Some(sha512),
                Some(sha256),
            ),
            ("rsa-sha2-512", false, Some(sha256), None),
            ("rsa-sha2-512", false, Some(None), None),
            ("ssh-rsa", false, Some(None), Some(None)),
            ("rsa-sha2-512,ssh-rsa", false, None, Some(None)),
            ("rsa-sha2-512,ssh-rsa", false, Some(sha512), Some(sha512)),
            ("rsa-sha2-512", false, None, Some(sha512)),
            (certificates, false, None, None),
            (certificates, true, Some(sha512), Some(sha256)),
        ] {
            let server = server.map_or(ServerHash::Unannounced, ServerHash::Announced);
            let algorithm = signature_algorithm(&rsa, certificate, &config(accepted), server);
            assert_eq!(
                algorithm.as_ref().map(hash_of),
                expected,
                "{accepted} {server:?}"
            );
        }
    }

    #[test]
    fn other_keys_are_allowed_or_not() {
        for (accepted, certificate, allowed) in [
            ("", false, true),
            ("ssh-ed25519", false, true),
            ("ssh-ed25519", true, false),
            ("ssh-ed25519-cert-v01@openssh.com", true, true),
            ("ecdsa-sha2-nistp256", false, false),
        ] {
            let algorithm = signature_algorithm(
                &Algorithm::Ed25519,
                certificate,
                &config(accepted),
                ServerHash::Unannounced,
            );
            assert_eq!(
                algorithm,
                allowed.then_some(Algorithm::Ed25519),
                "{accepted}"
            );
        }
    }

    #[test]
    fn a_list_without_anything_supported_is_refused_with_both_lists() {
        assert!(
            check(&config("")).is_ok()
                && check(&config("x,ssh-ed25519-cert-v01@openssh.com")).is_ok()
        );

        let error = check(&config("ssh-dss,ssh-xmss@openssh.com"))
            .unwrap_err()
            .to_string();

        for part in [
            "PubkeyAcceptedAlgorithms",
            "ssh-dss,ssh-xmss@openssh.com",
            "rsa-sha2-512",
            "ssh-ed25519-cert-v01",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
