//! Which host a call leads to, as far as files tell: the saved sessions and the SSH configuration.
//! Nothing is started and nobody is asked, so that an answer takes milliseconds.

use std::{cell::OnceCell, net::IpAddr, path::PathBuf, sync::Arc};

use crate::{
    mcp::TouchedHost,
    openssh::destination::{Destination, TypedDestination, host_part},
    session::{name_pattern, saved::SavedSession, store::Store},
    settings::{HostNames, OtherName, Settings, normal_form},
    ssh::config::{fallback, named_hosts::named_hosts, target::Target},
};

/// Limit of the aliases whose addresses are looked up in the configuration.
const MAX_ALIASES: usize = 32;

/// Files that say what a session or a host is, and the settings, which say what matters.
#[derive(Debug)]
pub(super) struct Hosts {
    settings: Arc<Settings>,
    ssh_config: Option<PathBuf>,
    store: Option<PathBuf>,
    /// Saved sessions; `None` if the store cannot be read.
    sessions: OnceCell<Option<Vec<SavedSession>>>,
    /// Hosts that the SSH configuration names.
    aliases: OnceCell<Vec<String>>,
}

/// Hosts to which a call may lead.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) hosts: Vec<KnownHost>,
    /// False if the call may lead to another host than these.
    pub(super) is_complete: bool,
}

/// Host with the names that files tell.
#[derive(Debug)]
pub(super) struct KnownHost {
    pub(super) names: HostNames,
    /// Names that the host may have besides.
    pub(super) others: Vec<OtherName>,
    /// Jump hosts on the way there.
    pub(super) jump_hosts: Vec<KnownHost>,
}

impl Hosts {
    pub(super) fn new(
        settings: Arc<Settings>,
        ssh_config: Option<PathBuf>,
        store: Option<PathBuf>,
    ) -> Self {
        Self {
            settings,
            ssh_config,
            store,
            sessions: OnceCell::new(),
            aliases: OnceCell::new(),
        }
    }

    /// Returns the hosts to which a call for this host may lead.
    pub(super) fn candidates(&self, touched: &TouchedHost) -> Candidates {
        match touched {
            // Only the server knows which session is the default one. It is one of the saved ones.
            TouchedHost::Default => self.saved(|_| true),
            TouchedHost::Session(name) if name_pattern::is_pattern(name) => {
                let names: Vec<String> = self
                    .sessions()
                    .into_iter()
                    .flatten()
                    .map(|saved| saved.name.to_string())
                    .collect();
                let matching = name_pattern::expand(vec![name.clone()], &names).unwrap_or_default();

                self.saved(|saved| matching.contains(&saved.name.to_string()))
            }
            TouchedHost::Session(name) => self.session(name),
            TouchedHost::Typed { host, port } => match TypedDestination::parse(host) {
                Ok(typed) => Candidates {
                    hosts: vec![self.host(typed.destination, port.or(typed.port))],
                    is_complete: true,
                },
                // The server refuses it.
                Err(_) => Candidates {
                    hosts: Vec::new(),
                    is_complete: true,
                },
            },
        }
    }

    /// Returns the saved sessions for which `is_meant` holds.
    fn saved(&self, is_meant: impl Fn(&SavedSession) -> bool) -> Candidates {
        let meant = self.sessions().into_iter().flatten();
        let hosts: Vec<KnownHost> = meant
            .filter(|saved| is_meant(saved))
            .filter_map(|saved| self.saved_host(saved))
            .collect();

        Candidates {
            is_complete: !hosts.is_empty(),
            hosts,
        }
    }

    /// Returns the host of a session. A name without a session is that of a host of the SSH
    /// configuration, which becomes one.
    fn session(&self, name: &str) -> Candidates {
        let saved = self
            .sessions()
            .into_iter()
            .flatten()
            .find(|saved| saved.name.as_str() == name);

        let host = match saved {
            Some(saved) => self.saved_host(saved),
            None if self.sessions().is_some() && self.is_alias(name) => Destination::parse(name)
                .ok()
                .map(|destination| self.host(destination, None)),
            None => None,
        };

        Candidates {
            is_complete: host.is_some(),
            hosts: host.into_iter().collect(),
        }
    }

    /// Returns the host of a saved session; `None` if its destination cannot be used.
    fn saved_host(&self, saved: &SavedSession) -> Option<KnownHost> {
        let destination = Destination::parse(&saved.host).ok()?;
        Some(self.host(destination, saved.port))
    }

    /// Returns a host with its names in the SSH configuration.
    pub(super) fn host(&self, destination: Destination, port: Option<u16>) -> KnownHost {
        self.host_beside(destination, port, &mut Vec::new())
    }

    /// Does the same, with the jump hosts that are not among the hosts `seen`. Each is returned once,
    /// however often the configuration leads there.
    fn host_beside(
        &self,
        destination: Destination,
        port: Option<u16>,
        seen: &mut Vec<String>,
    ) -> KnownHost {
        let destination_text = destination.as_str().to_owned();
        let asked = host_part(&destination_text).to_owned();
        let target = self.target(destination, port);
        let mut host = KnownHost {
            names: HostNames::new(&asked),
            others: Vec::new(),
            jump_hosts: Vec::new(),
        };

        // With `CanonicalizeHostname`, DNS decides about the name.
        let resolved = fallback::read(&target)
            .ok()
            .filter(|_| !fallback::sets(&target, "canonicalizehostname"));
        let Some(config) = resolved else {
            host.others.push(OtherName::Any);
            return host;
        };

        host.names.add_host_name(&config.host_name);
        let (_, address) = normal_form(&config.host_name);
        match address {
            Some(address) => host.names.add_address(address),
            None => host.others.push(OtherName::Address),
        }

        // Another machine looks the name up there, and may find another address.
        if config.proxy_jump.is_some() || config.proxy_command.is_some() {
            host.names.set_unknown_address();
        }

        seen.push(destination_text);
        let hops = config.proxy_jump.iter().flat_map(|hops| hops.split(','));
        for hop in hops.filter(|hop| *hop != "none") {
            if let Ok(hop) = TypedDestination::parse(hop)
                && !seen.iter().any(|seen| seen == hop.destination.as_str())
            {
                let jump_host = self.host_beside(hop.destination, hop.port, seen);
                host.jump_hosts.push(jump_host);
            }
        }

        if !self.is_alias(&asked) {
            self.add_aliases(&mut host, &config.host_name, address);
        }

        host
    }

    /// Adds the aliases that lead to the same host, and those that may. Aliases about which the
    /// settings say nothing more are left out.
    fn add_aliases(&self, host: &mut KnownHost, host_name: &str, address: Option<IpAddr>) {
        let aliases = self.aliases().iter();
        let relevant = aliases.filter(|alias| self.settings.names_more(alias, &host.names));
        let relevant: Vec<&String> = relevant.collect();

        for (index, alias) in relevant.into_iter().enumerate() {
            let found = Destination::parse(alias)
                .ok()
                .filter(|_| index < MAX_ALIASES)
                .and_then(|destination| fallback::read(&self.target(destination, None)).ok())
                .map(|config| config.host_name);

            let is_same = found.as_deref() == Some(host_name);
            let other_address = found.as_deref().and_then(|name| normal_form(name).1);
            if is_same {
                host.names.add_alias(alias);
            } else if address.is_none() || other_address.is_none() || address == other_address {
                host.others.push(OtherName::Alias(alias.clone()));
            }
        }
    }

    fn target(&self, destination: Destination, port: Option<u16>) -> Target {
        Target {
            destination,
            user: None,
            port,
            config_file: self.ssh_config.clone(),
        }
    }

    fn is_alias(&self, name: &str) -> bool {
        self.aliases().iter().any(|alias| alias == name)
    }

    fn aliases(&self) -> &[String] {
        self.aliases.get_or_init(|| {
            let hosts = named_hosts(self.ssh_config.as_deref());
            hosts.into_iter().map(|host| host.name).collect()
        })
    }

    fn sessions(&self) -> Option<&[SavedSession]> {
        let read = || Some(Store::new(self.store.clone()).peek().ok()?.sessions);
        self.sessions.get_or_init(read).as_deref()
    }
}
