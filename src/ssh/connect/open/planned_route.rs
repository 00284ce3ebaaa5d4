//! The hosts on the way to a destination, found out without contacting any of them.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use tokio::time::timeout;

use super::hops::{LastHop, MAX_HOPS, too_many};
use crate::{
    openssh::effective_config::{AddressFamily, EffectiveConfig},
    ssh::{
        config::{expand::expand_hops, resolve::resolve, target::Target},
        connect::{
            connection::{AskedHost, Connection},
            route_check::RouteHost,
        },
        error::SshError,
        transport::dns,
    },
};

/// Time limit of a look-up of addresses.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Returns the destination and then its jump hosts, the nearest to the destination first. Nobody is
/// contacted.
///
/// Each configuration is resolved within `limit`. Nothing is known about the host that a
/// `ProxyCommand` contacts.
///
/// # Errors
/// A configuration is unusable, or there are more than 8 jump hosts.
pub async fn planned_route(target: &Target, limit: Duration) -> Result<Vec<RouteHost>, SshError> {
    let mut walk = RouteWalk::new(target, limit);
    let mut found = Vec::new();

    while let Some(host) = walk.next().await? {
        found.push(route_host(
            &host.target,
            &host.config,
            host.is_over_jump_host,
        ));
    }

    Ok(found)
}

/// Describes a host on the way by its configuration.
pub(super) fn route_host(
    target: &Target,
    config: &EffectiveConfig,
    is_over_jump_host: bool,
) -> RouteHost {
    let asked = AskedHost::new(target, config);

    RouteHost {
        address_family: asked.address_family,
        asked: asked.host,
        host_name: config.host_name.clone(),
        user: config.user.clone(),
        port: config.port,
        has_own_port: asked.has_port,
        connected_to: None,
        is_dialled_here: !is_over_jump_host && config.proxy_command.is_none(),
    }
}

/// Returns the addresses of a host; none if they cannot be found out within five seconds.
pub async fn addresses(host: &str, port: u16, family: AddressFamily) -> Vec<IpAddr> {
    let found = timeout(LOOKUP_LIMIT, dns::addresses(host, port)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();

    let is_wanted = |address: &IpAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::Inet => address.is_ipv4(),
        AddressFamily::Inet6 => address.is_ipv6(),
    };

    let found = found.into_iter().map(|address| address.ip());
    found.filter(is_wanted).collect()
}

impl Connection {
    /// Returns the host of this connection and then its jump hosts, the nearest to the host first.
    /// This is the way that was taken, whatever the configuration says now.
    #[must_use]
    pub fn route(&self) -> Vec<RouteHost> {
        let mut connections = vec![self];
        let mut next = self.hop.as_deref();
        while let Some(hop) = next {
            connections.push(hop);
            next = hop.hop.as_deref();
        }

        let hosts = connections.into_iter().map(|connection| {
            let peer = &connection.peer;
            let asked = &connection.asked;

            RouteHost {
                asked: asked.host.clone(),
                host_name: peer.host_name.clone(),
                user: peer.user.clone(),
                port: peer.port,
                has_own_port: asked.has_port,
                address_family: asked.address_family,
                connected_to: connection.address.map(|address| address.ip()),
                is_dialled_here: connection.address.is_some(),
            }
        });

        hosts.collect()
    }
}

/// A host on the way, with what its configuration says.
pub(super) struct PlannedHost<'a> {
    pub(super) target: Cow<'a, Target>,
    pub(super) config: EffectiveConfig,
    /// Number of hosts between this one and the destination, the destination counted.
    pub(super) depth: usize,
    pub(super) is_over_jump_host: bool,
}

/// Walk from a destination to the first host that this machine dials.
pub(super) struct RouteWalk<'a> {
    destination: &'a Target,
    /// Next host; `None` at the end.
    next: Option<Cow<'a, Target>>,
    /// Rest of the list of hops by which the next host is reached.
    via: Option<String>,
    depth: usize,
    limit: Duration,
}

impl<'a> RouteWalk<'a> {
    /// Begins at the destination. Each configuration is resolved within `limit`.
    pub(super) fn new(destination: &'a Target, limit: Duration) -> Self {
        Self {
            destination,
            next: Some(Cow::Borrowed(destination)),
            via: None,
            depth: 0,
            limit,
        }
    }

    /// Returns the next host: the destination, then the last of its jump hosts, and so on; `None`
    /// after the first host that is dialled.
    ///
    /// # Errors
    /// A configuration is unusable, or there are more than 8 jump hosts.
    pub(super) async fn next(&mut self) -> Result<Option<PlannedHost<'a>>, SshError> {
        let Some(target) = self.next.take() else {
            return Ok(None);
        };

        let config = resolve(&target, self.limit).await?;

        // The rest of a list comes before the jump hosts of the hop itself.
        let hops = match (self.via.take(), &config.proxy_jump) {
            (None, Some(own)) => Some(expand_hops(own, &config, target.destination.as_str())?),
            (via, _) => via,
        };

        let depth = self.depth;
        if let Some(hops) = &hops {
            if depth == MAX_HOPS {
                return Err(too_many(hops));
            }

            let hop = LastHop::parse(hops, self.destination)?;
            self.via = hop.via.map(str::to_owned);
            self.next = Some(Cow::Owned(hop.target));
            self.depth += 1;
        }

        Ok(Some(PlannedHost {
            target,
            config,
            depth,
            is_over_jump_host: hops.is_some(),
        }))
    }
}
