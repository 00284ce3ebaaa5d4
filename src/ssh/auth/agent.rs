//! Connects to the authentication agent and lists its keys.

use std::{env, time::Duration};

use russh::{
    client::Handle,
    keys::{
        Certificate, PublicKey,
        agent::{
            AgentIdentity,
            client::{AgentClient, AgentStream},
        },
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use crate::{
    openssh::{effective_config::EffectiveConfig, identity_agent::IdentityAgent},
    ssh::{config::expand::expand_path, error::SshError, transport::handler::ClientHandler},
};

/// Time limit for listing the agent's keys.
const LIMIT: Duration = Duration::from_secs(5);

/// Size limit of the agent's answer, in bytes. `ssh-agent` has the same limit.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Message `SSH_AGENTC_REQUEST_IDENTITIES`, with its length (draft-ietf-sshm-ssh-agent, section
/// 3.5).
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
/// Type of the message `SSH_AGENT_IDENTITIES_ANSWER`.
const IDENTITIES_ANSWER: u8 = 12;

type AgentTransport = Box<dyn AgentStream + Send + Unpin>;

pub(super) type Agent = AgentClient<AgentTransport>;

/// Connects to the agent named by the configuration, and lists the keys and certificates in order.
/// Returns `None` if there is no agent.
///
/// # Errors
/// A description of the reason why the agent cannot be used.
pub(super) async fn ask(
    handle: &Handle<ClientHandler>,
    config: &EffectiveConfig,
    destination: &str,
) -> Result<Option<(Agent, Vec<AgentIdentity>)>, String> {
    let socket = match &config.identity_agent {
        IdentityAgent::None => return Ok(None),
        IdentityAgent::Environment => env::var("SSH_AUTH_SOCK").ok(),
        IdentityAgent::Variable(name) => env::var(name).ok(),
        IdentityAgent::Path(path) => Some(
            expand_path("IdentityAgent", path, config, destination)
                .map_err(|error: SshError| error.to_string())?,
        ),
    };

    let listing = async {
        let Some(stream) = connect(socket.filter(|path| !path.is_empty())).await? else {
            return Ok(None);
        };
        let mut agent = Agent::connect(stream);

        // Without this binding an agent keeps back keys which are restricted to certain hosts
        // (`ssh-add -h`). Other agents refuse the request, which is harmless.
        if let Some(binding) = handle.agent_session_binding() {
            let _ = agent.bind_session(binding, false).await;
        }

        // russh's own listing fails as a whole if one key is of an unknown kind.
        let mut stream: AgentTransport = agent.into_inner();
        let answer = request_identities(&mut stream)
            .await
            .map_err(|error| error.to_string())?;
        let held = identities(&answer).ok_or("its answer is malformed")?;
        Ok(Some((Agent::connect(stream), held)))
    };

    timeout(LIMIT, listing)
        .await
        .unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

/// Returns the reason why there is no agent.
pub(super) fn missing(config: &EffectiveConfig) -> String {
    match &config.identity_agent {
        IdentityAgent::None => "IdentityAgent none".to_owned(),
        IdentityAgent::Variable(name) => format!("{name} is not set"),
        IdentityAgent::Environment | IdentityAgent::Path(_) => {
            "SSH_AUTH_SOCK is not set".to_owned()
        }
    }
}

/// Connects to the agent's Unix socket; `None` without a socket.
#[cfg(unix)]
async fn connect(socket: Option<String>) -> Result<Option<AgentTransport>, String> {
    let Some(socket) = socket else {
        return Ok(None);
    };
    let stream = tokio::net::UnixStream::connect(&socket)
        .await
        .map_err(|error| format!("{socket}: {error}"))?;
    Ok(Some(Box::new(stream)))
}

/// Connects to the named pipe of the OpenSSH agent, or else to Pageant. A `SSH_AUTH_SOCK` which
/// names no pipe is a socket of Cygwin or MSYS, and only their programs can use it.
#[cfg(windows)]
async fn connect(socket: Option<String>) -> Result<Option<AgentTransport>, String> {
    let is_pipe = |path: &String| path.replace('/', r"\").starts_with(r"\\.\pipe\");
    let configured = socket.filter(is_pipe);
    let pipe = configured
        .clone()
        .unwrap_or_else(|| r"\\.\pipe\openssh-ssh-agent".to_owned());

    match (AgentClient::connect_named_pipe(&pipe).await, configured) {
        (Ok(agent), _) => Ok(Some(agent.into_inner())),
        (Err(error), Some(pipe)) => Err(format!("{pipe}: {error}")),
        (Err(_), None) => Ok(AgentClient::connect_pageant()
            .await
            .ok()
            .map(AgentClient::into_inner)),
    }
}

/// Requests the list of keys, and returns the agent's answer without the length prefix.
async fn request_identities(stream: &mut AgentTransport) -> std::io::Result<Vec<u8>> {
    stream.write_all(&REQUEST_IDENTITIES).await?;
    stream.flush().await?;
    // The length is checked before memory is reserved for the answer.
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_ANSWER_BYTES {
        return Err(std::io::Error::other("its answer is too long"));
    }

    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;

    Ok(answer)
}

/// Parses the agent's answer, skipping keys of unknown kinds. Returns `None` if the answer is
/// malformed. Another answer counts as an empty list, such as the failure of a locked agent.
fn identities(answer: &[u8]) -> Option<Vec<AgentIdentity>> {
    let (kind, mut rest) = answer.split_first()?;
    if *kind != IDENTITIES_ANSWER {
        return Some(Vec::new());
    }

    let count = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
    let mut string = || {
        let length = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
        rest.split_off(..usize::try_from(length).ok()?)
    };

    let mut identities = Vec::new();

    for _ in 0..count {
        let (blob, comment) = (string()?, string()?);
        identities.extend(identity(
            blob,
            String::from_utf8_lossy(comment).into_owned(),
        ));
    }

    Some(identities)
}

/// Parses a key or certificate; `None` for an unknown kind.
fn identity(blob: &[u8], comment: String) -> Option<AgentIdentity> {
    const MARK: &[u8] = b"-cert-v01@";

    match blob
        .windows(MARK.len())
        .filter(|window| *window == MARK)
        .count()
    {
        0 => PublicKey::from_bytes(blob)
            .ok()
            .map(|key| AgentIdentity::PublicKey { key, comment }),
        // The decoder takes a certificate as the key of a certificate's authority, and recurses
        // without limit. The count of the marks bounds the depth.
        1..=4 => Certificate::from_bytes(blob)
            .ok()
            .map(|certificate| AgentIdentity::Certificate {
                certificate,
                comment,
            }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    #[test]
    fn a_malformed_identity_is_skipped_and_the_others_are_kept() {
        let key = [string(b"ssh-ed25519"), string(&[7; 32])].concat();
        let broken = [string(b"ssh-ed25519"), string(&[7; 3])].concat();
        let nested = [
            string(b"ssh-ed25519-cert-v01@openssh.com"),
            b"-cert-v01@".repeat(9),
        ]
        .concat();

        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 4];

        for (blob, comment) in [
            (&broken, &b"broken"[..]),
            (&nested, b"nested"),
            (&key, b"caf\xe9"),
            (&key, b"second"),
        ] {
            answer.extend([string(blob), string(comment)].concat());
        }

        let comments: Vec<String> = identities(&answer)
            .unwrap()
            .iter()
            .map(|held| held.comment().to_owned())
            .collect();

        assert_eq!(comments, ["caf\u{fffd}", "second"]);
        for cut in [0, 3, 20, answer.len() - 1] {
            assert!(identities(&answer[..cut]).is_none(), "{cut}");
        }

        assert!(identities(&[5]).unwrap().is_empty());
    }
}
