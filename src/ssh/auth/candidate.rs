//! A key that can be offered to a server, with its signer.

use std::sync::Arc;

use russh::keys::{HashAlg, agent::AgentIdentity};

use crate::foreign_text::ForeignText;

use super::{key_file::PrivateKeyFile, offer::Offer, signature_algorithm};

/// Signer for an offered key.
#[derive(Clone)]
pub(super) enum SignedBy {
    /// The agent, which is asked by this identity.
    Agent(Box<AgentIdentity>),
    /// The private key in this file.
    File(Arc<PrivateKeyFile>),
}

/// Key which can be offered to the server, with the signer for it.
#[derive(Clone)]
pub(super) struct Candidate {
    /// Public key or certificate; `None` if the file must be decrypted first.
    pub(super) offer: Option<Offer>,
    /// Signer of the key.
    pub(super) by: SignedBy,
    /// Path of the file, or the comment of the agent.
    pub(super) name: ForeignText,
    /// True if the key was offered already.
    pub(super) tried: bool,
}

impl Candidate {
    /// Creates a candidate which was not offered yet.
    pub(super) fn new(offer: Option<Offer>, by: SignedBy, name: impl Into<ForeignText>) -> Self {
        Self {
            offer,
            by,
            name: name.into(),
            tried: false,
        }
    }

    /// Creates the candidate for a key which the agent holds.
    pub(super) fn of_agent(held: &AgentIdentity) -> Self {
        let offer = match held {
            AgentIdentity::PublicKey { key, .. } => Offer::Key(key.clone()),
            AgentIdentity::Certificate { certificate, .. } => {
                Offer::Certificate(Box::new(certificate.clone()))
            }
        };

        Self::new(
            Some(offer),
            SignedBy::Agent(Box::new(held.clone())),
            held.comment().to_owned(),
        )
    }

    /// Returns true if the candidate offers the same key or certificate.
    pub(super) fn offers(&self, other: &Offer) -> bool {
        self.offer
            .as_ref()
            .is_some_and(|offer| offer.is_same_key(other))
    }

    /// Returns the fingerprint of the key or certificate; `None` if the file must be decrypted first.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.offer.as_ref().map(Offer::fingerprint)
    }

    /// Returns true if both have the same public key, as a plain key or in a certificate.
    pub(super) fn has_key_of(&self, other: Option<&Offer>) -> bool {
        let key = self.offer.as_ref().map(Offer::key_data);
        key.is_some() && key == other.map(Offer::key_data)
    }

    /// Describes the key for the user: algorithm, file name or agent comment, and the fingerprint
    /// of an agent's key.
    pub(super) fn description(&self, offer: &Offer) -> String {
        let algorithm = signature_algorithm::name(&offer.algorithm(), offer.is_certificate());
        let name = &self.name;

        match self.by {
            SignedBy::Agent(_) => {
                format!(
                    "{algorithm} {} (agent, {name})",
                    offer.key_data().fingerprint(HashAlg::Sha256)
                )
            }
            SignedBy::File(_) => format!("{algorithm} {name}"),
        }
    }
}
