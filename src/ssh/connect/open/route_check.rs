//! The caller's decision about each host on the way to a destination.

use std::{fmt, net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;

use super::{
    OpenConnection,
    planned_route::{RouteHost, route_host},
};
use crate::{
    openssh::effective_config::EffectiveConfig,
    ssh::error::{NotAllowed, SshError},
};

/// Check of each host on the way: before the host is contacted, and once more when its address is
/// known, before any byte is sent there. The default allows every host. Clones share the decision.
#[derive(Clone, Default)]
pub struct RouteCheck(Option<Arc<Decision>>);

/// Decides about a host. The flag is true for a jump host, and false for the destination.
type Decision =
    dyn Fn(RouteHost, bool) -> BoxFuture<'static, Result<(), NotAllowed>> + Send + Sync + 'static;

impl RouteCheck {
    /// The check that allows every host.
    pub(super) const NONE: &'static Self = &Self(None);

    /// Creates a check from a decision, which may ask the user. Its flag is true for a jump host, and
    /// false for the destination.
    pub fn new(
        decision: impl Fn(RouteHost, bool) -> BoxFuture<'static, Result<(), NotAllowed>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Some(Arc::new(decision)))
    }
}

impl fmt::Debug for RouteCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteCheck")
            .field(&self.0.is_some())
            .finish()
    }
}

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
        let Some(decide) = &self.route_check.0 else {
            return Ok(());
        };

        let is_over_jump_host = self.via.is_some() || config.proxy_jump.is_some();
        let host = RouteHost {
            connected_to,
            ..route_host(self.target, config, is_over_jump_host).await
        };

        let deciding = decide(host, self.depth > 0);
        let decided = self.deadline.while_asking(deciding).await;
        decided.map_err(|not_allowed| SshError::NotAllowed(Box::new(not_allowed)))
    }
}
