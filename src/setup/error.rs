//! Reasons why `setup` cannot do something.

use std::{io, path::PathBuf};

use crate::client_config::ClientConfigError;

/// Reason why a client cannot be set up, or a change not be taken back.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The home directory of this user is not known.
    #[error("the home directory is not known; set HOME")]
    NoHome,
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// A configuration is not text.
    #[error("{} is not UTF-8, so it is left as it is; save it as UTF-8, then run this command again", .0.display())]
    NotText(PathBuf),
    /// A configuration cannot be read or changed.
    #[error("{}: {source}. It is left as it is; correct it, then run this command again", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ClientConfigError,
    },
    /// The file was changed by another program since the changes were shown.
    #[error("{} was changed by another program meanwhile; run this command again", .0.display())]
    ChangedMeanwhile(PathBuf),
    /// The file belongs to another user.
    #[error("{} belongs to another user; run this command as that user", .0.display())]
    NotOurs(PathBuf),
    /// The file is read-only, which the user or a program has chosen.
    #[error("{} is read-only; make it writable, then run this command again", .0.display())]
    ReadOnly(PathBuf),
    /// The record of the changes is damaged.
    #[error("the record {} cannot be read ({reason}); remove the entry ssh from the clients by hand, then remove the record", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process of `setup` has not ended.
    #[error(
        "setup runs in another process, too; wait until it has ended, then run this command again"
    )]
    Busy,
    /// The output cannot be written.
    #[error("cannot write to the terminal: {0}")]
    Output(#[from] io::Error),
}

impl SetupError {
    /// Makes the error of a file operation.
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// Makes the error of a configuration.
    pub(super) fn config(path: impl Into<PathBuf>) -> impl FnOnce(ClientConfigError) -> Self {
        let path = path.into();
        move |source| Self::Config { path, source }
    }
}
