//! A public key or a certificate, as it is offered to a server (RFC 4252, section 7).

use russh::keys::{Algorithm, Certificate, PublicKey, ssh_key::public::KeyData};

/// What is shown to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Offer {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Offer {
    pub(super) fn key_data(&self) -> &KeyData {
        match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        }
    }

    pub(super) fn is_certificate(&self) -> bool {
        matches!(self, Self::Certificate(_))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.key_data().algorithm()
    }

    /// A comment makes no other key.
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
