//! What servers take and do not take, learned once and kept for later connections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::framing::exec::ShellProbe;

/// Number of commands that a server takes over one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandsPerConnection {
    /// The connection ends with its first channel, as with tinysshd and Cisco IOS.
    One,
    /// The connection goes on after a command.
    Several,
}

/// Facts that earlier connections showed about a server. Nothing in them is asked again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownServer {
    /// Number of commands over one connection; `None` if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<CommandsPerConnection>,
    /// True if the server has refused a second channel on a connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single_channel: bool,
    /// Login shells by remote user, for a server on which each question costs a connection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub login_shells: BTreeMap<String, ShellProbe>,
    /// True if no connection for questions could be had. Not saved: the next process may have more
    /// luck.
    #[serde(skip)]
    pub is_unreachable_for_questions: bool,
}

/// Known servers of a process by the fingerprint of their host key, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct KnownServers(watch::Sender<BTreeMap<String, KnownServer>>);

/// Entry of one server in [`KnownServers`].
#[derive(Debug, Clone, Default)]
pub(in crate::ssh) struct ServerEntry {
    servers: KnownServers,
    host_key: String,
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

    /// Returns the entry of the server with this host key.
    pub(in crate::ssh) fn entry(&self, host_key: &str) -> ServerEntry {
        ServerEntry {
            servers: self.clone(),
            host_key: host_key.to_owned(),
        }
    }
}

impl ServerEntry {
    /// Returns what is known of the server.
    pub(in crate::ssh) fn get(&self) -> KnownServer {
        let servers = self.servers.0.borrow();
        servers.get(&self.host_key).cloned().unwrap_or_default()
    }

    /// Returns true if the connection ends with its first channel.
    pub(in crate::ssh) fn takes_one_command(&self) -> bool {
        let servers = self.servers.0.borrow();
        let server = servers.get(&self.host_key);
        server.is_some_and(|server| server.commands == Some(CommandsPerConnection::One))
    }

    /// Changes what is known of the server, for this connection and all later ones.
    pub(in crate::ssh) fn learn(&self, change: impl FnOnce(&mut KnownServer)) {
        self.servers.0.send_if_modified(|servers| {
            let before = servers.get(&self.host_key).cloned().unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            let is_new = after != before;
            if is_new {
                servers.insert(self.host_key.clone(), after);
            }

            is_new
        });
    }
}
