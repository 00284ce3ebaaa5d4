//! From a destination to an authenticated connection: configuration, stream, handshake with the host key, log-in.

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
            deadline::Deadline,
            dial::dial,
            handler::{ClientHandler, ConnectionFacts},
            host_key::{self, AcceptedHostKey, HostKeyCheck},
            metered::{FirstBytes, MeteredStream, Traffic},
            tcp::TcpTransport,
        },
    },
};

/// The receive window of a channel, in bytes (RFC 4254 section 5.2). At 40 ms a smaller one leaves the link idle, a
/// larger one makes sshd slower.
const WINDOW: u32 = 8 * 1024 * 1024;
/// The largest packet asked for, in bytes: what every implementation supports.
const PACKET: u32 = 32 * 1024;
/// How long a person may be at a web page that the server has named for the log-in.
const AT_A_PAGE: Duration = Duration::from_secs(300);
/// The smallest `RekeyLimit` that is kept to, in bytes: below it a connection would do little else.
const LEAST_REKEY: usize = 16 * 1024;

/// All that is known of a connection before it is opened.
pub(in crate::ssh) struct OpenConnection<'a> {
    pub(in crate::ssh) target: &'a Target,
    pub(in crate::ssh) credentials: &'a Credentials,
    /// Who is asked for what is missing.
    pub(in crate::ssh) prompter: &'a Prompter,
    /// The end of the time for all of it, hops included.
    pub(in crate::ssh) deadline: &'a Deadline,
    /// Of how many hops it is one already: 0 is the destination.
    pub(in crate::ssh) depth: usize,
    /// The hops to go through, whatever the configuration says.
    pub(in crate::ssh) via: Option<&'a str>,
    /// A connection to the same machine, which this one has to lead to as well.
    pub(in crate::ssh) same_host_as: Option<&'a Connection>,
    /// Where it is noted how each stage went. Where that is wanted, nothing is changed.
    pub(in crate::ssh) trace: &'a StageTrace,
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
        prompter: &Prompter,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        let deadline = &Deadline::after(limit);
        let trace = &StageTrace::default();
        OpenConnection {
            target,
            credentials,
            prompter,
            deadline,
            depth: 0,
            via: None,
            same_host_as: None,
            trace,
        }
        .run()
        .await
    }

    /// Opens one more to the machine that this one leads to. A name may stand for several machines: process ids and
    /// files would be another's there, so it has to have the same address and host key.
    pub(in crate::ssh) async fn open_another(
        &self,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
    ) -> Result<Arc<Self>, SshError> {
        // Nobody is asked: the first log-in has all that is needed.
        let (prompter, deadline) = (&Prompter::default(), &Deadline::after(limit));
        let (same_host_as, trace) = (Some(self), &StageTrace::default());
        OpenConnection {
            target,
            credentials,
            prompter,
            deadline,
            depth: 0,
            via: None,
            same_host_as,
            trace,
        }
        .run()
        .await
    }
}

/// What the configuration comes to.
struct Prepared {
    config: EffectiveConfig,
    check: HostKeyCheck,
    keepalive: Keepalive,
    engine: Arc<client::Config>,
    /// The socket of the agent that the server may use.
    forwarded_agent: Option<String>,
}

/// A transport whose keys are agreed on, to a server whose host key is accepted.
struct Secured {
    handle: client::Handle<ClientHandler>,
    check: Arc<HostKeyCheck>,
    facts: Arc<ConnectionFacts>,
    traffic: Traffic,
    /// The other host keys of the server, once it tells them.
    announced: oneshot::Receiver<Vec<PublicKey>>,
    accepted: AcceptedHostKey,
    proxy: Option<ProxyProcess>,
}

type RouteStream = Either<ChannelStream<Msg>, Either<CommandStream, TcpTransport>>;

/// A way to the server, and what it leads through.
struct Route {
    stream: RouteStream,
    hop: Option<Arc<Connection>>,
    proxy: Option<ProxyProcess>,
    address: Option<SocketAddr>,
    /// The end of `ConnectTimeout`, which is for the connection and the handshake (`ssh_config(5)`).
    connecting: Deadline,
}

impl OpenConnection<'_> {
    /// Opens it.
    ///
    /// # Errors
    /// [`SshError`], whose variant is the stage that failed.
    pub(in crate::ssh) async fn run(&self) -> Result<Arc<Connection>, SshError> {
        self.trace.begin(Stage::Configuration);
        self.connect()
            .await
            .inspect_err(|error| self.trace.fail(error))
    }

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

        let mut credentials = self.credentials.clone();
        if let Some(hop) = &hop {
            credentials.typed.clone_from(&hop.typed);
        }

        let (login, banner) = self
            .log_in(&mut handle, &config, &credentials, &facts)
            .await?;
        traffic.logged_in();
        self.trace
            .pass(|| format!("{} as {}", login.methods, config.user));

        // As OpenSSH does: a machine that may be another one gets neither passwords nor the agent.
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
            typed: login.typed,
            needs_proof: login.needs_proof,
        });

        if keepalive == Keepalive::Ours {
            tokio::spawn(keepalive::watch(Arc::downgrade(&connection)));
        }

        if accepted.may_update && !self.trace.is_recording() {
            let connection = Arc::downgrade(&connection);
            tokio::spawn(update_host_keys(connection, check, announced));
        }

        Ok(connection)
    }

    /// Reads the configuration, and what the connection takes from it.
    async fn prepare(&self) -> Result<Prepared, SshError> {
        let config = resolve_recording(self.target, self.deadline.left(), self.trace).await?;
        let typed = self.typed();

        if let Some(message) = &config.refuse_connection {
            return Err(SshError::Resolve {
                destination: typed.to_owned(),
                message: message.clone(),
            });
        }

        let forwarded_agent = ForwardedAgent::socket(&config, typed)?;
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

    /// Shakes hands: agrees on keys and checks the server's host key (RFC 4253).
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
        let account_host = config.host_key_alias.as_ref().unwrap_or(&config.host_name);

        let handler = ClientHandler {
            check: Arc::clone(&check),
            facts: Arc::clone(&facts),
            announced: Some(announce),
            account: format!("{}@{account_host}", config.user),
            // `BatchMode`: nobody is asked.
            prompter: if config.batch_mode {
                Prompter::default()
            } else {
                self.prompter.clone()
            },
            deadlines: [connecting.clone(), self.deadline.clone()],
            refused: 0,
            _closed: facts.closed.clone().drop_guard(),
        };

        let first_bytes = self.trace.is_recording().then(FirstBytes::default);
        let traffic = Traffic::default();
        let stream = MeteredStream::new(stream, first_bytes.clone(), traffic.clone());
        let handshake = client::connect_stream(engine, stream, handler);
        let result = connecting
            .limit("the SSH handshake", handshake)
            .await
            .flatten();

        if let Some(heard) = first_bytes {
            let error = result.as_ref().err();
            self.explain_handshake(&heard.so_far(), error, proxy.is_some(), &facts);
        }

        let handle = match result {
            Ok(handle) => handle,
            Err(error) => {
                return Err(in_handshake(error, &config.host_name, proxy, &traffic.words()).await);
            }
        };

        let accepted = facts.host_key.get().cloned().unwrap_or_default();
        self.trace.begin(Stage::Authentication);

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

    /// What the person should know, the jump host's part first. What is said of options is said once, for the destination.
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

    /// Logs in, and returns what the server says before it (`SSH_MSG_USERAUTH_BANNER`, RFC 4252 section 5.4).
    async fn log_in(
        &self,
        handle: &mut client::Handle<ClientHandler>,
        config: &EffectiveConfig,
        credentials: &Credentials,
        facts: &ConnectionFacts,
    ) -> Result<(LoggedIn, Option<String>), SshError> {
        let (deadline, trace) = (self.deadline, self.trace);
        let _over = facts.logged_in.clone().drop_guard();

        let login = auth::authenticate(
            handle,
            config,
            self.typed(),
            credentials,
            self.prompter,
            deadline,
            facts,
        );

        // Boxed: it has a state for each method, and every call that connects would carry that around.
        let login = Box::pin(self.or_at_a_page(login, facts));
        let login = deadline.limit("authentication", login).await.flatten();
        facts.logged_in.cancel();

        let banner = facts.banner();
        if let Some(words) = &banner {
            trace.detail(|| format!("the server says: {}", error::said(words)));
        }

        match (login, &banner) {
            (Err(source), Some(words)) if !trace.is_recording() => Err(SshError::Greeted {
                words: error::said(words),
                source: Box::new(source),
            }),
            (login, _) => Ok((login?, banner)),
        }
    }

    /// Waits for the log-in. Once the server has named a web page to the person, the time that it takes is the person's.
    async fn or_at_a_page<T>(&self, login: impl Future<Output = T>, facts: &ConnectionFacts) -> T {
        let mut login = pin!(login);

        let at_the_page = async {
            facts.page.notified().await;
            self.deadline
                .while_asking(self.prompter.pause().during(sleep(AT_A_PAGE)))
                .await;
        };

        tokio::select! {
            biased;
            done = &mut login => return done,
            () = at_the_page => {}
        }

        login.await
    }

    fn typed(&self) -> &str {
        self.target.destination.as_str()
    }

    /// Dials, or goes through the jump hosts or the `ProxyCommand` of the configuration.
    async fn reach(&self, config: &EffectiveConfig) -> Result<Route, SshError> {
        let trace = self.trace;
        trace.begin(Stage::Proxy);
        let hops = match (self.via, &config.proxy_jump) {
            (None, Some(own)) => Some(expand_hops(own, config, self.typed())?),
            (via, _) => via.map(str::to_owned),
        };

        let (mut hop, mut proxy, mut address) = (None, None, None);
        if let Some(hops) = hops {
            hop = Some(hops::connect_hops(&hops, self).await?);
        }

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
            // Whether it works is known when the server is heard through it.
            let started = proxy_command::start_command(command, config, self.typed(), trace)?;
            proxy = Some(started.process);
            Either::Right(Either::Left(started.stream))
        } else {
            let dialled = dial(
                config,
                self.same_host_as.and_then(|first| first.address),
                connecting.at(),
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

/// Saves the keys that the server announces once it has proved that it has them (`UpdateHostKeys`).
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

/// The variables of this process, those that are text.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// `RekeyLimit`, within what the engine allows: it counts each direction for itself and wants new keys at the latest after a
/// gibibyte or an hour.
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

/// An error before authentication is one of the handshake, not a lost connection. What a `ProxyCommand` says explains it.
async fn in_handshake(
    error: SshError,
    host: &str,
    proxy: Option<ProxyProcess>,
    words: &str,
) -> SshError {
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
