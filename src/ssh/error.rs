//! What can go wrong between a destination and a running command, by stage.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

pub use crate::framing::exec::ExecScriptError;
use crate::openssh::{effective_config::ConfigError, tokens::TokenError};

/// How much of a server's own words is shown, in bytes.
pub(super) const MAX_WORDS_BYTES: usize = 1000;

/// A failure of the SSH layer. The variant is the stage; the source is the cause.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The `ssh` program, which reads the configuration, could not be run.
    #[error("could not run `ssh -G` to read the SSH configuration: {0}")]
    ResolveRun(#[source] io::Error),
    /// `ssh -G` said no; its own words.
    #[error("ssh refused the destination {destination:?}: {message}")]
    Resolve {
        /// What was to be resolved.
        destination: String,
        /// What ssh printed on stderr.
        message: String,
    },
    /// A value that cannot be right.
    #[error("the SSH configuration for {destination:?} is broken: {source}")]
    Config {
        /// What was resolved.
        destination: String,
        /// What is wrong in it.
        source: ConfigError,
    },
    /// A file of the configuration that cannot be read without `ssh`, which is not there.
    #[error(
        "there is no `ssh` program to read the SSH configuration, and without it {}{} cannot be read: {message}",
        file.display(), if *number > 0 { format!(" line {number}") } else { String::new() }
    )]
    ConfigFile {
        /// The file.
        file: PathBuf,
        /// The line, from 1; 0 is the whole file.
        number: usize,
        /// What is wrong.
        message: String,
    },
    /// A percent token, `~` or `${VARIABLE}` that cannot be expanded.
    #[error("the SSH configuration option {option} cannot be expanded: {source}")]
    Token {
        /// The `ssh_config` keyword.
        option: &'static str,
        /// What is wrong in its value.
        source: TokenError,
    },
    /// An option that says how to reach the host, and that is not supported: to ignore it would reach another host.
    #[error("the SSH configuration sets {option} to {value:?}, which is not supported yet")]
    Unsupported {
        /// The `ssh_config` keyword.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// A hop of `ProxyJump` that cannot be meant.
    #[error("the ProxyJump hop {hop:?} cannot be used: {source}")]
    Hop {
        /// The hop as the configuration has it.
        hop: String,
        /// What is wrong with it.
        source: crate::openssh::destination::DestinationError,
    },
    /// A jump host could not be connected to.
    #[error("through the jump host {hop}: {source}")]
    Jump {
        /// The hops up to the one that failed.
        hop: String,
        /// What failed there.
        source: Box<SshError>,
    },
    /// The jump host could not reach the host behind it.
    #[error("the jump host could not connect to {host} port {port}: {message}")]
    Forward {
        /// The host name.
        host: String,
        /// The TCP port.
        port: u16,
        /// What the jump host said.
        message: String,
    },
    /// A `ProxyCommand` could not be started.
    #[error("the ProxyCommand {command:?} could not be run: {source}")]
    ProxyCommand {
        /// The command, expanded.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The host name has no address.
    #[error("could not resolve the host name {host:?}: {source}")]
    Lookup {
        /// The host name as the configuration gives it.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address of the host accepted a TCP connection.
    #[error("could not connect to {host} port {port}: {source}")]
    Connect {
        /// The host name.
        host: String,
        /// The TCP port.
        port: u16,
        /// What the last address answered.
        source: io::Error,
    },
    /// A stage took longer than it may.
    #[error("{stage} took longer than {:?}", rounded(*after))]
    Timeout {
        /// What was being done.
        stage: &'static str,
        /// The limit.
        after: Duration,
    },
    /// A command's own time limit was reached before it could be sent; it was not run.
    #[error("the server did not take the command within its {after:?}; it was not run")]
    NotSent {
        /// The limit.
        after: Duration,
    },
    /// Client and server have no algorithm in common.
    #[error("no common {kind} algorithm; configured here: {ours}; offered by the server: {theirs}")]
    NoCommonAlgorithm {
        /// Key exchange, host key, cipher, MAC or compression.
        kind: String,
        /// What we could have used.
        ours: String,
        /// What the server has.
        theirs: String,
    },
    /// The configuration allows only algorithms that this program does not have.
    #[error(
        "{option} in the SSH configuration names none that is supported; configured: {configured}; supported: {supported}"
    )]
    UnsupportedAlgorithms {
        /// The `ssh_config` keyword.
        option: &'static str,
        /// Its value.
        configured: String,
        /// What there is.
        supported: String,
    },
    /// The SSH handshake failed for another reason.
    #[error("the SSH handshake with {host} failed: {message}")]
    Handshake {
        /// The host name.
        host: String,
        /// The cause.
        message: String,
    },
    /// The host key was not accepted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No authentication method succeeded.
    #[error("{user}@{host}: permission denied ({attempts})")]
    Authentication {
        /// The remote user.
        user: String,
        /// The host name.
        host: String,
        /// Each method tried and why it failed.
        attempts: String,
        /// What the server would still accept, comma-separated; empty if it said nothing.
        remaining: String,
        /// What is likely to help.
        remedy: Remedy,
    },
    /// A log-in that failed, after words of the server about it.
    #[error("{source}; the server said before: {words}")]
    Greeted {
        /// What the server said.
        words: String,
        /// What failed.
        source: Box<SshError>,
    },
    /// The server has closed several connections right after their log-ins.
    #[error("the server closes the connection right after each log-in{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    ClosedAtOnce {
        /// What the server or the network said.
        reason: Option<String>,
    },
    /// A key file that was named explicitly cannot be used.
    #[error("the key file {path} cannot be used: {reason}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// The passphrase is missing or wrong.
        passphrase: bool,
    },
    /// The server refused to open a channel.
    #[error("the server refused to open a channel: {0}")]
    ChannelRefused(String),
    /// The server refused one more channel, and no further connection could be opened for it.
    #[error(
        "the server allows no more channels at once, and no further connection could be opened: {source}"
    )]
    NoRoom {
        /// Why not.
        source: Arc<SshError>,
    },
    /// The connection ended.
    #[error("the connection was lost{}", .0.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Lost(Option<String>),
    /// The command cannot be written for the remote shell.
    #[error(transparent)]
    Script(#[from] crate::framing::script::ScriptError),
    /// The command, directory or environment cannot be written for the login shell.
    #[error(transparent)]
    ExecScript(#[from] ExecScriptError),
    /// The server refused the request to run a command.
    #[error("the server does not run commands for this account; the command was not run")]
    ExecRefused,
    /// The login shell ended without having come to the command.
    #[error(
        "the command was not run: a startup file of the account ended or replaced the shell, or waits for input{}{said}",
        if said.is_empty() { "" } else { ", or the shell could not read the command; the host said: " }
    )]
    NotBegun {
        /// What was printed instead.
        said: String,
    },
    /// sudo did not let the command run.
    #[error("{refusal}; the command was not run{}{said}", if said.is_empty() { "" } else { ": " })]
    Sudo {
        /// Why not.
        refusal: SudoRefusal,
        /// sudo's own words.
        said: String,
    },
    /// No persistent shell could be started.
    #[error("no shell could be started on the remote host: {0}")]
    ShellStart(String),
    /// No random bytes could be had from the system.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
}

/// What may help where authentication failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Other credentials.
    Credentials,
    /// The passphrase of a key file that the server would have accepted.
    Passphrase,
    /// Fewer keys: the server closed the connection after too many wrong ones (`MaxAuthTries` of `sshd_config(5)`).
    FewerKeys,
    /// A new password in place of one that seems to have expired.
    NewPassword,
    /// The same again: the connection was lost before the server had refused anything.
    Again,
}

/// Why sudo did not let a command run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SudoRefusal {
    /// It wanted a password.
    #[error("sudo wants a password that nobody gave")]
    Unanswered,
    /// The same on a host whose key has changed: it is lent no password.
    #[error("sudo wants a password, and none is given to a host whose key has changed")]
    ChangedHostKey,
    /// The shell's status says that there is no such program.
    #[error("sudo cannot be run")]
    Missing,
    /// Its own words say why.
    #[error("sudo did not let it through")]
    Refused,
}

/// Why a host key was not accepted. `known_hosts` is where OpenSSH would look too.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostKeyError {
    /// The host is in none of the `known_hosts` files.
    #[error(
        "the host key of {host} is not known: {key_type} {fingerprint} (StrictHostKeyChecking {policy})"
    )]
    Unknown {
        /// The name looked up: host, or `[host]:port`.
        host: String,
        /// What was typed, which is what the person has to give to `ssh`.
        destination: String,
        /// Such as `ssh-ed25519`.
        key_type: String,
        /// `SHA256:…`.
        fingerprint: String,
        /// `yes` or `ask`, and why a certificate that came with the key was not enough.
        policy: Box<str>,
    },
    /// The host is known by other keys.
    #[error(
        "THE HOST KEY OF {host} HAS CHANGED: it now shows {key_type} {fingerprint}. Offending {offending}. Someone may be \
         intercepting the connection, or the host was reinstalled"
    )]
    Changed {
        /// The name looked up.
        host: String,
        /// The type of the key shown.
        key_type: String,
        /// Its fingerprint.
        fingerprint: String,
        /// The `known_hosts` file with the other key.
        file: String,
        /// `TYPE key in FILE:LINE (FINGERPRINT)`, and why a certificate that came with the key was not enough.
        offending: Box<str>,
    },
    /// The key, or the authority that signed its certificate, is revoked.
    #[error("the host key {key_type} {fingerprint} of {host} is REVOKED: {place}")]
    Revoked {
        /// The name looked up.
        host: String,
        /// The type of the key shown.
        key_type: String,
        /// Its fingerprint.
        fingerprint: String,
        /// What revokes it: `@revoked in FILE:LINE`, or where in a file of `RevokedHostKeys`.
        place: String,
    },
    /// A file of known or revoked keys cannot be read: whether the key is revoked or changed cannot be known.
    #[error("{file} cannot be read: {message}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        message: String,
    },
    /// The server's key is broken or of a kind that the configuration does not allow.
    #[error("the server showed a host key that cannot be used: {0}")]
    Unusable(String),
}

impl SshError {
    /// Whether the same dial may succeed a moment later. sshd closes what is more than `MaxStartups` before it says who
    /// it is.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lookup { .. }
            | Self::Connect { .. }
            | Self::Forward { .. }
            | Self::Timeout { .. }
            | Self::Handshake { .. }
            | Self::Authentication {
                remedy: Remedy::Again,
                ..
            }
            | Self::Lost(_) => true,
            Self::Jump { source, .. } | Self::Greeted { source, .. } => source.is_transient(),
            _ => false,
        }
    }
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => Self::NoCommonAlgorithm {
                kind: format!("{kind:?}"),
                ours: ours.join(","),
                theirs: said(&theirs.join(",")),
            },
            russh::Error::ChannelOpenFailure(reason) => Self::ChannelRefused(format!("{reason:?}")),
            russh::Error::Disconnect
            | russh::Error::HUP
            | russh::Error::SendError
            | russh::Error::RecvError => Self::Lost(None),
            other => Self::Lost(Some(said(&other.to_string()))),
        }
    }
}

/// What a server has said, as it may stand in an error: what is no plain letter spelled out, and cut.
pub(super) fn said(words: &str) -> String {
    let mut shown = String::new();
    for letter in words.chars() {
        if shown.len() >= MAX_WORDS_BYTES {
            shown.push('…');
            break;
        }

        match letter {
            '"' | '\'' | '\\' => shown.push(letter),
            _ => shown.extend(letter.escape_debug()),
        }
    }

    shown
}

/// To the millisecond: what was given is less by the moments that went before.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_shown_plainly_and_cut() {
        for (words, shown) in [
            ("it's \"über\" \\ fine", "it's \"über\" \\ fine"),
            ("\u{1b}[2J\r\n\u{202e}\0", "\\u{1b}[2J\\r\\n\\u{202e}\\0"),
        ] {
            assert_eq!(said(words), shown);
        }

        assert_eq!(said(&"ü".repeat(500)), "ü".repeat(500));
        assert_eq!(said(&"ü".repeat(501)), "ü".repeat(500) + "…");
    }
}
