//! Errors of the session layer.

use std::sync::Arc;

pub use crate::framing::detached::answer::Refusal;

use super::{name::SessionNameError, store::StoreError};
use crate::{
    openssh::destination::DestinationError,
    ssh::{
        connect::UnknownOnRoute,
        error::{NotAllowed, SshError},
        transfer::TransferError,
    },
};

/// Failure of an operation on a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The host parameter is not a valid destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The name parameter is not a valid session name.
    #[error(transparent)]
    Name(#[from] SessionNameError),
    /// The store of saved sessions could not be read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An SSH operation of the session failed.
    ///
    /// The source is shared because all callers that waited for one dial get the same error.
    #[error("session {session:?}: {source}")]
    Ssh {
        /// Name of the session.
        session: String,
        /// Error of the SSH layer.
        source: Arc<SshError>,
    },
    /// A file transfer of the session failed.
    #[error("session {session:?}: {source}")]
    Transfer {
        /// Name of the session.
        session: String,
        /// Error of the transfer.
        source: Box<TransferError>,
        /// True unless the account is known to run no commands.
        runs_commands: bool,
    },
    /// The scripts on the remote machine refused a request about a detached job.
    #[error("session {session:?}: {source}")]
    Detached {
        /// Name of the session.
        session: String,
        /// Reason reported by the scripts.
        source: Refusal,
    },
    /// No session has the given name.
    #[error("there is no session {name:?}{}{}", known(known_names), also(notice.as_deref()))]
    Unknown {
        /// Name given by the caller.
        name: String,
        /// Names of all existing sessions.
        known_names: Vec<String>,
        /// Notice about a store which was set aside and might have held the session. `None` if
        /// there is none.
        notice: Option<String>,
    },
    /// No session has a name that matches the given pattern.
    #[error("no session matches {pattern:?}{}", known(known_names))]
    NoMatch {
        /// Pattern given by the caller.
        pattern: String,
        /// Names of all existing sessions.
        known_names: Vec<String>,
    },
    /// No session has the given name. The SSH configuration names a host so, but the host or a jump
    /// host is not known.
    #[error(
        "there is no session {name:?}, and the key of the {}host {} is not known yet",
        if unknown.is_jump_host { "jump " } else { "" },
        unknown.host
    )]
    UnknownHost {
        /// Name given by the caller.
        name: String,
        /// Host whose key is not known.
        unknown: UnknownOnRoute,
    },
    /// The caller gave no name, and there is no default session.
    #[error(
        "no session was named and there is no default session{}{}{}",
        known(known_names),
        named(hosts),
        also(notice.as_deref())
    )]
    NoDefault {
        /// Names of all existing sessions.
        known_names: Vec<String>,
        /// First hosts of the SSH configuration if there are no sessions.
        hosts: Vec<String>,
        /// Notice about a store which was set aside and might have held a default. `None` if there
        /// is none.
        notice: Option<String>,
    },
    /// The settings or the user do not allow the work.
    #[error("session {session:?}: {}", refusal.message)]
    NotAllowed {
        /// Name of the session.
        session: String,
        /// Who does not allow what.
        refusal: Box<NotAllowed>,
    },
    /// The session of this name needs a password to log in, and the password is no longer in
    /// memory.
    #[error("session {0:?} needs its password again: passwords are never saved")]
    NeedsPassword(String),
    /// The call was cancelled, the session was disconnected, or the program is ending.
    #[error("the call was cancelled before anything was sent")]
    Cancelled,
}

impl SessionError {
    /// Returns the kind of the failure in a few words, without names and paths.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Destination(_) | Self::Name(_) => "request",
            Self::Store(_) => "store",
            Self::Ssh { source, .. } => match &**source {
                SshError::Authentication { .. } => "log-in",
                SshError::HostKey(_) => "host key",
                SshError::NotAllowed(_) => "not allowed",
                _ => "connection",
            },
            Self::Transfer { source, .. } => match &**source {
                TransferError::Guarded { .. } => "guarded path",
                TransferError::Cancelled => "cancelled",
                _ => "files",
            },
            Self::Detached { .. } => "job",
            Self::Unknown { .. } | Self::NoMatch { .. } | Self::NoDefault { .. } => "no session",
            Self::UnknownHost { .. } => "host key",
            Self::NotAllowed { .. } => "not allowed",
            Self::NeedsPassword(_) => "password",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns true if the same operation may succeed a moment later over another connection.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Ssh { source, .. } if source.is_transient())
    }
}

/// Number of sessions named in an error.
const MAX_NAMED: usize = 20;

fn known(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        let more = names.len().saturating_sub(MAX_NAMED);
        let more = (more > 0).then(|| format!(" and {more} more"));
        let first: Vec<_> = names.iter().take(MAX_NAMED).map(String::as_str).collect();
        format!(
            "; there are: {}{}",
            first.join(", "),
            more.unwrap_or_default()
        )
    }
}

fn named(hosts: &[String]) -> String {
    if hosts.is_empty() {
        String::new()
    } else {
        format!("; ssh_config names the hosts {}", hosts.join(", "))
    }
}

fn also(notice: Option<&str>) -> String {
    notice
        .map(|notice| format!(". {notice}"))
        .unwrap_or_default()
}
