//! Opens an authenticated connection to a destination: configuration, byte stream, handshake with
//! host key check, log-in.

mod engine;
mod handshake;
mod hops;
mod known_route;
mod log_in;
mod planned_route;
mod route;
mod route_check;
mod trace;

use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use russh::{client, keys::PublicKey};
use tokio::sync::oneshot;

pub(in crate::ssh) use self::engine::WINDOW;
use self::{engine::engine_config, handshake::Secured, route::Route};
pub use self::{
    known_route::{UnknownHosts, UnknownOnRoute, unknown_on_route},
    planned_route::{addresses, planned_route},
};
use super::{
    connection::{AskedHost, Connection, Peer},
    keepalive::{self, Keepalive},
    route_check::RouteCheck,
};
use crate::{
    child::SECRET_VARIABLES,
    openssh::effective_config::EffectiveConfig,
    ssh::{
        auth::Credentials,
        config::{resolve::resolve_recording, target::Target},
        error::SshError,
        known_servers::{KnownServers, ServerEntry},
        prompt::prompter::Prompter,
        trace::{Stage, StageTrace},
        transport::{
            agent_forward::ForwardedAgent,
            deadline::Deadline,
            handler::ConnectionFacts,
            host_key::{self, AcceptedHostKey, HostKeyCheck},
        },
    },
};

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
    /// Treatment of unknown hosts, jump hosts included.
    pub(in crate::ssh) unknown_hosts: UnknownHosts,
    /// Check of each host on the way, jump hosts included.
    pub(in crate::ssh) route_check: &'a RouteCheck,
    /// Receive window of each channel, in bytes.
    pub(in crate::ssh) window: u32,
    /// What earlier log-ins showed; `None` neither uses it nor adds to it.
    pub(in crate::ssh) servers: Option<&'a KnownServers>,
    /// Trace which records the stages. With a recording trace, no file is changed.
    pub(in crate::ssh) trace: &'a StageTrace,
}

impl Connection {
    /// Resolves the target, connects, checks the host key and logs in, all within `limit`. Time
    /// spent asking the user for a secret does not count. `servers` has what earlier log-ins showed.
    ///
    /// # Errors
    /// [`SshError`], whose variant names the failed stage.
    pub async fn open(
        target: &Target,
        credentials: &Credentials,
        prompter: &Prompter,
        limit: Duration,
        unknown_hosts: UnknownHosts,
        route_check: &RouteCheck,
        servers: &KnownServers,
    ) -> Result<Arc<Self>, SshError> {
        let (deadline, trace) = (&Deadline::after(limit), &StageTrace::default());
        OpenConnection {
            unknown_hosts,
            route_check,
            servers: Some(servers),
            ..OpenConnection::to(target, credentials, prompter, deadline, trace)
        }
        .run()
        .await
    }

    /// Opens a further connection to the same machine, within `limit`. A name may stand for several
    /// machines, where process ids and files differ. The new connection must therefore have the
    /// same address and host key. `window` is the receive window of each channel, in bytes.
    ///
    /// # Errors
    /// [`SshError`], whose variant names the failed stage.
    pub(in crate::ssh) async fn open_another(
        &self,
        target: &Target,
        credentials: &Credentials,
        limit: Duration,
        window: u32,
    ) -> Result<Arc<Self>, SshError> {
        // The default prompter asks nobody: the first log-in has collected every secret.
        let (prompter, deadline) = (&Prompter::default(), &Deadline::after(limit));
        let trace = &StageTrace::default();
        OpenConnection {
            same_host_as: Some(self),
            route_check: &self.route_check,
            window,
            servers: self.servers.as_ref(),
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
            unknown_hosts: UnknownHosts::AsConfigured,
            route_check: RouteCheck::NONE,
            window: WINDOW,
            servers: None,
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

        // Before anybody is contacted for this host, a jump host included.
        self.check_route(&config, None).await?;

        let Route {
            stream,
            hop,
            proxy,
            address,
            connecting,
        } = self.reach(&config).await?;

        // A name may lead to an address that has rules of its own.
        if let Some(address) = address {
            self.check_route(&config, Some(address.ip())).await?;
        }

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

        let known = self.known_server(&accepted, &facts);
        credentials.known_key = known.as_ref().and_then(|it| it.account(&config.user).key);

        let (login, banner) = self
            .log_in(&mut handle, &config, &credentials, &facts)
            .await?;
        if let Some(known) = known {
            known.learn(|server| server.logged_in(&config.user, login.key.clone()));
        }

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

        let asked = AskedHost::new(self.target, &config);
        let of_server =
            banner.map(|words| format!("{} says before the log-in: {words}", config.host_name));
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
            asked,
            address,
            environment,
            forwardings: config.forwardings,
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
            route_check: self.route_check.clone(),
            servers: self.servers.cloned(),
            _proxy: proxy,
            typed_secrets: login.typed_secrets,
            key: login.key.map(|key| key.accepted),
            needs_proof: login.needs_proof,
        });

        // The task holds a weak reference, so it does not keep an unused connection open.
        tokio::spawn(keepalive::keep_alive(
            Arc::downgrade(&connection),
            keepalive,
        ));

        // A recording attempt (`doctor`) must change no file. The task runs in the background,
        // because the server needs a round trip to prove its keys.
        if accepted.may_update && !self.trace.is_recording() {
            let connection = Arc::downgrade(&connection);
            tokio::spawn(update_host_keys(connection, check, announced));
        }

        Ok(connection)
    }

    /// Returns the entry of the server that showed this host key.
    fn known_server(
        &self,
        accepted: &AcceptedHostKey,
        facts: &ConnectionFacts,
    ) -> Option<ServerEntry> {
        let identification = facts.software.get().map_or(&[][..], Vec::as_slice);
        self.servers
            .map(|servers| servers.entry(&accepted.fingerprint, identification))
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
                message: message.as_str().into(),
            });
        }

        // A broken path, key file or algorithm list is reported here, before the server is
        // contacted.
        let forwarded_agent = ForwardedAgent::socket(&config, destination)?;
        let mut check = HostKeyCheck::load(&config, self.target)?;
        check.keeps_nothing = self.trace.is_recording();
        if self.unknown_hosts == UnknownHosts::Refused {
            check.refuse_unknown();
        }

        let keepalive = Keepalive::from_config(&config, self.target);
        let engine = Arc::new(engine_config(&config, &check, self.window)?);

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

    /// Returns the destination as the user typed it.
    fn destination(&self) -> &str {
        self.target.destination.as_str()
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

/// Returns the environment variables of this process whose name and value are valid Unicode.
fn own_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
