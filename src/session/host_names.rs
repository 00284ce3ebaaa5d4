//! All names of a host and of its jump hosts, under which the settings can mean them.

use std::{path::Path, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    openssh::destination::Destination,
    settings::{HostNames, HostRules, Operation, Settings, Verdict, decide},
    ssh::{
        config::{named_hosts::named_hosts, resolve::resolve, target::Target},
        connect::{RouteHost, addresses, planned_route},
        error::SshError,
    },
};

/// Limit of the aliases that are resolved at a time.
const ALIASES_AT_A_TIME: usize = 4;

/// Names of a host and of the jump hosts on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOnRoute {
    /// Names of the host.
    pub host: HostNames,
    /// Names of each jump host, the nearest to the host first.
    pub jumps: Vec<HostNames>,
}

/// What holds for a host and for the jump hosts on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRules {
    /// Rules of the host.
    pub host: HostRules,
    /// Each jump host as it was asked for, and its rules.
    pub jumps: Vec<(String, HostRules)>,
}

impl HostOnRoute {
    /// Returns the names of the way to a target that is not connected, by the SSH configuration and
    /// DNS. Nobody else is contacted.
    ///
    /// # Errors
    /// The SSH configuration is unusable, or takes longer than `limit`.
    pub async fn planned(
        target: &Target,
        settings: &Settings,
        limit: Duration,
    ) -> Result<Self, SshError> {
        let route = planned_route(target, limit).await?;
        Self::of(&route, target.config_file.as_deref(), settings, limit).await
    }

    /// Returns the names of a route: the host first, then its jump hosts. `config_file` is that of
    /// `ssh -F`.
    ///
    /// # Errors
    /// The SSH configuration is unusable, or takes longer than `limit`.
    pub async fn of(
        route: &[RouteHost],
        config_file: Option<&Path>,
        settings: &Settings,
        limit: Duration,
    ) -> Result<Self, SshError> {
        let collecting = join_all(
            route
                .iter()
                .map(|host| names(host, config_file, settings, limit)),
        );

        let collected = timeout(limit, collecting)
            .await
            .map_err(|_| SshError::Timeout {
                stage: "finding the names of the host",
                after: limit,
            })?;

        let mut collected = collected
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();

        Ok(Self {
            host: collected.next().unwrap_or_else(|| HostNames::new("")),
            jumps: collected.collect(),
        })
    }

    /// Returns what the settings say about the host and the jump hosts.
    #[must_use]
    pub fn rules(&self, settings: &Settings) -> RouteRules {
        let jumps = self.jumps.iter();
        RouteRules {
            host: settings.rules(&self.host),
            jumps: jumps
                .map(|jump| (jump.asked().to_owned(), settings.rules(jump)))
                .collect(),
        }
    }
}

impl RouteRules {
    /// Decides about work on the host, to which its jump hosts have to be connected. Returns the
    /// jump host too if its rules are the strictest.
    ///
    /// A jump host that asks is asked about once, when it is connected to.
    #[must_use]
    pub fn decide(&self, operation: Operation) -> (Verdict, Option<&str>) {
        let own = decide(operation, &self.host);
        if matches!(own, Verdict::Refuse(_)) {
            return (own, None);
        }

        let mut asking = None;
        for (jump, rules) in &self.jumps {
            match decide(Operation::Connect, rules) {
                refused @ Verdict::Refuse(_) => return (refused, Some(jump)),
                asks @ Verdict::Ask(_) if operation == Operation::Connect => {
                    asking.get_or_insert((asks, Some(jump.as_str())));
                }
                Verdict::Ask(_) | Verdict::Allow => {}
            }
        }

        match (own, asking) {
            (Verdict::Allow, Some(asking)) => asking,
            (own, _) => (own, None),
        }
    }
}

/// Returns the names of one host.
async fn names(
    host: &RouteHost,
    config_file: Option<&Path>,
    settings: &Settings,
    limit: Duration,
) -> Result<HostNames, SshError> {
    let mut names = HostNames::new(&host.asked);
    names.add_host_name(&host.host_name);

    let addresses = addresses(&host.host_name, host.port, host.address_family).await;
    let found = addresses.iter().chain(&host.connected_to);
    found.for_each(|address| names.add_address(*address));

    // Without an answer of DNS, or where another machine looks the name up, the host may be any.
    let is_known = host.connected_to.is_some() || !addresses.is_empty();
    if !host.is_dialled_here || !is_known {
        names.set_unknown_address();
    }

    for alias in aliases(host, &names, config_file, settings, limit).await? {
        names.add_alias(&alias);
    }

    Ok(names)
}

/// Returns the aliases of the SSH configuration that lead to the same port of the host, if the host
/// was not asked for by an alias. Aliases that the settings do not mention are left out.
async fn aliases(
    host: &RouteHost,
    names: &HostNames,
    config_file: Option<&Path>,
    settings: &Settings,
    limit: Duration,
) -> Result<Vec<String>, SshError> {
    let file = config_file.map(Path::to_owned);
    let hosts = spawn_blocking(move || named_hosts(file.as_deref()));
    let hosts = hosts.await.unwrap_or_default();

    // Somebody who asks for an alias means it, unless the port is another one.
    let is_alias = hosts.iter().any(|alias| alias.name == host.asked);
    if is_alias && !host.has_own_port {
        return Ok(Vec::new());
    }

    let candidates = hosts
        .into_iter()
        .map(|alias| alias.name)
        .filter(|alias| settings.names_more(alias, names));

    let leading = stream::iter(candidates)
        .map(async |alias| {
            let leads = leads_to(&alias, host.port, names, config_file, limit).await;
            leads.map(|leads| leads.then_some(alias))
        })
        .buffer_unordered(ALIASES_AT_A_TIME)
        .collect::<Vec<_>>()
        .await;

    let mut leading = leading
        .into_iter()
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, _>>()?;

    leading.sort_unstable();

    Ok(leading)
}

/// Returns true if an alias leads to the port and to the host name or an address of the host.
async fn leads_to(
    alias: &str,
    port: u16,
    names: &HostNames,
    config_file: Option<&Path>,
    limit: Duration,
) -> Result<bool, SshError> {
    let Ok(destination) = Destination::parse(alias) else {
        return Ok(false);
    };

    let target = Target {
        destination,
        user: None,
        port: None,
        config_file: config_file.map(Path::to_owned),
    };

    let config = match resolve(&target, limit).await {
        Ok(config) => config,
        // An alias that `ssh` refuses leads nowhere.
        Err(SshError::Resolve { .. } | SshError::Config { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };

    if config.port != port {
        return Ok(false);
    }

    let mut theirs = HostNames::new(&config.host_name);
    for address in addresses(&config.host_name, config.port, config.address_family).await {
        theirs.add_address(address);
    }

    Ok(theirs.shares_a_name_with(names))
}
