//! All sessions of a process, and the store they share with other processes.

mod overview;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

pub use self::overview::Overview;
use super::{
    caller::Caller,
    causes::with_causes,
    error::SessionError,
    jobs::Jobs,
    live::{CONNECT_LIMIT, ConnectOptions, LiveSession, Reconnected, SessionEnv},
    name::SessionName,
    saved::SavedSession,
    status::{ConnectionState, SessionStatus},
    store::{LoadedStore, Store, StoreError},
    transfers::Transfers,
};
use crate::{
    capture::Captured,
    ssh::{
        command::output::{KeptOutput, OutputFolder},
        prompt::askpass::Askpass,
        transfer::Machine,
    },
};

/// How long `ssh_disconnect` waits for commands to be stopped.
const DISCONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// The same when the program ends. On an idle host it takes a fraction of a second; what is not stopped by then lives on.
const ENDING_PATIENCE: Duration = Duration::from_secs(6);

/// Where a registry finds what it needs.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The `ssh_config` file, as `ssh -F`; `None` is the person's own.
    pub ssh_config: Option<PathBuf>,
    /// The file of saved sessions; `None` where it cannot be.
    pub store: Option<PathBuf>,
    /// The folder for whole outputs; `None` where it cannot be.
    pub output: Option<PathBuf>,
    /// Other files that this program keeps for itself, which no transfer touches.
    pub own: Vec<PathBuf>,
    /// The program that asks the person for secrets.
    pub askpass: Option<Askpass>,
}

/// All sessions, by name.
#[derive(Debug)]
pub struct SessionRegistry {
    store: Store,
    session_env: SessionEnv,
    /// A plain mutex, held for look-ups and assignments only, never across an await.
    sessions: Mutex<SessionMap>,
    /// Commands that outlive the calls that started them.
    pub jobs: Jobs,
    /// What is being moved.
    pub transfers: Transfers,
    /// What the person has yet to be told about the store.
    notice: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct SessionMap {
    live: BTreeMap<SessionName, Arc<LiveSession>>,
    /// Set by `ssh_set_default`.
    chosen: Option<SessionName>,
    /// The first that was connected in this process: what an agent means by "the" session.
    first: Option<SessionName>,
}

impl SessionMap {
    /// What "the" session is in this process: chosen, else connected first.
    fn default_here(&self) -> Option<SessionName> {
        self.chosen.clone().or_else(|| self.first())
    }

    /// The first that was connected, be it by the call that used it.
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

/// A session to be connected.
#[derive(Debug)]
pub struct ConnectRequest {
    /// What is to be saved of it.
    pub saved: SavedSession,
    /// What is not.
    pub secrets: ConnectOptions,
}

/// What `ssh_sessions` shows.
#[derive(Debug)]
pub struct SessionListing {
    /// Every session there is, by name.
    pub sessions: Vec<SessionStatus>,
    /// The default.
    pub default: Option<SessionName>,
    /// What the person should know about the store.
    pub notice: Option<String>,
}

impl SessionRegistry {
    /// A registry without sessions; nothing is read yet.
    #[must_use]
    pub fn new(options: RegistryOptions) -> Arc<Self> {
        let machine = Machine {
            ssh_config: options.ssh_config.clone(),
            own: options
                .own
                .into_iter()
                .chain(options.store.clone())
                .collect(),
            output: options.output.clone(),
        };

        Arc::new(Self {
            store: Store::new(options.store),
            session_env: SessionEnv {
                config_file: options.ssh_config,
                machine: Arc::new(machine),
                folder: OutputFolder::new(options.output),
                askpass: options.askpass,
                ending: CancellationToken::new(),
            },
            sessions: Mutex::new(SessionMap::default()),
            jobs: Jobs::default(),
            transfers: Transfers::default(),
            notice: Mutex::new(None),
        })
    }

    /// Connects a session and saves it. Returns it with what the person should know besides, a notice each.
    ///
    /// # Errors
    /// The session is not connected; one of the same name that was there before is as it was.
    pub async fn connect(
        &self,
        request: ConnectRequest,
        caller: &Caller,
    ) -> Result<(SessionStatus, Vec<String>), SessionError> {
        let name = request.saved.name.clone();
        let limit = request.secrets.limit.unwrap_or(CONNECT_LIMIT);
        let wanted = Arc::new(LiveSession::new(
            request.saved,
            request.secrets,
            self.session_env.clone(),
        )?);

        let mut notices = Vec::new();

        // A new name is taken at once, so that a second call for it shares the connection being made.
        let (session, replaced) = {
            let mut sessions = self.lock();

            // Before one of them is replaced, which does not move it.
            sessions.first = sessions.first();

            match sessions.live.get(&name).cloned() {
                Some(same) if same.is_same(&wanted) => (same, None),
                Some(other) => (wanted, Some(other)),
                None => {
                    sessions.live.insert(name.clone(), Arc::clone(&wanted));
                    (wanted, None)
                }
            }
        };

        if let Err(error) = session.connection_within(limit, caller).await {
            let mut sessions = self.lock();
            if sessions.live.get(&name).is_some_and(|held| {
                Arc::ptr_eq(held, &session) && held.first_connected_at().is_none()
            }) {
                sessions.live.remove(&name);
            }

            return Err(error);
        }

        {
            let mut sessions = self.lock();
            sessions.live.insert(name.clone(), Arc::clone(&session));
            sessions.first = sessions.first();
        }

        if let Some(replaced) = replaced {
            if replaced.status(false).state == ConnectionState::Connected {
                let before = "had another destination or other credentials before; that connection was closed";
                notices.push(format!("the session {name} {before}"));
            }
            replaced.close(DISCONNECT_PATIENCE).await;
        }

        notices.extend(session.notices());
        let saved = SavedSession {
            password_auth: session.used_password(),
            ..session.saved.clone()
        };

        match self.update(move |document| document.put(saved)).await {
            Ok(()) => notices.extend(self.take_notice()),
            Err(error) => notices.push(format!(
                "it is connected, but could not be saved: {}",
                with_causes(&error)
            )),
        }

        let default = self.default_name(None).as_ref() == Some(&name);
        Ok((session.status(default), notices))
    }

    /// The session of this name, or the default one.
    ///
    /// # Errors
    /// There is none, or the store that might know it cannot be read.
    pub async fn lookup(&self, name: Option<&str>) -> Result<Arc<LiveSession>, SessionError> {
        if let Some(found) = self.find_live(name) {
            return Ok(found);
        }

        let loaded = self.load().await?;

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
            None => self
                .default_name(Some(&loaded))
                .ok_or_else(|| SessionError::NoDefault {
                    known_names: known_names(),
                    notice: self.take_notice(),
                })?,
        };

        if let Some(found) = self.lock().live.get(&name) {
            return Ok(Arc::clone(found));
        }

        let saved = loaded
            .document
            .get(&name)
            .ok_or_else(|| self.unknown(name.as_str(), known_names()))?;

        let session = Arc::new(LiveSession::new(
            saved.clone(),
            ConnectOptions::default(),
            self.session_env.clone(),
        )?);

        let mut sessions = self.lock();
        Ok(Arc::clone(sessions.live.entry(name).or_insert(session)))
    }

    /// The sessions on whose machines commands may live: the one of this name, or all that are connected here and the
    /// default one.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup), for a name.
    pub async fn to_ask(&self, name: Option<&str>) -> Result<Vec<Arc<LiveSession>>, SessionError> {
        if name.is_some() {
            return Ok(vec![self.lookup(name).await?]);
        }

        let is_connected =
            |session: &&Arc<LiveSession>| session.status(false).state == ConnectionState::Connected;

        let mut sessions: Vec<_> = self
            .lock()
            .live
            .values()
            .filter(is_connected)
            .cloned()
            .collect();

        if let Ok(default) = self.lookup(None).await
            && !sessions
                .iter()
                .any(|session| Arc::ptr_eq(session, &default))
        {
            sessions.push(default);
        }

        Ok(sessions)
    }

    /// Every session, of this process and saved.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<SessionListing, SessionError> {
        let loaded = self.load().await?;
        let default = self.default_name(Some(&loaded));
        Ok(SessionListing {
            sessions: self.statuses(Some(&loaded), default.as_ref()),
            default,
            notice: self.take_notice(),
        })
    }

    fn statuses(
        &self,
        loaded: Option<&LoadedStore>,
        default: Option<&SessionName>,
    ) -> Vec<SessionStatus> {
        let is_default = |name: &SessionName| default == Some(name);
        let mut statuses: BTreeMap<SessionName, SessionStatus> = BTreeMap::new();

        for saved in loaded.iter().flat_map(|loaded| &loaded.document.sessions) {
            if let Ok(session) = LiveSession::new(
                saved.clone(),
                ConnectOptions::default(),
                self.session_env.clone(),
            ) {
                statuses.insert(saved.name.clone(), session.status(is_default(&saved.name)));
            }
        }

        for (name, session) in &self.lock().live {
            statuses.insert(name.clone(), session.status(is_default(name)));
        }

        statuses.into_values().collect()
    }

    /// How many sessions are connected in this process.
    #[must_use]
    pub fn connected(&self) -> usize {
        let sessions = self.lock();
        sessions
            .live
            .values()
            .filter(|session| session.status(false).state == ConnectionState::Connected)
            .count()
    }

    /// Whether several sessions are connected in this process, so that an answer has to say which one it comes from.
    #[must_use]
    pub fn is_one_of_many(&self) -> bool {
        self.connected() > 1
    }

    /// The names of all sessions, in order.
    pub async fn names(&self) -> Vec<String> {
        let loaded = self.load().await.ok();

        let saved = loaded.iter().flat_map(|loaded| {
            loaded
                .document
                .sessions
                .iter()
                .map(|saved| saved.name.to_string())
        });

        let mut names: BTreeSet<String> = saved.collect();
        names.extend(self.lock().live.keys().map(ToString::to_string));

        names.into_iter().collect()
    }

    /// The outputs that were too long for an answer, of this and other processes, the newest first.
    pub async fn outputs(&self) -> Vec<KeptOutput> {
        self.session_env.folder.list().await
    }

    /// One of them: all of it, or its first and last half mebibyte.
    ///
    /// # Errors
    /// As [`OutputFolder::read`].
    pub async fn read_output(&self, name: &str) -> std::io::Result<Captured> {
        self.session_env.folder.read(name, 512 * 1024).await
    }

    /// Makes sure that a session has a connection that answers; with `fresh`, a new one.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup) and [`LiveSession::reconnect`].
    pub async fn reconnect(
        &self,
        name: Option<&str>,
        fresh: bool,
        caller: &Caller,
    ) -> Result<(SessionStatus, Reconnected), SessionError> {
        let session = self.lookup(name).await?;
        let reconnected = session.reconnect(fresh, caller).await?;
        let default = self.is_default(&session).await;
        Ok((session.status(default), reconnected))
    }

    /// The name of the session that calls without one use.
    pub async fn default_session(&self) -> Option<String> {
        let loaded = self.load().await.ok();
        self.default_name(loaded.as_ref())
            .map(|name| name.to_string())
    }

    /// Closes a session's connection; with `forget`, the session is no longer saved either.
    ///
    /// # Errors
    /// There is no such session, or it cannot be removed from the store.
    pub async fn disconnect(
        &self,
        name: Option<&str>,
        forget: bool,
    ) -> Result<SessionStatus, SessionError> {
        let session = self.lookup(name).await?;
        let default = self.is_default(&session).await;
        session.close(DISCONNECT_PATIENCE).await;

        if forget {
            let name = session.saved.name.clone();
            let removed = name.clone();
            self.update_if_there(move |document| {
                document.remove(&removed);
            })
            .await?;

            let mut sessions = self.lock();
            sessions.live.remove(&name);
            sessions.chosen.take_if(|held| *held == name);
            sessions.first.take_if(|held| *held == name);
        }

        Ok(session.status(default && !forget))
    }

    /// Makes a session the one that calls without a name use, in this process and, as long as nothing else is
    /// connected there, in later ones.
    ///
    /// # Errors
    /// There is no such session, or the choice cannot be saved.
    pub async fn set_default(&self, name: &str) -> Result<SessionStatus, SessionError> {
        let session = self.lookup(Some(name)).await?;
        let name = session.saved.name.clone();
        self.lock().chosen = Some(name.clone());
        self.update_if_there(move |document| document.default = Some(name))
            .await?;
        Ok(session.status(true))
    }

    /// Ends everything: stops running commands, closes connections. Takes seconds only where a host is too busy to stop
    /// its commands sooner.
    pub async fn shut_down(&self) {
        self.session_env.ending.cancel();
        let sessions: Vec<_> = std::mem::take(&mut self.lock().live)
            .into_values()
            .collect();

        let closing = sessions
            .iter()
            .map(|session| session.close(ENDING_PATIENCE));
        futures_util::future::join_all(closing).await;
    }

    async fn is_default(&self, session: &LiveSession) -> bool {
        let loaded = self.load().await.ok();
        self.default_name(loaded.as_ref()).as_ref() == Some(&session.saved.name)
    }

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

    /// In this order: chosen here, connected here first, chosen and saved, the only one there is. What was chosen long
    /// ago must not win over what was just connected.
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

    async fn load(&self) -> Result<LoadedStore, StoreError> {
        let store = self.store.clone();
        off_thread(move || store.load())
            .await
            .map(|loaded| self.remember(loaded))
    }

    async fn update(
        &self,
        change: impl FnOnce(&mut super::saved::StoreDocument) + Send + 'static,
    ) -> Result<(), StoreError> {
        let store = self.store.clone();
        let loaded = off_thread(move || store.update(change)).await?;
        self.remember(loaded);
        Ok(())
    }

    /// The same; where there can be no store, it has nothing that would have to be changed.
    async fn update_if_there(
        &self,
        change: impl FnOnce(&mut super::saved::StoreDocument) + Send + 'static,
    ) -> Result<(), StoreError> {
        match self.update(change).await {
            Err(StoreError::Nowhere) => Ok(()),
            updated => updated,
        }
    }

    /// A store is set aside once, by whichever call comes first; the person is told by the first that can.
    fn remember(&self, loaded: LoadedStore) -> LoadedStore {
        if let Some(notice) = &loaded.notice {
            *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = Some(notice.clone());
        }
        loaded
    }

    fn take_notice(&self) -> Option<String> {
        self.notice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn unknown(&self, name: &str, known_names: Vec<String>) -> SessionError {
        SessionError::Unknown {
            name: name.to_owned(),
            known_names,
            notice: self.take_notice(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, SessionMap> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files block; the async threads must not.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Read(
            PathBuf::new(),
            std::io::Error::other(error),
        )),
    }
}
