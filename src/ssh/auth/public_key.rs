//! The method `publickey` (RFC 4252, section 7): each key is shown to the server first, and signs only if the server would
//! take it. So a passphrase is asked for only where it is of use.

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
    certificate,
    identities::{Candidate, SignedBy, key_file_error},
    key_file::{KeyProblem, PrivateKeyFile},
    offer::Offer,
    signature_algorithm,
    typed_secrets::TypedSecrets,
};
use crate::{
    password::Password,
    ssh::{
        error::{Remedy, SshError},
        prompt::prompter::Purpose,
    },
};

/// How much of a path OpenSSH's question for its passphrase shows, in characters.
const MAX_PATH_CHARS: usize = 100;

impl Login<'_> {
    pub(super) async fn public_key(&mut self) -> Result<MethodOutcome, SshError> {
        self.attempts.append(&mut self.identities.unusable);

        while self.offers(MethodKind::PublicKey)
            && let Some(candidate) = self.identities.next()
        {
            match self.offer(candidate).await? {
                MethodOutcome::Failed => {}
                step => return Ok(step),
            }
        }

        Ok(MethodOutcome::Failed)
    }

    async fn offer(&mut self, candidate: Candidate) -> Result<MethodOutcome, SshError> {
        let mut unlocked = None;

        let offer = match (&candidate.offer, &candidate.by) {
            (Some(offer), _) => offer.clone(),
            (None, SignedBy::Agent(_)) => return Ok(MethodOutcome::Failed),
            (None, SignedBy::File(file)) => {
                match unlock(file, self.passphrase, &mut self.typed_secrets).await {
                    Ok(key) => Offer::Key(unlocked.insert(key).public_key().clone()),
                    Err(problem) => return self.unusable(&candidate.name, &problem),
                }
            }
        };

        let description = candidate.description(&offer);

        if signature_algorithm::is_too_small(offer.key_data(), self.config.required_rsa_size) {
            self.attempts.push(format!(
                "publickey {description}: it is shorter than RequiredRSASize"
            ));
            return Ok(MethodOutcome::Failed);
        }

        let Some(algorithm) = self.signature_algorithm(&offer).await? else {
            self.attempts.push(format!(
                "publickey {description}: PubkeyAcceptedAlgorithms does not allow it"
            ));
            return Ok(MethodOutcome::Failed);
        };

        let hash = signature_algorithm::hash_of(&algorithm);

        let mut signer = KeySigner {
            agent: self.identities.agent.as_mut(),
            by: &candidate.by,
            unlocked,
            passphrase: self.passphrase,
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

        let step = self.step(result, "publickey", &description).await?;
        match step {
            MethodOutcome::Failed => self.refused_keys += 1,
            MethodOutcome::Done | MethodOutcome::Partial => self.accepted.push(description),
        }

        if let (MethodOutcome::Failed, Offer::Certificate(certificate)) = (&step, &offer) {
            self.likely_refusal_reason(certificate, &candidate.name);
        }

        Ok(step)
    }

    /// Adds to a refusal what may have led to it.
    fn likely_refusal_reason(&mut self, certificate: &ssh_key::Certificate, name: &str) {
        if let (Some(doubt), Some(last)) = (
            certificate::likely_refusal_reason(certificate, &self.config.user),
            self.attempts.last_mut(),
        ) {
            *last = format!("{last} ({doubt})");
        }

        if let Some(outdated) = certificate::outdated(certificate) {
            self.outdated.push(format!(
                "the certificate {} was refused: {outdated}",
                name.escape_debug()
            ));
        }
    }

    /// A key file that was named explicitly is meant; of others there may be more.
    fn unusable(&mut self, what: &str, problem: &KeyProblem) -> Result<MethodOutcome, SshError> {
        if let Some(path) = &self.identities.explicit {
            return Err(key_file_error(path, problem));
        }

        if problem.passphrase {
            self.remedy = Remedy::Passphrase;
        }

        self.attempts
            .push(format!("publickey {what}: {}", problem.reason));

        Ok(MethodOutcome::Failed)
    }

    /// As [`signature_algorithm::signature_algorithm`]; asks the server once, and only about RSA, since it may take a second to find
    /// that it says nothing.
    async fn signature_algorithm(&mut self, offer: &Offer) -> Result<Option<Algorithm>, SshError> {
        let algorithm = offer.algorithm();
        if matches!(algorithm, Algorithm::Rsa { .. }) && self.server_hash.is_none() {
            self.server_hash = Some(self.handle.best_supported_rsa_hash().await?);
        }

        Ok(signature_algorithm::signature_algorithm(
            &algorithm,
            offer.is_certificate(),
            self.config,
            self.server_hash.flatten(),
        ))
    }
}

/// Signs once the server has said that it would take the key.
struct KeySigner<'a, 'b> {
    agent: Option<&'a mut Agent>,
    by: &'a SignedBy,
    unlocked: Option<PrivateKey>,
    passphrase: Option<&'a Password>,
    typed_secrets: &'a mut TypedSecrets<'b>,
}

enum SignError {
    /// The connection has ended.
    Gone,
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
                    .ok_or_else(|| problem("there is no agent any more"))?;

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

fn problem(reason: impl Into<String>) -> SignError {
    SignError::Problem(KeyProblem::new(reason))
}

/// Appends the signature as RFC 4252 section 7 has it.
fn sign(
    key: &PrivateKey,
    offered: &PublicKey,
    hash: Option<HashAlg>,
    mut data: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    if key.public_key().key_data() != offered.key_data() {
        return Err(problem(
            "the public key beside it belongs to another private key",
        ));
    }

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

/// The private key: with the passphrase that there is, else with the one that the person is asked for.
async fn unlock(
    file: &Arc<PrivateKeyFile>,
    given: Option<&Password>,
    typed_secrets: &mut TypedSecrets<'_>,
) -> Result<PrivateKey, KeyProblem> {
    let purpose = Purpose::Passphrase(file.path.clone());
    if !file.encrypted {
        return file.unlock(None).await;
    }

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

    for _ in 0..typed_secrets.prompts {
        let answer = typed_secrets
            .ask_one(
                purpose.clone(),
                format!("Enter passphrase for key '{shown}': "),
            )
            .await;

        // As with OpenSSH, an empty answer means the next key.
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
