//! Sessions of this process: settings, secrets in memory, the connection and the shells.

mod commands;
mod detached;
mod transfers;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
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
    lock::lock,
    openssh::destination::Destination,
    render::escape_line,
    ssh::{
        auth::Credentials,
        command::{output::OutputFolder, remote_host::RemoteHost, shell::Shell, sudo::SudoMemory},
        config::target::Target,
        connect::connection::Peer,
        error::SshError,
        prompt::{askpass::Askpass, prompter::Prompter},
        transfer::{GrantedPaths, Machine, RemoteTemp},
    },
};

/// Default time limit for connecting.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for a connection to answer when a caller asks for a reconnect.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// First pause before the next connection attempt for work outliving a connection. The pause
/// doubles each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Number of useless connections in a row after which a server is left alone for a while.
///
/// A connection is useless if the server closed it before anything came over a channel. Each
/// attempt is a log-in, and a server may allow only a few.
const MAX_USELESS: u32 = 3;
/// Time for which a server is left alone after [`MAX_USELESS`] useless connections.
const LEFT_IN_PEACE: Duration = Duration::from_secs(30);
/// Maximum pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(8);

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
    target: Target,
    /// Secrets given by the caller or typed by the user. Locked for look-ups and assignments only.
    credentials: Mutex<Credentials>,
    limit: Duration,
    session_env: SessionEnv,
    /// Token to end running commands, cancelled by `ssh_disconnect`.
    closing: Mutex<CancellationToken>,
    /// Tracker of the calls using the connection.
    running: TaskTracker,
    /// Slot of the connection, locked while dialling. Many callers thereby share one dial.
    connection: DialSlot<DialState>,
    /// Password typed for sudo, kept until the session is disconnected.
    sudo: Mutex<SudoMemory>,
    /// Slots of the shells by name; each is locked while its shell starts.
    shells: Mutex<HashMap<String, Arc<DialSlot<ShellSlot>>>>,
    /// Facts about the last connection, for listings. Locked for an assignment only.
    last: Mutex<ConnectionInfo>,
    /// Temporary files left on the remote host by transfers whose link was lost. Removed over the
    /// next connection.
    remote_temps: Arc<Mutex<Vec<RemoteTemp>>>,
    /// Guarded paths of this machine, allowed by the user.
    given: GrantedPaths,
}

/// Connection of a session and the outcome of the last dial.
#[derive(Debug, Default)]
struct DialState {
    host: Option<Arc<RemoteHost>>,
    /// Time and error of the last failed dial. Callers that asked before this time share the
    /// failure instead of dialling again.
    failed: Option<(Instant, Arc<SshError>)>,
    /// Time of the last dial.
    at: Option<Instant>,
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
}

impl ConnectionInfo {
    /// Returns the number of useless connections in a row, the current connection included.
    fn useless(&self) -> u32 {
        match &self.host {
            Some(host) if host.was_useless() => self.useless + 1,
            _ => 0,
        }
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

/// Settings of a connect request which are never saved.
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    /// Secrets for the log-in.
    pub credentials: Credentials,
    /// Time limit for connecting; `None` is [`CONNECT_LIMIT`].
    pub limit: Option<Duration>,
}

/// Outcome of a reconnect request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnected {
    /// The connection answered and was kept.
    Kept,
    /// There was no connection before.
    Connected,
    /// The connection did not answer and was replaced.
    Replaced,
    /// The session logged in anew because the caller asked for a fresh connection.
    Renewed,
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
    ) -> Result<Self, SessionError> {
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

    /// Returns the session's host, dialling if there is no live connection.
    ///
    /// # Errors
    /// Connecting failed, needs a password that is gone, or was cancelled.
    pub async fn host(&self, caller: &Caller) -> Result<Arc<RemoteHost>, SessionError> {
        self.host_within(self.limit, caller).await
    }

    /// Returns the session's host like [`host`](Self::host), with a time limit for this dial.
    ///
    /// # Errors
    /// Connecting failed, needs a password that is gone, or was cancelled.
    pub async fn host_within(
        &self,
        limit: Duration,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        self.host_other_than(None, limit, caller).await
    }

    /// Returns a host other than `old`, dialling if needed: the same machine over another log-in.
    ///
    /// If the dial fails, `old` stays the session's host.
    async fn host_other_than(
        &self,
        old: Option<&Arc<RemoteHost>>,
        limit: Duration,
        caller: &Caller,
    ) -> Result<Arc<RemoteHost>, SessionError> {
        // Taken before the lock, to recognise below a dial that failed while this call waited.
        let asked = Instant::now();
        let closing = self.open();
        let mut slot = tokio::select! {
            slot = self.connection.lock() => slot,
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
            () = closing.cancelled() => return Err(SessionError::Cancelled),
        };

        let alive = slot.host.as_ref().filter(|host| !host.is_closed()).cloned();

        // A live connection that the caller wants replaced does not count as alive.
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
            (Reconnect::Reuse, Some(host)) => Ok(host),
            (Reconnect::NeedsPassword, _) => {
                Err(SessionError::NeedsPassword(self.name().to_owned()))
            }
            (Reconnect::Refuse, _) => Err(SessionError::Cancelled),
            (Reconnect::Redial | Reconnect::Reuse, _) => {
                // Another dial has failed since this call began; a second one would likely fail the
                // same way.
                if let Some((at, error)) = &slot.failed
                    && asked < *at
                {
                    return Err(self.ssh(Arc::clone(error)));
                }

                // A server that closes every connection at once would see a log-in for each call
                // otherwise.
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
                    host: opened.as_ref().ok().cloned().or(kept),
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

    /// Opens a connection and records the outcome for listings and later dials.
    async fn dial(
        &self,
        limit: Duration,
        prompter: &Prompter,
    ) -> Result<Arc<RemoteHost>, Arc<SshError>> {
        let prompter = prompter
            .clone()
            .or_askpass(self.session_env.askpass.clone());
        // Copied, because the mutex must not stay locked while the dial awaits.
        let credentials = lock(&self.credentials).clone();
        let opened = RemoteHost::open(&self.target, &credentials, &prompter, limit).await;
        let mut last = lock(&self.last);

        match opened {
            Ok(host) => {
                {
                    // Kept for later log-ins, so that the user is not asked again for what worked.
                    let mut credentials = lock(&self.credentials);
                    credentials.typed.clone_from(&host.first().typed);
                    credentials.needs_proof = host.first().needs_proof;
                }

                let peer = host.peer().clone();

                tracing::info!(
                    session = self.name(),
                    host = peer.host_name,
                    port = peer.port,
                    "connected"
                );

                let first = last.first.or(Some(peer.connected_at));
                // Counted before the old connection, to which the count belongs, is replaced.
                let (useless, peer) = (last.useless(), Some(peer));

                *last = ConnectionInfo {
                    first,
                    peer,
                    host: Some(Arc::clone(&host)),
                    error: None,
                    useless,
                };

                self.remove_remote_temps(&host);

                Ok(host)
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

    /// Stops running commands, closes the connection and forgets all secrets.
    ///
    /// Waits up to `patience` for commands to end. The session can be connected again afterwards.
    pub async fn close(&self, patience: Duration) {
        // Commands are stopped over the connection, so they have to end before it is closed.
        lock(&self.closing).cancel();
        self.running.close();
        let _ = timeout(patience, self.running.wait()).await;
        self.running.reopen();
        lock(&self.shells).clear();
        *lock(&self.sudo) = SudoMemory::default();
        let host = self.connection.lock().await.host.take();
        if let Some(host) = host {
            host.close().await;
            tracing::info!(session = self.name(), "disconnected");
        }

        // Last, because a dial that was in progress keeps the secrets typed for it.
        lock(&self.credentials).forget();
        lock(&self.last).host = None;
    }

    /// Ensures a working connection, dialling if the current connection does not answer.
    ///
    /// With `fresh`, the session logs in anew in any case. Running commands stay on the old
    /// connection, which ends when nothing uses it any more.
    ///
    /// # Errors
    /// Connecting failed, needs a password that is gone, or was cancelled. With `fresh`, the old
    /// connection then stays in use.
    pub async fn reconnect(
        &self,
        fresh: bool,
        caller: &Caller,
    ) -> Result<Reconnected, SessionError> {
        let old = self
            .connection
            .lock()
            .await
            .host
            .clone()
            .filter(|host| !host.is_closed());

        let Some(old) = old else {
            self.host(caller).await?;
            return Ok(Reconnected::Connected);
        };

        if fresh {
            // The reason for a fresh log-in may be a changed password, which changes sudo's as
            // well.
            *lock(&self.sudo) = SudoMemory::default();
            self.host_other_than(Some(&old), self.limit, caller).await?;
            // Only now: a failed log-in must leave the old connection as it was.
            old.retire();
            return Ok(Reconnected::Renewed);
        }

        if old.answers(ANSWER_LIMIT).await {
            return Ok(Reconnected::Kept);
        }

        self.drop_host(&old).await;
        self.host(caller).await?;

        Ok(Reconnected::Replaced)
    }

    /// Returns a snapshot of the session for listings.
    #[must_use]
    pub fn status(&self, default: bool) -> SessionStatus {
        // Taken from `last`, so that a listing never waits for a dial.
        let last = lock(&self.last);
        let connected = last.host.as_ref().filter(|host| !host.is_closed());

        let peer = last.peer.as_ref();
        let ended = last.host.as_ref().filter(|host| host.is_closed());

        SessionStatus {
            name: self.name().to_owned(),
            host: self.saved.host.clone(),
            host_name: peer.map_or_else(|| self.saved.host.clone(), |peer| peer.host_name.clone()),
            port: peer.map(|peer| peer.port).or(self.saved.port).unwrap_or(22),
            user: peer
                .map(|peer| peer.user.clone())
                .or_else(|| self.saved.user.clone())
                .unwrap_or_default(),
            state: match (connected, peer) {
                (Some(_), _) => ConnectionState::Connected,
                (None, Some(_)) => ConnectionState::Disconnected,
                (None, None) => ConnectionState::Saved,
            },
            default,
            auth_method: peer.map(|peer| peer.auth_method.clone()),
            host_key: peer.map(|peer| peer.host_key.clone()),
            connected_at: connected.map(|host| connected_at(host.peer())),
            last_error: last
                .error
                .clone()
                .or_else(|| ended.map(|host| host.lost().to_string())),
        }
    }

    /// Returns a snapshot of each shell, in no particular order.
    #[must_use]
    pub fn shells(&self) -> Vec<ShellStatus> {
        let shells = lock(&self.shells);
        let each = shells.iter().map(|(name, slot)| {
            // A locked slot is a shell that is being started; a listing does not wait for the
            // start.
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

    /// Returns notices for the user about how the connection was made.
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

    /// Returns the token which the next `close` cancels. A closed session is thereby opened again.
    fn open(&self) -> CancellationToken {
        let mut closing = lock(&self.closing);
        if closing.is_cancelled() {
            *closing = self.session_env.ending.child_token();
        }
        closing.clone()
    }

    /// Drops a host to which nothing could be sent.
    ///
    /// Returns true if another attempt makes sense.
    async fn drop_dead(&self, host: &Arc<RemoteHost>, error: &SshError) -> bool {
        let dead = match error {
            // The lost connection may be an extra one, while the first still serves other calls.
            SshError::Lost(_) => host.is_closed() || !host.answers(ANSWER_LIMIT).await,
            SshError::Timeout { .. } => true,
            _ => return false,
        };

        if dead {
            self.drop_host(host).await;
        }

        true
    }

    /// Removes `host` from the session, unless another call has replaced it.
    async fn drop_host(&self, host: &Arc<RemoteHost>) {
        let mut slot = self.connection.lock().await;
        if slot
            .host
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, host))
        {
            slot.host = None;
        }
    }

    /// Returns the error to report if each of the last `times` connections was useless.
    fn closed_at_once(&self, times: u32) -> Option<SshError> {
        let last = lock(&self.last);
        let reason = last.host.as_ref().and_then(|host| host.reason());
        (last.useless() >= times).then_some(SshError::ClosedAtOnce { reason })
    }

    /// Wraps an SSH error, and explains a lost link by repeated immediate closes if there were any.
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
