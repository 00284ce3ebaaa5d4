//! Why a file was not moved. In every case the file that was there before is as it was.

use std::{io, path::PathBuf};

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
    /// The caller gave up.
    #[error("the transfer was cancelled; nothing was changed")]
    Cancelled,
}
