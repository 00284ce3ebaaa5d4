//! The caller's decision about each host on the way to a destination.

use std::{fmt, net::IpAddr, sync::Arc};

use futures_util::future::BoxFuture;

use crate::{openssh::effective_config::AddressFamily, ssh::error::NotAllowed};

/// Host on the way to a destination, or the destination itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteHost {
    /// Name or address that was asked for, without user and port.
    pub asked: String,
    /// `HostName` of the configuration.
    pub host_name: String,
    /// User of the log-in.
    pub user: String,
    /// TCP port.
    pub port: u16,
    /// True if the port was asked for, so that it is not the configuration's.
    pub has_own_port: bool,
    /// Family of the addresses that may be dialled.
    pub address_family: AddressFamily,
    /// Address of the live connection; `None` without one, and over a jump host or `ProxyCommand`.
    pub connected_to: Option<IpAddr>,
    /// True if this machine dials the host itself. A jump host or a `ProxyCommand` looks the host
    /// name up by itself, and may find other addresses.
    pub is_dialled_here: bool,
}

/// Check of each host on the way: before the host is contacted, and once more when its address is
/// known, before any byte is sent there. The default allows every host. Clones share the decision.
#[derive(Clone, Default)]
pub struct RouteCheck(Option<Arc<Decision>>);

/// Decides about a host. The flag is true for a jump host, and false for the destination.
pub(super) type Decision =
    dyn Fn(RouteHost, bool) -> BoxFuture<'static, Result<(), NotAllowed>> + Send + Sync + 'static;

impl RouteCheck {
    /// The check that allows every host.
    pub(super) const NONE: &'static Self = &Self(None);

    /// Returns the decision; `None` if every host is allowed.
    pub(super) fn decision(&self) -> Option<&Decision> {
        self.0.as_deref()
    }

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
