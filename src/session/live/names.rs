//! Names of the session's host, under which the settings can mean it.

use std::sync::{Arc, Weak};

use super::LiveSession;
use crate::{
    lock::lock,
    session::{error::SessionError, host_names::HostOnRoute},
    settings::Settings,
    ssh::{command::remote_host::RemoteHost, error::SshError},
};

/// Names that were collected for a connection. A connection leads to the same machine until its
/// end, so the names hold as long as it and the settings are the same.
#[derive(Debug)]
pub(super) struct KnownNames {
    host: Weak<RemoteHost>,
    settings: Arc<Settings>,
    names: Arc<HostOnRoute>,
}

impl KnownNames {
    fn is_of(&self, host: &Arc<RemoteHost>, settings: &Arc<Settings>) -> bool {
        Weak::ptr_eq(&self.host, &Arc::downgrade(host)) && Arc::ptr_eq(&self.settings, settings)
    }
}

impl LiveSession {
    /// Returns the names of the host and of its jump hosts: those of the live connection, or else
    /// those that the SSH configuration and DNS say now.
    ///
    /// # Errors
    /// The SSH configuration is unusable.
    pub async fn names(&self, settings: &Arc<Settings>) -> Result<Arc<HostOnRoute>, SessionError> {
        let host = lock(&self.last).host.clone();
        let names = match host.filter(|host| !host.is_closed()) {
            Some(host) => self.names_of(&host, settings).await,
            None => self.planned_names(settings).await,
        };

        names.map_err(|error| self.ssh(error))
    }

    /// Returns the names that the SSH configuration and DNS say now, for a dial.
    ///
    /// # Errors
    /// The SSH configuration is unusable.
    pub(super) async fn planned_names(
        &self,
        settings: &Settings,
    ) -> Result<Arc<HostOnRoute>, SshError> {
        HostOnRoute::planned(&self.target, settings, self.limit)
            .await
            .map(Arc::new)
    }

    /// Returns the names of a connection: what was asked for, the host names and the addresses that
    /// were dialled, and what DNS says besides. They are collected once for a connection, unless
    /// the settings change.
    ///
    /// # Errors
    /// The aliases of the SSH configuration cannot be found.
    pub(super) async fn names_of(
        &self,
        host: &Arc<RemoteHost>,
        settings: &Arc<Settings>,
    ) -> Result<Arc<HostOnRoute>, SshError> {
        if let Some(known) = lock(&self.names).as_ref()
            && known.is_of(host, settings)
        {
            return Ok(Arc::clone(&known.names));
        }

        let route = host.first().route();
        let config_file = self.target.config_file.as_deref();
        let names = Arc::new(HostOnRoute::of(&route, config_file, settings, self.limit).await?);

        *lock(&self.names) = Some(KnownNames {
            host: Arc::downgrade(host),
            settings: Arc::clone(settings),
            names: Arc::clone(&names),
        });

        Ok(names)
    }
}
