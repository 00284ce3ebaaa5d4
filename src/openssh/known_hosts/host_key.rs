//! Public keys of hosts in the encoding of SSH, and their fingerprints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::openssh::wire::{WireReader, string};

/// A plain public key (not a certificate) in the encoding of RFC 4253, section 6.6, with a type
/// which may occur in `known_hosts`. Two keys are equal if their encodings are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    key_type: &'static str,
    blob: Vec<u8>,
}

impl HostKey {
    /// Parses an encoded key and checks for exactly the fields of the key type. Returns `None` for
    /// a certificate, an unknown type or a broken encoding, none of which match any line.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let mut reader = WireReader::new(blob);
        let name = reader.string()?;
        let key_type = *KEY_TYPES.iter().find(|known| known.as_bytes() == name)?;
        let key = Self::of_fields(key_type, &mut reader)?;
        reader.is_empty().then_some(key)
    }

    /// Parses the fields of a key of this type. In a key the fields follow the name of the type,
    /// and in a certificate the nonce.
    pub(super) fn of_fields(key_type: &'static str, reader: &mut WireReader<'_>) -> Option<Self> {
        let start = *reader;
        let first = reader.string()?;

        // Number of further fields for each type, and a check of the first field: the length of an
        // Ed25519 key, or the name of the curve.
        let (more, complete) = match key_type {
            "ssh-ed25519" => (0, first.len() == 32),
            "sk-ssh-ed25519@openssh.com" => (1, first.len() == 32),
            "ssh-rsa" => (1, true),
            "ssh-dss" => (3, true),
            "sk-ecdsa-sha2-nistp256@openssh.com" => (2, first == b"nistp256"),
            ecdsa => (
                1,
                ecdsa
                    .strip_prefix("ecdsa-sha2-")
                    .is_some_and(|curve| curve.as_bytes() == first),
            ),
        };

        for _ in 0..more {
            reader.string()?;
        }

        // A certificate holds the fields without the type, so the plain key is put together again.
        let blob = [&string(key_type.as_bytes()), reader.since(start)].concat();
        complete.then_some(Self { key_type, blob })
    }

    /// Returns the key type within the encoding, such as `ssh-ed25519`. The type of an RSA key is
    /// `ssh-rsa` with every signature algorithm.
    #[must_use]
    pub fn key_type(&self) -> &'static str {
        self.key_type
    }

    /// Returns the type in the form of `ssh` messages, such as `ED25519` or `ECDSA`.
    #[must_use]
    pub fn short_type(&self) -> &'static str {
        match self.key_type {
            "ssh-ed25519" => "ED25519",
            "sk-ssh-ed25519@openssh.com" => "ED25519-SK",
            "sk-ecdsa-sha2-nistp256@openssh.com" => "ECDSA-SK",
            "ssh-rsa" => "RSA",
            "ssh-dss" => "DSA",
            _ => "ECDSA",
        }
    }

    /// Returns the encoded key.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Returns the length of an RSA modulus in bits, for `RequiredRSASize`. `None` for other types.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<u32> {
        let mut reader = WireReader::new(&self.blob);
        let (name, _exponent, modulus) = (reader.string()?, reader.string()?, reader.string()?);
        // An `mpint` has a leading zero byte if its first bit is set; zeros do not count.
        let start = modulus
            .iter()
            .position(|byte| *byte != 0)
            .unwrap_or(modulus.len());

        let (_, modulus) = modulus.split_at(start);
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros());
        let bytes = u32::try_from(modulus.len()).ok()?;
        (name == b"ssh-rsa").then(|| bytes.saturating_mul(8).saturating_sub(unused))
    }
}

/// Returns the type of the plain key for a key type, a signature algorithm or a certificate
/// algorithm: `ssh-rsa` for `rsa-sha2-512-cert-v01@openssh.com`. `None` if the algorithm is
/// unknown.
#[must_use]
pub fn plain_key_type(algorithm: &str) -> Option<&'static str> {
    // Names of security keys end in `@openssh.com`, which their certificates have only once.
    let plain = match algorithm.strip_suffix(CERTIFICATE_SUFFIX) {
        Some(security_key) if security_key.starts_with("sk-") => {
            format!("{security_key}@openssh.com")
        }
        Some(plain) => plain.to_owned(),
        None => algorithm.to_owned(),
    };

    // RSA keys have one type for all of their signature algorithms (RFC 8332).
    let plain = if matches!(plain.as_str(), "rsa-sha2-256" | "rsa-sha2-512") {
        "ssh-rsa"
    } else {
        plain.as_str()
    };

    KEY_TYPES.into_iter().find(|known| *known == plain)
}

/// End of the names of certificate types and algorithms (OpenSSH's `PROTOCOL.certkeys`).
pub const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

/// Returns the fingerprint of an encoded public key in the form of `ssh` and `ssh-keygen -l`:
/// `SHA256:` and unpadded base64.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// Key types which `ssh` accepts in `known_hosts`. Lines of other types are skipped, as `ssh` skips
/// types without support in its build.
const KEY_TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn blob(fields: &[&[u8]]) -> Vec<u8> {
        fields.iter().flat_map(|field| string(field)).collect()
    }

    #[test]
    fn each_type_has_its_fields_and_nothing_more() {
        let cases: [(&[&[u8]], bool); 13] = [
            (&[b"ssh-ed25519", &[1; 32]], true),
            (&[b"ssh-ed25519", &[1; 33]], false),
            (&[b"ssh-ed25519", &[1; 32], b""], false),
            (&[b"ssh-ed25519"], false),
            (&[b"ssh-rsa", b"e", b"n"], true),
            (&[b"ssh-rsa", b"e"], false),
            (&[b"ssh-dss", b"p", b"q", b"g", b"y"], true),
            (&[b"ecdsa-sha2-nistp384", b"nistp384", b"point"], true),
            (&[b"ecdsa-sha2-nistp384", b"nistp256", b"point"], false),
            (&[b"sk-ssh-ed25519@openssh.com", &[1; 32], b"ssh:"], true),
            (
                &[
                    b"sk-ecdsa-sha2-nistp256@openssh.com",
                    b"nistp256",
                    b"point",
                    b"ssh:",
                ],
                true,
            ),
            (&[b"ssh-foo", b"x"], false),
            (&[], false),
        ];

        for (fields, accepted) in cases {
            let parsed = HostKey::parse(&blob(fields));
            assert_eq!(
                parsed.as_ref().map(|key| key.key_type().as_bytes()),
                accepted.then(|| fields[0]),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn a_cut_blob_is_no_key() {
        let whole = blob(&[b"ssh-rsa", b"e", b"n"]);
        for length in 0..whole.len() {
            assert_eq!(HostKey::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(HostKey::parse(&whole).unwrap().blob(), whole);
    }

    #[test]
    fn the_size_of_an_rsa_key_is_that_of_its_modulus() {
        for (modulus, bits) in [
            (&[0, 0x80, 0][..], Some(16)),
            (&[0x01, 0xff], Some(9)),
            (&[0x7f], Some(7)),
            (&[], Some(0)),
        ] {
            let key = HostKey::parse(&blob(&[b"ssh-rsa", &[1, 0, 1], modulus])).unwrap();
            assert_eq!(key.rsa_bits(), bits, "{modulus:?}");
        }

        assert_eq!(
            HostKey::parse(&blob(&[b"ssh-dss", b"p", b"q", b"g", b"y"]))
                .unwrap()
                .rsa_bits(),
            None
        );
    }

    #[test]
    fn every_algorithm_has_the_type_of_its_plain_key() {
        for (algorithm, plain) in [
            ("ssh-ed25519", Some("ssh-ed25519")),
            ("ssh-ed25519-cert-v01@openssh.com", Some("ssh-ed25519")),
            (
                "ecdsa-sha2-nistp521-cert-v01@openssh.com",
                Some("ecdsa-sha2-nistp521"),
            ),
            ("rsa-sha2-256", Some("ssh-rsa")),
            ("rsa-sha2-512-cert-v01@openssh.com", Some("ssh-rsa")),
            ("ssh-rsa-cert-v01@openssh.com", Some("ssh-rsa")),
            (
                "sk-ssh-ed25519@openssh.com",
                Some("sk-ssh-ed25519@openssh.com"),
            ),
            (
                "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
                Some("sk-ecdsa-sha2-nistp256@openssh.com"),
            ),
            ("ssh-foo", None),
        ] {
            assert_eq!(plain_key_type(algorithm), plain, "{algorithm}");
        }
    }

    #[test]
    fn the_fingerprint_is_the_one_ssh_keygen_prints() {
        let blob = STANDARD
            .decode("AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b")
            .unwrap();
        assert_eq!(
            fingerprint(&blob),
            "SHA256:kQPXrkYSBKy7dbEhMOd1YHzAMFIqZMahHaSUSBHKtjI"
        );
    }
}
