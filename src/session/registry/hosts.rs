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
        live::{ConnectOptions, LiveSession},
        name::SessionName,
        saved::SavedSession,
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

    /// Returns the named session as [`lookup`](Self::lookup) does. If there is none, a host of that
    /// name in the SSH configuration is connected and saved as a session.
    ///
    /// Only a host whose key is known is contacted, and only over known jump hosts: nobody is asked
    /// about a key, and none is accepted by `StrictHostKeyChecking`.
    ///
    /// # Errors
    /// There is no such session, and the host is not named, is not known or cannot be connected to.
    pub async fn open(
        &self,
        name: Option<&str>,
        caller: &Caller,
    ) -> Result<OpenedSession, SessionError> {
        let name = match self.lookup(name).await {
            Ok(session) if session.is_unproven() => session.saved.name.clone(),
            Ok(session) => {
                return Ok(OpenedSession {
                    session,
                    notice: None,
                    took: Duration::ZERO,
                });
            }
            Err(error) => self.named_host(error).await?,
        };

        let began = Instant::now();
        let (session, notice) = tokio::select! {
            connected = self.connect_host(name, caller) => connected?,
            () = caller.cancelled.cancelled() => return Err(SessionError::Cancelled),
        };

        Ok(OpenedSession {
            session,
            notice,
            took: began.elapsed(),
        })
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
    /// Returns the session, and a remark on it unless another call has connected one of that name
    /// with other settings.
    async fn connect_host(
        &self,
        name: SessionName,
        caller: &Caller,
    ) -> Result<(Arc<LiveSession>, Option<String>), SessionError> {
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

        let wanted = LiveSession::new(saved, options, self.session_env.clone())?;

        // Checked before anybody is contacted. The connection checks the keys once more.
        if let Some(unknown) = wanted.unknown_on_route().await? {
            return Err(SessionError::UnknownHost {
                name: wanted.saved.name.to_string(),
                unknown,
            });
        }

        let reservation = self.reserve_unused(wanted);
        reservation.session.host(caller).await?;
        let session = reservation.keep();

        if !session.is_host_of_config() {
            return Ok((session, None));
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

        Ok((session, Some(notice)))
    }
}
