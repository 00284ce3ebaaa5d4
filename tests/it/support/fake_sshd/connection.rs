//! One connection: authentication, channels and their requests.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Response, Session,
    VerifiedPublicKey, run_stream,
};
use russh::{
    Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Disconnect, Error, Pty, Sig, SshId,
};
use russh_sftp::server as sftp_server;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    AfterFirst, Server,
    device::Terminal,
    lock,
    log_in::LogIn,
    processes,
    relay::{self, ChannelEnd, Input},
    sftp, tampered, wire,
};

/// Bytes between SFTP and its channel: two of the largest packets.
const SFTP_BUFFER: usize = 512 << 10;

/// Serves `stream` until the connection ends.
pub(super) async fn serve(server: &Arc<Server>, stream: TcpStream, client: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let log_in = LogIn::new(server);

    let config = Config {
        server_id: SshId::Standard(server.settings.software.into()),
        methods: log_in.methods(),
        auth_rejection_time: Duration::from_millis(1),
        keys: vec![lock(&server.host_key).clone()],
        max_auth_attempts: 6,
        inactivity_timeout: None,
        ..Config::default()
    };

    let connection = Connection {
        server: Arc::clone(server),
        client,
        slots: Arc::new(Semaphore::new(server.settings.max_sessions)),
        channels: HashMap::new(),
        had_channel: false,
        had_command: false,
        log_in,
    };

    let (near, far) = tokio::io::duplex(wire::QUEUED_OUTPUT);
    let session = async {
        if let Ok(session) = run_stream(Arc::new(config), near, connection).await {
            let _ = session.await;
        }
    };

    tokio::join!(session, wire::proxy(stream, far, server.stalled.clone()));
}

struct Connection {
    server: Arc<Server>,
    client: SocketAddr,
    slots: Arc<Semaphore>,
    channels: HashMap<ChannelId, OpenChannel>,
    had_channel: bool,
    /// Whether a command or SFTP was requested.
    had_command: bool,
    log_in: LogIn,
}

/// What the connection keeps of a channel. Dropping it tells `ChannelEnd::closed`.
struct OpenChannel {
    input: mpsc::UnboundedSender<Input>,
    _closed: oneshot::Sender<()>,
    /// Until a request says what serves the channel.
    idle: Option<IdleChannel>,
    process_group: Option<u32>,
    has_terminal: bool,
}

struct IdleChannel {
    output: ChannelWriteHalf<Msg>,
    input: mpsc::UnboundedReceiver<Input>,
    closed: oneshot::Receiver<()>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn register(&mut self, channel: Channel<Msg>, slot: Option<OwnedSemaphorePermit>) {
        let (input, receive_input) = mpsc::unbounded_channel();
        let (closed, await_closed) = oneshot::channel();
        let id = channel.id();

        // The reading half goes: it would hold up the whole connection when its queue is full.
        let (_, output) = channel.split();

        let idle = IdleChannel {
            output,
            input: receive_input,
            closed: await_closed,
            slot,
        };

        let open = OpenChannel {
            input,
            _closed: closed,
            idle: Some(idle),
            process_group: None,
            has_terminal: false,
        };

        self.channels.insert(id, open);
    }

    /// The end of a channel that nothing serves yet, to serve it.
    fn claim(&mut self, channel: ChannelId, session: &Session) -> Option<ChannelEnd> {
        let IdleChannel {
            output,
            input,
            closed,
            slot,
        } = self.channels.get_mut(&channel)?.idle.take()?;

        let after_first = self.server.settings.after_first;
        Some(ChannelEnd {
            ends_connection: matches!(after_first, AfterFirst::Ends | AfterFirst::Breaks),
            session: session.handle(),
            output,
            input,
            closed,
            slot,
        })
    }

    /// Whether a command or SFTP is refused because another was before it.
    fn refuses_second(&mut self) -> bool {
        let is_second = std::mem::replace(&mut self.had_command, true);
        is_second && self.server.settings.after_first == AfterFirst::Refuses
    }

    /// Starts a process for the channel, in a process group of its own.
    fn run(
        &mut self,
        channel: ChannelId,
        arguments: &[&OsStr],
        session: &mut Session,
    ) -> Result<(), Error> {
        let Some(end) = self.claim(channel, session) else {
            return session.channel_failure(channel);
        };

        let Some((child, group)) = self.spawn(arguments) else {
            return session.channel_failure(channel);
        };

        if let Some(open) = self.channels.get_mut(&channel) {
            open.process_group = Some(group);
        }

        let server = Arc::clone(&self.server);

        tokio::spawn(async move {
            relay::process(end, child).await;

            // A group that outlives its leader is killed with the server; the number of a dead one may be used again.
            let target = [format!("-{group}")];
            let alive = tokio::task::spawn_blocking(move || processes::signal("0", &target)).await;
            if !alive.unwrap_or(true)
                && let Some(groups) = lock(&server.process_groups).as_mut()
            {
                groups.remove(&group);
            }
        });

        session.channel_success(channel)
    }

    fn spawn(&self, arguments: &[&OsStr]) -> Option<(Child, u32)> {
        let Server {
            settings,
            home,
            port,
            ..
        } = &*self.server;

        let (ip, client) = (self.client.ip(), self.client.port());
        let mut command = Command::new(&settings.login_shell);

        command
            .env_clear()
            .env("HOME", home)
            .env("USER", &settings.user)
            .env("LOGNAME", &settings.user)
            .env("SHELL", &settings.login_shell)
            .env(
                "PATH",
                std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
            )
            .env("SSH_CLIENT", format!("{ip} {client} {port}"))
            .env("SSH_CONNECTION", format!("{ip} {client} 127.0.0.1 {port}"))
            .current_dir(home)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        if arguments.is_empty() {
            // A dash before its name tells a shell that it is a log-in shell.
            let name = settings.login_shell.rsplit('/').next().unwrap_or_default();
            command.arg0(format!("-{name}"));
        }

        command.args(arguments);
        let mut groups = lock(&self.server.process_groups);
        let groups = groups.as_mut()?;
        let child = command.spawn().ok()?;
        let group = child.id()?;
        groups.insert(group);

        Some((child, group))
    }
}

/// Opens a channel of each type towards the client, and notes whether it was let.
async fn open_every_kind(server: Arc<Server>, session: Handle) {
    let (ours, port) = ("127.0.0.1", 1);
    for (kind, opened) in [
        ("auth-agent@openssh.com", session.channel_open_agent().await),
        ("x11", session.channel_open_x11(ours, port).await),
        (
            "forwarded-tcpip",
            session
                .channel_open_forwarded_tcpip(ours, port, ours, port)
                .await,
        ),
        (
            "forwarded-streamlocal@openssh.com",
            session
                .channel_open_forwarded_streamlocal("/tmp/socket")
                .await,
        ),
        (
            "direct-tcpip",
            session
                .channel_open_direct_tcpip(ours, port, ours, port)
                .await,
        ),
        (
            "direct-streamlocal@openssh.com",
            session.channel_open_direct_streamlocal("/tmp/socket").await,
        ),
        ("session", session.channel_open_session().await),
    ] {
        lock(&server.opened).push((kind, opened.is_ok()));
    }
}

impl Handler for Connection {
    type Error = Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Error> {
        Ok(self.server.settings.banner.clone())
    }

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Error> {
        Ok(self.log_in.none().await)
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Error> {
        Ok(self.log_in.password(user, password).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.log_in.offer(user, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Error> {
        Ok(self.log_in.key(user, key.public_key))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        Ok(self.log_in.keyboard_interactive(user, response))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Error> {
        if let Some(words) = self.server.settings.closes {
            session.disconnect(Disconnect::ByApplication, words, "")?;
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        let after_first = self.server.settings.after_first;
        let is_too_much = match after_first {
            AfterFirst::GoesOn | AfterFirst::Refuses => false,
            AfterFirst::BreaksMeanwhile => {
                self.slots.available_permits() < self.server.settings.max_sessions
            }
            AfterFirst::Ends | AfterFirst::Breaks => self.had_channel,
        };
        self.had_channel = true;

        if is_too_much {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            if after_first != AfterFirst::Ends {
                session.disconnect(Disconnect::ByApplication, "a second channel", "")?;
            }
            return Ok(());
        }

        if self.server.withholds_channels.load(Ordering::SeqCst) {
            lock(&self.server.withheld).push(reply);
        } else if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            self.register(channel, Some(slot));
            self.server.granted.fetch_add(1, Ordering::SeqCst);
            reply.accept().await;
        } else {
            // sshd's answer when MaxSessions is reached.
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
        }

        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        let (id, target) = (channel.id(), format!("{host}:{port}"));
        self.register(channel, None);
        let Some(end) = self.claim(id, session) else {
            return Ok(());
        };

        tokio::spawn(async move {
            match TcpStream::connect(target).await {
                Ok(stream) => {
                    reply.accept().await;
                    relay::stream(end, stream, None).await;
                }
                Err(_) => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });

        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        lock(&self.server.commands).push(String::from_utf8_lossy(command).into_owned());
        if self.refuses_second() || self.server.settings.refuses_commands {
            return session.channel_failure(channel);
        }

        if self.server.settings.opens_channels {
            tokio::spawn(open_every_kind(Arc::clone(&self.server), session.handle()));
        }

        self.run(
            channel,
            &[OsStr::new("-c"), OsStr::from_bytes(command)],
            session,
        )
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Error> {
        let Some(device) = self.server.settings.device else {
            return self.run(channel, &[], session);
        };
        let has_terminal = self
            .channels
            .get(&channel)
            .is_some_and(|open| open.has_terminal);
        let Some(end) = self.claim(channel, session).filter(|_| has_terminal) else {
            return session.channel_failure(channel);
        };

        let (near, stream) = tokio::io::duplex(SFTP_BUFFER);
        let server = Arc::clone(&self.server);
        tokio::spawn(async move {
            let typed = &server.typed;
            device.serve(Terminal { stream, typed }).await;
        });
        tokio::spawn(relay::stream(end, near, Some(0)));

        session.channel_success(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if self.refuses_second() || name != "sftp" {
            return session.channel_failure(channel);
        }

        let Some(end) = self.claim(channel, session) else {
            return session.channel_failure(channel);
        };
        let (near, far) = tokio::io::duplex(SFTP_BUFFER);
        let files = sftp::Files::new(
            self.server.home.clone(),
            Arc::clone(&self.server.withholds_renames),
            self.server.settings.is_windows,
        );

        let fault = self.server.settings.fault.as_ref().map(|make| make());

        tokio::spawn(async move {
            sftp_server::run_with_config(far, files, sftp::config()).await;
            let Some(fault) = fault else {
                return relay::stream(end, near, Some(0)).await;
            };
            let (client, passed) = tokio::io::duplex(SFTP_BUFFER);
            tokio::join!(
                relay::stream(end, client, Some(0)),
                tampered::pass(passed, near, fault)
            );
        });

        session.channel_success(channel)
    }

    async fn signal(
        &mut self,
        channel: ChannelId,
        signal: Sig,
        _session: &mut Session,
    ) -> Result<(), Error> {
        let group = self
            .channels
            .get(&channel)
            .and_then(|open| open.process_group);

        if let Some(group) = group.filter(|_| self.server.settings.honour_signals) {
            let name = match signal {
                Sig::Custom(name) => name,
                named => format!("{named:?}"),
            };
            processes::signal(&name, &[format!("-{group}")]);
        }

        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        if self.server.settings.device.is_some()
            && let Some(open) = self.channels.get_mut(&channel)
        {
            open.has_terminal = true;
            return session.channel_success(channel);
        }
        if self.server.settings.pretends_terminals {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_failure(channel)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Error> {
        if self.server.settings.pretends_terminals {
            session.data(channel, data.to_vec())?;
        }
        // As ProFTPD does, unlike OpenSSH.
        let settings = &self.server.settings;
        if settings.refuses_commands && !settings.software.contains("OpenSSH") {
            return session.disconnect(Disconnect::ByApplication, "no command reads this", "");
        }
        if let Some(open) = self.channels.get(&channel) {
            let _ = open.input.send(Input::Data(data.to_vec()));
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(open) = self.channels.get(&channel)
            && !self.server.settings.withholds_eof
        {
            let _ = open.input.send(Input::Eof);
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Error> {
        self.channels.remove(&channel);
        Ok(())
    }
}
