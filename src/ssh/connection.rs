//! One authenticated SSH transport.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use russh::{
    Channel, ChannelStream, ChannelWriteHalf, Disconnect, Limits,
    client::{self, Handle, Msg},
};
use tokio::{sync::oneshot, time::timeout};

use tokio_util::either::Either;

use super::{
    agent_forward::ForwardedAgent,
    algorithms,
    ask::Person,
    authenticate::{self, Credentials, Typed},
    deadline::Deadline,
    dial::dial,
    error::SshError,
    handler::{ClientHandler, Learned},
    host_key::{self, HostKeyCheck},
    proxy::{self, ProxyProcess},
    resolve::{Target, resolve},
};
use crate::openssh::effective_config::EffectiveConfig;

/// The receive window of a channel, in bytes (RFC 4254 section 5.2). At 40 ms a smaller one leaves the link idle, a
/// larger one makes sshd slower.
const WINDOW: u32 = 8 * 1024 * 1024;
/// The largest packet asked for, in bytes: what every implementation supports.
const PACKET: u32 = 32 * 1024;
/// Keepalive interval where `ServerAliveInterval` says nothing: a dead link shall not be noticed by the next command.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The smallest `RekeyLimit` that is kept to, in bytes: below it a connection would do little else.
const LEAST_REKEY: usize = 16 * 1024;
/// A variable that `SendEnv` patterns do not send: the bearer token of the daemon is nobody else's.
const WITHHELD: [&str; 1] = ["MCP_SSH_TOKEN"];
/// How long opening a channel may take on a live connection.
const CHANNEL_LIMIT: Duration = Duration::from_secs(30);

/// One authenticated SSH transport to one host. Shared in an [`Arc`]; all methods take `&self`.
pub struct Connection {
    handle: Handle<ClientHandler>,
    learned: Arc<Learned>,
    /// The other end of its TCP connection, if it has one of its own.
    address: Option<SocketAddr>,
    /// What `SendEnv` and `SetEnv` give to every command.
    environment: Vec<(String, String)>,
    /// The jump host that this connection goes through.
    hop: Option<Arc<Connection>>,
    /// The `ProxyCommand` that it goes through; ends with it.
    _proxy: Option<ProxyProcess>,
    /// What was connected to.
    pub peer: Peer,
    /// What a person has typed to log in here and at the hops, to do so again.
    pub typed: Vec<Typed>,
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
    /// Resolves, dials, checks the host key and authenticates, all within `limit`; the time in which the person is asked
    /// for a secret does not count.
    ///
    /// # Errors
    /// [`SshError`], whose variant is the stage that failed.
    pub async fn open(
        target: &Target,
        credentials: &Credentials,
        person: &Person,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        Self::open_until(target, credentials, person, &Deadline::after(limit), 0, None, None).await
    }

    /// Opens one more to the machine that this one leads to. A name may stand for several machines: process ids and
    /// files would be another's there, so it has to have the same address and host key.
    pub(super) async fn open_another(
        &self,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        // Nobody is asked: the first log-in has all that is needed.
        Self::open_until(target, credentials, &Person::default(), &Deadline::after(limit), 0, None, Some(self)).await
    }

    /// The same until a deadline, as hop `depth` of a chain of jump hosts, through the hops `via` if there are any, to the
    /// machine of `beside` if there is one.
    pub(super) async fn open_until(
        target: &Target,
        credentials: &Credentials,
        person: &Person,
        deadline: &Deadline,
        depth: usize,
        via: Option<&str>,
        beside: Option<&Self>,
    ) -> Result<Arc<Self>, SshError> {
        let config = resolve(target, deadline.left()).await?;
        let typed = target.destination.as_str();
        if let Some(message) = &config.refuse_connection {
            return Err(SshError::Resolve { destination: typed.to_owned(), message: message.clone() });
        }
        // ConnectTimeout is for the connection and the handshake, ssh_config(5).
        let connecting = deadline.within(config.connect_timeout);
        let forwarded_agent = ForwardedAgent::socket(&config, typed)?;
        let mut check = HostKeyCheck::load(&config, target)?;
        let preferred = algorithms::preferred(&config, check.algorithms())?;
        let ssh = Arc::new(client::Config {
            client_id: russh::SshId::Standard(concat!("SSH-2.0-mcp-ssh-sessions_", env!("CARGO_PKG_VERSION")).into()),
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            preferred,
            limits: rekey_limits(&config),
            keepalive_interval: Some(config.server_alive_interval.unwrap_or(KEEPALIVE)),
            keepalive_max: usize::try_from(config.server_alive_count_max).unwrap_or(3),
            nodelay: true,
            ..client::Config::default()
        });
        let (mut hop, mut proxy, mut address) = (None, None, None);
        let hops = match (via, &config.proxy_jump) {
            (None, Some(own)) => Some(proxy::expand_hops(own, &config, typed)?),
            (via, _) => via.map(str::to_owned),
        };
        let stream = if let Some(hops) = hops {
            let last = proxy::connect_hops(&hops, target, credentials, person, deadline, depth).await?;
            let forward = last.forward(&config.host_name, config.port);
            let stream = deadline.limit("connecting through the jump host", forward).await??;
            hop = Some(last);
            Either::Left(stream)
        } else if let Some(command) = &config.proxy_command {
            let started = proxy::start_command(command, &config, typed)?;
            proxy = Some(started.process);
            Either::Right(Either::Left(started.stream))
        } else {
            let dialled = dial(&config, beside.and_then(|first| first.address), connecting.at()).await?;
            address = dialled.peer_address();
            check.address = address.map(|address| address.ip());
            Either::Right(Either::Right(dialled))
        };
        let (check, learned) = (Arc::new(check), Arc::new(Learned::default()));
        let (announce, announced) = oneshot::channel();
        let handler = ClientHandler {
            check: Arc::clone(&check),
            learned: Arc::clone(&learned),
            announced: Some(announce),
            person: person.clone(),
            deadlines: [connecting.clone(), deadline.clone()],
            _over: learned.over.clone().drop_guard(),
        };
        let handshake = client::connect_stream(ssh, stream, handler);
        let mut handle = match connecting.limit("the SSH handshake", handshake).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) | Err(error) => return Err(in_handshake(error, &config.host_name, proxy).await),
        };
        if let Some(first) = beside
            && learned.host_key.get().is_none_or(|accepted| accepted.fingerprint != first.peer.host_key)
        {
            let message = "it shows another host key than before, and may be another machine".to_owned();
            return Err(SshError::Handshake { host: config.host_name, message });
        }
        let mut credentials = credentials.clone();
        if let Some(hop) = &hop {
            credentials.typed.clone_from(&hop.typed);
        }
        let login = authenticate::authenticate(&mut handle, &config, typed, &credentials, person, deadline, &learned);
        // Boxed: it has a state for each method, and every call that connects would carry that around.
        let login = deadline.limit("authentication", Box::pin(login)).await??;
        let accepted = learned.host_key.get().cloned().unwrap_or_default();
        let notices = hop.iter().flat_map(|hop| hop.peer.notices.iter().cloned());
        let notices = notices
            .chain(accepted.notice)
            .chain(login.notice)
            .chain(if depth == 0 { config.notices } else { Vec::new() })
            .collect();
        if let (0, Some(socket)) = (depth, forwarded_agent) {
            let binding = handle.agent_session_binding().cloned();
            let _ = learned.agent.set(ForwardedAgent::new(socket, binding));
        }
        let environment = config.channels.environment(own_environment(), &WITHHELD);
        let peer = Peer {
            host_name: config.host_name,
            port: config.port,
            user: config.user,
            auth_method: login.methods,
            host_key: accepted.fingerprint,
            connected_at: SystemTime::now(),
            notices,
        };
        let connection =
            Arc::new(Self { handle, learned, address, environment, peer, hop, _proxy: proxy, typed: login.typed });
        if accepted.may_update {
            let connection = Arc::downgrade(&connection);
            tokio::spawn(async move {
                let Ok(keys) = announced.await else { return };
                if let Some(connection) = connection.upgrade() {
                    host_key::update(&check, &connection.handle, keys).await;
                }
            });
        }
        Ok(connection)
    }

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

    /// Why the transport ended, if that is known.
    pub(super) fn reason(&self) -> Option<String> {
        self.learned.reason()
    }

    /// Waits for the end of the transport. russh leaves a writer waiting that had used up its channel's window.
    pub(super) async fn ended(&self) {
        self.learned.over.cancelled().await;
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
    async fn forward(&self, host: &str, port: u16) -> Result<ChannelStream<Msg>, SshError> {
        match self.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0).await {
            Ok(channel) => Ok(channel.into_stream()),
            Err(russh::Error::ChannelOpenFailure(reason)) => {
                Err(SshError::Forward { host: host.to_owned(), port, message: format!("{reason:?}") })
            }
            Err(_) => Err(self.lost()),
        }
    }

    /// Opens a session channel (RFC 4254 section 6.1).
    ///
    /// The caller must read it from the first moment on: an unread channel blocks the whole connection.
    pub(super) async fn open_channel(&self) -> Result<Channel<Msg>, SshError> {
        match timeout(CHANNEL_LIMIT, self.handle.channel_open_session()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error @ russh::Error::ChannelOpenFailure(_))) => Err(error.into()),
            Ok(Err(_)) if self.is_closed() => Err(self.lost()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SshError::Timeout { stage: "opening a channel", after: CHANNEL_LIMIT }),
        }
    }

    /// Sends a command, after what the configuration gives to every one: the agent and the environment. No answer is
    /// awaited, as in `ssh`: a server that refuses a variable runs the command without it.
    pub(super) async fn command(
        &self,
        channel: &ChannelWriteHalf<Msg>,
        command: impl Into<Vec<u8>>,
    ) -> Result<(), SshError> {
        if self.learned.agent.get().is_some() {
            channel.agent_forward(false).await?;
        }
        for (name, value) in &self.environment {
            channel.set_env(false, name, value).await?;
        }
        Ok(channel.exec(false, command).await?)
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The variables of this process, those that are text.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `RekeyLimit`, within what the engine allows: it counts each direction for itself and wants new keys at the latest after a
/// gibibyte or an hour.
fn rekey_limits(config: &EffectiveConfig) -> Limits {
    let most = Limits::default();
    let bytes = config.rekey_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
    Limits {
        rekey_write_limit: bytes.clamp(LEAST_REKEY, most.rekey_write_limit),
        rekey_read_limit: bytes.clamp(LEAST_REKEY, most.rekey_read_limit),
        rekey_time_limit: config.rekey_after.map_or(most.rekey_time_limit, |after| after.min(most.rekey_time_limit)),
    }
}

/// An error before authentication is one of the handshake, not a lost connection. What a `ProxyCommand` says explains it.
async fn in_handshake(error: SshError, host: &str, proxy: Option<ProxyProcess>) -> SshError {
    let message = match &error {
        SshError::Lost(reason) => reason.clone().unwrap_or_else(|| "the server closed the connection".to_owned()),
        SshError::Timeout { .. } if proxy.is_some() => error.to_string(),
        _ => return error,
    };
    let complaint = match proxy {
        Some(proxy) => proxy.complaint().await,
        None => String::new(),
    };
    let said = if complaint.is_empty() { complaint } else { format!("; its ProxyCommand says: {complaint:?}") };
    SshError::Handshake { host: host.to_owned(), message: message + &said }
}

/// The folder in which whole outputs are kept when nothing else is said: the user's state directory.
#[must_use]
pub fn default_output_folder() -> PathBuf {
    dirs::state_dir()
        .or_else(dirs::data_local_dir)
        .unwrap_or_else(std::env::temp_dir)
        .join("mcp-ssh-sessions")
        .join("output")
}
