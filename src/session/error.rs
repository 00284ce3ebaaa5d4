//! What can go wrong with a session, apart from SSH itself.

use std::sync::Arc;

pub use crate::framing::detached::answer::Refusal;

use super::{name::SessionNameError, store::StoreError};
use crate::{
    openssh::destination::DestinationError,
    ssh::{error::SshError, transfer::TransferError},
};

/// A failure of the session layer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The host parameter.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The name parameter.
    #[error(transparent)]
    Name(#[from] SessionNameError),
    /// The store of saved sessions.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SSH; `session` is its name. Shared, because all who waited for one dial get its error.
    #[error("session {session:?}: {source}")]
    Ssh {
        /// The session's name.
        session: String,
        /// What failed.
        source: Arc<SshError>,
    },
    /// A file was not moved.
    #[error("session {session:?}: {source}")]
    Transfer {
        /// The session's name.
        session: String,
        /// What failed.
        source: Box<TransferError>,
    },
    /// The scripts of a command that lives on the remote machine.
    #[error("session {session:?}: {source}")]
    Detached {
        /// The session's name.
        session: String,
        /// What they said.
        source: Refusal,
    },
    /// There is no session of this name.
    #[error("there is no session {name:?}{}{}", known(known_names), also(notice.as_deref()))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known_names: Vec<String>,
        /// What happened to the store that might have known it.
        notice: Option<String>,
    },
    /// No name was given and there is no default.
    #[error("no session was named and there is no default session{}{}", known(known_names), also(notice.as_deref()))]
    NoDefault {
        /// The names there are.
        known_names: Vec<String>,
        /// What happened to the store that might have known one.
        notice: Option<String>,
    },
    /// The password is not in memory any more.
    #[error("session {0:?} needs its password again: passwords are never saved")]
    NeedsPassword(String),
    /// The call or the program is ending.
    #[error("the call was cancelled before anything was sent")]
    Cancelled,
}

impl SessionError {
    /// Whether the same may work a moment later, over another connection.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Ssh { source, .. } if source.is_transient())
    }
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("; there are: {}", names.join(", "))
    }
}

fn also(notice: Option<&str>) -> String {
    notice
        .map(|notice| format!(". {notice}"))
        .unwrap_or_default()
}
