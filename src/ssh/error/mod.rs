//! Errors between a destination and a running command, by stage.

mod algorithms;
mod hint;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use self::algorithms::Negotiation;
pub use self::hint::{Audience, words_hint};
pub use crate::framing::exec::ExecScriptError;
use crate::{
    foreign_text::ForeignText,
    openssh::{effective_config::ConfigError, tokens::TokenError},
};

/// Reason for the end of a connection which the other side has closed, without a message.
pub(super) const CLOSED_BY_SERVER: &str = "the other side closed it";

/// Limit of the server's own words in an error, in bytes.
pub(super) const MAX_WORDS_BYTES: usize = 1000;

/// Failure of the SSH layer. The variant names the stage which failed, and the source is the cause.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The settings or the user do not allow the host, or a jump host on the way.
    #[error("{}", .0.message)]
    NotAllowed(Box<NotAllowed>),
    /// The `ssh` program, which reads the configuration, could not be run.
    #[error("could not run `ssh -G` to read the SSH configuration: {0}")]
    ResolveRun(#[source] io::Error),
    /// `ssh -G` refused the destination, or the configuration forbids the connection
    /// (`RefuseConnection`).
    #[error("ssh refused the destination {destination:?}: {message}")]
    Resolve {
        /// Destination as the user typed it.
        destination: String,
        /// Text which `ssh` printed on stderr, or the text of `RefuseConnection`.
        message: ForeignText,
    },
    /// The configuration has a value which cannot be right.
    #[error("the SSH configuration for {destination:?} is broken: {source}")]
    Config {
        /// Destination as the user typed it.
        destination: String,
        /// Cause, with the option in question.
        source: ConfigError,
    },
    /// A configuration file cannot be read without the `ssh` program, which is missing.
    #[error(
        "{}{} cannot be read without the `ssh` program, which is missing: {message}",
        file.display(), if *number > 0 { format!(" line {number}") } else { String::new() }
    )]
    ConfigFile {
        /// Path of the configuration file.
        file: PathBuf,
        /// Line number, counted from 1; 0 stands for the whole file.
        number: usize,
        /// Description of the problem.
        message: String,
    },
    /// An option has a percent token, `~` or `${VARIABLE}` which cannot be expanded.
    #[error("the SSH configuration option {option} cannot be expanded: {source}")]
    Token {
        /// Keyword of the option in `ssh_config`.
        option: &'static str,
        /// Cause: the token or variable without a usable value.
        source: TokenError,
    },
    /// An option which decides how the host is reached is not supported. Ignoring such an option
    /// could reach another host.
    #[error("the SSH configuration sets {option} to {value:?}, which is not supported yet")]
    Unsupported {
        /// Keyword of the option in `ssh_config`.
        option: &'static str,
        /// Value of the option.
        value: String,
    },
    /// A hop of `ProxyJump`, or the destination, cannot be parsed.
    #[error("the ProxyJump hop {hop:?} cannot be used: {source}")]
    Hop {
        /// Hop as the configuration has it.
        hop: String,
        /// Cause: the part of the hop which cannot be used.
        source: crate::openssh::destination::DestinationError,
    },
    /// Connecting to a jump host failed.
    #[error("through the jump host {hop}: {source}")]
    Jump {
        /// Hops up to the failed hop, comma-separated.
        hop: String,
        /// Error of the connection to the hop.
        source: Box<SshError>,
    },
    /// The jump host could not connect to the next host.
    #[error("the jump host could not connect to {host} port {port}: {message}")]
    Forward {
        /// Name of the next host.
        host: String,
        /// TCP port of the next host.
        port: u16,
        /// Reason given by the jump host.
        message: String,
    },
    /// A forward of the configuration is not open, and `ExitOnForwardFailure` is set.
    #[error("{option}: {reason}, and ExitOnForwardFailure is set")]
    ConfiguredForward {
        /// Option and listening address, as in `LocalForward 8080`.
        option: String,
        /// Reason for which the forward is not open.
        reason: String,
    },
    /// A `ProxyCommand` could not be started.
    #[error("the ProxyCommand {command:?} could not be run: {source}")]
    ProxyCommand {
        /// Command line after expansion.
        command: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The host name has no address.
    #[error("could not resolve the host name {host:?}: {source}")]
    Lookup {
        /// Host name after the configuration was applied.
        host: String,
        /// Error of the resolver.
        source: io::Error,
    },
    /// No address of the host accepted a TCP connection.
    #[error("could not connect to {host} port {port}: {source}")]
    Connect {
        /// Host name after the configuration was applied.
        host: String,
        /// TCP port of the host.
        port: u16,
        /// Error of the last address tried.
        source: io::Error,
    },
    /// A stage exceeded its time limit.
    #[error("{stage} took longer than {:?}", rounded(*after))]
    Timeout {
        /// Name of the stage, as used in a sentence.
        stage: &'static str,
        /// Time limit of the stage.
        after: Duration,
    },
    /// The time limit of a command ran out before the command could be sent. The command did not
    /// run.
    #[error("the server did not accept the command within {after:?}; the command was not run")]
    NotSent {
        /// Time limit of the command.
        after: Duration,
    },
    /// Client and server have no algorithm in common.
    #[error("{}; offered to the server: {ours}; offered by the server: {theirs}", .negotiation.cause())]
    NoCommonAlgorithm {
        /// Kind of algorithm, and what would help.
        negotiation: Box<Negotiation>,
        /// Algorithms offered by this program, comma-separated.
        ours: String,
        /// Algorithms offered by the server, comma-separated.
        theirs: ForeignText,
    },
    /// The configuration allows only algorithms which this program does not have.
    #[error(
        "this program does not have any algorithm that {option} allows in the SSH configuration; configured: {configured}; it has: {supported}"
    )]
    UnsupportedAlgorithms {
        /// Keyword of the option in `ssh_config`.
        option: &'static str,
        /// Value of the option.
        configured: String,
        /// Algorithms supported by this program, comma-separated.
        supported: String,
    },
    /// The signature of the server's host key could not be verified.
    #[error(
        "the server's signature with its host key is not right, or the key is an RSA key of more than 8,192 bits, which this program cannot check"
    )]
    HostKeySignature,
    /// The SSH handshake failed for another reason.
    #[error("the SSH handshake with {host} failed: {message}")]
    Handshake {
        /// Host name after the configuration was applied.
        host: String,
        /// Description of the cause.
        message: String,
    },
    /// The host key was not accepted.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// No authentication method succeeded.
    #[error("{user}@{host}: permission denied ({attempts})")]
    Authentication {
        /// Remote user.
        user: String,
        /// Host name after the configuration was applied.
        host: String,
        /// Methods tried, each with the reason for the failure.
        attempts: String,
        /// Methods which the server would still accept, comma-separated; empty if the server named
        /// none.
        remaining: String,
        /// Measure which is likely to help.
        remedy: Remedy,
    },
    /// A log-in failed after the server had sent a banner.
    #[error("{source}; the server said before: {words}")]
    Greeted {
        /// Words of the banner.
        words: ForeignText,
        /// Error of the log-in.
        source: Box<SshError>,
    },
    /// The server has closed several connections right after the log-in.
    #[error("the server closes the connection right after each log-in{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    ClosedAtOnce {
        /// Reason given by the server or the network; `None` without a reason.
        reason: Option<String>,
    },
    /// A key file which the caller named explicitly cannot be used.
    #[error("the key file {path} cannot be used: {reason}")]
    KeyFile {
        /// Path of the key file.
        path: PathBuf,
        /// Description of the problem.
        reason: String,
        /// True if the passphrase is missing or wrong.
        passphrase: bool,
    },
    /// The server refused to open a channel, for this reason.
    #[error("the server refused to open a channel: {0}")]
    ChannelRefused(String),
    /// The server refused a further channel, and no further connection could be opened either.
    #[error(
        "the server allows no more channels at once, and no further connection could be opened: {source}"
    )]
    NoRoom {
        /// Error of the further connection.
        source: Arc<SshError>,
    },
    /// The connection ended, for this reason; `None` if the reason is unknown.
    #[error("the connection was lost{}", .0.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Lost(Option<String>),
    /// The connection ended, with the command that ran over it, when this program opened another
    /// channel.
    #[error(
        "the command was cut off: the server ended the connection when this program opened a second channel over it; \
         from now on each channel has a connection of its own"
    )]
    SecondChannel,
    /// The command cannot be written for the remote shell.
    #[error(transparent)]
    Script(#[from] crate::framing::script::ScriptError),
    /// The command, directory or environment cannot be written for the login shell.
    #[error(transparent)]
    ExecScript(#[from] ExecScriptError),
    /// The login shell is another one than at the last connection, and could not read the script around
    /// the command.
    #[error("the login shell of the account has changed; the command was not run")]
    OtherShell,
    /// The server refused the request to run a command.
    #[error("the server does not run commands for this account; the command was not run")]
    ExecRefused,
    /// The server refused the request for a shell.
    #[error("the server opens no shell for this account")]
    ShellRefused,
    /// The login shell ended before reaching the command.
    #[error(
        "the command was not run: a startup file of the account ended or replaced the shell, or waits for input{}{said}",
        if said.is_empty() { "" } else { ", or the shell could not read the command; the host said: " }
    )]
    NotBegun {
        /// Text printed in place of the command's output.
        said: ForeignText,
    },
    /// sudo did not run the command.
    #[error("{refusal}; the command was not run{}{said}", if said.is_empty() { "" } else { ": " })]
    Sudo {
        /// Reason for the refusal.
        refusal: SudoRefusal,
        /// Text printed by sudo.
        said: ForeignText,
    },
    /// No persistent shell could be started.
    #[error("no shell could be started on the remote host: {0}")]
    ShellStart(String),
    /// The operating system returned no random bytes.
    #[error("the system's random number generator failed: {0}")]
    Random(String),
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled,
}

/// Refusal by the settings or by the user, with one instruction for the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAllowed {
    /// What is not allowed, and who says so.
    pub message: String,
    /// Next step.
    pub hint: String,
}

/// Measure which may help after a failed authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Give other credentials.
    Credentials,
    /// Give the passphrase of a key file whose key the server would have accepted.
    Passphrase,
    /// Offer fewer keys: the server closed the connection after too many refused keys
    /// (`MaxAuthTries`, `sshd_config(5)`).
    FewerKeys,
    /// Set a new password, since the current password seems to have expired.
    NewPassword,
    /// Try again: the connection was lost before the server had refused anything.
    Again,
}

/// Reason why sudo did not run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SudoRefusal {
    /// sudo wanted a password, and nobody gave a password.
    #[error("sudo asked for a password, and none was given")]
    Unanswered,
    /// sudo wanted a password, but the host key has changed, and such a host gets no password.
    #[error("sudo asked for a password, but a host whose key has changed gets none")]
    ChangedHostKey,
    /// There is no sudo program, according to the shell's exit status.
    #[error("sudo cannot be run")]
    Missing,
    /// sudo refused for a reason in its own words.
    #[error("sudo refused to run the command")]
    Refused,
}

/// Reason why a host key was not accepted. The decision follows the `known_hosts` files which
/// OpenSSH would read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostKeyError {
    /// The host is in none of the `known_hosts` files.
    #[error(
        "the host key of {host} is not known: {key_type} {fingerprint} (StrictHostKeyChecking {policy})"
    )]
    Unknown {
        /// Name looked up: `host`, or `[host]:port`.
        host: String,
        /// Destination as the user typed it, ready to be given to `ssh`.
        destination: String,
        /// Type of the key, such as `ssh-ed25519`.
        key_type: String,
        /// Fingerprint of the key, `SHA256:…`.
        fingerprint: String,
        /// Value of `StrictHostKeyChecking`, and why a certificate sent with the key was not
        /// accepted.
        policy: Box<str>,
    },
    /// The `known_hosts` files list other keys for the host.
    #[error(
        "THE HOST KEY OF {host} HAS CHANGED: it now shows {key_type} {fingerprint}. Offending {offending}. Someone may be \
         intercepting the connection, or the host was reinstalled"
    )]
    Changed {
        /// Name looked up: `host`, or `[host]:port`.
        host: String,
        /// Type of the key shown by the server.
        key_type: String,
        /// Fingerprint of the key shown by the server.
        fingerprint: String,
        /// Path of the `known_hosts` file which lists another key.
        file: String,
        /// Listed key as `TYPE key in FILE:LINE (FINGERPRINT)`, and why a certificate sent with the
        /// key was not accepted.
        offending: Box<str>,
    },
    /// The key is revoked, or the certificate's authority is.
    #[error("the host key {key_type} {fingerprint} of {host} is REVOKED: {location}")]
    Revoked {
        /// Name looked up: `host`, or `[host]:port`.
        host: String,
        /// Type of the key shown by the server.
        key_type: String,
        /// Fingerprint of the key shown by the server.
        fingerprint: String,
        /// Location of the revocation: `@revoked in FILE:LINE`, or an entry of a `RevokedHostKeys`
        /// file.
        location: String,
    },
    /// A file of known or revoked keys cannot be read, so a revoked or changed key could go
    /// unnoticed.
    #[error("{file} cannot be read: {message}")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// Error of the operating system, or of the file's format.
        message: String,
    },
    /// The server's key is broken or of a kind which the configuration does not allow.
    #[error("the server showed a host key that cannot be used: {0}")]
    Unusable(String),
}

impl SshError {
    /// Returns true if the same attempt may succeed a moment later. sshd, for instance, closes
    /// connections beyond `MaxStartups` before sending its identification.
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
                negotiation: Box::new(Negotiation::new(&kind, &theirs)),
                ours: ours.join(","),
                theirs: excerpt(theirs.join(",")),
            },
            russh::Error::WrongServerSig => Self::HostKeySignature,
            russh::Error::ChannelOpenFailure(reason) => Self::ChannelRefused(format!("{reason:?}")),
            russh::Error::IO(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Lost(Some(CLOSED_BY_SERVER.to_owned()))
            }
            // These errors give no reason for the end of the connection.
            russh::Error::Disconnect
            | russh::Error::HUP
            | russh::Error::SendError
            | russh::Error::RecvError => Self::Lost(None),
            other => Self::Lost(Some(excerpt(other.to_string()).to_string())),
        }
    }
}

/// Returns as much of a server's words as an error or a prompt shows.
pub(super) fn excerpt(words: impl AsRef<[u8]>) -> ForeignText {
    ForeignText::from(words).cut(MAX_WORDS_BYTES)
}

/// Rounds to milliseconds. A limit that was passed on has lost the moments before this stage.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX))
}
