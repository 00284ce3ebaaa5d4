//! Why a file was not moved. In every case the file that was there before is as it was.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::client::{Client, RequestError};
use crate::ssh::error::SshError;

/// A failed transfer.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection or its channel failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The server has no SFTP subsystem.
    #[error("the server offers no SFTP")]
    NoSftp,
    /// The subsystem is there, but does not answer as SFTP.
    #[error("SFTP does not start on the server: {0}")]
    Start(String),
    /// A file on this machine.
    #[error("{doing} {path}: {source}", path = path.display())]
    Local {
        /// What was being done.
        doing: &'static str,
        /// The local path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file on the remote host.
    #[error("{doing} {path:?} on the remote host: {message}")]
    Remote {
        /// What was being done.
        doing: &'static str,
        /// The remote path.
        path: String,
        /// What the server said.
        message: String,
    },
    /// A directory, where a file is needed.
    #[error("{0} is a directory; only single files can be moved")]
    Directory(String),
    /// A device, socket or pipe.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// A path that cannot be meant.
    #[error("{0}")]
    Path(String),
    /// The file changed while it was read, or arrived with another length.
    #[error("{path} has {found} bytes where {expected} were expected; it changed during the transfer")]
    Length {
        /// The file that was looked at.
        path: String,
        /// Its length, in bytes.
        found: u64,
        /// What it should have been.
        expected: u64,
    },
    /// Both sides have the same length and not the same content.
    #[error("the copy of {0} differs from it (SHA-256); it changed during the transfer, or a disk is not sound")]
    Differs(String),
    /// The caller gave up.
    #[error("the transfer was cancelled; nothing was changed")]
    Cancelled,
}

impl TransferError {
    /// The link was lost: another attempt, over a new one, may go on where this one stood.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Ssh(SshError::Lost(_)))
    }

    /// A failure on this machine.
    pub(super) fn local(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Local { doing, path: path.to_owned(), source }
    }
}

/// A remote path for a person.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Client {
    /// The error of a request: of the connection if that is gone, else what the server said about this path.
    pub(super) fn failed(&self, doing: &'static str, path: &[u8]) -> impl Fn(RequestError) -> TransferError {
        move |error| {
            if self.connection().is_closed() {
                return self.connection().lost().into();
            }
            TransferError::Remote { doing, path: shown(path), message: error.to_string() }
        }
    }
}
