//! Status of sessions and shells, as shown to users.

use chrono::{DateTime, SecondsFormat, Utc};

use super::shell_name::ShellName;
use crate::{framing::exec::HostFacts, ssh::connect::connection::Peer};

/// State of a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// The session has a connection.
    Connected,
    /// The session was connected in this process and no longer is.
    Disconnected,
    /// The session was not connected in this process yet. The next call that needs a connection
    /// opens it.
    Saved,
}

/// Snapshot of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStatus {
    /// Name of the session.
    pub name: String,
    /// Destination as typed by the user.
    pub host: String,
    /// `HostName` after the configuration was applied; the destination until then.
    pub host_name: String,
    /// TCP port of the server; 22 until the destination was resolved, unless a port was given.
    pub port: u16,
    /// Remote user; empty until the destination was resolved, unless a user was given.
    pub user: String,
    /// State of the connection.
    pub state: ConnectionState,
    /// True if calls without a session name use this session.
    pub default: bool,
    /// Authentication methods of the log-in, separated by commas; `None` if never connected.
    pub auth_method: Option<String>,
    /// Fingerprint of the host key, `SHA256:…`; `None` if never connected.
    pub host_key: Option<String>,
    /// Time at which the current connection was made, RFC 3339 in UTC; `None` if not connected.
    pub connected_at: Option<String>,
    /// Facts about the host; `None` if not connected, or not known yet.
    pub facts: Option<HostFacts>,
    /// Reason why the last connection failed or ended; `None` if there is no such reason.
    pub last_error: Option<String>,
}

/// Snapshot of a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellStatus {
    /// Name of the session.
    pub session: String,
    /// Name of the shell.
    pub name: ShellName,
    /// State of the shell.
    pub state: ShellState,
    /// Working directory after the last command, as the shell spells the path.
    pub directory: Vec<u8>,
}

/// Readiness of a shell for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShellState {
    /// The shell runs, and takes commands.
    Ready,
    /// The shell is being started.
    Starting,
    /// The shell has ended or lost the connection. The next command starts a new shell in the same
    /// directory.
    Gone,
}

/// Formats the time at which a connection was made, in RFC 3339.
#[must_use]
pub(super) fn connected_at(peer: &Peer) -> String {
    DateTime::<Utc>::from(peer.connected_at).to_rfc3339_opts(SecondsFormat::Secs, true)
}
