//! Files of `RevokedHostKeys`: public keys on lines, or a key revocation list (KRL).

mod revocation_list;

use self::revocation_list::RevocationList;
use super::known_hosts::{HostCertificate, HostKey, read_key};

/// Keys revoked by a file of `RevokedHostKeys`. Reading the file is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKeys(FileForm);

#[derive(Debug, Clone, PartialEq, Eq)]
enum FileForm {
    /// Keys with the numbers of their lines.
    Lines(Vec<(usize, HostKey)>),
    List(Box<RevocationList>),
}

/// Reason for which a file cannot be used. Until the file is repaired, `ssh` refuses every host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokedKeysError {
    /// A line holds no public key, but is neither empty nor a comment.
    #[error("line {0} holds no public key of a known type")]
    Line(usize),
    /// The key revocation list is broken or uses an unknown feature.
    #[error("the key revocation list {0}")]
    List(&'static str),
}

impl RevokedKeys {
    /// Parses the content of a file.
    ///
    /// # Errors
    /// Returns [`RevokedKeysError`] for anything which is not understood, because it might revoke
    /// the key in question.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevokedKeysError> {
        // The magic bytes decide the form, as in `ssh`; the name of the file says nothing.
        if let Some(list) = bytes.strip_prefix(revocation_list::MAGIC) {
            let list = RevocationList::parse(list).map_err(RevokedKeysError::List)?;
            return Ok(Self(FileForm::List(Box::new(list))));
        }

        let mut keys = Vec::new();

        // A line that cannot be read may be the one that revokes the key, so it is an error and is
        // not skipped, unlike in `known_hosts`.
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii_start();
            if !line.is_empty() && !line.starts_with(b"#") {
                let (key, _) = read_key(line).ok_or(RevokedKeysError::Line(number))?;
                keys.push((number, key));
            }
        }

        Ok(Self(FileForm::Lines(keys)))
    }

    /// Returns the reason why a host key must not be accepted, as the end of the sentence "the key
    /// is …". With a certificate, the certificate and the key of its authority are checked too.
    /// `None` if nothing is revoked.
    #[must_use]
    pub fn reason(&self, key: &HostKey, certificate: Option<&HostCertificate>) -> Option<String> {
        // A revoked authority revokes every certificate it has signed.
        let authority = certificate.map(|certificate| &certificate.authority);
        match &self.0 {
            FileForm::Lines(keys) => {
                let (line, _) = keys
                    .iter()
                    .find(|(_, revoked)| revoked == key || Some(revoked) == authority)?;
                Some(format!("in line {line}"))
            }
            FileForm::List(list) => list.reason(key, certificate).map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openssh::known_hosts::certificate_tests::{Parts, ed25519, encoded};

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGyNIOesCewgOk25b8NR67l6SEP6Q5cWbUcO3T10hy2b";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZPZKRQGjSb/lctRnhvGr7EG5AZwbscCJQr3cH6WQw6";
    /// `ed25519(2)`, which signs the certificates of the tests.
    const AUTHORITY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

    fn key(line: &str) -> HostKey {
        read_key(line.as_bytes()).unwrap().0
    }

    #[test]
    fn a_file_of_lines_revokes_its_keys() {
        for (text, expected) in [
            (String::new(), Ok(None)),
            (format!("# {ED}\n\n"), Ok(None)),
            (OTHER.to_owned(), Ok(None)),
            (
                format!("# old\r\n{OTHER}\r\n \t{ED} comment\r\n"),
                Ok(Some("in line 3".to_owned())),
            ),
            (ED.to_owned(), Ok(Some("in line 1".to_owned()))),
            (format!("host {ED}"), Err(RevokedKeysError::Line(1))),
            (format!("{ED}\nx\n"), Err(RevokedKeysError::Line(2))),
            ("SSHKRL".to_owned(), Err(RevokedKeysError::Line(1))),
        ] {
            let found = RevokedKeys::parse(text.as_bytes()).map(|keys| keys.reason(&key(ED), None));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn the_authority_of_a_certificate_is_looked_up_too() {
        assert_eq!(key(AUTHORITY), ed25519(2));
        let certificate = HostCertificate::parse(&encoded(&Parts::default())).unwrap();
        let keys = RevokedKeys::parse(AUTHORITY.as_bytes()).unwrap();
        assert_eq!(
            keys.reason(&ed25519(1), Some(&certificate)).as_deref(),
            Some("in line 1")
        );

        assert_eq!(keys.reason(&ed25519(1), None), None);
    }
}
