//! Lends the local agent to programs on the remote host (`ForwardAgent`): the channel type `auth-agent@openssh.com` of
//! OpenSSH's PROTOCOL.agent.

use russh::{
    Channel, ChannelOpenFailure,
    client::{ChannelOpenHandle, Msg},
    keys::agent::{AgentSessionBinding, client::AgentClient},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    time::{Duration, timeout},
};

use super::{error::SshError, local_path::expand_path};
use crate::openssh::effective_config::{EffectiveConfig, IdentityAgent};

/// How long an agent may take to accept a connection and to note whom it is lent to.
const AGENT_LIMIT: Duration = Duration::from_secs(5);

/// The agent that a connection may use from the other side.
#[derive(Debug, Clone)]
pub(super) struct ForwardedAgent {
    socket: String,
    /// Tells the agent which host it is lent to, so that it can keep to the limits that `ssh-add -h` has set on a key.
    binding: Option<AgentSessionBinding>,
}

impl ForwardedAgent {
    /// The socket of the agent that `ForwardAgent` names; `None` where none is configured or there is none.
    ///
    /// # Errors
    /// A path that cannot be expanded.
    pub(super) fn socket(config: &EffectiveConfig, typed: &str) -> Result<Option<String>, SshError> {
        let socket = match &config.channels.forward_agent {
            IdentityAgent::None => None,
            IdentityAgent::Environment => std::env::var("SSH_AUTH_SOCK").ok().or_else(usual_agent),
            IdentityAgent::Variable(name) => std::env::var(name).ok(),
            IdentityAgent::Path(path) => Some(expand_path("ForwardAgent", path, config, typed)?),
        };
        Ok(socket.filter(|path| !path.is_empty()))
    }

    pub(super) fn new(socket: String, binding: Option<AgentSessionBinding>) -> Self {
        Self { socket, binding }
    }

    /// Answers the server's wish for a channel to the agent, and carries bytes until one side ends.
    pub(super) async fn serve(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Ok(Ok(mut agent)) = timeout(AGENT_LIMIT, connect(&self.socket)).await else {
            return reply.reject(ChannelOpenFailure::ConnectFailed).await;
        };
        if let Some(binding) = &self.binding {
            // An agent that does not know this has no such limits either.
            let mut client = AgentClient::connect(&mut agent);
            if timeout(AGENT_LIMIT, client.bind_session(binding, true)).await.is_err() {
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
async fn connect(socket: &str) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::UnixStream::connect(socket).await
}

#[cfg(windows)]
async fn connect(socket: &str) -> std::io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::net::windows::named_pipe::ClientOptions::new().open(socket)
}
