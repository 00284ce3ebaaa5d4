//! Collects the keys to offer, in OpenSSH's order: certificates named by the configuration,
//! configured keys which the agent holds, other keys of the agent, and the remaining identity
//! files.

use std::collections::VecDeque;

use russh::{client::Handle, keys::agent::AgentIdentity};

use super::{
    Credentials,
    agent::{self, Agent},
    candidate::{Candidate, SignedBy},
    certificate,
    key_file::{IdentityFile, KeyProblem, public_file},
    offer::Offer,
    signature_algorithm,
};
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::{
        config::expand::expand_path, error::SshError, known_servers::KnownKey, trace::StageTrace,
        transport::handler::ClientHandler,
    },
};

/// Keys of a log-in, in the order of the offers.
pub(super) struct Identities {
    /// Connection to the agent; `None` without an agent.
    pub(super) agent: Option<Agent>,
    /// Keys to offer, in order. Keys which were offered already are at the back.
    waiting: VecDeque<Candidate>,
    /// Reasons why some keys cannot be offered.
    pub(super) unusable: Vec<String>,
    /// Path of the key file which the caller named explicitly; `None` if the configuration decides.
    pub(super) explicit: Option<String>,
}

impl Identities {
    /// Collects the keys of the agent and of the identity files. No file is decrypted, because most
    /// log-ins need only one key.
    ///
    /// # Errors
    /// The key file which was named explicitly cannot be used, or a path of the configuration
    /// cannot be expanded.
    pub(super) async fn gather(
        handle: &Handle<ClientHandler>,
        config: &EffectiveConfig,
        destination: &str,
        credentials: &Credentials,
        trace: &StageTrace,
    ) -> Result<Self, SshError> {
        let mut unusable = Vec::new();

        if !config.pubkey_authentication {
            return Ok(Self {
                agent: None,
                waiting: VecDeque::new(),
                unusable,
                explicit: None,
            });
        }

        signature_algorithm::check(config)?;

        // A failing agent is no error, because the identity files may suffice.
        let (agent, held) = match agent::ask(handle, config, destination).await {
            Ok(Some((agent, held))) => {
                trace.detail(|| {
                    format!(
                        "agent: it holds {}",
                        if held.is_empty() {
                            "no keys".to_owned()
                        } else {
                            held.len().to_string()
                        }
                    )
                });

                (Some(agent), held)
            }
            Ok(None) => {
                trace.detail(|| format!("agent: none ({})", agent::missing(config)));
                (None, Vec::new())
            }
            Err(reason) => {
                unusable.push(format!("agent: {reason}"));
                (None, Vec::new())
            }
        };

        let explicit = credentials.key_path.as_deref();
        let files = configured(config, destination, explicit, trace)?;

        if let (
            Some(path),
            Some(IdentityLookup {
                candidate: Err(problem),
                offer,
                ..
            }),
        ) = (explicit, files.first())
        {
            // The private key in the file is not needed if the agent holds the key.
            let in_agent = |offer: &Offer| {
                held.iter()
                    .any(|held| Candidate::of_agent(held).offers(offer))
            };
            if !offer.as_ref().is_some_and(in_agent) {
                return Err(key_file_error(path, problem));
            }
        }

        let certificates = named_certificates(config, destination, &mut unusable)?;
        // An explicit key excludes the agent's other keys, as `IdentitiesOnly` does.
        let only_configured = explicit.is_some() || config.identities_only;
        let waiting = in_order(certificates, files, &held, only_configured, &mut unusable);

        Ok(Self {
            agent,
            waiting,
            unusable,
            explicit: explicit.map(str::to_owned),
        })
    }

    /// Begins with the key that was enough for the last log-in, if all keys before it were refused
    /// then. So the log-in has the same result as in OpenSSH's order, unless the server has learned
    /// to accept one of those. Returns true if this key is now the first.
    pub(super) fn begin_with(&mut self, known: &KnownKey) -> bool {
        let fingerprints: Vec<_> = self.waiting.iter().map(Candidate::fingerprint).collect();
        let is_accepted = |key: &Option<String>| key.as_ref() == Some(&known.accepted);
        let Some(at) = fingerprints.iter().position(is_accepted) else {
            return false;
        };

        let mut before = fingerprints.iter().take(at).flatten();
        let all_refused = before.all(|key| known.refused.contains(key))
            && !fingerprints.iter().take(at).any(Option::is_none);
        if !all_refused {
            return false;
        }

        if let Some(candidate) = self.waiting.remove(at) {
            self.waiting.push_front(candidate);
        }

        true
    }

    /// Returns the keys which were not offered yet, in order.
    pub(super) fn untried(&self) -> impl Iterator<Item = &Candidate> {
        self.waiting.iter().filter(|candidate| !candidate.tried)
    }

    /// Returns true if there is no key to offer.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns true if a key must be decrypted before an offer is possible.
    pub(super) fn hides_a_key(&self) -> bool {
        self.waiting.iter().any(|candidate| {
            candidate.offer.is_none()
                && matches!(&candidate.by, SignedBy::File(file) if file.encrypted)
        })
    }

    /// Returns the next key which was not offered yet. The key moves to the back for a further
    /// round.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        if self.waiting.front()?.tried {
            return None;
        }

        let candidate = self.waiting.pop_front()?;
        self.waiting.push_back(Candidate {
            tried: true,
            ..candidate.clone()
        });

        Some(candidate)
    }

    /// Allows all keys to be offered again. OpenSSH does so when a server requires a further
    /// method.
    pub(super) fn start_over(&mut self) {
        for candidate in &mut self.waiting {
            candidate.tried = false;
        }
    }
}

/// Creates the error for a key file which was named explicitly.
pub(super) fn key_file_error(path: &str, problem: &KeyProblem) -> SshError {
    SshError::KeyFile {
        path: path.into(),
        reason: problem.reason.clone(),
        passphrase: problem.passphrase,
    }
}

/// Result of reading an identity file. Even a file without a usable private key may have a public
/// half, for which the agent can sign.
struct IdentityLookup {
    path: String,
    offer: Option<Offer>,
    candidate: Result<Candidate, KeyProblem>,
}

/// Reads the identity files. The certificate next to a key file follows the key, unless the
/// configuration names certificates.
fn configured(
    config: &EffectiveConfig,
    destination: &str,
    explicit: Option<&str>,
    trace: &StageTrace,
) -> Result<Vec<IdentityLookup>, SshError> {
    let mut found = Vec::new();
    let paths = explicit.map_or_else(
        || config.identity_files.clone(),
        |path| vec![path.to_owned()],
    );

    for path in paths {
        let path = expand_path("IdentityFile", &path, config, destination)?;
        let IdentityFile {
            offer,
            private,
            missing,
        } = IdentityFile::read(&path);

        // The defaults of `IdentityFile` name files which most users do not have.
        if missing && explicit.is_none() {
            trace.detail(|| format!("{path}: there is no such file"));
            continue;
        }

        let certificate = public_file(&format!("{path}-cert.pub")).filter(|offer| match offer {
            Offer::Certificate(one) => certificate::is_for_user(one),
            Offer::Key(_) => false,
        });

        let lookup = |offer: Option<Offer>| IdentityLookup {
            path: path.clone(),
            candidate: private
                .clone()
                .map(|file| Candidate::new(offer.clone(), SignedBy::File(file), path.clone())),
            offer,
        };

        found.push(lookup(offer));
        // As in OpenSSH, `CertificateFile` replaces the certificates found next to the keys.
        found.extend(
            certificate
                .filter(|_| config.certificate_files.is_empty())
                .map(|offer| lookup(Some(offer))),
        );
    }

    Ok(found)
}

/// Reads the certificates of `CertificateFile`, each with its path. Unusable files are described in
/// `unusable`.
fn named_certificates(
    config: &EffectiveConfig,
    destination: &str,
    unusable: &mut Vec<String>,
) -> Result<Vec<(String, Offer)>, SshError> {
    let mut certificates = Vec::new();
    for file in &config.certificate_files {
        let path = expand_path("CertificateFile", file, config, destination)?;
        match public_file(&path) {
            Some(Offer::Certificate(one)) if certificate::is_for_user(&one) => {
                certificates.push((path, Offer::Certificate(one)));
            }
            Some(Offer::Certificate(_)) => {
                unusable.push(format!("{path}: it is a certificate for a host"));
            }
            _ => unusable.push(format!("{path}: there is no certificate in it")),
        }
    }

    Ok(certificates)
}

/// Merges the keys in the order of OpenSSH's `pubkey_prepare`.
fn in_order(
    certificates: Vec<(String, Offer)>,
    files: Vec<IdentityLookup>,
    held: &[AgentIdentity],
    only_configured: bool,
    unusable: &mut Vec<String>,
) -> VecDeque<Candidate> {
    let held: Vec<Candidate> = held.iter().map(Candidate::of_agent).collect();
    let (mut of_both, mut of_agent) = (Vec::new(), Vec::new());

    // As in OpenSSH, the agent's configured keys precede its other keys.
    for candidate in &held {
        let is_configured = files.iter().any(|file| {
            file.offer
                .as_ref()
                .is_some_and(|offer| candidate.offers(offer))
        });

        let is_named = certificates
            .iter()
            .any(|(_, offer)| candidate.offers(offer));

        if is_configured {
            of_both.push(candidate.clone());
        } else if !only_configured && !is_named {
            of_agent.push(candidate.clone());
        }
    }

    let mut of_files = Vec::new();

    // A key which the agent holds is offered once, signed by the agent.
    for IdentityLookup {
        path,
        offer,
        candidate,
    } in files
    {
        if offer
            .as_ref()
            .is_some_and(|offer| of_both.iter().any(|other| other.offers(offer)))
        {
            continue;
        }

        match candidate {
            Ok(candidate) => of_files.push(candidate),
            Err(problem) => unusable.push(format!("{path}: {}", problem.reason)),
        }
    }

    let mut rest: Vec<Candidate> = of_both
        .into_iter()
        .chain(of_agent)
        .chain(of_files)
        .collect();

    // The agent needs no passphrase, so it also signs for a certificate file whose key it holds.
    let of_agent: Vec<Candidate> = rest
        .iter()
        .filter(|other| matches!(other.by, SignedBy::Agent(_)))
        .cloned()
        .collect();

    for candidate in rest
        .iter_mut()
        .filter(|candidate| matches!(candidate.by, SignedBy::File(_)))
    {
        if let Some(signer) = of_agent
            .iter()
            .find(|other| other.has_key_of(candidate.offer.as_ref()))
        {
            candidate.by = signer.by.clone();
        }
    }

    let mut order = VecDeque::new();

    for (path, offer) in certificates {
        // A certificate has no private key of its own. The signer of the same key signs, or the
        // agent if it holds both.
        match rest
            .iter()
            .find(|other| other.has_key_of(Some(&offer)))
            .or_else(|| held.iter().find(|other| other.offers(&offer)))
        {
            Some(signer) => order.push_back(Candidate::new(Some(offer), signer.by.clone(), path)),
            None => unusable.push(format!(
                "{path}: neither the agent nor an IdentityFile has its private key"
            )),
        }
    }

    order.extend(rest);

    order
}
