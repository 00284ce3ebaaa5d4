//! Lists of sessions, in memory and saved.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::SessionRegistry;
use crate::session::{
    caller::Caller,
    error::SessionError,
    live::{ConnectOptions, LiveSession},
    name::SessionName,
    name_pattern::{self, is_pattern},
    status::{ConnectionState, SessionStatus},
    store::LoadedStore,
    work::Connecting,
};

/// Listing of all sessions for `ssh_sessions`.
#[derive(Debug)]
pub struct SessionListing {
    /// All sessions, sorted by name.
    pub sessions: Vec<SessionStatus>,
    /// Default session; `None` if there is none.
    pub default: Option<SessionName>,
    /// Notice for the user about the store; `None` if there is none.
    pub notice: Option<String>,
}

impl SessionRegistry {
    /// Returns the number of sessions connected in this process.
    #[must_use]
    pub fn connected(&self) -> usize {
        let sessions = self.lock();
        sessions
            .live
            .values()
            .filter(|session| session.status(false).state == ConnectionState::Connected)
            .count()
    }

    /// Returns true if several sessions are connected. Each answer then has to name its session.
    #[must_use]
    pub fn is_one_of_many(&self) -> bool {
        self.connected() > 1
    }

    /// Returns true for the session that a call without a name means, as far as the store is not
    /// needed to tell.
    #[must_use]
    pub fn is_default_here(&self, name: &str) -> bool {
        let default = self.lock().default_here();
        default.is_some_and(|default| default.as_str() == name)
    }

    /// Returns the names of all sessions, sorted. An unreadable store counts as empty.
    pub async fn names(&self) -> Vec<String> {
        let loaded = self.load().await.ok();
        self.names_with(loaded.as_ref())
    }

    /// Replaces each pattern by the names of the sessions and of the hosts of `ssh_config` which match; see
    /// [`name_pattern::expand`].
    ///
    /// # Errors
    /// A pattern matches no session, or the store cannot be read.
    pub async fn expand(&self, wanted: Vec<String>) -> Result<Vec<String>, SessionError> {
        // A command for all of several hosts must not run on a few of them, so an unreadable store
        // is an error here.
        let names = if wanted.iter().any(|name| is_pattern(name)) {
            let mut names = self.names_with(Some(&self.load().await?));
            names.extend(self.named_hosts().await.into_iter().map(|host| host.name));
            names
        } else {
            Vec::new()
        };

        name_pattern::expand(wanted, &names).map_err(|pattern| SessionError::NoMatch {
            pattern,
            known_names: names,
        })
    }

    /// Returns the names of the sessions in memory and in a loaded store, sorted.
    fn names_with(&self, loaded: Option<&LoadedStore>) -> Vec<String> {
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

    /// Lists all sessions, in memory or saved. Nobody is contacted.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<SessionListing, SessionError> {
        let loaded = self.load().await?;
        let default = self.default_name(Some(&loaded));
        let sessions = self.statuses(Some(&loaded), default.as_ref());

        Ok(SessionListing {
            sessions,
            default,
            notice: self.take_notice(),
        })
    }

    /// Returns the sessions whose remote machines may hold detached jobs.
    ///
    /// For `None`, these are all connected sessions and the default session. A named session is
    /// opened, and the text is the notice about that.
    ///
    /// # Errors
    /// The named session cannot be opened.
    pub async fn to_ask(
        &self,
        name: Option<&str>,
        caller: &Caller,
    ) -> Result<(Vec<Arc<LiveSession>>, Option<String>), SessionError> {
        if name.is_some() {
            let (opened, _) = self.open(name, Connecting, caller).await?;
            return Ok((vec![opened.session], opened.notice));
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

        Ok((sessions, None))
    }

    /// Returns the status of each session, sorted by name.
    pub(super) fn statuses(
        &self,
        loaded: Option<&LoadedStore>,
        default: Option<&SessionName>,
    ) -> Vec<SessionStatus> {
        let is_default = |name: &SessionName| default == Some(name);
        let mut statuses: BTreeMap<SessionName, SessionStatus> = BTreeMap::new();

        // A saved destination that must not be passed to `ssh` is left out here; using it is an
        // error.
        for saved in loaded.iter().flat_map(|loaded| &loaded.document.sessions) {
            if let Ok(session) = LiveSession::new(
                saved.clone(),
                ConnectOptions::default(),
                self.session_env.clone(),
            ) {
                statuses.insert(saved.name.clone(), session.status(is_default(&saved.name)));
            }
        }

        // Sessions in memory replace the saved ones: their state is current.
        for (name, session) in &self.lock().live {
            statuses.insert(name.clone(), session.status(is_default(name)));
        }

        statuses.into_values().collect()
    }
}
