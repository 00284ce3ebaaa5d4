//! What servers take and do not take, learned once and kept for later connections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::framing::exec::ShellProbe;

/// Number of connections in a row that must end with their first command, before the server counts
/// as one that ends them. A single one may have been ended by the command, such as `reboot`.
const ENOUGH_EARLY_ENDS: u32 = 2;

/// Commands and channels that a server takes over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Capacity {
    /// A single command: the connection ends with its first channel, as with tinysshd and Cisco IOS.
    OneCommand,
    /// Any number of commands, one after the other.
    OneChannel,
    /// Several channels at once.
    ManyChannels,
}

/// Facts that earlier connections showed about a server. Nothing in them is asked again, until the
/// server identifies itself as other software or the user wants a fresh log-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownServer {
    /// Protocol and software version (RFC 4253, section 4.2) of the server that showed these facts.
    #[serde(default)]
    pub software: String,
    /// Capacity of a connection; `None` if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Login shells by remote user, where asking again could do harm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub login_shells: BTreeMap<String, ShellProbe>,
    /// True if no connection for questions could be had. Not saved: the next process may have more
    /// luck.
    #[serde(skip)]
    pub is_unreachable_for_questions: bool,
    /// Number of connections in a row that ended with their first command. Not saved.
    #[serde(skip)]
    early_ends: u32,
}

/// Known servers of a process by the fingerprint of their host key, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct KnownServers(watch::Sender<BTreeMap<String, KnownServer>>);

/// Entry of one server in [`KnownServers`].
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct ServerEntry {
    servers: KnownServers,
    host_key: String,
    software: String,
}

impl KnownServer {
    /// Returns true if there is anything to save.
    #[must_use]
    pub fn is_worth_saving(&self) -> bool {
        self.capacity.is_some() || !self.login_shells.is_empty()
    }

    /// Notes that a connection ended with its first command.
    pub(in crate::ssh) fn ended_early(&mut self) {
        self.early_ends += 1;
        if self.early_ends >= ENOUGH_EARLY_ENDS {
            self.capacity.get_or_insert(Capacity::OneCommand);
        }
    }
}

impl KnownServers {
    /// Adds servers that were saved. What this process has learned itself stays.
    pub fn add_saved(&self, saved: BTreeMap<String, KnownServer>) {
        self.0.send_modify(|servers| {
            for (host_key, server) in saved {
                servers.entry(host_key).or_insert(server);
            }
        });
    }

    /// Returns a receiver of all servers, which sees each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<String, KnownServer>> {
        self.0.subscribe()
    }

    /// Returns the entry of the server with this host key and identification string. Other software
    /// under the same key may take more or less than before. A comment after the software counts for
    /// nothing: tinysshd's is another one for each connection.
    pub(in crate::ssh) fn entry(&self, host_key: &str, identification: &[u8]) -> ServerEntry {
        let identification = String::from_utf8_lossy(identification);
        let (software, _comment) = identification
            .split_once(' ')
            .unwrap_or((&identification, ""));

        ServerEntry {
            servers: self.clone(),
            host_key: host_key.to_owned(),
            software: software.to_owned(),
        }
    }
}

impl ServerEntry {
    /// Returns what is known of the server.
    pub(in crate::ssh) fn get(&self) -> KnownServer {
        self.find(&self.servers.0.borrow())
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the capacity of a connection, as far as a server has shown a capacity.
    pub(in crate::ssh) fn capacity(&self) -> Option<Capacity> {
        self.find(&self.servers.0.borrow())?.capacity
    }

    /// Changes what is known of the server, for this connection and all later ones.
    pub(in crate::ssh) fn learn(&self, change: impl FnOnce(&mut KnownServer)) {
        self.servers.0.send_if_modified(|servers| {
            let before = self.find(servers).cloned().unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            let is_new = after != before;
            if is_new {
                after.software.clone_from(&self.software);
                servers.insert(self.host_key.clone(), after);
            }

            is_new
        });
    }

    /// Forgets what is known of the server.
    pub(in crate::ssh) fn forget(&self) {
        self.learn(|server| *server = KnownServer::default());
    }

    fn find<'a>(&self, servers: &'a BTreeMap<String, KnownServer>) -> Option<&'a KnownServer> {
        servers
            .get(&self.host_key)
            .filter(|server| server.software == self.software)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_software_under_the_same_key_is_another_server() {
        let servers = KnownServers::default();
        let old = servers.entry("SHA256:key", b"SSH-2.0-Device_1");
        old.learn(|server| server.capacity = Some(Capacity::OneCommand));
        let same = servers.entry("SHA256:key", b"SSH-2.0-Device_1 x7Gq");
        assert_eq!(same.capacity(), Some(Capacity::OneCommand));

        let new = servers.entry("SHA256:key", b"SSH-2.0-Device_2");
        assert_eq!(new.capacity(), None);
        new.learn(|server| server.capacity = Some(Capacity::ManyChannels));
        assert_eq!(
            (old.capacity(), new.capacity()),
            (None, Some(Capacity::ManyChannels))
        );
        assert_eq!(servers.entry("SHA256:other", b"").capacity(), None);
    }

    #[test]
    fn one_early_end_proves_nothing() {
        let servers = KnownServers::default();
        let server = servers.entry("SHA256:key", b"SSH-2.0-Device_1");
        server.learn(KnownServer::ended_early);
        assert_eq!(server.capacity(), None);
        server.learn(KnownServer::ended_early);
        assert_eq!(server.capacity(), Some(Capacity::OneCommand));

        server.forget();
        assert!(!server.get().is_worth_saving());
    }
}
