//! Sessions of this process: settings, secrets in memory, the connection and the shells.

mod commands;
mod configured_forwards;
mod connection;
mod detached;
mod edits;
mod files;
pub mod forwards;
mod gate;
mod lane;
mod lending;
mod names;
mod permit;
mod place;
mod search;
mod shells;
mod single_flight;
mod status;
mod transfers;
mod windows_paths;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
    time::{Duration, SystemTime},
};

use tokio::sync::Mutex as AsyncMutex;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

pub(super) use self::permit::Grant;
use self::{
    configured_forwards::ConfiguredForwards, edits::EditTurns, files::IdleFiles,
    forwards::Forwards, lane::LaneUsers, names::KnownNames, single_flight::SingleFlight,
};
pub use self::{
    connection::Reconnected,
    detached::started,
    edits::{EditedFile, FinishedEdit},
    lane::LaneUse,
    lending::LendError,
    permit::Permit,
};
use super::{
    approvals::Approvals, error::SessionError, saved::SavedSession, servers::SavedServers,
    settings_file::SettingsFile, shell_name::ShellName, shown_files::ShownFiles,
};
use crate::{
    forward::address::ConnectAddress,
    lock::lock,
    openssh::destination::Destination,
    ssh::{
        auth::Credentials,
        command::{output::OutputFolder, remote_host::RemoteHost, shell::Shell, sudo::SudoMemory},
        config::target::Target,
        connect::{
            UnknownHosts,
            connection::{Peer, PeerIdentity},
        },
        error::SshError,
        prompt::askpass::Askpass,
        transfer::{GrantedPaths, Machine, RemoteTemp},
    },
};

/// Default time limit for connecting.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// First pause before the next connection attempt for work outliving a connection. The pause
/// doubles each time, up to [`MAX_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Maximum pause between two attempts to connect.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(8);

/// Returns the pause after this one, which may be zero at first.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE)
}

/// Settings and resources shared by all sessions of a process.
///
/// Created by the registry and cloned into each session.
#[derive(Debug, Clone)]
pub struct SessionEnv {
    /// Configuration file, as `ssh -F`; `None` is the user's own.
    pub config_file: Option<PathBuf>,
    /// Paths of this machine which transfers must not touch.
    pub machine: Arc<Machine>,
    /// Folder for outputs too long for an answer.
    pub folder: OutputFolder,
    /// Program that asks the user for secrets (`SSH_ASKPASS`); `None` if there is none.
    pub askpass: Option<Askpass>,
    /// What the person allows.
    pub settings: Arc<SettingsFile>,
    /// Questions that wait for the user, and answers that hold.
    pub approvals: Arc<Approvals>,
    /// Forwards of all sessions.
    pub forwards: Arc<Forwards>,
    /// What is known of servers.
    pub servers: SavedServers,
    /// Token, cancelled when the program ends.
    pub ending: CancellationToken,
}

/// A named session, shared by all calls for the session.
///
/// Created by the registry, not connected at first. Any call connects it when needed, also after
/// [`close`](Self::close). Concurrent callers share one dial.
#[derive(Debug)]
pub struct LiveSession {
    /// Settings kept by the store.
    pub saved: SavedSession,
    /// This session, for the forwards that a dial opens.
    this: Weak<Self>,
    target: Target,
    /// Secrets given by the caller or typed by the user. Locked for look-ups and assignments only.
    credentials: Mutex<Credentials>,
    limit: Duration,
    /// Treatment of unknown hosts by the first dial that succeeds. Later dials are as configured.
    unknown_hosts: UnknownHosts,
    session_env: SessionEnv,
    /// Token to end running commands, cancelled by `ssh_disconnect`.
    closing: Mutex<CancellationToken>,
    /// Tracker of the calls using the connection.
    running: TaskTracker,
    /// Connection; many callers share one dial.
    connection: SingleFlight<Arc<RemoteHost>, Arc<SshError>>,
    /// Password typed for sudo, kept until the session is disconnected.
    sudo: Mutex<SudoMemory>,
    /// Slots of the shells by name; each is locked while its shell starts.
    shells: Mutex<HashMap<ShellName, Arc<AsyncMutex<ShellSlot>>>>,
    /// Facts about the last connection, for listings. Locked for an assignment only.
    last: Mutex<ConnectionInfo>,
    /// Temporary files left on the remote host by transfers whose link was lost. Removed over the
    /// next connection.
    remote_temps: Arc<Mutex<Vec<RemoteTemp>>>,
    /// Guarded paths of this machine, allowed by the user.
    given: GrantedPaths,
    /// Addresses of this machine that a host may reach, allowed by the user. Locked for look-ups and
    /// assignments only.
    lent: Mutex<HashSet<(PeerIdentity, ConnectAddress)>>,
    /// Turns of the edits of files.
    edits: EditTurns,
    /// Channel for files that no call uses at the moment, kept for the next call.
    idle_files: Arc<Mutex<Option<IdleFiles>>>,
    /// Forwards of the SSH configuration.
    configured_forwards: ConfiguredForwards,
    /// Turn to open a forward, held until the forward is in the list.
    forward_turn: AsyncMutex<()>,
    /// Number of the forwards that use lanes.
    lane_users: LaneUsers,
    /// Files that clients were shown. Locked for look-ups and assignments only.
    shown_files: Mutex<ShownFiles>,
    /// Names of the hosts of the last connection. Locked for look-ups and assignments only.
    names: Mutex<Option<KnownNames>>,
}

/// Facts about a session's current or last connection.
#[derive(Debug, Default)]
struct ConnectionInfo {
    /// Time of the first connection in this process.
    first: Option<SystemTime>,
    host: Option<Arc<RemoteHost>>,
    peer: Option<Peer>,
    error: Option<String>,
    /// Number of useless connections in a row before the current connection.
    useless: u32,
    /// Words with which the server ended the latest of these that had any.
    farewell: Option<String>,
}

impl ConnectionInfo {
    /// Returns the number of useless connections in a row, the current connection included.
    fn useless(&self) -> u32 {
        match &self.host {
            Some(host) if host.was_useless() => self.useless + 1,
            _ => 0,
        }
    }

    /// Returns the words with which the server ended the latest useless connection that had any.
    fn farewell(&self) -> Option<String> {
        let host = self.host.as_ref().filter(|host| host.was_useless())?;
        host.farewell().or_else(|| self.farewell.clone())
    }
}

/// Named shell of a session, with enough state to replace a lost shell.
#[derive(Debug, Default)]
struct ShellSlot {
    /// Shell, and the host on which the shell runs.
    shell: Option<(Shell, Weak<RemoteHost>)>,
    directory: Vec<u8>,
    ran_before: bool,
}

/// Tie of work to its session.
#[derive(Debug)]
struct SessionTie {
    /// Cancelled when the session is closed or dropped, and already if the session is closed.
    closing: CancellationToken,
    /// Held by the work. Closing waits until it is dropped.
    work: TaskTrackerToken,
}

/// Settings of a connect request which are never saved.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Secrets for the log-in.
    pub credentials: Credentials,
    /// Time limit for connecting; `None` is [`CONNECT_LIMIT`].
    pub limit: Option<Duration>,
    /// Treatment of unknown hosts until the session has connected.
    pub unknown_hosts: UnknownHosts,
}

impl LiveSession {
    /// Creates a session without a connection.
    ///
    /// # Errors
    /// The saved destination or user must not be passed to `ssh`.
    pub fn new(
        saved: SavedSession,
        secrets: ConnectOptions,
        session_env: SessionEnv,
    ) -> Result<Arc<Self>, SessionError> {
        // The store can be edited by hand, so its values are checked like typed ones.
        let destination = Destination::parse(&saved.host)?;
        if let Some(user) = &saved.user {
            crate::openssh::destination::parse_user(user)?;
        }

        let target = Target {
            destination,
            user: saved.user.clone(),
            port: saved.port,
            config_file: session_env.config_file.clone(),
        };

        let credentials = Credentials {
            key_path: saved.key_path.clone(),
            ..secrets.credentials
        };

        Ok(Arc::new_cyclic(|this| Self {
            saved,
            this: Weak::clone(this),
            target,
            credentials: Mutex::new(credentials),
            limit: secrets.limit.unwrap_or(CONNECT_LIMIT),
            unknown_hosts: secrets.unknown_hosts,
            closing: Mutex::new(session_env.ending.child_token()),
            session_env,
            running: TaskTracker::new(),
            connection: SingleFlight::default(),
            sudo: Mutex::default(),
            shells: Mutex::new(HashMap::new()),
            last: Mutex::default(),
            remote_temps: Arc::default(),
            given: GrantedPaths::default(),
            lent: Mutex::default(),
            edits: EditTurns::default(),
            idle_files: Arc::default(),
            configured_forwards: ConfiguredForwards::default(),
            forward_turn: AsyncMutex::default(),
            lane_users: LaneUsers::default(),
            shown_files: Mutex::default(),
            names: Mutex::default(),
        }))
    }

    /// Returns true if `other`, created for a connect request, has the same settings.
    ///
    /// Secrets that the request leaves out do not count as a difference.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let theirs = lock(&other.credentials).clone();
        let ours = lock(&self.credentials);
        self.target == other.target
            && ours.key_path == theirs.key_path
            && (theirs.password.is_none() || theirs.password == ours.password)
            && (theirs.passphrase.is_none() || theirs.passphrase == ours.passphrase)
    }

    /// Returns true if the session was made from a host of the SSH configuration by a call that
    /// named the host.
    #[must_use]
    pub fn is_host_of_config(&self) -> bool {
        self.unknown_hosts == UnknownHosts::Refused
    }

    /// Returns true for a session made from a host of the SSH configuration that has not connected
    /// yet.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.is_host_of_config() && self.first_connected_at().is_none()
    }

    /// Returns the settings to save after the log-in.
    #[must_use]
    pub fn to_save(&self) -> SavedSession {
        SavedSession {
            password_auth: self.used_password(),
            ..self.saved.clone()
        }
    }

    /// Returns true if the last successful log-in used a password.
    #[must_use]
    pub fn used_password(&self) -> bool {
        let last = lock(&self.last);
        let took = |method: &str| {
            last.peer
                .as_ref()
                .is_some_and(|peer| peer.auth_method.split(',').any(|used| used == method))
        };
        took("password") || took("keyboard-interactive")
    }

    /// Returns the time of the first connection in this process, or `None` if never connected.
    ///
    /// Reconnecting does not change the time, and so does not change the default session.
    #[must_use]
    pub fn first_connected_at(&self) -> Option<SystemTime> {
        lock(&self.last).first
    }

    /// Returns notices for the user about how the connection was made.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let last = lock(&self.last);
        last.peer
            .as_ref()
            .map(|peer| peer.notices.clone())
            .unwrap_or_default()
    }

    /// Takes the notices about forwards of the SSH configuration that no answer has had yet.
    #[must_use]
    pub fn take_forward_notices(&self) -> Vec<String> {
        self.configured_forwards.take_notices()
    }

    /// Returns the account of the last connection, as `user@host`, or else the destination.
    #[must_use]
    pub fn account(&self) -> String {
        lock(&self.last).peer.as_ref().map_or_else(
            || self.saved.host.clone(),
            |peer| format!("{}@{}", peer.user, peer.host_name),
        )
    }

    /// Returns the time limit for connecting.
    #[must_use]
    pub fn connect_limit(&self) -> Duration {
        self.limit
    }

    /// Ties work that outlives its call to this session. Does not open a closed session again.
    fn tie(&self) -> SessionTie {
        SessionTie {
            closing: lock(&self.closing).child_token(),
            work: self.running.token(),
        }
    }

    fn name(&self) -> &str {
        self.saved.name.as_str()
    }

    /// Returns the token which the next `close` cancels. A closed session is thereby opened again.
    pub(super) fn open(&self) -> CancellationToken {
        let mut closing = lock(&self.closing);
        if closing.is_cancelled() {
            *closing = self.session_env.ending.child_token();
        }
        closing.clone()
    }
}

impl Drop for LiveSession {
    /// Ends the forwards of a session that nobody can reach any more.
    fn drop(&mut self) {
        lock(&self.closing).cancel();
    }
}
