//! Public key or certificate, as offered to a server (RFC 4252, section 7).

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, ssh_key::public::KeyData};

/// Public part of a candidate, which is shown to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    /// A plain public key.
    Key(PublicKey),
    /// A certificate for a user.
    Certificate(Box<Certificate>),
}

impl Offer {
    /// Returns the public key, which a certificate contains.
    pub(super) fn key_data(&self) -> &KeyData {
        match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        }
    }

    /// Returns the fingerprint, by which the key or certificate is remembered. A renewed certificate
    /// counts as the same.
    pub(super) fn fingerprint(&self) -> String {
        let kind = if self.is_certificate() {
            "certificate "
        } else {
            ""
        };

        format!("{kind}{}", self.key_data().fingerprint(HashAlg::Sha256))
    }

    /// Returns true for a certificate.
    pub(super) fn is_certificate(&self) -> bool {
        matches!(self, Self::Certificate(_))
    }

    /// Returns the algorithm of the public key.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.key_data().algorithm()
    }

    /// Returns true if both are the same key or the same certificate, whatever their comments.
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one.key_data() == other.key_data(),
            (Self::Certificate(one), Self::Certificate(other)) => {
                one.to_bytes().ok() == other.to_bytes().ok()
            }
            _ => false,
        }
    }
}
