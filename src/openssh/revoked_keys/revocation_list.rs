//! Binary key revocation lists (OpenSSH's `PROTOCOL.krl`), as written by `ssh-keygen -k`.

use std::collections::HashSet;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::openssh::{
    known_hosts::{HostCertificate, HostKey},
    wire::WireReader,
};

/// Beginning of every list. [`RevocationList::parse`] takes the rest.
pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";

/// A parsed key revocation list: keys, digests of keys, and certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RevocationList {
    keys: HashSet<Vec<u8>>,
    sha1: HashSet<Vec<u8>>,
    sha256: HashSet<Vec<u8>>,
    certificates: Vec<Certificates>,
}

/// Revoked certificates of a single authority, or of all authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Certificates {
    authority: Option<HostKey>,
    /// Ranges of serial numbers, both ends included.
    serials: Vec<(u64, u64)>,
    /// Bitmaps of serial numbers: the serial of bit 0, and the bits as a big-endian number.
    bitmaps: Vec<(u64, Vec<u8>)>,
    key_ids: HashSet<Vec<u8>>,
}

/// Version of the format. No other version exists.
const FORMAT: u32 = 1;
const CUT: &str = "is cut short or broken";
const UNKNOWN: &str = "has a section of an unknown type";

impl RevocationList {
    /// Parses a list without the magic bytes. The error completes the sentence "the list …".
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut reader = WireReader::new(bytes);
        if reader.u32().ok_or(CUT)? != FORMAT {
            return Err("is of an unknown version");
        }

        // Version and date only tell successive lists apart; no flags are defined.
        let _version_date_flags = (
            reader.u64().ok_or(CUT)?,
            reader.u64().ok_or(CUT)?,
            reader.u64().ok_or(CUT)?,
        );

        let _reserved_comment = (reader.string().ok_or(CUT)?, reader.string().ok_or(CUT)?);
        let mut list = Self::default();

        // A section that is not understood may revoke the key in question, so the whole list is
        // refused. So is a signed list, instead of being used without verification.
        while !reader.is_empty() {
            let (kind, section) = (reader.u8().ok_or(CUT)?, reader.string().ok_or(CUT)?);
            match kind {
                1 => list.certificates.push(Certificates::parse(section)?),
                2 => list.keys.extend(blobs(section, None)?),
                3 => list.sha1.extend(blobs(section, Some(20))?),
                5 => list.sha256.extend(blobs(section, Some(32))?),
                4 => return Err("is signed, which is not supported"),
                255 => extension(section)?,
                _ => return Err(UNKNOWN),
            }
        }

        Ok(list)
    }

    /// Returns the reason why a key must not be accepted, as the end of the sentence "the key is
    /// …". `None` if nothing is revoked.
    pub(super) fn reason(
        &self,
        key: &HostKey,
        certificate: Option<&HostCertificate>,
    ) -> Option<&'static str> {
        // The key itself comes first: a certificate does not redeem a revoked key.
        if self.has(key) {
            return Some("in its list of keys");
        }

        // Without an entry of its own, a certificate is only as good as its authority.
        let certificate = certificate?;
        if self
            .certificates
            .iter()
            .any(|revoked| revoked.covers(certificate))
        {
            Some("in its list of certificates")
        } else {
            self.has(&certificate.authority)
                .then_some("signed by an authority in its list of keys")
        }
    }

    /// Returns true if the list holds the key or a digest of the key.
    fn has(&self, key: &HostKey) -> bool {
        let blob = key.blob();
        self.keys.contains(blob)
            || self.sha1.contains(Sha1::digest(blob).as_slice())
            || self.sha256.contains(Sha256::digest(blob).as_slice())
    }
}

impl Certificates {
    /// Parses a section of certificates.
    fn parse(section: &[u8]) -> Result<Self, &'static str> {
        let mut reader = WireReader::new(section);
        let (authority, _reserved) = (reader.string().ok_or(CUT)?, reader.string().ok_or(CUT)?);
        let mut certificates = Self::default();
        // An empty field stands for all authorities.
        if !authority.is_empty() {
            certificates.authority =
                Some(HostKey::parse(authority).ok_or("names an authority of an unknown type")?);
        }

        while !reader.is_empty() {
            let (kind, data) = (reader.u8().ok_or(CUT)?, reader.string().ok_or(CUT)?);
            let mut fields = WireReader::new(data);

            // The types of subsection are serial numbers, a range, a bitmap, key ids and an
            // extension.
            match kind {
                0x20 => {
                    while !fields.is_empty() {
                        let serial = fields.u64().ok_or(CUT)?;
                        certificates.serials.push((serial, serial));
                    }
                }
                0x21 => {
                    certificates
                        .serials
                        .push((fields.u64().ok_or(CUT)?, fields.u64().ok_or(CUT)?));
                }
                0x22 => {
                    certificates.bitmaps.push((
                        fields.u64().ok_or(CUT)?,
                        fields.string().ok_or(CUT)?.to_vec(),
                    ));
                }
                0x23 => {
                    certificates.key_ids.extend(blobs(data, None)?);
                    continue;
                }
                0x39 => {
                    extension(data)?;
                    continue;
                }
                _ => return Err(UNKNOWN),
            }

            // Bytes left over mean that the subsection was misread, and with it perhaps a
            // revocation.
            if !fields.is_empty() {
                return Err(CUT);
            }
        }

        Ok(certificates)
    }

    /// Returns true if the section revokes a certificate. A certificate without a serial number can
    /// only be revoked by its key id.
    fn covers(&self, certificate: &HostCertificate) -> bool {
        // An authority numbers only its own certificates, so another's serials say nothing.
        let serial = certificate.serial;
        let of_authority = self
            .authority
            .as_ref()
            .is_none_or(|authority| *authority == certificate.authority);

        let by_number = || {
            self.serials
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&serial))
                || self.bitmaps.iter().any(|(first, bits)| {
                    serial
                        .checked_sub(*first)
                        .is_some_and(|index| is_set(bits, index))
                })
        };

        // Serial 0 stands for none, so a range that includes 0 must not revoke the certificate.
        of_authority && (self.key_ids.contains(&certificate.key_id) || serial != 0 && by_number())
    }
}

/// Returns true if bit `index` of a big-endian number is set. Bit 0 is the last bit of the last
/// byte.
fn is_set(number: &[u8], index: u64) -> bool {
    let byte = usize::try_from(index / 8)
        .ok()
        .and_then(|from_end| number.iter().rev().nth(from_end));
    byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Parses a section of strings. With `length`, all of them must have that length in bytes.
fn blobs(section: &[u8], length: Option<usize>) -> Result<Vec<Vec<u8>>, &'static str> {
    let blobs = WireReader::new(section).strings().ok_or(CUT)?;
    let fits = |blob: &&[u8]| length.is_none_or(|length| blob.len() == length);
    if blobs.iter().all(fits) {
        Ok(blobs.into_iter().map(<[u8]>::to_vec).collect())
    } else {
        Err(CUT)
    }
}

/// Checks an extension. No extension is defined yet, so a critical extension is an error.
fn extension(data: &[u8]) -> Result<(), &'static str> {
    // The caller ignores other extensions, but they have to be well formed.
    let mut reader = WireReader::new(data);
    let (_name, critical, _content) = (
        reader.string().ok_or(CUT)?,
        reader.u8().ok_or(CUT)?,
        reader.string().ok_or(CUT)?,
    );

    if critical != 0 {
        Err("has a critical extension, which is not supported")
    } else if reader.is_empty() {
        Ok(())
    } else {
        Err(CUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssh::known_hosts::certificate_tests::{Parts, ed25519, encoded};
    use crate::openssh::wire::string;

    fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let header = [
            &FORMAT.to_be_bytes()[..],
            &[0; 24],
            &string(b""),
            &string(b"comment"),
        ]
        .concat();

        sections.iter().fold(header, |list, (kind, data)| {
            [&list[..], &[*kind], &string(data)].concat()
        })
    }

    fn certificates(authority: &[u8], kind: u8, data: &[u8]) -> (u8, Vec<u8>) {
        (
            1,
            [&string(authority)[..], &string(b""), &[kind], &string(data)].concat(),
        )
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    /// Why the certificate number 300 of `ed25519(2)` for `ed25519(1)`, called `web`, is revoked.
    fn reason(section: (u8, Vec<u8>)) -> Option<&'static str> {
        let parts = Parts {
            serial: 300,
            key_id: "web",
            ..Parts::default()
        };

        let certificate = HostCertificate::parse(&encoded(&parts)).unwrap();
        RevocationList::parse(&list(&[section]))
            .unwrap()
            .reason(&ed25519(1), Some(&certificate))
    }

    #[test]
    fn keys_are_revoked_by_themselves_and_by_their_hashes() {
        let (key, authority, other) = (ed25519(1), ed25519(2), ed25519(3));
        for (kind, encode) in [
            (
                2,
                (|key: &HostKey| string(key.blob())) as fn(&HostKey) -> Vec<u8>,
            ),
            (3, |key| string(&Sha1::digest(key.blob()))),
            (5, |key| string(&Sha256::digest(key.blob()))),
        ] {
            assert_eq!(
                reason((kind, [encode(&other), encode(&key)].concat())),
                Some("in its list of keys")
            );

            assert_eq!(
                reason((kind, encode(&authority))),
                Some("signed by an authority in its list of keys")
            );

            assert_eq!(reason((kind, encode(&other))), None);
        }
    }

    #[test]
    fn certificates_are_revoked_by_number_and_by_name() {
        let (own, other) = (ed25519(2), ed25519(3));
        let bitmap =
            |first: u64, bits: &[u8]| [first.to_be_bytes().to_vec(), string(bits)].concat();

        for (kind, data, revoked) in [
            (0x20, numbers(&[1, 300]), true),
            (0x20, numbers(&[299, 301]), false),
            (0x21, numbers(&[300, 300]), true),
            (0x21, numbers(&[1, 1000]), true),
            (0x21, numbers(&[301, u64::MAX]), false),
            (0x22, bitmap(300, &[1]), true),
            (0x22, bitmap(290, &[0x04, 0x00]), true),
            (0x22, bitmap(290, &[0xfb, 0xff]), false),
            (0x22, bitmap(301, &[0xff]), false),
            (0x22, bitmap(1, &[0xff]), false),
            (0x23, [string(b"db"), string(b"web")].concat(), true),
            (0x23, string(b"webs"), false),
            (
                0x39,
                [&string(b"name")[..], &[0], &string(b"x")].concat(),
                false,
            ),
        ] {
            let expected = revoked.then_some("in its list of certificates");
            assert_eq!(
                reason(certificates(own.blob(), kind, &data)),
                expected,
                "{kind:x} {data:?}"
            );

            assert_eq!(
                reason(certificates(b"", kind, &data)),
                expected,
                "{kind:x} {data:?}"
            );

            assert_eq!(
                reason(certificates(other.blob(), kind, &data)),
                None,
                "{kind:x} {data:?}"
            );
        }
    }

    #[test]
    fn a_certificate_without_a_number_is_revoked_by_name_alone() {
        let certificate = HostCertificate::parse(&encoded(&Parts {
            key_id: "web",
            ..Parts::default()
        }))
        .unwrap();

        for (section, revoked) in [
            (certificates(b"", 0x21, &numbers(&[0, u64::MAX])), false),
            (certificates(b"", 0x23, &string(b"web")), true),
        ] {
            let list = RevocationList::parse(&list(&[section])).unwrap();
            assert_eq!(
                list.reason(&ed25519(1), Some(&certificate)).is_some(),
                revoked
            );

            assert_eq!(list.reason(&ed25519(1), None), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let critical = [&string(b"name")[..], &[1], &string(b"x")].concat();

        for (section, expected) in [
            ((4, vec![]), "is signed, which is not supported"),
            ((6, vec![]), UNKNOWN),
            (
                (255, critical.clone()),
                "has a critical extension, which is not supported",
            ),
            (
                certificates(b"", 0x39, &critical),
                "has a critical extension, which is not supported",
            ),
            (certificates(b"", 0x24, b""), UNKNOWN),
            (certificates(b"", 0x21, &numbers(&[1])), CUT),
            (certificates(b"", 0x21, &numbers(&[1, 2, 3])), CUT),
            (
                certificates(b"no key", 0x20, b""),
                "names an authority of an unknown type",
            ),
            ((3, string(&[0; 32])), CUT),
            ((5, string(&[0; 20])), CUT),
        ] {
            assert_eq!(
                RevocationList::parse(&list(std::slice::from_ref(&section))),
                Err(expected),
                "{section:?}"
            );
        }

        assert_eq!(
            RevocationList::parse(&[&[0, 0, 0, 2][..], &[0; 32]].concat()),
            Err("is of an unknown version")
        );

        let whole = list(&[(2, string(b"x"))]);

        for length in (0..whole.len()).filter(|length| *length != list(&[]).len()) {
            assert_eq!(
                RevocationList::parse(&whole[..length]),
                Err(CUT),
                "{length}"
            );
        }
    }
}
