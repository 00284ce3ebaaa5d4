//! A host's certificate: a key, signed by an authority (OpenSSH's `PROTOCOL.certkeys`).

use super::{
    host_key::{CERTIFICATE_SUFFIX, HostKey, plain_key_type},
    host_pattern::{Case, glob},
};
use crate::openssh::wire::WireReader;

/// What a certificate says. Its signature is not checked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// The host's key.
    pub key: HostKey,
    /// The key of the authority that signed it.
    pub authority: HostKey,
    /// The number the authority gave it; 0 is none.
    pub serial: u64,
    /// What the authority calls it.
    pub key_id: Vec<u8>,
    /// 1 for a user's certificate, 2 for a host's.
    kind: u32,
    principals: Vec<Vec<u8>>,
    /// Seconds since 1970, from the first to before the second.
    valid: (u64, u64),
    has_critical_options: bool,
    signature_algorithm: Vec<u8>,
}

impl HostCertificate {
    /// Reads a certificate. `None` for a plain key, an unknown type, one that is signed by a certificate, or a broken
    /// encoding.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let mut reader = WireReader::new(blob);
        let name = str::from_utf8(reader.string()?)
            .ok()
            .filter(|name| name.ends_with(CERTIFICATE_SUFFIX))?;
        let _nonce = reader.string()?;
        let key = HostKey::of_fields(plain_key_type(name)?, &mut reader)?;
        let (serial, kind, key_id) = (reader.u64()?, reader.u32()?, reader.string()?.to_vec());
        let principals = WireReader::new(reader.string()?)
            .strings()?
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();

        let valid = (reader.u64()?, reader.u64()?);
        let has_critical_options = !reader.string()?.is_empty();
        let (_extensions, _reserved) = (reader.string()?, reader.string()?);
        let authority = HostKey::parse(reader.string()?)?;
        let signature_algorithm = WireReader::new(reader.string()?).string()?.to_vec();

        reader.is_empty().then_some(Self {
            key,
            authority,
            serial,
            key_id,
            kind,
            principals,
            valid,
            has_critical_options,
            signature_algorithm,
        })
    }

    /// Why it does not vouch for the host `name` (without port) at `now`, in seconds since 1970, given
    /// `CASignatureAlgorithms`; `None` when it does. In the words of `ssh`.
    ///
    /// A certificate without principals vouches for no host, and its principals may be patterns: the rule since
    /// OpenSSH 10.3. Earlier ones took the first for any host and the second literally.
    #[must_use]
    pub fn fault(
        &self,
        name: &str,
        now: u64,
        signature_algorithms: &[String],
    ) -> Option<&'static str> {
        let (after, before) = self.valid;
        let names_host = |principal: &Vec<u8>| glob(principal, name.as_bytes(), Case::Exact);
        let allowed = |algorithm: &String| algorithm.as_bytes() == self.signature_algorithm;

        if self.kind != 2 {
            Some("it is not a host certificate")
        } else if now < after {
            Some("it is not yet valid")
        } else if now >= before {
            Some("it has expired")
        } else if self.principals.is_empty() {
            Some("it lacks a list of principals")
        } else if !self.principals.iter().any(names_host) {
            Some("the name is not a listed principal")
        } else if self.has_critical_options {
            Some("it contains unsupported critical options")
        } else if !signature_algorithms.iter().any(allowed) {
            Some("it is signed with an algorithm that CASignatureAlgorithms does not allow")
        } else {
            None
        }
    }
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::*;
    use crate::openssh::wire::string;

    /// The parts of a certificate that the tests vary.
    pub(in super::super::super) struct Parts<'a> {
        pub(in super::super::super) kind: u32,
        pub(in super::super::super) serial: u64,
        pub(in super::super::super) key_id: &'a str,
        pub(in super::super::super) principals: &'a [&'a str],
        pub(in super::super::super) valid: (u64, u64),
        pub(in super::super::super) critical: &'a [u8],
        pub(in super::super::super) algorithm: &'a str,
    }

    impl Default for Parts<'_> {
        fn default() -> Self {
            Self {
                kind: 2,
                serial: 0,
                key_id: "id",
                principals: &["h.ex"],
                valid: (10, 20),
                critical: b"",
                algorithm: "ssh-ed25519",
            }
        }
    }

    /// An Ed25519 key of one repeated byte.
    pub(in super::super::super) fn ed25519(byte: u8) -> HostKey {
        HostKey::parse(&[string(b"ssh-ed25519"), string(&[byte; 32])].concat()).unwrap()
    }

    /// A certificate for `ed25519(1)`, signed (so to speak) by `ed25519(2)`.
    pub(in super::super::super) fn encoded(parts: &Parts<'_>) -> Vec<u8> {
        let principals: Vec<u8> = parts
            .principals
            .iter()
            .flat_map(|name| string(name.as_bytes()))
            .collect();

        [
            &string(b"ssh-ed25519-cert-v01@openssh.com")[..],
            &string(b"nonce"),
            &string(&[1; 32]),
            &parts.serial.to_be_bytes(),
            &parts.kind.to_be_bytes(),
            &string(parts.key_id.as_bytes()),
            &string(&principals),
            &parts.valid.0.to_be_bytes(),
            &parts.valid.1.to_be_bytes(),
            &string(parts.critical),
            &string(b""),
            &string(b""),
            &string(ed25519(2).blob()),
            &string(&[string(parts.algorithm.as_bytes()), string(&[0; 64])].concat()),
        ]
        .concat()
    }

    fn fault(parts: &Parts<'_>, name: &str, now: u64) -> Option<&'static str> {
        let allowed = ["ssh-ed25519".to_owned(), "rsa-sha2-256".to_owned()];
        HostCertificate::parse(&encoded(parts))
            .unwrap()
            .fault(name, now, &allowed)
    }

    #[test]
    fn a_certificate_is_read_whole_or_not_at_all() {
        let whole = encoded(&Parts {
            serial: 7,
            key_id: "web",
            ..Parts::default()
        });

        let certificate = HostCertificate::parse(&whole).unwrap();
        assert_eq!(
            (certificate.key, certificate.authority),
            (ed25519(1), ed25519(2))
        );

        assert_eq!(
            (certificate.serial, certificate.key_id),
            (7, b"web".to_vec())
        );

        for length in 0..whole.len() {
            assert_eq!(HostCertificate::parse(&whole[..length]), None, "{length}");
        }

        assert_eq!(HostCertificate::parse(&[whole, vec![0]].concat()), None);
        assert_eq!(HostCertificate::parse(ed25519(1).blob()), None);
    }

    #[test]
    fn it_vouches_from_its_first_second_to_before_its_last() {
        for (now, expected) in [
            (9, Some("it is not yet valid")),
            (10, None),
            (19, None),
            (20, Some("it has expired")),
            (u64::MAX, Some("it has expired")),
        ] {
            assert_eq!(fault(&Parts::default(), "h.ex", now), expected, "{now}");
        }
    }

    #[test]
    fn its_principals_may_be_patterns_and_their_case_counts() {
        for (principals, name, vouches) in [
            (&["h.ex"][..], "h.ex", true),
            (&["a", "h.ex"], "h.ex", true),
            (&["h.ex"], "h.ex2", false),
            (&["H.ex"], "h.ex", false),
            (&["*.ex"], "h.ex", true),
            (&["*.ex"], "h.ex.org", false),
            (&["h.?x"], "h.ex", true),
            (&["!h.ex", "a,h.ex"], "h.ex", false),
            (&[""], "h.ex", false),
            (&[], "h.ex", false),
        ] {
            let parts = Parts {
                principals,
                ..Parts::default()
            };

            assert_eq!(
                fault(&parts, name, 15).is_none(),
                vouches,
                "{principals:?} {name}"
            );
        }
    }

    #[test]
    fn a_users_certificate_critical_options_and_old_signatures_are_not_accepted() {
        for (parts, expected) in [
            (
                Parts {
                    kind: 1,
                    ..Parts::default()
                },
                "it is not a host certificate",
            ),
            (
                Parts {
                    critical: b"x",
                    ..Parts::default()
                },
                "it contains unsupported critical options",
            ),
            (
                Parts {
                    algorithm: "ssh-rsa",
                    ..Parts::default()
                },
                "it is signed with an algorithm that CASignatureAlgorithms does not allow",
            ),
        ] {
            assert_eq!(fault(&parts, "h.ex", 15), Some(expected));
        }
    }
}
