//! Registry of all sessions of a process, and of the store shared with other processes.

mod audit;
mod connect;
mod hosts;
mod listing;
mod overview;
mod reconnect;
mod storage;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub use self::{
    connect::ConnectRequest, hosts::OpenedSession, listing::SessionListing, overview::Overview,
};
use super::{
    audit_log::{AuditLog, audit_path},
    caller::Caller,
    edits::Edits,
    error::SessionError,
    jobs::Jobs,
    live::{ConnectOptions, LiveSession, SessionEnv, forwards::Forwards},
    name::SessionName,
    servers::SavedServers,
    settings_file::SettingsFile,
    status::SessionStatus,
    store::{LoadedStore, Store},
    transfers::Transfers,
    work::Connecting,
};
use crate::{
    capture::Captured,
    lock::lock,
    ssh::{
        command::output::{KeptOutput, OutputFolder},
        prompt::askpass::Askpass,
        transfer::Machine,
    },
};

/// Time limit for stopping commands in `ssh_disconnect`.
const DISCONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// Time limit for stopping commands when the program ends. On an idle host, stopping takes a
/// fraction of a second; commands that need longer may survive.
const ENDING_PATIENCE: Duration = Duration::from_secs(6);

/// Files and programs for a new registry.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Configuration file, as `ssh -F`; `None` is the user's own.
    pub ssh_config: Option<PathBuf>,
    /// File of saved sessions; `None` if no home directory is known.
    pub store: Option<PathBuf>,
    /// Folder for long outputs; `None` if no home directory is known.
    pub output: Option<PathBuf>,
    /// What the person allows.
    pub settings: Arc<SettingsFile>,
    /// Other private files of this program, which no transfer may touch.
    pub own: Vec<PathBuf>,
    /// Program that asks the user for secrets (`SSH_ASKPASS`); `None` if there is none.
    pub askpass: Option<Askpass>,
}

/// All sessions of a process by name, with their jobs and transfers.
///
/// One registry is shared by all calls, clients and pages of the process. Sessions come into being
/// when connected, or when a call names a saved session. [`shut_down`](Self::shut_down) ends all of
/// them.
#[derive(Debug)]
pub struct SessionRegistry {
    store: Store,
    session_env: SessionEnv,
    /// Sessions in memory. A plain mutex, locked for look-ups and assignments only, never across an
    /// await.
    sessions: Mutex<SessionMap>,
    /// Recent commands, and jobs which outlive their calls.
    pub jobs: Jobs,
    /// Transfers in progress.
    pub transfers: Transfers,
    /// Forwards of all sessions.
    pub forwards: Arc<Forwards>,
    /// Last edits of remote files.
    pub edits: Edits,
    /// Writer of the audit log.
    audit_log: Arc<AuditLog>,
    /// Pending notice about the store for the user.
    notice: Mutex<Option<String>>,
}

/// Sessions in memory and the choice of the default session.
#[derive(Debug, Default)]
struct SessionMap {
    live: BTreeMap<SessionName, Arc<LiveSession>>,
    /// Session chosen by `ssh_set_default` in this process.
    chosen: Option<SessionName>,
    /// First session connected in this process, which an agent means by "the" session.
    first: Option<SessionName>,
}

impl SessionMap {
    /// Returns the default session of this process: the chosen, else the first connected session.
    fn default_here(&self) -> Option<SessionName> {
        self.chosen.clone().or_else(|| self.first())
    }

    /// Returns the first connected session, however the session was connected.
    fn first(&self) -> Option<SessionName> {
        self.first.clone().or_else(|| {
            let connected = self
                .live
                .iter()
                .filter_map(|(name, session)| Some((session.first_connected_at()?, name)));
            connected.min().map(|(_, name)| name.clone())
        })
    }
}

impl SessionRegistry {
    /// Creates a registry without sessions. The store is not read yet.
    #[must_use]
    pub fn new(options: RegistryOptions) -> Arc<Self> {
        let machine = Machine {
            ssh_config: options.ssh_config.clone(),
            own: options
                .own
                .into_iter()
                .chain(options.store.clone())
                .chain(options.settings.path().map(Path::to_owned))
                .chain(audit_path(&options.settings))
                .collect(),
            output: options.output.clone(),
        };

        let forwards = Arc::<Forwards>::default();
        let store = Store::new(options.store);

        Arc::new(Self {
            store: store.clone(),
            session_env: SessionEnv {
                config_file: options.ssh_config,
                machine: Arc::new(machine),
                folder: OutputFolder::new(options.output),
                askpass: options.askpass,
                settings: options.settings,
                approvals: Arc::default(),
                forwards: Arc::clone(&forwards),
                servers: SavedServers::new(store),
                ending: CancellationToken::new(),
            },
            sessions: Mutex::new(SessionMap::default()),
            jobs: Jobs::default(),
            transfers: Transfers::default(),
            forwards,
            edits: Edits::default(),
            audit_log: Arc::default(),
            notice: Mutex::new(None),
        })
    }

    /// Returns the program that asks the user for secrets; `None` if there is none.
    #[must_use]
    pub fn askpass(&self) -> Option<Askpass> {
        self.session_env.askpass.clone()
    }

    /// Returns the named session, or the default session for `None`.
    ///
    /// A saved session is loaded into memory, but not connected.
    ///
    /// # Errors
    /// The session does not exist, or the store that might hold it cannot be read.
    pub async fn lookup(&self, name: Option<&str>) -> Result<Arc<LiveSession>, SessionError> {
        // Most calls end here, without reading the store.
        if let Some(found) = self.find_live(name) {
            return Ok(found);
        }

        let loaded = self.load().await?;

        // Collected only for an error, which lists the valid names.
        let known_names = || {
            let mut names: Vec<String> = self.lock().live.keys().map(ToString::to_string).collect();

            names.extend(
                loaded
                    .document
                    .sessions
                    .iter()
                    .map(|saved| saved.name.to_string()),
            );

            names.sort();
            names.dedup();

            names
        };

        let name = match name {
            Some(name) => {
                SessionName::try_from(name).map_err(|_| self.unknown(name, known_names()))?
            }
            None => match self.default_name(Some(&loaded)) {
                Some(name) => name,
                None => return Err(self.no_default(known_names()).await),
            },
        };

        if let Some(found) = self.lock().live.get(&name) {
            return Ok(Arc::clone(found));
        }

        let saved = loaded
            .document
            .get(&name)
            .ok_or_else(|| self.unknown(name.as_str(), known_names()))?;

        let session = LiveSession::new(
            saved.clone(),
            ConnectOptions::default(),
            self.session_env.clone(),
        )?;

        // Another call may have entered the session since the lock was released.
        let mut sessions = self.lock();
        Ok(Arc::clone(sessions.live.entry(name).or_insert(session)))
    }

    /// Lists the outputs which were too long for an answer, newest first. Outputs of other
    /// processes are included.
    pub async fn outputs(&self) -> Vec<KeptOutput> {
        self.session_env.folder.list().await
    }

    /// Reads a kept output: the whole, or the first and last half mebibyte.
    ///
    /// # Errors
    /// The output cannot be read; see [`OutputFolder::read`].
    pub async fn read_output(&self, name: &str) -> std::io::Result<Captured> {
        self.session_env.folder.read(name, 512 * 1024).await
    }

    /// Returns the name of the default session, or `None` if there is no default.
    pub async fn default_session(&self) -> Option<String> {
        let loaded = self.load().await.ok();
        self.default_name(loaded.as_ref())
            .map(|name| name.to_string())
    }

    /// Closes a session's connection; with `forget`, also removes the session from the store.
    ///
    /// # Errors
    /// The session does not exist, or cannot be removed from the store.
    pub async fn disconnect(
        &self,
        name: Option<&str>,
        forget: bool,
    ) -> Result<SessionStatus, SessionError> {
        let session = self.lookup(name).await?;
        // Read before the session is forgotten, because forgetting may change the default.
        let default = self.is_default(&session).await;
        session.close(DISCONNECT_PATIENCE).await;

        if forget {
            let name = session.saved.name.clone();
            let removed = name.clone();
            self.update_if_there(move |document| {
                document.remove(&removed);
            })
            .await?;

            // Only after the store has been written: a failure leaves the session as it was.
            let mut sessions = self.lock();
            sessions.live.remove(&name);
            sessions.chosen.take_if(|held| *held == name);
            sessions.first.take_if(|held| *held == name);
        }

        Ok(session.status(default && !forget))
    }

    /// Makes a session the default for calls without a session name. The text is the notice about a
    /// host that became a session.
    ///
    /// The choice holds in this process. In later processes the choice holds until another session
    /// is connected there.
    ///
    /// # Errors
    /// The session cannot be opened, or the choice cannot be saved.
    pub async fn set_default(
        &self,
        name: &str,
        caller: &Caller,
    ) -> Result<(SessionStatus, Option<String>), SessionError> {
        // A session that exists need not be connected.
        let (session, notice) = match self.lookup(Some(name)).await {
            Ok(session) if !session.is_unproven() => (session, None),
            _ => {
                let (opened, _) = self.open(Some(name), Connecting, caller).await?;
                (opened.session, opened.notice)
            }
        };

        let name = session.saved.name.clone();
        self.lock().chosen = Some(name.clone());
        self.update_if_there(move |document| document.default = Some(name))
            .await?;
        Ok((session.status(true), notice))
    }

    /// Stops all commands and closes all connections, for the end of the program.
    ///
    /// This takes seconds only if a host is too busy to stop its commands sooner.
    pub async fn shut_down(&self) {
        self.session_env.ending.cancel();
        let sessions: Vec<_> = std::mem::take(&mut self.lock().live)
            .into_values()
            .collect();

        // All at once: one slow host must not use up the time of the others.
        let closing = sessions
            .iter()
            .map(|session| session.close(ENDING_PATIENCE));
        futures_util::future::join_all(closing).await;
    }

    /// Returns true if calls without a session name use this session.
    async fn is_default(&self, session: &LiveSession) -> bool {
        let loaded = self.load().await.ok();
        self.default_name(loaded.as_ref()).as_ref() == Some(&session.saved.name)
    }

    /// Returns a session in memory, or `None` if the store has to be consulted.
    fn find_live(&self, name: Option<&str>) -> Option<Arc<LiveSession>> {
        let sessions = self.lock();
        if let Some(name) = name {
            sessions
                .live
                .iter()
                .find(|(held, _)| held.as_str() == name)
                .map(|(_, session)| Arc::clone(session))
        } else {
            sessions.live.get(&sessions.default_here()?).cloned()
        }
    }

    /// Returns the default session, or `None` if there is none.
    ///
    /// The order is: chosen in this process, first connected here, chosen and saved, the only
    /// session. An old choice must not win over a session that was just connected.
    fn default_name(&self, loaded: Option<&LoadedStore>) -> Option<SessionName> {
        let sessions = self.lock();
        let here = sessions.default_here();
        let document = loaded.map(|loaded| &loaded.document);

        let saved = || {
            document.and_then(|document| {
                document
                    .default
                    .clone()
                    .filter(|name| document.get(name).is_some())
            })
        };

        let only = || {
            let mut names = sessions.live.keys().chain(
                document
                    .iter()
                    .flat_map(|document| document.sessions.iter().map(|saved| &saved.name)),
            );

            let first = names.next()?;
            names.all(|name| name == first).then(|| first.clone())
        };

        here.or_else(saved).or_else(only)
    }

    fn unknown(&self, name: &str, known_names: Vec<String>) -> SessionError {
        SessionError::Unknown {
            name: name.to_owned(),
            known_names,
            notice: self.take_notice(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SessionMap> {
        lock(&self.sessions)
    }
}
