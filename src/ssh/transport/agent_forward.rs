//! Lends the local agent to programs on the remote host (`ForwardAgent`): the channel type `auth-agent@openssh.com` of
//! OpenSSH's PROTOCOL.agent.

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

/// How long an agent may take to accept a connection and to note whom it is lent to.
const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// How many programs on the other side may use it at once.
const MAX_AT_ONCE: usize = 32;

/// The agent that a connection may use from the other side.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct ForwardedAgent {
    socket: String,
    /// Tells the agent which host it is lent to, so that it can keep to the limits that `ssh-add -h` has set on a key.
    binding: Option<AgentSessionBinding>,
    places: Arc<Semaphore>,
}

impl ForwardedAgent {
    /// The socket of the agent that `ForwardAgent` names; `None` where none is configured or there is none.
    ///
    /// # Errors
    /// A path that cannot be expanded.
    pub(in crate::ssh) fn socket(
        config: &EffectiveConfig,
        typed: &str,
    ) -> Result<Option<String>, SshError> {
        let socket = match &config.channels.forward_agent {
            IdentityAgent::None => None,
            IdentityAgent::Environment => std::env::var("SSH_AUTH_SOCK").ok().or_else(usual_agent),
            IdentityAgent::Variable(name) => std::env::var(name).ok(),
            IdentityAgent::Path(path) => Some(expand_path("ForwardAgent", path, config, typed)?),
        };
        Ok(socket.filter(|path| !path.is_empty()))
    }

    pub(in crate::ssh) fn new(socket: String, binding: Option<AgentSessionBinding>) -> Self {
        Self {
            socket,
            binding,
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        }
    }

    /// A place for one more channel to it, for as long as that is open.
    pub(in crate::ssh) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Answers the server's wish for a channel to the agent, and carries bytes until one side ends.
    pub(in crate::ssh) async fn serve(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Ok(Ok(mut agent)) = timeout(AGENT_LIMIT, connect(&self.socket)).await else {
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        };

        if let Some(binding) = &self.binding {
            // An agent that does not know this has no such limits either.
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

/// On Windows the agent listens where nobody has to say so.
fn usual_agent() -> Option<String> {
    cfg!(windows).then(|| r"\\.\pipe\openssh-ssh-agent".to_owned())
}

#[cfg(unix)]
async fn connect(
    socket: &str,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::UnixStream::connect(socket).await
}

#[cfg(windows)]
async fn connect(
    socket: &str,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::windows::named_pipe::ClientOptions::new().open(socket)
}
