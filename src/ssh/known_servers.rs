//! What servers take and do not take, learned once and kept for later connections.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::framing::exec::{HostFacts, LoginShell, ShellProbe};

/// Number of connections in a row that must end with their first command, before the server counts
/// as one that ends them. A single one may have been ended by the command, such as `reboot`.
const ENOUGH_EARLY_ENDS: u32 = 2;
/// Most accounts that are remembered of a server.
const MAX_ACCOUNTS: usize = 32;
/// Most refused keys that are remembered of an account. OpenSSH's server ends the connection after
/// six (`MaxAuthTries`, `sshd_config(5)`).
const MAX_REFUSED_KEYS: usize = 16;
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

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
    /// Number of days from 1970 to the last change, or to the last log-in that looked here.
    #[serde(default)]
    pub seen: u64,
    /// What log-ins showed about accounts, by remote user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub accounts: BTreeMap<String, KnownAccount>,
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

/// What the last log-in to an account showed. It saves round trips where it still holds, and is
/// checked each time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownAccount {
    /// Key that was all the server asked for; `None` after any other log-in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KnownKey>,
    /// Login shell that answered, for a log-in with this key; `None` if none did that can announce a
    /// process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<KnownShell>,
}

/// Key with which a log-in succeeded. Keys are named by their fingerprints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownKey {
    /// Key that the server accepted.
    pub accepted: String,
    /// Keys that the server refused before, in that log-in or an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Login shell of an account, as the account answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownShell {
    /// Family and program of the shell.
    pub probe: ShellProbe,
    /// Part of the answer from which the facts about the host are read; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
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
        self.capacity.is_some() || !self.login_shells.is_empty() || !self.accounts.is_empty()
    }

    /// Returns what is known of an account, to be changed.
    fn account(&mut self, user: &str) -> &mut KnownAccount {
        if self.accounts.len() >= MAX_ACCOUNTS && !self.accounts.contains_key(user) {
            self.accounts.clear();
        }

        self.accounts.entry(user.to_owned()).or_default()
    }

    /// Notes a log-in to an account. With another key than before, something else may answer.
    pub(in crate::ssh) fn logged_in(&mut self, user: &str, key: Option<KnownKey>) {
        let accepted = |key: &Option<KnownKey>| key.as_ref().map(|key| key.accepted.clone());
        let account = self.account(user);
        if accepted(&account.key) != accepted(&key) {
            account.shell = None;
        }

        account.key = key;
        if account.key.is_none() && account.shell.is_none() {
            self.accounts.remove(user);
        }
    }

    /// Notes the answer of the login shell, for a log-in with this key. Nothing is kept of a shell that
    /// cannot announce a process: whoever answers there must not be sent a script on trust. Nothing is
    /// kept either if another key was used since.
    pub(in crate::ssh) fn shell_answered(
        &mut self,
        user: &str,
        key: Option<&str>,
        probe: &ShellProbe,
        answer: &[u8],
    ) {
        let last = self.accounts.get(user).and_then(|it| it.key.as_ref());
        let is_last = last.map(|key| key.accepted.as_str()) == key;

        if is_last && probe.shell.announces_process() {
            self.account(user).shell = Some(KnownShell {
                probe: probe.clone(),
                answer: HostFacts::part(answer),
            });
        } else {
            self.forget_shells(user);
        }
    }

    /// Forgets the login shell of an account.
    pub(in crate::ssh) fn forget_shells(&mut self, user: &str) {
        self.login_shells.remove(user);
        if let Some(account) = self.accounts.get_mut(user) {
            account.shell = None;
        }
    }

    /// Notes that a connection ended with its first command.
    pub(in crate::ssh) fn ended_early(&mut self) {
        self.early_ends += 1;
        if self.early_ends >= ENOUGH_EARLY_ENDS {
            self.capacity.get_or_insert(Capacity::OneCommand);
        }
    }
}

impl KnownKey {
    /// Makes what is known after a log-in from what was known before, and from the keys which the
    /// server refused in this log-in.
    pub(in crate::ssh) fn after(
        before: Option<&Self>,
        accepted: String,
        refused: &[String],
    ) -> Self {
        let earlier = before
            .filter(|before| before.accepted == accepted)
            .map_or(&[][..], |before| &before.refused);
        let mut all = refused.to_vec();
        all.extend(earlier.iter().filter(|key| !refused.contains(key)).cloned());
        all.truncate(MAX_REFUSED_KEYS);

        Self {
            accepted,
            refused: all,
        }
    }
}

impl KnownShell {
    /// Returns the family of the shell.
    #[must_use]
    pub fn family(&self) -> LoginShell {
        self.probe.shell
    }

    /// Returns the facts about the host, as they were.
    #[must_use]
    pub fn facts(&self) -> HostFacts {
        HostFacts::read(&self.probe, self.answer.as_bytes())
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

    /// Returns what is known of an account.
    pub(in crate::ssh) fn account(&self, user: &str) -> KnownAccount {
        self.get().accounts.remove(user).unwrap_or_default()
    }

    /// Changes what is known of the server, for this connection and all later ones.
    pub(in crate::ssh) fn learn(&self, change: impl FnOnce(&mut KnownServer)) {
        self.servers.0.send_if_modified(|servers| {
            let before = self.find(servers).cloned().unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            if after.is_worth_saving() {
                after.seen = today();
            }

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

/// Returns the number of days since 1970.
fn today() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs() / DAY
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

    #[test]
    fn another_key_means_that_nothing_is_known_of_the_shell() {
        let mut server = KnownServer::default();
        let probe = ShellProbe {
            shell: LoginShell::Posix,
            ..ShellProbe::unknown()
        };
        let key = |accepted: &str| Some(KnownKey::after(None, accepted.to_owned(), &[]));

        server.logged_in("me", key("one"));
        server.shell_answered("me", Some("one"), &probe, b"");
        server.logged_in("other", key("one"));
        server.logged_in("me", key("one"));
        assert!(server.accounts["me"].shell.is_some() && server.accounts["other"].shell.is_none());

        server.logged_in("me", key("two"));
        assert!(server.accounts["me"].shell.is_none());
        server.shell_answered("me", Some("one"), &probe, b"");
        assert!(server.accounts["me"].shell.is_none());
        server.shell_answered("me", Some("two"), &probe, b"");
        assert!(server.accounts["me"].shell.is_some());
        server.shell_answered("me", Some("two"), &ShellProbe::unknown(), b"");
        assert!(server.accounts["me"].shell.is_none());

        server.logged_in("me", None);
        assert!(!server.accounts.contains_key("me"));
    }

    #[test]
    fn refused_keys_are_remembered_for_the_key_that_was_accepted() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let first = KnownKey::after(None, "c".to_owned(), &words("a b"));
        assert_eq!(first.refused, words("a b"));

        let second = KnownKey::after(Some(&first), "c".to_owned(), &words("d a"));
        assert_eq!(second.refused, words("d a b"));
        assert!(
            KnownKey::after(Some(&second), "e".to_owned(), &[])
                .refused
                .is_empty()
        );

        let many: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let full = KnownKey::after(None, "c".to_owned(), &many);
        assert_eq!(full.refused.len(), MAX_REFUSED_KEYS);
    }

    #[test]
    fn only_so_many_accounts_of_a_server_are_remembered() {
        let mut server = KnownServer::default();
        for number in 0..1000 {
            let key = KnownKey::after(None, "key".to_owned(), &[]);
            server.logged_in(&number.to_string(), Some(key));
        }

        assert!(server.accounts.len() <= MAX_ACCOUNTS && server.accounts.contains_key("999"));
    }
}
