//! A host's public key as SSH encodes it, and its fingerprint.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

/// A plain public key (no certificate) in the encoding of RFC 4253, section 6.6, of a type that may stand in
/// `known_hosts`. Two keys are equal when their encodings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    key_type: &'static str,
    blob: Vec<u8>,
}

impl HostKey {
    /// Reads the type a blob begins with and checks that the fields of that type follow and nothing else does.
    /// `None` for a certificate, an unknown type or a broken encoding, all of which match no line.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let mut fields = Vec::new();
        let mut rest = blob;
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (field, after) = after.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
            fields.push(field);
            rest = after;
        }
        let (name, fields) = fields.split_first()?;
        let key_type = *KEY_TYPES.iter().find(|known| known.as_bytes() == *name)?;
        let complete = match (key_type, fields) {
            ("ssh-ed25519", [key]) | ("sk-ssh-ed25519@openssh.com", [key, _]) => key.len() == 32,
            ("ssh-rsa", [_, _]) | ("ssh-dss", [_, _, _, _]) => true,
            ("sk-ecdsa-sha2-nistp256@openssh.com", [curve, _, _]) => *curve == b"nistp256",
            (ecdsa, [curve, _]) => ecdsa.strip_prefix("ecdsa-sha2-").is_some_and(|name| name.as_bytes() == *curve),
            _ => false,
        };
        complete.then(|| Self { key_type, blob: blob.to_vec() })
    }

    /// The key type inside the blob, such as `ssh-ed25519`. An RSA key is `ssh-rsa`, whatever the signature.
    #[must_use]
    pub fn key_type(&self) -> &'static str {
        self.key_type
    }

    /// The encoded key.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }
}

/// The fingerprint of an encoded public key as `ssh` and `ssh-keygen -l` print it: `SHA256:` and unpadded base64.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// What `ssh` accepts in `known_hosts`. A line of any other type is skipped, as `ssh` skips types it was not
/// built with.
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
        let encode = |field: &&[u8]| [&u32::try_from(field.len()).unwrap().to_be_bytes()[..], field].concat();
        fields.iter().flat_map(encode).collect()
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
            (&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"point", b"ssh:"], true),
            (&[b"ssh-foo", b"x"], false),
            (&[], false),
        ];
        for (fields, accepted) in cases {
            let parsed = HostKey::parse(&blob(fields));
            assert_eq!(parsed.as_ref().map(|key| key.key_type().as_bytes()), accepted.then(|| fields[0]), "{fields:?}");
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
    fn the_fingerprint_is_the_one_ssh_keygen_prints() {
        let blob = STANDARD.decode("AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b").unwrap();
        assert_eq!(fingerprint(&blob), "SHA256:kQPXrkYSBKy7dbEhMOd1YHzAMFIqZMahHaSUSBHKtjI");
    }
}
