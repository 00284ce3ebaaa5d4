//! The keys to offer, in OpenSSH's order: certificates that the configuration names, configured keys that the agent holds,
//! its others, and the rest of the identity files.

use std::{collections::VecDeque, sync::Arc};

use russh::{
    client::Handle,
    keys::{HashAlg, agent::AgentIdentity},
};

use super::{
    Credentials,
    agent::{self, Agent},
    certificate,
    key_file::{IdentityFile, KeyProblem, PrivateKeyFile, public_file},
    offer::Offer,
    signature_algorithm,
};
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::{
        config::expand::expand_path, error::SshError, trace::StageTrace,
        transport::handler::ClientHandler,
    },
};

/// Who makes the signature.
#[derive(Clone)]
pub(super) enum SignedBy {
    /// The agent, asked by this identity of its own.
    Agent(Box<AgentIdentity>),
    /// The private key in this file.
    File(Arc<PrivateKeyFile>),
}

/// A key to offer.
#[derive(Clone)]
pub(super) struct Candidate {
    /// `None` if only the private key can tell.
    pub(super) offer: Option<Offer>,
    pub(super) by: SignedBy,
    /// Its file, or the agent's comment.
    pub(super) name: String,
    tried: bool,
}

/// The keys of a log-in.
pub(super) struct Identities {
    pub(super) agent: Option<Agent>,
    waiting: VecDeque<Candidate>,
    /// Why some identities cannot even be offered.
    pub(super) unusable: Vec<String>,
    /// The one key file that was named explicitly.
    pub(super) explicit: Option<String>,
}

impl Candidate {
    fn new(offer: Option<Offer>, by: SignedBy, name: String) -> Self {
        Self {
            offer,
            by,
            name,
            tried: false,
        }
    }

    fn of_agent(held: &AgentIdentity) -> Self {
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

    fn offers(&self, other: &Offer) -> bool {
        self.offer
            .as_ref()
            .is_some_and(|offer| offer.is_same_key(other))
    }

    fn has_key_of(&self, other: Option<&Offer>) -> bool {
        let key = self.offer.as_ref().map(Offer::key_data);
        key.is_some() && key == other.map(Offer::key_data)
    }

    /// What the person knows it by.
    pub(super) fn description(&self, offer: &Offer) -> String {
        let algorithm = signature_algorithm::name(&offer.algorithm(), offer.is_certificate());
        let name = self.name.escape_debug();

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

impl Identities {
    /// Asks the agent and reads the identity files, but decrypts none: most log-ins need one only.
    ///
    /// # Errors
    /// The key file that was named explicitly is none, or a path of the configuration cannot be expanded.
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
            let in_agent = |offer: &Offer| {
                held.iter()
                    .any(|held| Candidate::of_agent(held).offers(offer))
            };
            if !offer.as_ref().is_some_and(in_agent) {
                return Err(key_file_error(path, problem));
            }
        }

        let certificates = named_certificates(config, destination, &mut unusable)?;
        let only_configured = explicit.is_some() || config.identities_only;
        let waiting = in_order(certificates, files, &held, only_configured, &mut unusable);

        Ok(Self {
            agent,
            waiting,
            unusable,
            explicit: explicit.map(str::to_owned),
        })
    }

    /// Those that have not been offered, in their order.
    pub(super) fn left(&self) -> impl Iterator<Item = &Candidate> {
        self.waiting.iter().filter(|candidate| !candidate.tried)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether one of the keys cannot be shown to the server before it is decrypted.
    pub(super) fn hides_a_key(&self) -> bool {
        self.waiting.iter().any(|candidate| {
            candidate.offer.is_none()
                && matches!(&candidate.by, SignedBy::File(file) if file.encrypted)
        })
    }

    /// The next key that has not been offered. It comes last if all are offered again.
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

    /// Offers all keys again, as OpenSSH does when a server wants one more method.
    pub(super) fn start_over(&mut self) {
        for candidate in &mut self.waiting {
            candidate.tried = false;
        }
    }
}

pub(super) fn key_file_error(path: &str, problem: &KeyProblem) -> SshError {
    SshError::KeyFile {
        path: path.into(),
        reason: problem.reason.clone(),
        passphrase: problem.passphrase,
    }
}

/// What an `IdentityFile` led to: something to offer, or at least its public half, which the agent may complete.
struct IdentityLookup {
    path: String,
    offer: Option<Offer>,
    candidate: Result<Candidate, KeyProblem>,
}

/// The identity files, each followed by the certificate beside it, unless the configuration names certificates itself.
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

        if missing && explicit.is_none() {
            trace.detail(|| format!("{path}: there is no such file"));
            continue;
        }

        let beside = public_file(&format!("{path}-cert.pub")).filter(|offer| match offer {
            Offer::Certificate(one) => certificate::is_for_user(one),
            Offer::Key(_) => false,
        });

        let of = |offer: Option<Offer>| IdentityLookup {
            path: path.clone(),
            candidate: private
                .clone()
                .map(|file| Candidate::new(offer.clone(), SignedBy::File(file), path.clone())),
            offer,
        };

        found.push(of(offer));
        found.extend(
            beside
                .filter(|_| config.certificate_files.is_empty())
                .map(|offer| of(Some(offer))),
        );
    }

    Ok(found)
}

/// The certificates of `CertificateFile`, by their files.
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

/// The order of OpenSSH's `pubkey_prepare`.
fn in_order(
    certificates: Vec<(String, Offer)>,
    files: Vec<IdentityLookup>,
    held: &[AgentIdentity],
    only_configured: bool,
    unusable: &mut Vec<String>,
) -> VecDeque<Candidate> {
    let held: Vec<Candidate> = held.iter().map(Candidate::of_agent).collect();
    let (mut of_both, mut of_agent) = (Vec::new(), Vec::new());

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

    // The agent, which needs no passphrase, signs for the certificate beside a key that it holds.
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
        // A certificate has no private key of its own: that of the same key signs, or the agent, if it has both.
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
