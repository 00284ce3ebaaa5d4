//! An SSH server inside the test process that runs real commands and serves real files, and that can be told to fail:
//! to cut its connections, to stall, to change its host key, to refuse connections.
//!
//! It follows sshd(8) where a client can see it, with one exception: what a client sends to a process that does not
//! read is queued without bound, because russh grants window on receipt. Test the back-pressure of uploads with
//! `OpenSshd`.

mod connection;
pub(crate) mod device;
mod log_in;
mod relay;
mod sftp;
pub(crate) mod tampered;
mod wire;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use russh::MethodKind;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::ChannelOpenHandle;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, RuntimeFlavor::CurrentThread};
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinHandle, block_in_place};

use self::{device::Device, tampered::Fault};
use super::{keys, processes, ssh_config};

/// What a server does with a connection that has had its first channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFirst {
    /// It goes on, as sshd does.
    GoesOn,
    /// It refuses a second channel, and ends with the first, as tinysshd does.
    Ends,
    /// It breaks at a second channel, and ends with the first, as libssh's example does.
    Breaks,
    /// It refuses a second command, as libssh's example does, too.
    Refuses,
    /// It breaks at a second channel while the first is open, and goes on after the first.
    BreaksMeanwhile,
}

/// What a `FakeSshd` is and whom it lets in.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a way of its own in which servers differ"
)]
pub(crate) struct FakeSshdSettings {
    /// What it calls itself (RFC 4253, section 4.2).
    pub(crate) software: &'static str,
    /// The host key.
    pub(crate) host_key: PrivateKey,
    /// The only user there is.
    pub(crate) user: String,
    /// The user's password; `None`: the method `password` is not offered.
    pub(crate) password: Option<String>,
    /// The keys that log in as the user.
    pub(crate) authorized_keys: Vec<PublicKey>,
    /// HOME and working folder of the processes, and SFTP's starting folder; `None`: a temporary one of its own.
    pub(crate) home: Option<PathBuf>,
    /// Sessions per connection beyond which opening a channel fails (`sshd_config` `MaxSessions`).
    pub(crate) max_sessions: usize,
    /// Whether `signal` requests (RFC 4254 section 6.9) reach the process; many servers ignore them.
    pub(crate) honour_signals: bool,
    /// Whether it grants a terminal and only echoes what comes, as Apache MINA does.
    pub(crate) pretends_terminals: bool,
    /// Whether programs are never told that their stdin has ended, as by libssh's example.
    pub(crate) withholds_eof: bool,
    /// What it does after the first channel of a connection.
    pub(crate) after_first: AfterFirst,
    /// Whether it refuses to run any.
    pub(crate) refuses_commands: bool,
    /// What a shell channel with a terminal leads to, in place of the login shell.
    pub(crate) device: Option<Device>,
    /// The shell that runs the commands, as `login_shell -c COMMAND`.
    pub(crate) login_shell: String,
    /// Whether its SFTP has the paths and rules of Windows.
    pub(crate) is_windows: bool,
    /// Text shown before authentication (`sshd_config` `Banner`).
    pub(crate) banner: Option<String>,
    /// The rounds of `keyboard-interactive`: prompts, whether they echo, and the right answers. None: it is not offered.
    pub(crate) rounds: Vec<Vec<(&'static str, bool, &'static str)>>,
    /// The methods that are all needed, in this order (`sshd_config` `AuthenticationMethods`); none: any one will do.
    pub(crate) steps: Vec<MethodKind>,
    /// A password gets no answer: so it looks to a client when the server asks for a new one (RFC 4252, section 8) and
    /// the client's library drops the message.
    pub(crate) silent_password: bool,
    /// Whether it wants no proof of anybody, as some appliances and Tailscale's server do.
    pub(crate) no_proof: bool,
    /// The same, but only once this is told: as where the person has to be at a web page first.
    pub(crate) no_proof_after: Option<Arc<Notify>>,
    /// Whether it closes every connection right after its log-in, with these words.
    pub(crate) closes: Option<&'static str>,
    /// Whether it opens channels of every kind towards the client with each command, which no client has asked for.
    pub(crate) opens_channels: bool,
    /// What is done to the answers of SFTP, made anew for each channel.
    pub(crate) fault: Option<Box<dyn Fn() -> Fault + Send + Sync>>,
}

impl Default for FakeSshdSettings {
    fn default() -> Self {
        Self {
            // Most tests are about what happens with OpenSSH, which is not asked what it takes.
            software: "SSH-2.0-OpenSSH_FakeSshd",
            host_key: keys::ed25519(),
            user: "agent".to_owned(),
            password: None,
            authorized_keys: Vec::new(),
            home: None,
            max_sessions: 10,
            honour_signals: true,
            pretends_terminals: false,
            withholds_eof: false,
            after_first: AfterFirst::GoesOn,
            refuses_commands: false,
            device: None,
            login_shell: "/bin/sh".to_owned(),
            is_windows: false,
            banner: None,
            rounds: Vec::new(),
            steps: Vec::new(),
            silent_password: false,
            no_proof: false,
            no_proof_after: None,
            closes: None,
            opens_channels: false,
            fault: None,
        }
    }
}

/// A running server on 127.0.0.1. Dropping it closes the listener and the connections and kills the processes.
pub(crate) struct FakeSshd {
    server: Arc<Server>,
    listening: Mutex<Option<JoinHandle<()>>>,
    stalled: watch::Sender<bool>,
    _own_home: Option<tempfile::TempDir>,
}

impl FakeSshd {
    /// Starts the server on a free port. Must be called inside a tokio runtime.
    pub(crate) fn start(settings: FakeSshdSettings) -> Self {
        let own_home = settings
            .home
            .is_none()
            .then(|| tempfile::tempdir().expect("a temporary folder"));

        let home = settings
            .home
            .clone()
            .or_else(|| own_home.as_ref().map(|folder| folder.path().to_owned()));

        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a listener can be non-blocking");

        let (stalled, watch_stalled) = watch::channel(false);

        let server = Arc::new(Server {
            port: listener
                .local_addr()
                .expect("a bound listener has an address")
                .port(),
            host_key: Mutex::new(settings.host_key.clone()),
            home: home.unwrap_or_default(),
            settings,
            stalled: watch_stalled,
            accepted: AtomicUsize::new(0),
            live: Mutex::default(),
            commands: Mutex::default(),
            typed: Mutex::default(),
            attempts: Mutex::default(),
            opened: Mutex::default(),
            process_groups: Mutex::new(Some(HashSet::new())),
            withholds_renames: Arc::default(),
            granted: AtomicUsize::new(0),
            withholds_channels: AtomicBool::new(false),
            withheld: Mutex::default(),
        });

        let listener = TcpListener::from_std(listener).expect("a runtime with I/O");
        let listening = Mutex::new(Some(tokio::spawn(Arc::clone(&server).accept(listener))));

        Self {
            server,
            listening,
            stalled,
            _own_home: own_home,
        }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// HOME of the processes.
    pub(crate) fn home(&self) -> &Path {
        &self.server.home
    }

    /// The host key that new connections see.
    pub(crate) fn host_public_key(&self) -> PublicKey {
        lock(&self.server.host_key).public_key().clone()
    }

    /// The `known_hosts` line of the host key, with a line end.
    pub(crate) fn known_hosts_line(&self) -> String {
        keys::known_hosts_line(self.port(), &self.host_public_key())
    }

    /// Writes a `known_hosts` and an `ssh_config` into `folder`, with which `ssh -F PATH alias` logs in once an `extra`
    /// line names the identity file; `extra` lines come first, so that they win.
    pub(crate) fn write_ssh_config(&self, folder: &Path, alias: &str, extra: &str) -> PathBuf {
        let known_hosts = folder.join("known_hosts");
        fs::write(&known_hosts, self.known_hosts_line()).expect("a writable folder");
        let user = &self.server.settings.user;
        let host = ssh_config::host(alias, extra, self.port(), user, &known_hosts);
        ssh_config::write(folder, alias, &host)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.server.accepted.load(Ordering::SeqCst)
    }

    /// Every `exec` command received so far, in order.
    pub(crate) fn commands(&self) -> Vec<String> {
        lock(&self.server.commands).clone()
    }

    /// Everything typed at the device so far.
    pub(crate) fn typed(&self) -> String {
        String::from_utf8_lossy(&lock(&self.server.typed)).into_owned()
    }

    /// Every request to log in so far, by its method; a key that is only offered is an `offer`.
    pub(crate) fn attempts(&self) -> Vec<&'static str> {
        lock(&self.server.attempts).clone()
    }

    /// The channels it tried to open, by type, and whether the client took them.
    pub(crate) fn opened(&self) -> Vec<(&'static str, bool)> {
        lock(&self.server.opened).clone()
    }

    /// Session channels that were granted and have not been asked to run anything.
    pub(crate) fn channels_ready(&self) -> usize {
        self.server
            .granted
            .load(Ordering::SeqCst)
            .saturating_sub(self.commands().len())
    }

    /// From now on whoever opens a session channel waits for the answer.
    pub(crate) fn withhold_channels(&self) {
        self.server.withholds_channels.store(true, Ordering::SeqCst);
    }

    /// Cuts all live TCP connections, without an SSH goodbye. Their processes lose their pipes, as under sshd. On a
    /// runtime of one thread it happens at the caller's next await.
    pub(crate) fn drop_connections(&self) {
        let cut = processes::connections(self.port());
        let connections: Vec<_> = lock(&self.server.live)
            .drain()
            .map(|(_, connection)| connection)
            .collect();

        for connection in &connections {
            connection.abort();
        }

        let other_threads =
            Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() != CurrentThread);
        let deadline = Instant::now() + Duration::from_secs(5);
        let lives = || {
            processes::connections(self.port())
                .iter()
                .any(|connection| cut.contains(connection))
        };

        if !other_threads {
            return;
        }

        // The connections end on the runtime's threads, all of which may be here at once.
        block_in_place(|| {
            while (!connections.iter().all(AbortHandle::is_finished) || lives())
                && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(1));
            }
        });
    }

    /// From now on nothing is read from or written to old and new connections, which stay open.
    pub(crate) fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// Ends `stall`: what was held back flows again.
    pub(crate) fn resume(&self) {
        self.stalled.send_replace(false);
    }

    /// From now on (`true`) what is renamed over SFTP is renamed and never answered, as if the link were lost just then.
    pub(crate) fn withhold_renames(&self, withhold: bool) {
        self.server
            .withholds_renames
            .store(withhold, Ordering::SeqCst);
    }

    /// Gives new connections a new Ed25519 host key, and returns its public half.
    pub(crate) fn replace_host_key(&self) -> PublicKey {
        *lock(&self.server.host_key) = keys::ed25519();
        self.host_public_key()
    }

    /// Closes (`true`) or reopens (`false`) the listener: new connections get ECONNREFUSED, live ones stay.
    pub(crate) async fn refuse_connections(&self, refuse: bool) {
        let listening = lock(&self.listening).take();
        if let Some(task) = listening {
            task.abort();
            let _ = task.await;
        }

        if !refuse {
            let deadline = Instant::now() + Duration::from_secs(20);
            let listener = loop {
                match TcpListener::bind(self.address()).await {
                    Ok(listener) => break listener,
                    // A process that was being started has a copy of the old listener until its program runs.
                    Err(error) => {
                        assert!(Instant::now() < deadline, "the port is not free: {error}");
                    }
                }

                tokio::time::sleep(Duration::from_millis(5)).await;
            };

            *lock(&self.listening) = Some(tokio::spawn(Arc::clone(&self.server).accept(listener)));
        }
    }
}

impl Drop for FakeSshd {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.listening).take() {
            task.abort();
        }

        self.drop_connections();
        let groups = lock(&self.server.process_groups).take().unwrap_or_default();
        let groups = groups.iter().map(|group| format!("-{group}"));
        let others = processes::of_connections_to(self.port());
        let targets: Vec<String> = groups.chain(others.iter().map(u32::to_string)).collect();
        processes::signal("KILL", &targets);
    }
}

/// What the connections share.
struct Server {
    settings: FakeSshdSettings,
    port: u16,
    host_key: Mutex<PrivateKey>,
    home: PathBuf,
    stalled: watch::Receiver<bool>,
    accepted: AtomicUsize,
    live: Mutex<HashMap<usize, AbortHandle>>,
    commands: Mutex<Vec<String>>,
    typed: Mutex<Vec<u8>>,
    attempts: Mutex<Vec<&'static str>>,
    opened: Mutex<Vec<(&'static str, bool)>>,
    /// The groups of the processes started; `None` once the server is being dropped, when none may be started any more.
    process_groups: Mutex<Option<HashSet<u32>>>,
    withholds_renames: Arc<AtomicBool>,
    granted: AtomicUsize,
    withholds_channels: AtomicBool,
    withheld: Mutex<Vec<ChannelOpenHandle>>,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, client)) = listener.accept().await {
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            let server = Arc::clone(&self);

            // Locked across the start, so that a connection that ends at once finds its own entry to remove.
            let mut live = lock(&self.live);
            let connection = tokio::spawn(async move {
                connection::serve(&server, stream, client).await;
                lock(&server.live).remove(&number);
            });

            live.insert(number, connection.abort_handle());
        }
    }
}

/// A panic while one of these locks is held has failed its test already; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
