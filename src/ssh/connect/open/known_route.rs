//! Finds out, without contacting anybody, whether the host keys on the way to a host are known.

use std::time::Duration;

use super::planned_route::RouteWalk;
use crate::ssh::{config::target::Target, error::SshError, transport::host_key::HostKeyCheck};

/// Treatment of hosts whose key no `known_hosts` file lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownHosts {
    /// `StrictHostKeyChecking` decides, and the user may be asked.
    #[default]
    AsConfigured,
    /// Each is refused, whatever the configuration says.
    Refused,
}

/// Host on the way to a destination whose key no `known_hosts` file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOnRoute {
    /// Name under which the key would be listed, such as `[10.0.0.5]:2222`.
    pub host: String,
    /// True for a jump host, false for the destination.
    pub is_jump_host: bool,
}

/// Returns the first unknown host on the way to the target, which itself comes first and then its
/// jump hosts. `None` means that usable keys of all of them are listed.
///
/// Each configuration is resolved within `limit`. A host counts as unknown whatever
/// `StrictHostKeyChecking` says.
///
/// # Errors
/// A configuration or a `known_hosts` file is unusable.
pub async fn unknown_on_route(
    target: &Target,
    limit: Duration,
) -> Result<Option<UnknownOnRoute>, SshError> {
    let mut walk = RouteWalk::new(target, limit);

    while let Some(host) = walk.next().await? {
        let mut check = HostKeyCheck::load(&host.config, &host.target)?;
        check.refuse_unknown();

        if !check.knows_host() {
            return Ok(Some(UnknownOnRoute {
                host: check.host().to_owned(),
                is_jump_host: host.depth > 0,
            }));
        }
    }

    Ok(None)
}
