//! The keys to offer: from the agent, and from identity files.

use std::{collections::VecDeque, path::Path, sync::Arc};

use russh::{
    client::Handle,
    keys::{
        HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey,
        agent::{
            AgentIdentity,
            client::{AgentClient, AgentStream},
        },
        decode_secret_key, parse_public_key_base64,
    },
};
use tokio::{task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

use super::{
    super::{
        error::SshError,
        handler::{ClientHandler, is_too_small},
        local_path::expand_path,
    },
    Credentials,
};
use crate::{
    openssh::effective_config::{EffectiveConfig, IdentityAgent},
    password::Password,
};

/// How long the agent may take to list its keys.
const AGENT_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// A private key is a few kilobytes; a larger file is none.
const LARGEST_KEY_FILE: u64 = 1024 * 1024;

pub(super) type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

/// The keys that are still to be offered, in OpenSSH's order: those of the agent that are configured, the agent's
/// others, then the key files that the agent does not have.
pub(super) struct Identities {
    pub(super) agent: Option<Agent>,
    waiting: VecDeque<Waiting>,
    /// Why some identities could not even be offered.
    pub(super) unusable: Vec<String>,
    /// An encrypted key file was passed over for want of its passphrase.
    pub(super) needs_passphrase: bool,
    passphrase: Option<Password>,
    explicit: bool,
}

enum Waiting {
    Agent { key: PublicKey, comment: String },
    File(String),
}

/// A key to offer now.
pub(super) enum Identity {
    Agent { key: PublicKey, hash: Option<HashAlg>, comment: String },
    File { key: PrivateKeyWithHashAlg, path: String },
}

impl Identity {
    pub(super) fn description(&self) -> String {
        match self {
            Self::Agent { key, comment, .. } => {
                format!("{} {} (agent, {})", key.algorithm(), key.fingerprint(HashAlg::Sha256), comment.escape_debug())
            }
            Self::File { key, path } => format!("{} {path}", key.algorithm()),
        }
    }
}

impl Identities {
    /// Lists agent and files. Reads no private key yet: most log-ins need one only.
    pub(super) async fn gather(
        config: &EffectiveConfig,
        typed: &str,
        credentials: &Credentials,
    ) -> Result<Self, SshError> {
        let explicit = credentials.key_path.is_some();
        let configured = credentials.key_path.as_ref().map_or(config.identity_files.as_slice(), std::slice::from_ref);
        let only_configured = explicit || config.identities_only;
        let mut unusable = Vec::new();
        let mut files = Vec::new();
        for file in configured {
            let path = expand_path("IdentityFile", file, config, typed)?;
            if Path::new(&path).exists() || public_half(&path).is_some() {
                files.push(path);
            } else if explicit {
                return Err(key_file_error(&path, "there is no such file", false));
            }
        }
        let (agent, held) = match agent_keys(config, typed).await {
            Ok(Some((agent, held))) => (Some(agent), held),
            Ok(None) => (None, Vec::new()),
            Err(reason) => {
                unusable.push(format!("agent: {reason}"));
                (None, Vec::new())
            }
        };
        let mut waiting = VecDeque::new();
        let is_held = |path: &str| {
            public_half(path).and_then(|half| held.iter().find(|(key, _)| key.key_data() == half.key_data()))
        };
        for (key, comment) in files.iter().filter_map(|path| is_held(path)) {
            waiting.push_back(Waiting::Agent { key: key.clone(), comment: comment.clone() });
        }
        if !only_configured {
            for (key, comment) in &held {
                let listed = waiting
                    .iter()
                    .any(|other| matches!(other, Waiting::Agent { key: k, .. } if k.key_data() == key.key_data()));
                if !listed {
                    waiting.push_back(Waiting::Agent { key: key.clone(), comment: comment.clone() });
                }
            }
        }
        let rest: Vec<String> = files.iter().filter(|path| is_held(path).is_none()).cloned().collect();
        waiting.extend(rest.into_iter().map(Waiting::File));
        Ok(Self {
            agent,
            waiting,
            unusable,
            needs_passphrase: false,
            passphrase: credentials.passphrase.clone(),
            explicit,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next key to offer, loaded and with the hash its server wants.
    pub(super) async fn next(
        &mut self,
        handle: &Handle<ClientHandler>,
        config: &EffectiveConfig,
    ) -> Result<Option<Identity>, SshError> {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting {
                Waiting::Agent { key, comment } => {
                    let hash = if key.algorithm().is_rsa() { rsa_hash(handle).await? } else { None };
                    if accepted(&key, hash, config) {
                        return Ok(Some(Identity::Agent { key, hash, comment }));
                    }
                    self.unusable.push(format!("{}: PubkeyAcceptedAlgorithms does not allow it", key.algorithm()));
                }
                Waiting::File(path) => match load(&path, self.passphrase.clone()).await {
                    Ok(key) => {
                        let hash = if key.algorithm().is_rsa() { rsa_hash(handle).await? } else { None };
                        if accepted(key.public_key(), hash, config) {
                            return Ok(Some(Identity::File {
                                key: PrivateKeyWithHashAlg::new(Arc::new(key), hash),
                                path,
                            }));
                        }
                        self.unusable.push(format!("{path}: PubkeyAcceptedAlgorithms does not allow it"));
                    }
                    Err(problem) if self.explicit => {
                        return Err(key_file_error(&path, &problem.reason, problem.passphrase));
                    }
                    Err(problem) => {
                        self.needs_passphrase |= problem.passphrase;
                        self.unusable.push(format!("{path}: {}", problem.reason));
                    }
                },
            }
        }
        Ok(None)
    }
}

struct KeyProblem {
    reason: String,
    passphrase: bool,
}

fn key_file_error(path: &str, reason: &str, passphrase: bool) -> SshError {
    SshError::KeyFile { path: path.into(), reason: reason.to_owned(), passphrase }
}

/// Reads and decrypts a private key, off the async threads: key derivation is slow by design.
async fn load(path: &str, passphrase: Option<Password>) -> Result<PrivateKey, KeyProblem> {
    let path = path.to_owned();
    let problem = |reason: String, passphrase: bool| KeyProblem { reason, passphrase };
    spawn_blocking(move || {
        let metadata = std::fs::metadata(&path).map_err(|error| problem(error.to_string(), false))?;
        if !metadata.is_file() || metadata.len() > LARGEST_KEY_FILE {
            return Err(problem("it is not a private key file".into(), false));
        }
        let text =
            std::fs::read_to_string(&path).map(Zeroizing::new).map_err(|error| problem(error.to_string(), false))?;
        // Before the permissions, which a public key leaves open rightly.
        if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.trim_start().starts_with(kind)) {
            return Err(problem("it is a public key; name the private one".into(), false));
        }
        refuse_open_permissions(&metadata).map_err(|reason| problem(reason, false))?;
        decode_secret_key(&text, passphrase.as_ref().map(Password::reveal)).map_err(|error| match error {
            russh::keys::Error::KeyIsEncrypted => problem("it is encrypted and no passphrase was given".into(), true),
            _ if passphrase.is_some() => problem(format!("wrong passphrase, or not a private key ({error})"), true),
            error => problem(format!("it is not a private key ({error})"), false),
        })
    })
    .await
    .unwrap_or_else(|error| Err(KeyProblem { reason: error.to_string(), passphrase: false }))
}

/// As OpenSSH: a private key that others may read is not used.
#[cfg(unix)]
fn refuse_open_permissions(metadata: &std::fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("its permissions {mode:04o} are too open; run chmod 600 on it"));
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
fn refuse_open_permissions(_: &std::fs::Metadata) -> Result<(), String> {
    Ok(())
}

/// The public half of a private key: from `PATH.pub`, else from the key file itself, where OpenSSH's format has it in
/// the clear even if the rest is encrypted.
fn public_half(path: &str) -> Option<PublicKey> {
    if let Ok(text) = std::fs::read_to_string(format!("{path}.pub")) {
        return parse_public_key_base64(text.split_whitespace().nth(1)?).ok();
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new).ok()?;
    Some(PrivateKey::from_openssh(text.as_bytes()).ok()?.public_key().clone())
}

/// The agent that the configuration names, and its plain keys; `None` where there is no agent.
async fn agent_keys(
    config: &EffectiveConfig,
    typed: &str,
) -> Result<Option<(Agent, Vec<(PublicKey, String)>)>, String> {
    let socket = match &config.identity_agent {
        IdentityAgent::None => return Ok(None),
        IdentityAgent::Environment => std::env::var("SSH_AUTH_SOCK").ok(),
        IdentityAgent::Variable(name) => std::env::var(name).ok(),
        IdentityAgent::Path(path) => {
            Some(expand_path("IdentityAgent", path, config, typed).map_err(|error| error.to_string())?)
        }
    };
    let Some(mut agent) = connect_agent(socket).await? else { return Ok(None) };
    let listed = timeout(AGENT_LIMIT, agent.request_identities())
        .await
        .map_err(|_| "it does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let keys = listed
        .into_iter()
        .filter_map(|identity| match identity {
            AgentIdentity::PublicKey { key, comment } => Some((key, comment)),
            AgentIdentity::Certificate { .. } => None,
        })
        .collect();
    Ok(Some((agent, keys)))
}

#[cfg(unix)]
async fn connect_agent(socket: Option<String>) -> Result<Option<Agent>, String> {
    let Some(socket) = socket.filter(|path| !path.is_empty()) else { return Ok(None) };
    let agent = AgentClient::connect_uds(&socket).await.map_err(|error| format!("{socket}: {error}"))?;
    Ok(Some(agent.dynamic()))
}

/// On Windows the OpenSSH agent listens on a named pipe.
#[cfg(windows)]
async fn connect_agent(socket: Option<String>) -> Result<Option<Agent>, String> {
    let pipe = socket.unwrap_or_else(|| r"\\.\pipe\openssh-ssh-agent".to_owned());
    Ok(AgentClient::connect_named_pipe(&pipe).await.ok().map(AgentClient::dynamic))
}

/// The hash for RSA signatures: what the server announced (RFC 8308), else SHA-512, never SHA-1 unasked.
async fn rsa_hash(handle: &Handle<ClientHandler>) -> Result<Option<HashAlg>, SshError> {
    Ok(handle.best_supported_rsa_hash().await?.unwrap_or(Some(HashAlg::Sha512)))
}

/// Whether `PubkeyAcceptedAlgorithms` and `RequiredRSASize` allow a signature by this key.
fn accepted(key: &PublicKey, hash: Option<HashAlg>, config: &EffectiveConfig) -> bool {
    let algorithm = if key.algorithm().is_rsa() {
        match hash {
            Some(HashAlg::Sha512) => "rsa-sha2-512".to_owned(),
            Some(_) => "rsa-sha2-256".to_owned(),
            None => "ssh-rsa".to_owned(),
        }
    } else {
        key.algorithm().as_str().to_owned()
    };
    let named = config.pubkey_accepted_algorithms.is_empty() || config.pubkey_accepted_algorithms.contains(&algorithm);
    named && !is_too_small(key, config.required_rsa_size)
}
