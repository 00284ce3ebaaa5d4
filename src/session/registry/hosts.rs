//! Hosts of `ssh_config` as sessions: the first call that names one connects and saves it.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::spawn_blocking;

use super::SessionRegistry;
use crate::{
    openssh::host_names::NamedHost,
    session::{
        caller::Caller,
        causes::with_causes,
        error::SessionError,
        live::{ConnectOptions, LiveSession, Permit},
        name::SessionName,
        saved::SavedSession,
        work::Work,
    },
    ssh::{config::named_hosts::named_hosts, connect::UnknownHosts},
};

/// Number of hosts named in an error.
const SUGGESTED: usize = 5;

/// Session which a call names.
#[derive(Debug)]
pub struct OpenedSession {
    /// The session. One that existed before need not be connected.
    pub session: Arc<LiveSession>,
    /// Remark that the call has connected and saved a host of `ssh_config`; `None` for a session
    /// that existed before.
    pub notice: Option<String>,
    /// Time which connecting took.
    pub took: Duration,
}

/// Session of a call.
enum Found {
    /// Session that exists.
    Session(Arc<LiveSession>),
    /// New session for a host of the SSH configuration.
    Host(Arc<LiveSession>),
}

impl SessionRegistry {
    /// Returns the hosts that the SSH configuration names literally, in the order of its files.
    pub(super) async fn named_hosts(&self) -> Vec<NamedHost> {
        let config_file = self.session_env.config_file.clone();
        spawn_blocking(move || named_hosts(config_file.as_deref()))
            .await
            .unwrap_or_default()
    }

    /// Returns the hosts that the SSH configuration names literally, without those that have a
    /// session of that name. `sessions` are the names of all sessions.
    pub async fn hosts_without_session<'a>(
        &self,
        sessions: impl Iterator<Item = &'a str>,
    ) -> Vec<NamedHost> {
        let sessions: HashSet<&str> = sessions.collect();
        let mut hosts = self.named_hosts().await;
        hosts.retain(|host| !sessions.contains(host.name.as_str()));

        hosts
    }

    /// Returns the named session as [`lookup`](Self::lookup) does, with the permit for the work. If
    /// there is none, a host of that name in the SSH configuration is connected and saved as a
    /// session.
    ///
    /// Only a host whose key is known is contacted, and only over known jump hosts: nobody is asked
    /// about a key, and none is accepted by `StrictHostKeyChecking`.
    ///
    /// # Errors
    /// There is no such session, and the host is not named, is not known or cannot be connected to.
    /// The settings or the user do not allow the work.
    pub async fn open<W: Work>(
        &self,
        name: Option<&str>,
        work: W,
        caller: &Caller,
    ) -> Result<(OpenedSession, Permit<W>), SessionError> {
        let opening = async {
            match self.find_or_make(name).await? {
                Found::Session(session) => {
                    let permit = session.permit(work, caller).await?;
                    let opened = OpenedSession {
                        session,
                        notice: None,
                        took: Duration::ZERO,
                    };
                    Ok((opened, permit))
                }
                Found::Host(wanted) => self.connect_host(wanted, work, caller).await,
            }
        };

        tokio::select! {
            opened = opening => opened,
            () = caller.cancelled.cancelled() => Err(SessionError::Cancelled),
        }
    }

    /// Asks the user at once about the same work in several sessions, so that [`open`](Self::open)
    /// finds the answers. Says nothing of those that cannot be opened.
    pub async fn ask_about_all<W: Work>(&self, names: &[String], work: W, caller: &Caller) {
        // Without settings there is nothing to ask.
        if matches!(self.session_env.settings.current(), Ok(None)) {
            return;
        }

        let mut sessions = Vec::new();
        for name in names {
            match self.find_or_make(Some(name)).await {
                Ok(Found::Session(session) | Found::Host(session)) => sessions.push(session),
                Err(_) => {}
            }
        }

        LiveSession::ask_about_all(&sessions, work, caller).await;
    }

    /// Returns the named session, or makes one for a host of that name in the SSH configuration. It
    /// is not entered in the registry, and nobody is contacted.
    async fn find_or_make(&self, name: Option<&str>) -> Result<Found, SessionError> {
        let name = match self.lookup(name).await {
            Ok(session) if session.is_unproven() => session.saved.name.clone(),
            Ok(session) => return Ok(Found::Session(session)),
            Err(error) => self.named_host(error).await?,
        };

        let saved = SavedSession {
            host: name.to_string(),
            name,
            user: None,
            port: None,
            key_path: None,
            password_auth: false,
            extra: serde_json::Map::new(),
        };

        let options = ConnectOptions {
            unknown_hosts: UnknownHosts::Refused,
            ..ConnectOptions::default()
        };

        LiveSession::new(saved, options, self.session_env.clone()).map(Found::Host)
    }

    /// Creates the error for a call without a name. If there are no sessions, it names hosts that
    /// could become one.
    pub(super) async fn no_default(&self, known_names: Vec<String>) -> SessionError {
        let hosts = if known_names.is_empty() {
            let hosts = self.named_hosts().await.into_iter();
            hosts.map(|host| host.name).take(SUGGESTED).collect()
        } else {
            Vec::new()
        };

        SessionError::NoDefault {
            known_names,
            hosts,
            notice: self.take_notice(),
        }
    }

    /// Returns the name of the unknown session if the SSH configuration names a host so, and
    /// otherwise the error.
    async fn named_host(&self, error: SessionError) -> Result<SessionName, SessionError> {
        // A lost store may have held a session of this name that led to another host. The notice
        // says so once.
        let SessionError::Unknown {
            name, notice: None, ..
        } = &error
        else {
            return Err(error);
        };

        let Ok(name) = SessionName::try_from(name.as_str()) else {
            return Err(error);
        };

        let hosts = self.named_hosts().await;
        if hosts.iter().any(|host| host.name == name.as_str()) {
            Ok(name)
        } else {
            Err(error)
        }
    }

    /// Connects a host of the SSH configuration and saves it as a session.
    ///
    /// Returns the session with a remark on it, unless another call has connected one of that name
    /// with other settings.
    async fn connect_host<W: Work>(
        &self,
        wanted: Arc<LiveSession>,
        work: W,
        caller: &Caller,
    ) -> Result<(OpenedSession, Permit<W>), SessionError> {
        let began = Instant::now();

        // Checked before anybody is contacted. The connection checks the keys once more.
        if let Some(unknown) = wanted.unknown_on_route().await? {
            return Err(SessionError::UnknownHost {
                name: wanted.saved.name.to_string(),
                unknown,
            });
        }

        let reservation = self.reserve_unused(wanted);
        let asked = Instant::now();
        let permit = reservation.session.permit(work, caller).await?;
        let asked = asked.elapsed();

        let limit = reservation.session.connect_limit();
        reservation.session.connect(&permit, limit, caller).await?;
        let session = reservation.keep();
        let opened = |session, notice| OpenedSession {
            session,
            notice,
            // The time of the user to think is not one of connecting.
            took: began.elapsed().saturating_sub(asked),
        };

        if !session.is_host_of_config() {
            return Ok((opened(session, None), permit));
        }

        let saved = session.to_save();
        let saved = self.update(move |document| {
            // Another process may have saved a session of this name meanwhile.
            if document.get(&saved.name).is_none() {
                document.save(saved);
            }
        });

        let notice = match saved.await {
            Ok(()) => "connected and saved".to_owned(),
            Err(error) => format!("connected, but not saved: {}", with_causes(&error)),
        };

        Ok((opened(session, Some(notice)), permit))
    }
}
