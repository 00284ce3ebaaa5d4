//! A session of this process: what was asked for, the secrets in memory, the connection and the shells.

mod commands;
mod detached;
mod transfers;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::Mutex as DialSlot, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    commands::{ExecCall, ShellCall},
    detached::started,
};
use super::{
    caller::Caller,
    error::SessionError,
    reconnect::{Reconnect, SessionSituation, decide},
    saved::SavedSession,
    status::{ConnectionState, SessionStatus, ShellState, ShellStatus, connected_at},
};
use crate::{
    openssh::destination::Destination,
    render::escape_line,
    ssh::{
        auth::Credentials,
        command::{output::OutputFolder, shell::Shell, sudo::SudoMemory},
        config::target::Target,
        connect::connection::Peer,
        error::SshError,
        pool::Pool,
        prompt::{askpass::Askpass, prompter::Prompter},
        transfer::{GrantedPaths, Machine, RemoteTemp},
    },
};

/// How long connecting may take when nothing else is said.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long a connection may take to show that it is alive when somebody asks for it to be made anew.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long what outlives its connection waits before the next one where the last was of no use; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many connections in a row a server may close before anything came over them. After that it is left in peace for a
/// while: each is a log-in, of which it may allow only so many.
const MAX_USELESS: u32 = 3;
/// For how long.
const LEFT_IN_PEACE: Duration = Duration::from_secs(30);
/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// What all sessions of a process share.
#[derive(Debug, Clone)]
pub struct SessionEnv {
    /// The `ssh_config` file, as `ssh -F`.
    pub config_file: Option<PathBuf>,
    /// What of this machine transfers leave alone.
    pub machine: Arc<Machine>,
    /// Where whole outputs are kept.
    pub folder: OutputFolder,
    /// The program that asks the person for secrets.
    pub askpass: Option<Askpass>,
    /// Cancelled when the program ends.
    pub ending: CancellationToken,
}

/// One named session, shared by all calls that use it.
#[derive(Debug)]
pub struct LiveSession {
    /// What is saved of it.
    pub saved: SavedSession,
    target: Target,
    /// What was given, and what a person has typed for its connections since; held for look-ups and assignments only.
    credentials: Mutex<Credentials>,
    limit: Duration,
    session_env: SessionEnv,
    /// Cancelled by `ssh_disconnect`: ends running commands.
    closing: Mutex<CancellationToken>,
    /// Counts the calls that are using the connection.
    running: TaskTracker,
    /// Held while dialling, so that many callers make one connection.
    connection: DialSlot<DialState>,
    /// What was typed for sudo, until the session is disconnected.
    sudo: Mutex<SudoMemory>,
    /// Each shell has a slot that is held while it starts.
    shells: Mutex<HashMap<String, Arc<DialSlot<ShellSlot>>>>,
    /// For listing; held for an assignment only.
    last: Mutex<ConnectionInfo>,
    /// What transfers have left on the remote host that ended with the link; removed over the next connection.
    remote_temps: Arc<Mutex<Vec<RemoteTemp>>>,
    /// Guarded paths of this machine that the person has allowed.
    given: GrantedPaths,
}

#[derive(Debug, Default)]
struct DialState {
    connection: Option<Arc<Pool>>,
    /// When the last dial failed, and why: whoever asked before shares that failure instead of dialling once more.
    failed: Option<(Instant, Arc<SshError>)>,
    /// When it was dialled last.
    at: Option<Instant>,
}

#[derive(Debug, Default)]
struct ConnectionInfo {
    /// When it was first connected.
    first: Option<SystemTime>,
    connection: Option<Arc<Pool>>,
    peer: Option<Peer>,
    error: Option<String>,
    /// How many connections before this one were closed in a row before anything came over them.
    useless: u32,
}

impl ConnectionInfo {
    /// The same with this one.
    fn useless(&self) -> u32 {
        match &self.connection {
            Some(connection) if connection.was_useless() => self.useless + 1,
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
struct ShellSlot {
    /// The shell and the connection it runs over.
    shell: Option<(Shell, Weak<Pool>)>,
    directory: Vec<u8>,
    ran_before: bool,
}

/// What a caller brings besides what is saved.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// The log-in secrets.
    pub credentials: Credentials,
    /// How long connecting may take.
    pub limit: Option<Duration>,
}

/// What became of a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnected {
    /// It answered, and is still the session's.
    Kept,
    /// There was none.
    Connected,
    /// It did not answer; there is another one now.
    Replaced,
    /// The session has logged in anew because that was asked for.
    Renewed,
}

impl LiveSession {
    /// A session that is not connected yet.
    ///
    /// # Errors
    /// The saved destination or user is not one that may be given to `ssh`.
    pub fn new(
        saved: SavedSession,
        secrets: ConnectOptions,
        session_env: SessionEnv,
    ) -> Result<Self, SessionError> {
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

        Ok(Self {
            saved,
            target,
            credentials: Mutex::new(credentials),
            limit: secrets.limit.unwrap_or(CONNECT_LIMIT),
            closing: Mutex::new(session_env.ending.child_token()),
            session_env,
            running: TaskTracker::new(),
            connection: DialSlot::default(),
            sudo: Mutex::default(),
            shells: Mutex::new(HashMap::new()),
            last: Mutex::default(),
            remote_temps: Arc::default(),
            given: GrantedPaths::default(),
        })
    }

    /// Whether a request to connect means this very session.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let theirs = lock(&other.credentials).clone();
        let ours = lock(&self.credentials);
        self.target == other.target
            && ours.key_path == theirs.key_path
            && (theirs.password.is_none() || theirs.password == ours.password)
            && (theirs.passphrase.is_none() || theirs.passphrase == ours.passphrase)
    }

    /// Whether the log-in that worked took a password.
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

    /// When it was first connected in this process, if it was: a link that is lost and made again changes no order.
    #[must_use]
    pub fn first_connected_at(&self) -> Option<SystemTime> {
        lock(&self.last).first
    }

    /// The connection (with those opened beside it), made if there is none.
    ///
    /// # Errors
    /// Connecting failed, needs a password that is gone, or was cancelled.
    pub async fn connection(&self, caller: &Caller) -> Result<Arc<Pool>, SessionError> {
        self.connection_within(self.limit, caller).await
    }

    /// The same with a time limit for this dial alone.
    ///
    /// # Errors
    /// As [`connection`](Self::connection).
    pub async fn connection_within(
        &self,
        limit: Duration,
        caller: &Caller,
    ) -> Result<Arc<Pool>, SessionError> {
        self.connection_but(None, limit, caller).await
    }

    /// The same, but another one than `old`, which stays the session's where no other can be made.
    async fn connection_but(
        &self,
        old: Option<&Arc<Pool>>,
        limit: Duration,
        caller: &Caller,
    ) -> Result<Arc<Pool>, SessionError> {
        let asked = Instant::now();
        let closing = self.open();
        let mut slot = tokio::select! {
            slot = self.connection.lock() => slot,
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            () = closing.cancelled() => return Err(SessionError::Cancelled),
        };

        let alive = slot
            .connection
            .as_ref()
            .filter(|connection| !connection.is_closed())
            .cloned();

        let kept = alive
            .clone()
            .filter(|alive| old.is_some_and(|old| Arc::ptr_eq(alive, old)));
        let alive = alive.filter(|_| kept.is_none());

        let situation = SessionSituation {
            alive: alive.is_some(),
            needs_password: self.saved.password_auth || self.used_password(),
            has_password: lock(&self.credentials).have_password()
                || caller.prompter.can_ask_secrets()
                || self.session_env.askpass.is_some(),
            ending: self.session_env.ending.is_cancelled(),
        };

        match (decide(situation), alive) {
            (Reconnect::Reuse, Some(connection)) => Ok(connection),
            (Reconnect::NeedsPassword, _) => {
                Err(SessionError::NeedsPassword(self.name().to_owned()))
            }
            (Reconnect::Refuse, _) => Err(SessionError::Cancelled),
            (Reconnect::Redial | Reconnect::Reuse, _) => {
                if let Some((at, error)) = &slot.failed
                    && asked < *at
                {
                    return Err(self.ssh(Arc::clone(error)));
                }

                if slot.at.is_some_and(|at| at.elapsed() < LEFT_IN_PEACE)
                    && let Some(error) = self.closed_at_once(MAX_USELESS)
                {
                    return Err(self.ssh(error));
                }

                let opened = tokio::select! {
                    opened = self.dial(limit, &caller.prompter) => opened,
                    () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
                    () = closing.cancelled() => return Err(SessionError::Cancelled),
                };

                *slot = DialState {
                    connection: opened.as_ref().ok().cloned().or(kept),
                    failed: opened
                        .as_ref()
                        .err()
                        .map(|error| (Instant::now(), Arc::clone(error))),
                    at: Some(Instant::now()),
                };

                opened.map_err(|error| self.ssh(error))
            }
        }
    }

    async fn dial(&self, limit: Duration, prompter: &Prompter) -> Result<Arc<Pool>, Arc<SshError>> {
        let prompter = prompter
            .clone()
            .or_askpass(self.session_env.askpass.clone());
        let credentials = lock(&self.credentials).clone();
        let opened = Pool::open(&self.target, &credentials, &prompter, limit).await;
        let mut last = lock(&self.last);

        match opened {
            Ok(connection) => {
                {
                    let mut credentials = lock(&self.credentials);
                    credentials.typed.clone_from(&connection.first().typed);
                    credentials.needs_proof = connection.first().needs_proof;
                }

                let peer = connection.peer().clone();

                tracing::info!(
                    session = self.name(),
                    host = peer.host_name,
                    port = peer.port,
                    "connected"
                );

                let first = last.first.or(Some(peer.connected_at));
                let (useless, peer) = (last.useless(), Some(peer));

                *last = ConnectionInfo {
                    first,
                    peer,
                    connection: Some(Arc::clone(&connection)),
                    error: None,
                    useless,
                };

                self.remove_remote_temps(&connection);

                Ok(connection)
            }
            Err(error) => {
                let text = error.to_string();
                tracing::warn!(
                    session = self.name(),
                    error = text.escape_debug().to_string(),
                    "not connected"
                );

                last.error = Some(escape_line(text.as_bytes()));

                Err(Arc::new(error))
            }
        }
    }

    /// Stops what runs, closes the connection and forgets all secrets, waiting up to `patience` for what runs.
    pub async fn close(&self, patience: Duration) {
        lock(&self.closing).cancel();
        self.running.close();
        let _ = timeout(patience, self.running.wait()).await;
        self.running.reopen();
        lock(&self.shells).clear();
        *lock(&self.sudo) = SudoMemory::default();
        let connection = self.connection.lock().await.connection.take();
        if let Some(connection) = connection {
            connection.close().await;
            tracing::info!(session = self.name(), "disconnected");
        }

        // After the dial that may have been under way, which keeps what was typed for it.
        lock(&self.credentials).forget();
        lock(&self.last).connection = None;
    }

    /// Makes sure of a connection that answers, dialling anew if the one there is does not. With `fresh`, logs in anew in
    /// any case: what runs goes on over the old connection, which ends when nothing needs it any more.
    ///
    /// # Errors
    /// As [`connection`](Self::connection); the old connection stays as it was.
    pub async fn reconnect(
        &self,
        fresh: bool,
        caller: &Caller,
    ) -> Result<Reconnected, SessionError> {
        let old = self
            .connection
            .lock()
            .await
            .connection
            .clone()
            .filter(|connection| !connection.is_closed());

        let Some(old) = old else {
            self.connection(caller).await?;
            return Ok(Reconnected::Connected);
        };

        if fresh {
            // A changed password is another one for sudo, too.
            *lock(&self.sudo) = SudoMemory::default();
            self.connection_but(Some(&old), self.limit, caller).await?;
            old.retire();
            return Ok(Reconnected::Renewed);
        }

        if old.answers(ANSWER_LIMIT).await {
            return Ok(Reconnected::Kept);
        }

        self.drop_connection(&old).await;
        self.connection(caller).await?;

        Ok(Reconnected::Replaced)
    }

    /// The session as it is now.
    #[must_use]
    pub fn status(&self, default: bool) -> SessionStatus {
        let last = lock(&self.last);
        let connection = last
            .connection
            .as_ref()
            .filter(|connection| !connection.is_closed());

        let peer = last.peer.as_ref();
        let ended = last
            .connection
            .as_ref()
            .filter(|connection| connection.is_closed());

        SessionStatus {
            name: self.name().to_owned(),
            host: self.saved.host.clone(),
            host_name: peer.map_or_else(|| self.saved.host.clone(), |peer| peer.host_name.clone()),
            port: peer.map(|peer| peer.port).or(self.saved.port).unwrap_or(22),
            user: peer
                .map(|peer| peer.user.clone())
                .or_else(|| self.saved.user.clone())
                .unwrap_or_default(),
            state: match (connection, peer) {
                (Some(_), _) => ConnectionState::Connected,
                (None, Some(_)) => ConnectionState::Disconnected,
                (None, None) => ConnectionState::Saved,
            },
            default,
            auth_method: peer.map(|peer| peer.auth_method.clone()),
            host_key: peer.map(|peer| peer.host_key.clone()),
            connected_at: connection.map(|connection| connected_at(connection.peer())),
            last_error: last
                .error
                .clone()
                .or_else(|| ended.map(|connection| connection.lost().to_string())),
        }
    }

    /// Its shells as they are now, in no order.
    #[must_use]
    pub fn shells(&self) -> Vec<ShellStatus> {
        let shells = lock(&self.shells);
        let each = shells.iter().map(|(name, slot)| {
            let (state, directory) = match slot.try_lock() {
                Ok(slot) => {
                    let alive = slot
                        .shell
                        .as_ref()
                        .is_some_and(|(shell, _)| !shell.is_gone());

                    (
                        if alive {
                            ShellState::Ready
                        } else {
                            ShellState::Gone
                        },
                        slot.directory.clone(),
                    )
                }
                Err(_) => (ShellState::Starting, Vec::new()),
            };

            ShellStatus {
                session: self.name().to_owned(),
                name: name.clone(),
                state,
                directory,
            }
        });

        each.collect()
    }

    /// What the person should know about how the connection was made.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let last = lock(&self.last);
        last.peer
            .as_ref()
            .map(|peer| peer.notices.clone())
            .unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.saved.name.as_str()
    }

    /// The token that the next `close` cancels; a session that was closed is open again for whoever uses it.
    fn open(&self) -> CancellationToken {
        let mut closing = lock(&self.closing);
        if closing.is_cancelled() {
            *closing = self.session_env.ending.child_token();
        }
        closing.clone()
    }

    /// Forgets a connection over which nothing could be sent. `true` if there is sense in trying another.
    async fn drop_dead(&self, connection: &Arc<Pool>, error: &SshError) -> bool {
        let dead = match error {
            // What was lost may be one beside the first, while that one serves others.
            SshError::Lost(_) => connection.is_closed() || !connection.answers(ANSWER_LIMIT).await,
            SshError::Timeout { .. } => true,
            _ => return false,
        };

        if dead {
            self.drop_connection(connection).await;
        }

        true
    }

    async fn drop_connection(&self, connection: &Arc<Pool>) {
        let mut slot = self.connection.lock().await;
        if slot
            .connection
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, connection))
        {
            slot.connection = None;
        }
    }

    /// The error to report if the last so many connections were closed before anything came over them.
    fn closed_at_once(&self, times: u32) -> Option<SshError> {
        let last = lock(&self.last);
        let reason = last
            .connection
            .as_ref()
            .and_then(|connection| connection.reason());
        (last.useless() >= times).then_some(SshError::ClosedAtOnce { reason })
    }

    fn ssh(&self, source: impl Into<Arc<SshError>>) -> SessionError {
        let mut source = source.into();
        if matches!(*source, SshError::Lost(_))
            && let Some(clearer) = self.closed_at_once(2)
        {
            source = Arc::new(clearer);
        }

        match *source {
            SshError::Cancelled => SessionError::Cancelled,
            _ => SessionError::Ssh {
                session: self.name().to_owned(),
                source,
            },
        }
    }
}

/// These mutexes are held for an assignment only, so one that was poisoned holds nothing half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
