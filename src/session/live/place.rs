//! The places to which a session leads: the accounts, and all names of their hosts.

use std::{path::Path, sync::Arc, time::Duration};

use super::LiveSession;
use crate::{
    lock::lock,
    session::{
        approvals::ApprovalKey, audit_call::AuditCall, error::SessionError,
        host_names::HostOnRoute, work::Work,
    },
    settings::{HostNames, Operation, Settings},
    ssh::{
        command::remote_host::RemoteHost,
        connect::{RouteHost, connection::Peer, planned_route},
        error::SshError,
    },
};

/// Account on a host, with all names of the host.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Name for the user: of the session, or of the jump host.
    pub(super) name: String,
    /// Names that the settings may mean.
    pub(super) names: HostNames,
    user: String,
    host_name: String,
    port: u16,
}

/// Place to which a session leads, and the jump hosts on the way.
#[derive(Debug)]
pub(super) struct PlannedPlaces {
    pub(super) destination: Place,
    pub(super) jumps: Vec<Place>,
}

impl Place {
    /// Returns the place of a host that is about to be contacted. `session` is the name of the
    /// session for its destination, and `None` for a jump host.
    ///
    /// # Errors
    /// The aliases of the SSH configuration cannot be found.
    pub(super) async fn on_route(
        host: &RouteHost,
        session: Option<&str>,
        config_file: Option<&Path>,
        settings: &Settings,
        limit: Duration,
    ) -> Result<Self, SshError> {
        let route = std::slice::from_ref(host);
        let names = HostOnRoute::of(route, config_file, settings, limit).await?;

        Ok(Self::new(host, session, names.host))
    }

    fn new(host: &RouteHost, session: Option<&str>, names: HostNames) -> Self {
        let jump = || format!("the jump host {}", host.asked);
        Self {
            name: session.map_or_else(jump, str::to_owned),
            names,
            user: host.user.clone(),
            host_name: host.host_name.clone(),
            port: host.port,
        }
    }

    /// Returns the account, with the port.
    pub(super) fn account(&self) -> String {
        format!("{}@{}, port {}", self.user, self.host_name, self.port)
    }

    /// Names the place in the audit log, for the session of this name. `asked` is what was asked
    /// for.
    pub(super) fn record(&self, asked: &str, audit: &AuditCall) {
        let part = audit.part(&self.name);
        part.host(asked, &self.user, &self.host_name, self.port);
    }

    /// Returns the key of an operation here, by which an answer of the user is found again.
    pub(super) fn key(&self, operation: Operation, work: &dyn Work) -> ApprovalKey {
        let work = match operation {
            Operation::Connect => String::new(),
            _ => work.identity(),
        };
        let (operation, port) = (format!("{operation:?}"), self.port.to_string());

        ApprovalKey::new(
            &[
                operation.as_str(),
                self.names.asked(),
                &self.user,
                &self.host_name,
                &port,
                &work,
            ]
            .map(str::as_bytes),
        )
    }
}

impl LiveSession {
    /// Returns the host of the open connection; `None` if there is none.
    pub(super) fn connected_host(&self) -> Option<Arc<RemoteHost>> {
        let last = lock(&self.last);
        last.host.clone().filter(|host| !host.is_closed())
    }

    /// Returns the places to which the SSH configuration leads. Nobody is contacted but the name
    /// servers.
    ///
    /// # Errors
    /// The configuration is unusable.
    pub(super) async fn planned_places(
        &self,
        settings: &Settings,
    ) -> Result<PlannedPlaces, SessionError> {
        let config_file = self.session_env.config_file.as_deref();
        let found = async {
            let route = planned_route(&self.target, self.limit).await?;
            let names = HostOnRoute::of(&route, config_file, settings, self.limit).await?;
            Ok((route, names))
        };
        let (route, names) = found.await.map_err(|error: SshError| self.ssh(error))?;

        let [host, jumps @ ..] = route.as_slice() else {
            return Err(SessionError::Cancelled);
        };
        let jumps = jumps.iter().zip(names.jumps);

        Ok(PlannedPlaces {
            destination: Place::new(host, Some(self.name()), names.host),
            jumps: jumps
                .map(|(host, names)| Place::new(host, None, names))
                .collect(),
        })
    }

    /// Returns the place of an open connection, and the names of the jump hosts on the way.
    ///
    /// # Errors
    /// The aliases of the SSH configuration cannot be found.
    pub(super) async fn place_of(
        &self,
        host: &Arc<RemoteHost>,
        settings: &Arc<Settings>,
    ) -> Result<(Place, Arc<HostOnRoute>), SessionError> {
        let names = self.names_of(host, settings).await;
        let names = names.map_err(|error| self.ssh(error))?;
        let Peer {
            host_name,
            port,
            user,
            ..
        } = host.peer().clone();

        let place = Place {
            name: self.name().to_owned(),
            names: names.host.clone(),
            user,
            host_name,
            port,
        };

        Ok((place, names))
    }
}
