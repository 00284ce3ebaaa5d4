//! Host certificates: keys signed by an authority (OpenSSH's `PROTOCOL.certkeys`).

use super::{
    host_key::{CERTIFICATE_SUFFIX, HostKey, plain_key_type},
    host_pattern::{Case, glob},
};
use crate::openssh::wire::WireReader;

/// A parsed host certificate. Nothing has checked the signature, so the content is only a claim of
/// the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// Key of the host.
    pub key: HostKey,
    /// Key of the authority which signed the certificate.
    pub authority: HostKey,
    /// Serial number given by the authority, or 0 for none.
    pub serial: u64,
    /// Name given to the certificate by the authority.
    pub key_id: Vec<u8>,
    /// Kind of certificate: 1 for users, 2 for hosts.
    kind: u32,
    principals: Vec<Vec<u8>>,
    /// Period of validity in seconds since 1970. The second time is excluded.
    valid: (u64, u64),
    has_critical_options: bool,
    signature_algorithm: Vec<u8>,
}

impl HostCertificate {
    /// Parses a certificate. Returns `None` for a plain key, an unknown type, a broken encoding, or
    /// a certificate whose authority is itself certified.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        // Layout of `PROTOCOL.certkeys`: the type, a nonce, the fields of the key, then the
        // statements of the authority.
        let mut reader = WireReader::new(blob);
        let name = str::from_utf8(reader.string()?)
            .ok()
            .filter(|name| name.ends_with(CERTIFICATE_SUFFIX))?;
        let _nonce = reader.string()?;
        let key = HostKey::of_fields(plain_key_type(name)?, &mut reader)?;
        let (serial, kind, key_id) = (reader.u64()?, reader.u32()?, reader.string()?.to_vec());
        // The principals are a list of strings inside a string.
        let principals = WireReader::new(reader.string()?)
            .strings()?
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();

        let valid = (reader.u64()?, reader.u64()?);
        let has_critical_options = !reader.string()?.is_empty();
        let (_extensions, _reserved) = (reader.string()?, reader.string()?);
        // Only a plain key may sign; `HostKey::parse` refuses a certificate.
        let authority = HostKey::parse(reader.string()?)?;
        let signature_algorithm = WireReader::new(reader.string()?).string()?.to_vec();

        // Bytes after the last field make the certificate malformed, as in `ssh`.
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

    /// Returns the reason why the certificate does not vouch for a host, in the words of `ssh`.
    /// `None` means that the certificate vouches for the host. `name` is the host without port,
    /// `now` the time in seconds since 1970, and `signature_algorithms` the value of
    /// `CASignatureAlgorithms`.
    ///
    /// A certificate without principals vouches for no host, and principals may be patterns. This
    /// is the rule since OpenSSH 10.3; earlier releases accepted such a certificate for any host
    /// and compared principals literally.
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

        // The order of the checks is that of `ssh`, so that both name the same fault.
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
    fn user_certificates_options_and_old_signatures_are_refused() {
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
