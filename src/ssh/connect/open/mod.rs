//! Opens an authenticated connection to a destination: configuration, byte stream, handshake with
//! host key check, log-in.

mod hops;
mod trace;

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use russh::{
    ChannelStream, Limits,
    client::{self, Msg},
    keys::PublicKey,
};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::either::Either;

use super::{
    connection::{Connection, Peer},
    keepalive::{self, Keepalive},
    proxy_command::{self, CommandStream, ProxyProcess},
};
use crate::{
    child::SECRET_VARIABLES,
    event::Event,
    openssh::effective_config::EffectiveConfig,
    ssh::{
        auth::{self, Credentials, LoggedIn},
        config::{expand::expand_hops, resolve::resolve_recording, target::Target},
        error::{self, SshError},
        prompt::prompter::Prompter,
        trace::{Stage, StageTrace},
        transport::{
            agent_forward::ForwardedAgent,
            algorithms,
            deadline::{ConnectDeadlines, Deadline},
            dial::dial,
            handler::{ClientHandler, ConnectionFacts},
            host_key::{self, AcceptedHostKey, HostKeyCheck},
            metered::{FirstBytes, MeteredStream, Traffic},
            tcp::TcpTransport,
        },
    },
};

/// Receive window of a channel, in bytes (RFC 4254, section 5.2). At a round-trip time of 40 ms a
/// smaller window leaves the link idle, and a larger one makes sshd slower.
const WINDOW: u32 = 8 * 1024 * 1024;
/// Largest packet accepted on a channel, in bytes. Every implementation supports this size.
const PACKET: u32 = 32 * 1024;
/// Extra time for a log-in whose banner sends the user to a web page.
const AT_A_PAGE: Duration = Duration::from_secs(300);
/// Lower bound of `RekeyLimit`, in bytes. With a smaller limit a connection would do little besides
/// exchanging keys.
const LEAST_REKEY: usize = 16 * 1024;

/// Parameters of an attempt to open a connection. [`run`](Self::run) makes the connection, and
/// derives the parameters of a jump host from those of the destination.
pub(in crate::ssh) struct OpenConnection<'a> {
    /// Destination, with the options which the caller has given.
    pub(in crate::ssh) target: &'a Target,
    /// Credentials which the caller has given, or which are known from an earlier log-in.
    pub(in crate::ssh) credentials: &'a Credentials,
    /// Prompter for missing secrets and unknown host keys.
    pub(in crate::ssh) prompter: &'a Prompter,
    /// Deadline of the whole attempt, jump hosts included.
    pub(in crate::ssh) deadline: &'a Deadline,
    /// Distance from the destination: 0 is the destination, 1 the jump host before it, and so on.
    pub(in crate::ssh) depth: usize,
    /// Jump hosts to use in place of the configured `ProxyJump`; `None` uses the configuration.
    pub(in crate::ssh) via: Option<&'a str>,
    /// Earlier connection to the same machine, whose address and host key the new connection must
    /// share; `None` for a first connection.
    pub(in crate::ssh) same_host_as: Option<&'a Connection>,
    /// Trace which records the stages. With a recording trace, no file is changed.
    pub(in crate::ssh) trace: &'a StageTrace,
}

impl Connection {
    /// Resolves the target, connects, checks the host key and logs in, all within `limit`. Time
    /// spent asking the user for a secret does not count.
    ///
    /// # Errors
    /// [`SshError`], whose variant names the failed stage.
    pub async fn open(
        target: &Target,
        credentials: &Credentials,
        prompter: &Prompter,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        let (deadline, trace) = (&Deadline::after(limit), &StageTrace::default());
        OpenConnection::to(target, credentials, prompter, deadline, trace)
            .run()
            .await
    }

    /// Opens a further connection to the same machine, within `limit`. A name may stand for several
    /// machines, where process ids and files differ. The new connection must therefore have the
    /// same address and host key.
    ///
    /// # Errors
    /// [`SshError`], whose variant names the failed stage.
    pub(in crate::ssh) async fn open_another(
        &self,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        // The default prompter asks nobody: the first log-in has collected every secret.
        let (prompter, deadline) = (&Prompter::default(), &Deadline::after(limit));
        let trace = &StageTrace::default();
        OpenConnection {
            same_host_as: Some(self),
            ..OpenConnection::to(target, credentials, prompter, deadline, trace)
        }
        .run()
        .await
    }
}

/// Values derived from the configuration before the server is contacted.
struct Prepared {
    config: EffectiveConfig,
    check: HostKeyCheck,
    keepalive: Keepalive,
    engine: Arc<client::Config>,
    /// Socket of the agent which the server may use (`ForwardAgent`); `None` if no agent is
    /// forwarded.
    forwarded_agent: Option<String>,
}

/// Transport after the key exchange, to a server with an accepted host key. Nobody is logged in
/// yet.
struct Secured {
    handle: client::Handle<ClientHandler>,
    check: Arc<HostKeyCheck>,
    facts: Arc<ConnectionFacts>,
    traffic: Traffic,
    /// Receiver of the host keys announced by the server (`UpdateHostKeys`).
    announced: oneshot::Receiver<Vec<PublicKey>>,
    accepted: AcceptedHostKey,
    proxy: Option<ProxyProcess>,
}

/// Guard which sets the event when dropped.
struct SetOnDrop<'a>(&'a Event);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Byte stream to the server: a channel of the jump host, the pipes of a `ProxyCommand`, or TCP.
type RouteStream = Either<ChannelStream<Msg>, Either<CommandStream, TcpTransport>>;

/// Byte stream to the server, with the jump host or `ProxyCommand` which carries the stream.
struct Route {
    stream: RouteStream,
    hop: Option<Arc<Connection>>,
    proxy: Option<ProxyProcess>,
    /// Dialled address of the server; `None` through a jump host or `ProxyCommand`.
    address: Option<SocketAddr>,
    /// Deadline of `ConnectTimeout`, which covers connecting and the handshake (`ssh_config(5)`).
    connecting: Deadline,
}

impl<'a> OpenConnection<'a> {
    /// Describes a connection to a destination, by the way that the configuration says.
    pub(in crate::ssh) fn to(
        target: &'a Target,
        credentials: &'a Credentials,
        prompter: &'a Prompter,
        deadline: &'a Deadline,
        trace: &'a StageTrace,
    ) -> Self {
        Self {
            target,
            credentials,
            prompter,
            deadline,
            depth: 0,
            via: None,
            same_host_as: None,
            trace,
        }
    }
}

impl OpenConnection<'_> {
    /// Opens the connection. The outcome of each stage goes to the trace.
    ///
    /// # Errors
    /// [`SshError`], whose variant names the failed stage.
    pub(in crate::ssh) async fn run(&self) -> Result<Arc<Connection>, SshError> {
        self.trace.begin(Stage::Configuration);
        self.connect()
            .await
            .inspect_err(|error| self.trace.fail(error))
    }

    /// Runs the stages in order: configuration, route, handshake, log-in. Then starts the
    /// background tasks of the connection.
    async fn connect(&self) -> Result<Arc<Connection>, SshError> {
        let Prepared {
            config,
            mut check,
            keepalive,
            engine,
            forwarded_agent,
        } = self.prepare().await?;

        let Route {
            stream,
            hop,
            proxy,
            address,
            connecting,
        } = self.reach(&config).await?;

        // `CheckHostIP` compares the key with the one known for the address, so the check needs the
        // address.
        check.address = address.map(|address| address.ip());
        let Secured {
            mut handle,
            check,
            facts,
            traffic,
            announced,
            accepted,
            proxy,
        } = self
            .secure(&config, check, engine, stream, &connecting, proxy)
            .await?;

        // The hop's list holds the caller's typed secrets and those typed for the hop.
        let mut credentials = self.credentials.clone();
        if let Some(hop) = &hop {
            credentials.typed_secrets.clone_from(&hop.typed_secrets);
        }

        let (login, banner) = self
            .log_in(&mut handle, &config, &credentials, &facts)
            .await?;
        // From here on the server may send any amount: the limit was for clients that are not
        // logged in.
        traffic.logged_in();
        self.trace
            .pass(|| format!("{} as {}", login.methods, config.user));

        // As in OpenSSH, a host whose key has changed gets neither passwords nor the agent. A jump
        // host (depth above 0) never gets the agent.
        if let (0, false, Some(socket)) = (self.depth, accepted.no_passwords, forwarded_agent) {
            let binding = handle.agent_session_binding().cloned();
            let _ = facts.agent.set(ForwardedAgent::new(socket, binding));
        }

        let of_server = banner.map(|words| {
            let words = error::said(&words);
            format!("{} says before the log-in: {words}", config.host_name)
        });
        let own_notices = [of_server, accepted.notice, login.notice];
        let notices = self.notices(hop.as_deref(), own_notices, config.notices);

        // `SendEnv` must never match a secret of this program, such as `MCP_SSH_TOKEN`.
        let environment = config
            .channels
            .environment(own_environment(), &SECRET_VARIABLES);

        let connection = Arc::new(Connection {
            handle,
            facts,
            traffic,
            address,
            environment,
            peer: Peer {
                host_name: config.host_name,
                port: config.port,
                user: config.user,
                auth_method: login.methods,
                host_key: accepted.fingerprint,
                connected_at: SystemTime::now(),
                notices,
            },
            hop,
            _proxy: proxy,
            typed_secrets: login.typed_secrets,
            needs_proof: login.needs_proof,
        });

        // The task holds a weak reference, so it does not keep an unused connection open.
        if keepalive == Keepalive::Ours {
            tokio::spawn(keepalive::keep_alive(Arc::downgrade(&connection)));
        }

        // A recording attempt (`doctor`) must change no file. The task runs in the background,
        // because the server needs a round trip to prove its keys.
        if accepted.may_update && !self.trace.is_recording() {
            let connection = Arc::downgrade(&connection);
            tokio::spawn(update_host_keys(connection, check, announced));
        }

        Ok(connection)
    }

    /// Resolves the configuration and checks the options which the connection needs.
    async fn prepare(&self) -> Result<Prepared, SshError> {
        let config = resolve_recording(self.target, self.deadline.left(), self.trace).await?;
        let destination = self.destination();

        // `RefuseConnection` forbids the connection and carries the message to show
        // (`ssh_config(5)`).
        if let Some(message) = &config.refuse_connection {
            return Err(SshError::Resolve {
                destination: destination.to_owned(),
                message: message.clone(),
            });
        }

        // A broken path, key file or algorithm list is reported here, before the server is
        // contacted.
        let forwarded_agent = ForwardedAgent::socket(&config, destination)?;
        let mut check = HostKeyCheck::load(&config, self.target)?;
        check.keeps_nothing = self.trace.is_recording();
        let keepalive = Keepalive::from_config(&config, self.target);
        let engine = Arc::new(engine_config(&config, &check, keepalive)?);

        self.trace.pass(|| {
            let (user, host, port) = (&config.user, &config.host_name, config.port);
            format!("{user} at {host} port {port}")
        });

        Ok(Prepared {
            config,
            check,
            keepalive,
            engine,
            forwarded_agent,
        })
    }

    /// Performs the SSH handshake: exchanges keys and checks the server's host key (RFC 4253).
    async fn secure(
        &self,
        config: &EffectiveConfig,
        check: HostKeyCheck,
        engine: Arc<client::Config>,
        stream: RouteStream,
        connecting: &Deadline,
        proxy: Option<ProxyProcess>,
    ) -> Result<Secured, SshError> {
        let facts = Arc::new(ConnectionFacts::recording(self.trace.clone()));
        let check = Arc::new(check);
        let (announce, announced) = oneshot::channel();

        let handler = ClientHandler {
            check: Arc::clone(&check),
            facts: Arc::clone(&facts),
            announced: Some(announce),
            account: config.account(),
            // With `BatchMode` nobody is asked, so an unknown key is refused.
            prompter: if config.batch_mode {
                Prompter::default()
            } else {
                self.prompter.clone()
            },
            deadlines: ConnectDeadlines {
                connecting: connecting.clone(),
                attempt: self.deadline.clone(),
            },
            refused: 0,
        };

        // The first bytes are kept for `doctor` only, which explains the handshake from them.
        let first_bytes = self.trace.is_recording().then(FirstBytes::default);
        let traffic = Traffic::default();
        let stream = MeteredStream::new(stream, first_bytes.clone(), traffic.clone());
        let handshake = client::connect_stream(engine, stream, handler);
        let result = connecting
            .limit("the SSH handshake", handshake)
            .await
            .flatten();

        if let Some(first_bytes) = first_bytes {
            let error = result.as_ref().err();
            self.explain_handshake(&first_bytes.so_far(), error, proxy.is_some(), &facts);
        }

        let handle = match result {
            Ok(handle) => handle,
            Err(error) => {
                return Err(in_handshake(error, &config.host_name, proxy, &traffic.words()).await);
            }
        };

        let accepted = facts.host_key.get().cloned().unwrap_or_default();
        self.trace.begin(Stage::Authentication);

        // A name may lead to another machine the second time. Its process ids and files would be
        // others.
        if self
            .same_host_as
            .is_some_and(|first| first.peer.host_key != accepted.fingerprint)
        {
            let message = "it shows another host key than before, and may be another machine";
            return Err(SshError::Handshake {
                host: config.host_name.clone(),
                message: message.to_owned(),
            });
        }

        Ok(Secured {
            handle,
            check,
            facts,
            traffic,
            announced,
            accepted,
            proxy,
        })
    }

    /// Collects the notices for the user, starting with the jump host's. Notices about options are
    /// included for the destination only, so each appears once.
    fn notices(
        &self,
        hop: Option<&Connection>,
        own: [Option<String>; 3],
        of_options: Vec<String>,
    ) -> Vec<String> {
        let of_hop = hop
            .into_iter()
            .flat_map(|hop| hop.peer.notices.iter().cloned());
        let of_options = if self.depth == 0 {
            of_options
        } else {
            Vec::new()
        };

        of_hop
            .chain(own.into_iter().flatten())
            .chain(of_options)
            .collect()
    }

    /// Logs in and returns the server's banner, if any (`SSH_MSG_USERAUTH_BANNER`, RFC 4252,
    /// section 5.4).
    async fn log_in(
        &self,
        handle: &mut client::Handle<ClientHandler>,
        config: &EffectiveConfig,
        credentials: &Credentials,
        facts: &ConnectionFacts,
    ) -> Result<(LoggedIn, Option<String>), SshError> {
        let (deadline, trace) = (self.deadline, self.trace);
        // The guard marks the log-in as ended even if this future is dropped, so no banner is shown
        // later.
        let ended = SetOnDrop(&facts.login_ended);

        let login = auth::authenticate(
            handle,
            config,
            self.destination(),
            credentials,
            self.prompter,
            deadline,
            facts,
        );

        // Boxed, because the future holds a state for each method, which would enlarge every
        // caller's future.
        let login = Box::pin(self.or_wait_for_page(login, facts));
        let login = deadline.limit("authentication", login).await.flatten();
        drop(ended);

        let banner = facts.banner();
        if let Some(words) = &banner {
            trace.detail(|| format!("the server says: {}", error::said(words)));
        }

        // A recording trace has the banner as a detail already, so the error need not repeat it.
        match (login, &banner) {
            (Err(source), Some(words)) if !trace.is_recording() => Err(SshError::Greeted {
                words: error::said(words),
                source: Box::new(source),
            }),
            (login, _) => Ok((login?, banner)),
        }
    }

    /// Waits for the log-in. After the banner has named a web page, up to five minutes of the wait
    /// do not count against the deadline.
    async fn or_wait_for_page<T>(
        &self,
        login: impl Future<Output = T>,
        facts: &ConnectionFacts,
    ) -> T {
        let mut login = pin!(login);

        // Both clocks stand still: the deadline of this attempt, and the clock of the caller's
        // command.
        let at_the_page = async {
            facts.page.notified().await;
            self.deadline
                .while_asking(self.prompter.pause().during(sleep(AT_A_PAGE)))
                .await;
        };

        tokio::select! {
            // A finished log-in wins over a page that was named in the same moment.
            biased;
            done = &mut login => return done,
            () = at_the_page => {}
        }

        login.await
    }

    /// Returns the destination as the user typed it.
    fn destination(&self) -> &str {
        self.target.destination.as_str()
    }

    /// Establishes the byte stream to the server: through jump hosts, through a `ProxyCommand`, or
    /// by TCP.
    async fn reach(&self, config: &EffectiveConfig) -> Result<Route, SshError> {
        let trace = self.trace;
        trace.begin(Stage::Proxy);
        // `via` is the rest of a list whose tokens were expanded for the destination.
        let hops = match (self.via, &config.proxy_jump) {
            (None, Some(own)) => Some(expand_hops(own, config, self.destination())?),
            (via, _) => via.map(str::to_owned),
        };

        let (mut hop, mut proxy, mut address) = (None, None, None);
        if let Some(hops) = hops {
            hop = Some(hops::connect_hops(&hops, self).await?);
        }

        // `ConnectTimeout` starts here, because each hop has a `ConnectTimeout` of its own.
        let connecting = self.deadline.within(config.connect_timeout);

        let stream = if let Some(hop) = &hop {
            let forward = hop.forward(&config.host_name, config.port);
            let forwarded = connecting
                .limit("connecting through the jump host", forward)
                .await??;

            trace.pass(|| {
                format!(
                    "{} reaches {} port {}",
                    hop.peer.host_name, config.host_name, config.port
                )
            });

            Either::Left(forwarded)
        } else if let Some(command) = &config.proxy_command {
            // A started command proves nothing yet: the stage passes once the server answers
            // through it.
            let started = proxy_command::start_command(command, config, self.destination(), trace)?;
            proxy = Some(started.process);
            Either::Right(Either::Left(started.stream))
        } else {
            // A further connection dials the address of the first, since the name may resolve
            // differently now.
            let dialled = dial(
                config,
                self.same_host_as.and_then(|first| first.address),
                &connecting,
                trace,
            )
            .await?;

            address = dialled.peer_address();
            Either::Right(Either::Right(dialled))
        };

        Ok(Route {
            stream,
            hop,
            proxy,
            address,
            connecting,
        })
    }
}

/// Saves the host keys announced by the server, after a proof of possession (`UpdateHostKeys`).
/// Returns without effect if the connection ends first.
async fn update_host_keys(
    connection: Weak<Connection>,
    check: Arc<HostKeyCheck>,
    announced: oneshot::Receiver<Vec<PublicKey>>,
) {
    let Ok(keys) = announced.await else { return };
    if let Some(connection) = connection.upgrade() {
        host_key::update(&check, &connection.handle, keys).await;
    }
}

/// Returns the configuration of russh for a connection.
///
/// # Errors
/// [`SshError::UnsupportedAlgorithms`] if an option allows no supported algorithm.
fn engine_config(
    config: &EffectiveConfig,
    check: &HostKeyCheck,
    keepalive: Keepalive,
) -> Result<client::Config, SshError> {
    Ok(client::Config {
        client_id: russh::SshId::Standard(
            concat!("SSH-2.0-mcp-ssh-sessions_", env!("CARGO_PKG_VERSION")).into(),
        ),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: algorithms::preferred(config, check.algorithms())?,
        limits: rekey_limits(config),
        keepalive_interval: keepalive.interval(),
        keepalive_max: usize::try_from(config.server_alive_count_max).unwrap_or(3),
        nodelay: true,
        ..client::Config::default()
    })
}

/// Returns the environment variables of this process whose name and value are valid Unicode.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Converts `RekeyLimit` to russh's limits. russh counts each direction separately and exchanges
/// keys after a gibibyte or an hour at the latest.
fn rekey_limits(config: &EffectiveConfig) -> Limits {
    let most = Limits::default();
    let bytes = config
        .rekey_bytes
        .and_then(|bytes| usize::try_from(bytes).ok())
        .unwrap_or(usize::MAX);

    Limits {
        rekey_write_limit: bytes.clamp(LEAST_REKEY, most.rekey_write_limit),
        rekey_read_limit: bytes.clamp(LEAST_REKEY, most.rekey_read_limit),
        rekey_time_limit: config.rekey_after.map_or(most.rekey_time_limit, |after| {
            after.min(most.rekey_time_limit)
        }),
    }
}

/// Turns an error before authentication into a handshake error, which quotes the `ProxyCommand` and
/// the server. Errors of other kinds are returned unchanged.
async fn in_handshake(
    error: SshError,
    host: &str,
    proxy: Option<ProxyProcess>,
    words: &str,
) -> SshError {
    // No connection was lost, because none was established yet. A timeout stays one unless there
    // are words of the proxy or the server to quote.
    let message = match &error {
        SshError::Lost(reason) => reason
            .clone()
            .unwrap_or_else(|| "the server closed the connection".to_owned()),
        SshError::Timeout { .. } if proxy.is_some() || !words.is_empty() => error.to_string(),
        _ => return error,
    };

    let complaint = match proxy {
        Some(proxy) => proxy.complaint().await,
        None => String::new(),
    };

    let said = if complaint.is_empty() {
        complaint
    } else {
        format!("; its ProxyCommand says: {complaint:?}")
    };

    let words = if words.is_empty() {
        String::new()
    } else {
        format!("; the server says: {}", error::said(words))
    };

    SshError::Handshake {
        host: host.to_owned(),
        message: message + &said + &words,
    }
}
