//! The reasons for which a file is not edited.

use super::TransferError;
use crate::edit::{patch::PatchError, replace::ReplaceError};

/// Reason for which an edit was not made. No file has changed, unless the error says otherwise.
/// Paths are in a form for display.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The path leads to something that is not edited, such as `a directory`.
    #[error("{path} is {what}, and only regular files are edited")]
    NotAFile {
        /// Path as resolved.
        path: String,
        /// Kind of the file in words, with an article.
        what: &'static str,
    },
    /// The path is a symbolic link that leads nowhere, or to itself.
    #[error("{path} is a symbolic link that leads {to}")]
    BrokenLink {
        /// Path as resolved so far.
        path: String,
        /// Target in words, such as `to /srv/x, which does not exist` or `to itself`.
        to: String,
    },
    /// The file is too long to be edited.
    #[error("{path} has {bytes} bytes, and files of up to 4 MiB are edited")]
    TooLong {
        /// Path as resolved.
        path: String,
        /// Length in bytes, at least.
        bytes: u64,
    },
    /// The file is not text.
    #[error("{path} is no text: {kind}")]
    Binary {
        /// Path as resolved.
        path: String,
        /// Kind of the file in words.
        kind: String,
    },
    /// There is no such file.
    #[error("{0} does not exist")]
    Missing(String),
    /// The directory of a new file does not exist.
    #[error("the directory {0} does not exist")]
    NoDirectory(String),
    /// A file that is to be created, or the target of a move, exists.
    #[error("{0} exists already")]
    Exists(String),
    /// The file changed between reading and writing. Nothing was written.
    #[error("{0} changed while it was edited; nothing was written")]
    Changed(String),
    /// Another program of this kind edits the file, or was ended while it did.
    #[error("another edit of {path} has not ended; its temporary file is {temp}")]
    Busy {
        /// Path of the file.
        path: String,
        /// Path of the temporary file.
        temp: String,
    },
    /// The whole content of a file is to be replaced, and the caller has not seen the file.
    #[error("{0} exists, and was not read before; nothing was written")]
    NotRead(String),
    /// The whole content of a file is to be replaced, and others have changed the file since the
    /// caller saw it.
    #[error("{0} was changed by others since it was read; nothing was written")]
    ChangedSinceRead(String),
    /// The first files of a patch were written, and the next could not be.
    #[error("{source}; written before: {}", .written.join(", "))]
    Partly {
        /// Paths of the files that were written.
        written: Vec<String>,
        /// Reason for which the next was not.
        source: Box<TransferError>,
    },
    /// The old text does not fit the file.
    #[error("{path}: {source}")]
    Replace {
        /// Path as resolved.
        path: String,
        /// Reason for which nothing was replaced.
        source: ReplaceError,
    },
    /// The patch does not fit the files.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// The host refuses a step, and the file is as before.
    #[error("{doing} {path}: {message}; nothing was written")]
    Failed {
        /// Failed step, as a participle: "writing".
        doing: &'static str,
        /// Path of the file.
        path: String,
        /// Message of the server or of a program of the host.
        message: String,
    },
    /// Writing in place failed part of the way, and the old content could not be put back.
    #[error("writing {path}: {message}; it is incomplete, and its old content is in {old}")]
    Incomplete {
        /// Path of the incomplete file.
        path: String,
        /// Message of the server or of a program of the host.
        message: String,
        /// Path of the old content.
        old: String,
    },
    /// The link was lost, or the server stopped answering, while the change was made.
    #[error("{path}: {message}; the file has either the old or the new content")]
    Unsure {
        /// Path of the file.
        path: String,
        /// Description of what happened.
        message: String,
    },
}
