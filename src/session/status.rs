//! What a person sees of a session.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::ssh::connect::connection::Peer;

/// Whether a session has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// It has.
    Connected,
    /// It had one in this process.
    Disconnected,
    /// It is only saved; the next call that needs it connects it.
    Saved,
}

/// A session at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Its name.
    pub name: String,
    /// The destination as it was typed.
    pub host: String,
    /// `HostName` after the configuration was applied; the destination until it was resolved.
    pub host_name: String,
    /// The TCP port; 22 until it was resolved.
    pub port: u16,
    /// The remote user; empty until it was resolved.
    pub user: String,
    /// Whether it is connected.
    pub state: ConnectionState,
    /// Whether calls without a name use it.
    pub default: bool,
    /// The authentication methods that it took.
    pub auth_method: Option<String>,
    /// The fingerprint of the host key, `SHA256:…`.
    pub host_key: Option<String>,
    /// When the connection was made, RFC 3339 in UTC.
    pub connected_at: Option<String>,
    /// Why the last connection failed or ended.
    pub last_error: Option<String>,
}

/// A shell at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellStatus {
    /// The session's name.
    pub session: String,
    /// Its own.
    pub name: String,
    /// Whether it can take a command.
    pub state: ShellState,
    /// Its directory, as it spells it, after its last command.
    pub directory: Vec<u8>,
}

/// Whether a shell can take a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellState {
    /// It can.
    Ready,
    /// Not yet.
    Starting,
    /// It has ended, or its connection was lost; the next command gets a new one, in its directory.
    Gone,
}

/// The time of a connection as people and programs read it.
#[must_use]
pub(super) fn connected_at(peer: &Peer) -> String {
    DateTime::<Utc>::from(peer.connected_at).to_rfc3339_opts(SecondsFormat::Secs, true)
}
