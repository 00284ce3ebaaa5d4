//! Finds out, without contacting anybody, whether the host keys on the way to a host are known.

use std::{borrow::Cow, time::Duration};

use super::hops::{LastHop, MAX_HOPS, too_many};
use crate::ssh::{
    config::{expand::expand_hops, resolve::resolve, target::Target},
    error::SshError,
    transport::host_key::HostKeyCheck,
};

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
    let mut current = Cow::Borrowed(target);
    let mut via: Option<String> = None;

    for depth in 0..=MAX_HOPS {
        let config = resolve(&current, limit).await?;
        let mut check = HostKeyCheck::load(&config, &current)?;
        check.refuse_unknown();

        if !check.knows_host() {
            return Ok(Some(UnknownOnRoute {
                host: check.host().to_owned(),
                is_jump_host: depth > 0,
            }));
        }

        // The rest of a list comes before the jump hosts of the hop itself.
        let hops = match (via.take(), &config.proxy_jump) {
            (None, Some(own)) => Some(expand_hops(own, &config, current.destination.as_str())?),
            (via, _) => via,
        };

        let Some(hops) = hops else { return Ok(None) };
        if depth == MAX_HOPS {
            return Err(too_many(&hops));
        }

        let hop = LastHop::parse(&hops, target)?;
        via = hop.via.map(str::to_owned);
        current = Cow::Owned(hop.target);
    }

    Ok(None)
}
