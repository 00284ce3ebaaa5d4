//! One authenticated SSH transport.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use russh::{
    Channel, ChannelStream, ChannelWriteHalf, Disconnect,
    client::{Handle, Msg},
};
use tokio::time::timeout;

use super::proxy_command::ProxyProcess;
use crate::ssh::{
    auth::TypedSecret,
    error::SshError,
    transport::{
        handler::{ClientHandler, ConnectionFacts},
        metered::Traffic,
    },
};

/// How long opening a channel may take on a live connection.
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);

/// One authenticated SSH transport to one host. Shared in an [`Arc`]; all methods take `&self`.
pub struct Connection {
    pub(in crate::ssh) handle: Handle<ClientHandler>,
    pub(in crate::ssh) facts: Arc<ConnectionFacts>,
    /// What passes over it.
    pub(in crate::ssh) traffic: Traffic,
    /// The other end of its TCP connection, if it has one of its own.
    pub(in crate::ssh) address: Option<SocketAddr>,
    /// What `SendEnv` and `SetEnv` give to every command.
    pub(in crate::ssh) environment: Vec<(String, String)>,
    /// The jump host that this connection goes through.
    pub(in crate::ssh) hop: Option<Arc<Connection>>,
    /// The `ProxyCommand` that it goes through; ends with it.
    pub(in crate::ssh) _proxy: Option<ProxyProcess>,
    /// What was connected to.
    pub peer: Peer,
    /// What a person has typed to log in here and at the hops, to do so again.
    pub typed: Vec<TypedSecret>,
    /// It took a proof, which another log-in will take, too.
    pub needs_proof: bool,
}

/// The facts about a connection that a person wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// `HostName` after the configuration was applied.
    pub host_name: String,
    /// The TCP port.
    pub port: u16,
    /// The remote user.
    pub user: String,
    /// The authentication method that succeeded, such as `publickey` (RFC 4252).
    pub auth_method: String,
    /// The fingerprint of the server's host key, `SHA256:…`.
    pub host_key: String,
    /// When authentication was complete.
    pub connected_at: SystemTime,
    /// What the person should know, a sentence each, such as a key that was accepted and saved.
    pub notices: Vec<String>,
}

impl Connection {
    /// Whether the transport has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The error to report for something that failed because the transport ended.
    #[must_use]
    pub fn lost(&self) -> SshError {
        SshError::Lost(self.reason())
    }

    /// Whether the host has shown another key than the one that is known, which the configuration lets pass.
    pub(in crate::ssh) fn withholds_passwords(&self) -> bool {
        self.facts
            .host_key
            .get()
            .is_some_and(|accepted| accepted.no_passwords)
    }

    /// Whether anything has come over a channel.
    pub(in crate::ssh) fn has_served(&self) -> bool {
        self.facts.served.load(Ordering::Relaxed)
    }

    /// Why the transport ended, if that is known.
    pub(in crate::ssh) fn reason(&self) -> Option<String> {
        self.facts.reason()
    }

    /// Whether a channel on which nothing runs yet may be lost when a command on another channel ends.
    ///
    /// Dropbear closes it then (`sesscheckclose` in its `svr-chansession.c`), and a command that is on its way to such a
    /// channel makes it end the whole connection. Nothing can be done about that but to give each channel a connection
    /// of its own.
    pub(in crate::ssh) fn is_single_channel(&self) -> bool {
        self.is_software(b"SSH-2.0-dropbear")
    }

    /// Whether its SFTP is OpenSSH's own or, as with Dropbear, the system's sftp-server program, which most often is. What that
    /// announces has to fit as well.
    pub(in crate::ssh) fn runs_openssh_sftp(&self) -> bool {
        self.is_software(b"SSH-2.0-OpenSSH_") || self.is_software(b"SSH-2.0-dropbear")
    }

    /// Whether the server's identification (RFC 4253, section 4.2) begins with this.
    fn is_software(&self, beginning: &[u8]) -> bool {
        self.facts
            .software
            .get()
            .is_some_and(|version| version.starts_with(beginning))
    }

    /// Whether a channel that is opened now may be lost in this way: one of those that it `had`, all of which have ended, was
    /// not closed by the server, which so has perhaps not seen the end of its command yet.
    pub(in crate::ssh) fn may_drop_new_channel(&self, had: usize) -> bool {
        self.is_single_channel() && self.facts.channels_closed.load(Ordering::Relaxed) < had
    }

    /// Whether [`ended`](Self::ended) is over.
    pub(in crate::ssh) fn has_ended(&self) -> bool {
        self.facts.closed.is_cancelled() || self.is_closed()
    }

    /// Waits for the end of the transport. russh leaves a writer waiting that had used up its channel's window.
    pub(in crate::ssh) async fn ended(&self) {
        self.facts.closed.cancelled().await;
    }

    /// Whether the server still answers, within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        matches!(timeout(limit, self.handle.send_ping()).await, Ok(Ok(())))
    }

    /// Says goodbye and ends the transport.
    pub async fn close(&self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        let _ = timeout(Duration::from_millis(200), goodbye).await;
        if let Some(hop) = &self.hop {
            Box::pin(hop.close()).await;
        }
    }

    /// A stream to a host behind this one (RFC 4254 section 7.2).
    pub(in crate::ssh) async fn forward(
        &self,
        host: &str,
        port: u16,
    ) -> Result<ChannelStream<Msg>, SshError> {
        match self
            .handle
            .channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0)
            .await
        {
            Ok(channel) => Ok(channel.into_stream()),
            Err(russh::Error::ChannelOpenFailure(reason)) => Err(SshError::Forward {
                host: host.to_owned(),
                port,
                message: format!("{reason:?}"),
            }),
            Err(_) => Err(self.lost()),
        }
    }

    /// Opens a session channel (RFC 4254 section 6.1).
    ///
    /// The caller must read it from the first moment on: an unread channel blocks the whole connection.
    pub(in crate::ssh) async fn open_channel(&self) -> Result<Channel<Msg>, SshError> {
        match timeout(CHANNEL_LIMIT, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error @ russh::Error::ChannelOpenFailure(_))) => Err(error.into()),
            Ok(Err(_)) if self.is_closed() => Err(self.lost()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SshError::Timeout {
                stage: "opening a channel",
                after: CHANNEL_LIMIT,
            }),
        }
    }

    /// Sends a command, after what the configuration gives to every one: the agent and the environment. No answer is
    /// awaited, as in `ssh`: a server that refuses a variable runs the command without it. One that refuses the command says
    /// so, as `ChannelMsg::Failure`.
    pub(in crate::ssh) async fn command(
        &self,
        channel: &ChannelWriteHalf<Msg>,
        command: impl Into<Vec<u8>>,
    ) -> Result<(), SshError> {
        if self.facts.agent.get().is_some() {
            channel.agent_forward(false).await?;
        }
        for (name, value) in &self.environment {
            channel.set_env(false, name, value).await?;
        }
        Ok(channel.exec(true, command).await?)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
