//! The method `publickey` (RFC 4252, section 7). Each key is shown to the server first, and signs
//! only if the server would accept it. So a passphrase is asked for only if the key is of use.

use std::sync::Arc;

use russh::{
    MethodKind, Signer,
    keys::{
        Algorithm, HashAlg, PrivateKey, PublicKey,
        agent::AgentIdentity,
        signature::Signer as _,
        ssh_encoding::Encode as _,
        ssh_key::{self, Signature, private::KeypairData},
    },
};

use super::{
    Login, MethodOutcome,
    agent::Agent,
    candidate::{Candidate, SignedBy},
    certificate,
    identities::{Identities, key_file_error},
    key_file::{KeyProblem, PrivateKeyFile},
    offer::Offer,
    signature_algorithm::{self, ServerHash},
    typed_secrets::TypedSecrets,
};
use crate::{
    foreign_text::ForeignText,
    password::Password,
    ssh::{
        error::{Remedy, SshError},
        known_servers::KnownKey,
        prompt::prompter::Purpose,
    },
};

/// Limit of the path in the question for a passphrase, in characters, as in OpenSSH.
const MAX_PATH_CHARS: usize = 100;

/// State of the method `publickey` during a log-in.
pub(super) struct KeyState<'a> {
    pub(super) identities: Identities,
    /// Passphrase which the caller has given; `None` if none was given.
    passphrase: Option<&'a Password>,
    /// Answer of the server about RSA hashes; `None` until the server was asked.
    server_hash: Option<ServerHash>,
    /// Descriptions of the keys which the server accepted.
    pub(super) accepted: Vec<String>,
    /// Fingerprint of the key which the server accepted last.
    accepted_key: Option<String>,
    /// Fingerprints of the keys which the server refused.
    pub(super) refused: Vec<String>,
    /// Descriptions of certificates which are not valid now.
    pub(super) outdated: Vec<String>,
}

impl<'a> KeyState<'a> {
    /// Creates the state before the first offer.
    pub(super) fn new(identities: Identities, passphrase: Option<&'a Password>) -> Self {
        Self {
            identities,
            passphrase,
            server_hash: None,
            accepted: Vec::new(),
            accepted_key: None,
            refused: Vec::new(),
            outdated: Vec::new(),
        }
    }

    /// Returns true if the server has accepted or refused a key.
    pub(super) fn was_offered(&self) -> bool {
        !self.refused.is_empty() || !self.accepted.is_empty()
    }

    /// Returns what to remember of the keys after a log-in for which a key was enough.
    pub(super) fn known_key(&self, before: Option<&KnownKey>) -> Option<KnownKey> {
        let accepted = self.accepted_key.clone()?;
        Some(KnownKey::after(before, accepted, &self.refused))
    }
}

impl Login<'_> {
    /// Offers keys until the server accepts a key, or none is left.
    ///
    /// # Errors
    /// The server has closed the connection, or the key file which was named explicitly cannot be
    /// used.
    pub(super) async fn public_key(&mut self) -> Result<MethodOutcome, SshError> {
        self.log.failed.append(&mut self.keys.identities.unusable);

        while self.log.may_try(MethodKind::PublicKey)
            && let Some(candidate) = self.keys.identities.next()
        {
            match self.offer(candidate).await? {
                MethodOutcome::Failed => {}
                outcome => return Ok(outcome),
            }
        }

        Ok(MethodOutcome::Failed)
    }

    /// Offers a key to the server, which signs if the server would accept the key.
    async fn offer(&mut self, candidate: Candidate) -> Result<MethodOutcome, SshError> {
        let mut unlocked = None;

        // Without a public half, the private key must be decrypted before the key can be offered.
        let offer = match (&candidate.offer, &candidate.by) {
            (Some(offer), _) => offer.clone(),
            (None, SignedBy::Agent(_)) => return Ok(MethodOutcome::Failed),
            (None, SignedBy::File(file)) => {
                match unlock(file, self.keys.passphrase, &mut self.typed_secrets).await {
                    Ok(key) => Offer::Key(unlocked.insert(key).public_key().clone()),
                    Err(problem) => return self.unusable(&candidate.name.to_string(), &problem),
                }
            }
        };

        let description = candidate.description(&offer);

        if signature_algorithm::is_too_small(offer.key_data(), self.config.required_rsa_size) {
            self.log.failed.push(format!(
                "publickey {description}: it is shorter than RequiredRSASize"
            ));
            return Ok(MethodOutcome::Failed);
        }

        let Some(algorithm) = self.signature_algorithm(&offer).await? else {
            self.log.failed.push(format!(
                "publickey {description}: PubkeyAcceptedAlgorithms does not allow it"
            ));
            return Ok(MethodOutcome::Failed);
        };

        let hash = signature_algorithm::hash_of(&algorithm);

        // The signer asks for a passphrase only when the server has agreed to the key.
        let mut signer = KeySigner {
            agent: self.keys.identities.agent.as_mut(),
            by: &candidate.by,
            unlocked,
            passphrase: self.keys.passphrase,
            typed_secrets: &mut self.typed_secrets,
        };

        let user = &self.config.user;

        let result = match &offer {
            Offer::Key(key) => {
                self.handle
                    .authenticate_publickey_with(user, key.clone(), hash, &mut signer)
                    .await
            }
            Offer::Certificate(certificate) => {
                self.handle
                    .authenticate_certificate_with(user, (**certificate).clone(), hash, &mut signer)
                    .await
            }
        };

        let result = match result {
            Ok(result) => Ok(result),
            Err(SignError::Gone) => Err(russh::Error::SendError),
            Err(SignError::Problem(mut problem)) => {
                problem.reason = format!("the server would accept it, but {}", problem.reason);
                return self.unusable(&description, &problem);
            }
        };

        let outcome = self.evaluate(result, "publickey", &description).await?;
        match outcome {
            MethodOutcome::Failed => self.keys.refused.push(offer.fingerprint()),
            MethodOutcome::Done | MethodOutcome::Partial => {
                self.keys.accepted_key = Some(offer.fingerprint());
                self.keys.accepted.push(description);
            }
        }

        // A server does not say why it refuses a certificate, so likely reasons are added.
        if let (MethodOutcome::Failed, Offer::Certificate(certificate)) = (&outcome, &offer) {
            self.likely_refusal_reason(certificate, &candidate.name);
        }

        Ok(outcome)
    }

    /// Adds the likely reason for the refusal of a certificate to the last attempt.
    fn likely_refusal_reason(&mut self, certificate: &ssh_key::Certificate, name: &ForeignText) {
        if let (Some(reason), Some(last)) = (
            certificate::likely_refusal_reason(certificate, &self.config.user),
            self.log.failed.last_mut(),
        ) {
            *last = format!("{last} ({reason})");
        }

        if let Some(outdated) = certificate::outdated(certificate) {
            self.keys
                .outdated
                .push(format!("the certificate {name} was refused: {outdated}"));
        }
    }

    /// Records a key which cannot be used.
    ///
    /// # Errors
    /// The key file was named explicitly, so no other key can take its place.
    fn unusable(&mut self, what: &str, problem: &KeyProblem) -> Result<MethodOutcome, SshError> {
        if let Some(path) = &self.keys.identities.explicit {
            return Err(key_file_error(path, problem));
        }

        if problem.passphrase {
            self.log.remedy = Remedy::Passphrase;
        }

        self.log
            .failed
            .push(format!("publickey {what}: {}", problem.reason));

        Ok(MethodOutcome::Failed)
    }

    /// Chooses the signature algorithm for a key. The server is asked about RSA hashes at most
    /// once, and only for an RSA key: it may take a second to find that the server announces
    /// nothing.
    async fn signature_algorithm(&mut self, offer: &Offer) -> Result<Option<Algorithm>, SshError> {
        let algorithm = offer.algorithm();
        if matches!(algorithm, Algorithm::Rsa { .. }) && self.keys.server_hash.is_none() {
            let announced = self.handle.best_supported_rsa_hash().await?;
            self.keys.server_hash =
                Some(announced.map_or(ServerHash::Unannounced, ServerHash::Announced));
        }

        Ok(signature_algorithm::signature_algorithm(
            &algorithm,
            offer.is_certificate(),
            self.config,
            self.keys.server_hash.unwrap_or(ServerHash::Unannounced),
        ))
    }
}

/// Signer for an offered key, called by russh once the server would accept the key.
struct KeySigner<'a, 'b> {
    agent: Option<&'a mut Agent>,
    by: &'a SignedBy,
    unlocked: Option<PrivateKey>,
    passphrase: Option<&'a Password>,
    typed_secrets: &'a mut TypedSecrets<'b>,
}

/// Reason why a signature could not be made.
enum SignError {
    /// The connection has ended.
    Gone,
    /// The key cannot sign.
    Problem(KeyProblem),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl Signer for KeySigner<'_, '_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        offered: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        match self.by {
            SignedBy::Agent(identity) => {
                let agent = self
                    .agent
                    .as_mut()
                    .ok_or_else(|| problem("the agent is gone"))?;

                let signed = agent.sign_request(identity, hash, data).await;
                signed.map_err(|error| problem(format!("the agent did not sign: {error}")))
            }
            SignedBy::File(file) => {
                let key = match self.unlocked.take() {
                    Some(key) => key,
                    None => unlock(file, self.passphrase, self.typed_secrets)
                        .await
                        .map_err(SignError::Problem)?,
                };
                sign(&key, &offered.public_key(), hash, data)
            }
        }
    }
}

/// Creates the error for a key which cannot sign.
fn problem(reason: impl Into<String>) -> SignError {
    SignError::Problem(KeyProblem::new(reason))
}

/// Signs `data` and appends the signature in the form of RFC 4252, section 7.
///
/// # Errors
/// The private key does not belong to the offered public key, or cannot sign.
fn sign(
    key: &PrivateKey,
    offered: &PublicKey,
    hash: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    // The public half may come from a separate file (`PATH.pub`), which can belong to another key.
    if key.public_key().key_data() != offered.key_data() {
        return Err(problem(
            "the public key next to it belongs to another private key",
        ));
    }

    // Only RSA has a choice of hashes (RFC 8332).
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&data),
        other => other.try_sign(&data),
    }
    .map_err(|error| problem(format!("it cannot sign: {error}")))?;

    signature
        .encode_prefixed(&mut data)
        .map_err(|error| problem(format!("it cannot sign: {error}")))?;

    Ok(data)
}

/// Decrypts a private key, with the known passphrase or by asking the user.
///
/// # Errors
/// No passphrase opens the file, or the file is malformed.
async fn unlock(
    file: &Arc<PrivateKeyFile>,
    given: Option<&Password>,
    typed_secrets: &mut TypedSecrets<'_>,
) -> Result<PrivateKey, KeyProblem> {
    let purpose = Purpose::Passphrase(file.path.clone());
    if !file.encrypted {
        return file.unlock(None).await;
    }

    // The given passphrase may be for another key, so a failure is not final here.
    let mut problem = KeyProblem::of_passphrase("it is encrypted and no passphrase was given");
    let given = given
        .filter(|passphrase| !passphrase.reveal().is_empty())
        .cloned();

    for known in given.into_iter().chain(typed_secrets.remembered(&purpose)) {
        match file.unlock(Some(known)).await {
            Ok(key) => return Ok(key),
            Err(wrong) => problem = wrong,
        }
    }

    let shown: String = file.path.chars().take(MAX_PATH_CHARS).collect();

    // As often as in `ssh`: `NumberOfPasswordPrompts` applies to passphrases too.
    for _ in 0..typed_secrets.prompts {
        let answer = typed_secrets
            .ask_one(
                purpose.clone(),
                format!("Enter passphrase for key '{shown}': "),
            )
            .await;

        // As in OpenSSH, an empty answer means the next key.
        let Some(passphrase) = answer.filter(|passphrase| !passphrase.reveal().is_empty()) else {
            break;
        };

        match file.unlock(Some(passphrase.clone())).await {
            Ok(key) => {
                typed_secrets.keep(purpose, passphrase);
                return Ok(key);
            }
            Err(wrong) => problem = wrong,
        }
    }

    Err(problem)
}
