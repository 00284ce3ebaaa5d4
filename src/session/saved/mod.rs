//! Saved settings of sessions: destination and options, never secrets.

mod parse;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::name::SessionName;
use crate::ssh::known_servers::KnownServer;

/// Version of the documents written by this program.
pub const STORE_VERSION: u32 = 1;

/// Maximum size of a document, in bytes (16 MiB).
///
/// This is enough for some 50,000 sessions, and bounds the memory used for a wrong `--store`.
pub const MAX_STORE_BYTES: usize = 16 * 1024 * 1024;

/// Saved settings of a session: destination and options, never a password, passphrase or key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSession {
    /// Name of the session, unique in a document.
    pub name: SessionName,
    /// Destination as typed. `ssh -G` resolves the destination again at each dial.
    pub host: String,
    /// Remote user; `None` if no user was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// TCP port; `None` if no port was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path of the identity file; `None` if no file was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// True if the last successful log-in needed a password from the caller. A later process
    /// without the password then asks for `ssh_connect`.
    #[serde(default)]
    pub password_auth: bool,
    /// Unknown fields, preserved when the document is written again.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Content of the store's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreDocument {
    /// Version of the format: [`STORE_VERSION`] in every document read or made here.
    #[serde(default = "store_version")]
    pub version: u32,
    /// Default session; `None` if none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<SessionName>,
    /// Sessions, in the order of their first saving.
    pub sessions: Vec<SavedSession>,
    /// What was learned of servers, by the fingerprint of the host key. Entries of another form are
    /// dropped.
    #[serde(
        default,
        deserialize_with = "readable_servers",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub servers: BTreeMap<String, KnownServer>,
    /// Unknown fields, preserved when the document is written again.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Result of parsing a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// Parsed document, without secrets.
    pub document: StoreDocument,
    /// True if the text held passwords, passphrases or keys. The document does not contain them.
    pub held_secrets: bool,
}

/// Reason why a text is not a valid document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document was written by a newer version of this program, and must be neither interpreted
    /// nor replaced.
    #[error("its version is {version}, the newest known here is {STORE_VERSION}")]
    Newer {
        /// Version stated in the document.
        version: u64,
    },
    /// The text is longer than [`MAX_STORE_BYTES`].
    #[error("it is larger than {} MiB", MAX_STORE_BYTES / (1024 * 1024))]
    TooLarge,
    /// The text is not JSON or not UTF-8.
    #[error("it is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The text is JSON but does not hold sessions in any known format.
    #[error("it does not hold saved sessions: {0}")]
    Shape(String),
}

impl Default for StoreDocument {
    fn default() -> Self {
        Self {
            version: STORE_VERSION,
            default: None,
            sessions: Vec::new(),
            servers: BTreeMap::new(),
            extra: Map::new(),
        }
    }
}

impl StoreDocument {
    /// Parses a document; an empty text is an empty document.
    ///
    /// Besides the current format, these older formats are accepted: `{"sessions": {NAME: {…}}}`,
    /// `{NAME: {"host": …}}` and `[{"name": NAME, …}]`. They may use `username` for `user` and
    /// `privateKeyPath` for `keyPath`. Secrets in the text are dropped.
    ///
    /// # Errors
    /// Returns [`DocumentError::Newer`] for a later version, whatever else the text holds. The
    /// other variants mean that the text cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, DocumentError> {
        parse::parse(bytes)
    }

    /// Returns the session with this name.
    #[must_use]
    pub fn get(&self, name: &SessionName) -> Option<&SavedSession> {
        self.sessions.iter().find(|session| session.name == *name)
    }

    /// Adds a session, or replaces the session of the same name.
    ///
    /// Unknown fields of the replaced session are preserved.
    pub fn save(&mut self, mut session: SavedSession) {
        if let Some(old) = self
            .sessions
            .iter_mut()
            .find(|old| old.name == session.name)
        {
            for (key, value) in std::mem::take(&mut old.extra) {
                session.extra.entry(key).or_insert(value);
            }
            *old = session;
        } else {
            self.sessions.push(session);
        }
    }

    /// Removes the session with this name, also as the default. Returns true if the session
    /// existed.
    pub fn remove(&mut self, name: &SessionName) -> bool {
        self.default.take_if(|default| default == name);
        let before = self.sessions.len();
        self.sessions.retain(|session| session.name != *name);
        self.sessions.len() < before
    }
}

/// Reads the servers that can be read. What was learned can be learned again, so no other content
/// makes the document unreadable.
fn readable_servers<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, KnownServer>, D::Error> {
    let servers = match Value::deserialize(from)? {
        Value::Object(servers) => servers,
        _ => Map::new(),
    };

    let readable = |(host_key, server)| Some((host_key, serde_json::from_value(server).ok()?));
    Ok(servers.into_iter().filter_map(readable).collect())
}

fn store_version() -> u32 {
    STORE_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(text: &str) -> SessionName {
        SessionName::try_from(text).unwrap()
    }

    #[test]
    fn put_keeps_unknown_fields_and_remove_clears_the_default() {
        let mut document =
            StoreDocument::parse(br#"{"default": "a", "sessions": [{"name": "a", "host": "old", "port": 1, "tag": 7}, {"name": "b", "host": "b"}]}"#).unwrap().document;
        let mut session = document.get(&name("b")).unwrap().clone();
        session.name = name("a");
        document.save(session.clone());
        assert_eq!(
            serde_json::to_value(&document.sessions).unwrap()[0],
            json!({"name": "a", "host": "b", "passwordAuth": false, "tag": 7})
        );

        session.name = name("c");
        document.save(session);
        assert_eq!(document.sessions.len(), 3);
        assert!(!document.remove(&name("x")) && document.default.is_some());
        assert!(document.remove(&name("a")) && document.default.is_none());
        assert_eq!(document.sessions.len(), 2);
    }
}
