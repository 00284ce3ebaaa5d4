//! One authenticated SSH transport.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use russh::{
    Channel, ChannelStream, ChannelWriteHalf, Disconnect,
    client::{Handle, Msg},
};
use tokio::time::timeout;

use super::{proxy_command::ProxyProcess, route_check::RouteCheck};
use crate::{
    event::Event,
    openssh::{
        destination::host_part,
        effective_config::{AddressFamily, EffectiveConfig},
        forwardings::Forwardings,
    },
    ssh::{
        auth::TypedSecret,
        config::target::Target,
        error::SshError,
        known_servers::{Capacity, KnownServers},
        transport::{
            handler::{ClientHandler, ConnectionFacts},
            metered::Traffic,
        },
    },
};

/// Time limit for opening a channel on a live connection.
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);
/// Longest time from the end of the channels to the end of their transport.
const END_LAG: Duration = Duration::from_secs(1);

/// One authenticated SSH transport to one host, made by [`Connection::open`]. Shared in an [`Arc`];
/// all methods take `&self`. The transport ends with [`close`](Self::close), or when the server or
/// the network ends it.
pub struct Connection {
    /// Handle of russh, through which channels are opened.
    pub(in crate::ssh) handle: Handle<ClientHandler>,
    /// Facts which russh's handler records while the transport runs.
    pub(in crate::ssh) facts: Arc<ConnectionFacts>,
    /// Counters of the bytes in both directions.
    pub(in crate::ssh) traffic: Traffic,
    /// Host that was asked for.
    pub(in crate::ssh) asked: AskedHost,
    /// Peer address of the TCP connection; `None` through a jump host or `ProxyCommand`.
    pub(in crate::ssh) address: Option<SocketAddr>,
    /// Variables set for every command, as name and value (`SendEnv` and `SetEnv`).
    pub(in crate::ssh) environment: Vec<(String, String)>,
    /// Connection to the jump host; `None` without a jump host.
    pub(in crate::ssh) hop: Option<Arc<Connection>>,
    /// Check of the hosts on the way, for further connections.
    pub(in crate::ssh) route_check: RouteCheck,
    /// What earlier log-ins showed, for further connections; `None` if that is not used.
    pub(in crate::ssh) servers: Option<KnownServers>,
    /// Process of the `ProxyCommand`, which ends with this connection; `None` without a
    /// `ProxyCommand`.
    pub(in crate::ssh) _proxy: Option<ProxyProcess>,
    /// Forwards of the configuration, which belong to the first connection of a session.
    pub forwardings: Forwardings,
    /// Description of the server, for display to the user.
    pub peer: Peer,
    /// Secrets which the user typed to log in here and at the jump hosts, kept for further
    /// connections.
    pub typed_secrets: Vec<TypedSecret>,
    /// Fingerprint of the key that was enough for the log-in; `None` if the server required
    /// anything else.
    pub(in crate::ssh) key: Option<String>,
    /// True if the server refused the method `none`. A further log-in can then skip this method.
    pub needs_proof: bool,
}

/// Description of the server of a [`Connection`], for display to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Host name after the configuration was applied (`HostName`).
    pub host_name: String,
    /// TCP port of the server.
    pub port: u16,
    /// Remote user.
    pub user: String,
    /// Authentication methods which succeeded, comma-separated, such as `publickey` (RFC 4252).
    pub auth_method: String,
    /// Fingerprint of the server's host key, `SHA256:…`.
    pub host_key: String,
    /// Time at which authentication was complete.
    pub connected_at: SystemTime,
    /// Notices for the user, a sentence each, such as about a host key which was accepted and
    /// saved.
    pub notices: Vec<String>,
}

/// Account of a server, distinct from the same account name of another server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    user: String,
    host_name: String,
    port: u16,
    host_key: String,
}

impl Peer {
    /// Returns what tells the account from any other.
    #[must_use]
    pub fn identity(&self) -> PeerIdentity {
        PeerIdentity {
            user: self.user.clone(),
            host_name: self.host_name.clone(),
            port: self.port,
            host_key: self.host_key.clone(),
        }
    }
}

/// Part of a request for a connection that tells which host is meant.
#[derive(Debug)]
pub(in crate::ssh) struct AskedHost {
    /// Name or address, without user and port.
    pub(in crate::ssh) host: String,
    /// True if the port is not the configuration's.
    pub(in crate::ssh) has_port: bool,
    /// Family of the addresses that may be dialled.
    pub(in crate::ssh) address_family: AddressFamily,
}

impl AskedHost {
    /// Reads a target and its configuration.
    pub(in crate::ssh) fn new(target: &Target, config: &EffectiveConfig) -> Self {
        let destination = target.destination.as_str();
        Self {
            host: host_part(destination).to_owned(),
            has_port: target.port.is_some() || names_port(destination),
            address_family: config.address_family,
        }
    }
}

/// Returns true if a destination in the form `ssh://` has a port.
fn names_port(destination: &str) -> bool {
    let Some(rest) = destination.strip_prefix("ssh://") else {
        return false;
    };

    let host = rest.trim_end_matches('/').rsplit('@').next();
    host.and_then(|host| host.rsplit(']').next())
        .is_some_and(|end| end.contains(':'))
}

impl Connection {
    /// Returns the address at the other end of the TCP connection; `None` through a jump host or
    /// `ProxyCommand`.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }

    /// Returns true if russh has ended the transport.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Returns the error for an operation which failed because the transport ended.
    #[must_use]
    pub fn lost(&self) -> SshError {
        SshError::Lost(self.reason())
    }

    /// Returns true if the host key has changed and `StrictHostKeyChecking no` let the connection
    /// pass. Such a host gets no passwords.
    pub(in crate::ssh) fn withholds_passwords(&self) -> bool {
        self.facts
            .host_key
            .get()
            .is_some_and(|accepted| accepted.no_passwords)
    }

    /// Returns true once data or an exit status has arrived over a channel.
    pub(in crate::ssh) fn has_served(&self) -> bool {
        self.facts.served.load(Ordering::Relaxed)
    }

    /// Returns the reason for the end of the transport; `None` if the reason is unknown, or the
    /// transport has not ended.
    pub(in crate::ssh) fn reason(&self) -> Option<String> {
        self.facts.reason()
    }

    /// Returns the words with which the server ended the connection.
    pub(in crate::ssh) fn farewell(&self) -> Option<String> {
        self.facts.farewell.get().cloned()
    }

    /// Returns true if every channel needs a connection of its own.
    ///
    /// Dropbear closes a channel on which nothing runs yet when a command on another channel ends
    /// (`sesscheckclose` in its `svr-chansession.c`). A command on its way to such a channel makes
    /// Dropbear end the whole connection.
    pub(in crate::ssh) fn is_single_channel(&self) -> bool {
        self.is_software(b"SSH-2.0-dropbear")
    }

    /// Returns the capacity of a connection to this kind of server; `None` for unknown software.
    pub(in crate::ssh) fn usual_capacity(&self) -> Option<Capacity> {
        if self.is_software(b"SSH-2.0-OpenSSH_") {
            Some(Capacity::ManyChannels)
        } else {
            self.is_single_channel().then_some(Capacity::OneChannel)
        }
    }

    /// Returns true if the server is OpenSSH's for Windows.
    pub(in crate::ssh) fn serves_windows(&self) -> bool {
        self.is_software(b"SSH-2.0-OpenSSH_for_Windows")
    }

    /// Returns true if the SFTP server is likely OpenSSH's own. Dropbear runs the `sftp-server`
    /// program of the system, which most often is OpenSSH's. The announced extensions have to match
    /// as well.
    pub(in crate::ssh) fn runs_openssh_sftp(&self) -> bool {
        self.is_openssh_or_dropbear()
    }

    /// Returns the event of a granted command, after which stdin may be written. For OpenSSH's
    /// server and Dropbear, the event has happened: a command that they refuse ignores its stdin.
    /// `ProFTPD` ends the connection when anything is written to a command that it has refused.
    pub(in crate::ssh) fn early_grant(&self) -> Event {
        let granted = Event::new();
        if self.is_openssh_or_dropbear() {
            granted.set();
        }

        granted
    }

    fn is_openssh_or_dropbear(&self) -> bool {
        self.is_software(b"SSH-2.0-OpenSSH_") || self.is_software(b"SSH-2.0-dropbear")
    }

    /// Returns true if the server's identification starts with `beginning` (RFC 4253, section 4.2).
    fn is_software(&self, beginning: &[u8]) -> bool {
        self.identification().starts_with(beginning)
    }

    /// Returns the server's identification string (RFC 4253, section 4.2).
    pub(in crate::ssh) fn identification(&self) -> &[u8] {
        self.facts.software.get().map_or(&[], Vec::as_slice)
    }

    /// Returns true if the server has closed fewer channels than the `had` which were opened so
    /// far, all of which have ended here. A command may not have ended for the server, and a server
    /// with one channel may then lose the next one, see
    /// [`is_single_channel`](Self::is_single_channel).
    pub(in crate::ssh) fn has_channels_left(&self, had: usize) -> bool {
        self.facts.channels_closed.load(Ordering::Relaxed) < had
    }

    /// Returns true if the transport has ended, without waiting as [`ended`](Self::ended) does.
    pub(in crate::ssh) fn has_ended(&self) -> bool {
        self.facts.closed.is_set() || self.is_closed()
    }

    /// Returns true if the transport has ended, or ends within a moment, as after the end of all
    /// its channels.
    pub(in crate::ssh) async fn ends_now(&self) -> bool {
        timeout(END_LAG, self.ended()).await.is_ok()
    }

    /// Returns true if the transport ended while this program opened a channel next to another one,
    /// over a server that is not known to take several.
    pub(in crate::ssh) async fn has_ended_at_second_channel(&self) -> bool {
        self.facts.openings_at_risk.load(Ordering::Relaxed) > 0 && self.ends_now().await
    }

    /// Waits for the end of the transport. Writers have to watch for the end themselves: russh
    /// leaves a writer waiting which had used up the window of its channel.
    pub(in crate::ssh) async fn ended(&self) {
        self.facts.closed.wait().await;
    }

    /// Stops or resumes reading from the network, for all channels. Sending goes on meanwhile.
    pub(in crate::ssh) fn pause_reading(&self, paused: bool) {
        self.carrying_traffic().pause(paused);
    }

    /// Returns true while nothing is read from the network, so that the server cannot show life.
    pub(in crate::ssh) fn is_paused(&self) -> bool {
        self.carrying_traffic().is_paused()
    }

    /// Returns the traffic of the transport under this one and its jump hosts. A jump host whose
    /// bytes wait further up would not send any more.
    fn carrying_traffic(&self) -> &Traffic {
        self.hop
            .as_ref()
            .map_or(&self.traffic, |hop| hop.carrying_traffic())
    }

    /// Sends a ping, and returns true if the server answers within `limit`.
    pub async fn answers(&self, limit: Duration) -> bool {
        matches!(timeout(limit, self.handle.send_ping()).await, Ok(Ok(())))
    }

    /// Sends a disconnect message and ends the transport, then closes the jump host's connection
    /// too.
    pub async fn close(&self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        let _ = timeout(Duration::from_millis(200), goodbye).await;
        if let Some(hop) = &self.hop {
            Box::pin(hop.close()).await;
        }
    }

    /// Opens a stream to `host` and `port` from this server (`direct-tcpip`, RFC 4254, section
    /// 7.2).
    ///
    /// # Errors
    /// [`SshError::Forward`] if the server refuses, [`SshError::Lost`] if the transport has ended.
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

    /// Opens a session channel (RFC 4254, section 6.1).
    ///
    /// The caller must read the channel from the start: an unread channel blocks the whole
    /// connection.
    ///
    /// # Errors
    /// The server refuses the channel or does not answer within 30 seconds, or the transport has
    /// ended.
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

    /// Sends a command on `channel`, after the agent request and the environment of the
    /// configuration. As in `ssh`, no answer is awaited: a server which refuses a variable runs the
    /// command without it. A refusal of the command itself arrives as `ChannelMsg::Failure`.
    ///
    /// # Errors
    /// The transport has ended.
    pub(in crate::ssh) async fn command(
        &self,
        channel: &ChannelWriteHalf<Msg>,
        command: impl Into<Vec<u8>>,
    ) -> Result<(), SshError> {
        self.prepare(channel).await?;
        Ok(channel.exec(true, command).await?)
    }

    /// Sends a request for a shell (RFC 4254 section 6.5) on `channel`, in the same way as
    /// [`command`](Self::command) sends a command.
    ///
    /// # Errors
    /// The transport has ended.
    pub(in crate::ssh) async fn shell(
        &self,
        channel: &ChannelWriteHalf<Msg>,
    ) -> Result<(), SshError> {
        self.prepare(channel).await?;
        Ok(channel.request_shell(true).await?)
    }

    /// Sends the agent request and the environment of the configuration on `channel`.
    async fn prepare(&self, channel: &ChannelWriteHalf<Msg>) -> Result<(), SshError> {
        if self.facts.agent.get().is_some() {
            channel.agent_forward(false).await?;
        }
        for (name, value) in &self.environment {
            channel.set_env(false, name, value).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
