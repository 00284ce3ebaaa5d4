//! Forwards the local agent to programs on the remote host (`ForwardAgent`), by the channel type
//! `auth-agent@openssh.com` of OpenSSH's PROTOCOL.agent.

use std::sync::Arc;

use russh::{
    Channel, ChannelOpenFailure,
    client::{ChannelOpenHandle, Msg},
    keys::agent::{AgentSessionBinding, client::AgentClient},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Duration, timeout},
};

use crate::{
    openssh::{effective_config::EffectiveConfig, identity_agent::IdentityAgent},
    ssh::{config::expand::expand_path, error::SshError},
};

/// Time limit for the agent to accept a connection, and to take note of the host.
const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// Limit of the agent channels which are open at once.
const MAX_AT_ONCE: usize = 32;

/// Local agent which programs on the remote host may use. Clones share the limit on open channels.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct ForwardedAgent {
    socket: String,
    /// Proof of the host to which the agent is forwarded. It lets the agent enforce the limits of
    /// `ssh-add -h`; `None` if there is no such proof.
    binding: Option<AgentSessionBinding>,
    /// Permits for open channels.
    places: Arc<Semaphore>,
}

impl ForwardedAgent {
    /// Returns the socket of the agent named by `ForwardAgent`; `None` if no agent is configured or
    /// running.
    ///
    /// # Errors
    /// The path cannot be expanded.
    pub(in crate::ssh) fn socket(
        config: &EffectiveConfig,
        destination: &str,
    ) -> Result<Option<String>, SshError> {
        let socket = match &config.channels.forward_agent {
            IdentityAgent::None => None,
            IdentityAgent::Environment => std::env::var("SSH_AUTH_SOCK").ok().or_else(usual_agent),
            IdentityAgent::Variable(name) => std::env::var(name).ok(),
            IdentityAgent::Path(path) => {
                Some(expand_path("ForwardAgent", path, config, destination)?)
            }
        };
        Ok(socket.filter(|path| !path.is_empty()))
    }

    /// Creates the forwarding for an agent which listens at `socket`.
    pub(in crate::ssh) fn new(socket: String, binding: Option<AgentSessionBinding>) -> Self {
        Self {
            socket,
            binding,
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }

    /// Returns a permit for another channel, to be held while the channel is open; `None` if too
    /// many are open.
    pub(in crate::ssh) fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Accepts or rejects the server's channel to the agent, and copies bytes until either side
    /// ends.
    pub(in crate::ssh) async fn serve(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Ok(Ok(mut agent)) = timeout(AGENT_LIMIT, connect(&self.socket)).await else {
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        };

        // The binding comes first on the agent's connection, before any request of the remote
        // program.
        if let Some(binding) = &self.binding {
            // An agent without support for bindings refuses, but has no limits to enforce either.
            let mut client = AgentClient::connect(&mut agent);
            if timeout(AGENT_LIMIT, client.bind_session(binding, true))
                .await
                .is_err()
            {
                return reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }

        reply.accept().await;
        let _ = copy_bidirectional(&mut channel.into_stream(), &mut agent).await;
    }
}

/// Returns the usual pipe of the OpenSSH agent on Windows; `None` on other systems. On Windows no
/// variable has to name the pipe.
fn usual_agent() -> Option<String> {
    cfg!(windows).then(|| r"\\.\pipe\openssh-ssh-agent".to_owned())
}

/// Connects to the agent's Unix socket.
#[cfg(unix)]
async fn connect(
    socket: &str,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::UnixStream::connect(socket).await
}

/// Connects to the agent's named pipe.
#[cfg(windows)]
async fn connect(
    socket: &str,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::windows::named_pipe::ClientOptions::new().open(socket)
}
