//! Has the caller decide about the host of a connection.

use std::net::IpAddr;

use super::{OpenConnection, planned_route::route_host};
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::{connect::route_check::RouteHost, error::SshError},
};

impl OpenConnection<'_> {
    /// Has the caller decide about the host of this connection. The deadline stands still while the
    /// user is asked.
    ///
    /// # Errors
    /// [`SshError::NotAllowed`] if the host may not be contacted.
    pub(super) async fn check_route(
        &self,
        config: &EffectiveConfig,
        connected_to: Option<IpAddr>,
    ) -> Result<(), SshError> {
        let Some(decide) = self.route_check.decision() else {
            return Ok(());
        };

        let is_over_jump_host = self.via.is_some() || config.proxy_jump.is_some();
        let host = RouteHost {
            connected_to,
            ..route_host(self.target, config, is_over_jump_host)
        };

        let deciding = decide(host, self.depth > 0);
        let decided = self.deadline.while_asking(deciding).await;
        decided.map_err(|not_allowed| SshError::NotAllowed(Box::new(not_allowed)))
    }
}
