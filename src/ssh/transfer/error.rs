//! Why a file was not moved. The file that was there before is as it was, unless the error says otherwise.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use super::client::{RequestError, SftpClient};
use crate::{
    policy::GuardReason,
    render::escape_line,
    ssh::error::SshError,
    tree::{
        excludes::ExcludeError,
        limits::PlanError,
        tally::{Tally, counted},
    },
};

/// The longest path that is shown whole, in characters.
const MAX_SHOWN_CHARS: usize = 400;

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
    #[error("{doing} \"{path}\" on the remote host: {message}")]
    Remote {
        /// What was being done.
        doing: &'static str,
        /// The remote path.
        path: String,
        /// What the server said.
        message: String,
    },
    /// A directory, where a file is needed.
    #[error("{0} is a directory, which a file does not replace")]
    Directory(String),
    /// Something else, where a directory is needed.
    #[error("{0} is not a directory, and a directory does not replace it")]
    NotADirectory(String),
    /// A device, socket or pipe.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// A path that cannot be meant.
    #[error("{0}")]
    Path(String),
    /// The file changed while it was read, or arrived with another length.
    #[error(
        "{path} has {found} bytes where {expected} were expected; it changed during the transfer"
    )]
    Length {
        /// The file that was looked at.
        path: String,
        /// Its length, in bytes.
        found: u64,
        /// What it should have been.
        expected: u64,
    },
    /// Both sides have the same length and not the same content.
    #[error(
        "the copy of {0} differs from it (SHA-256); it changed during the transfer, or a disk is not sound"
    )]
    Differs(String),
    /// What is to be left out of a tree.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// A tree that has too much of something.
    #[error(transparent)]
    Tree(#[from] PlanError),
    /// Some of a tree could not be moved; the rest is there.
    #[error("{}", incomplete(tally, *ended))]
    Incomplete {
        /// What was moved and what not.
        tally: Box<Tally>,
        /// Why not everything was tried.
        ended: Option<PlanError>,
    },
    /// SFTP does not go on, while the connection does.
    #[error("{doing} \"{path}\" on the remote host: {message}")]
    Ended {
        /// What was being done.
        doing: &'static str,
        /// The remote path.
        path: String,
        /// How it ended.
        message: String,
    },
    /// What this machine trusts, which only the person gives out or has replaced.
    #[error("{doing} {path}: it is guarded, because {why}, and {answer}", path = path.display(),
        doing = if *is_read { "reading" } else { "writing to" },
        answer = if *refused { "the person said no" } else { "nobody can be asked here" })]
    Guarded {
        /// The path on this machine, without links.
        path: PathBuf,
        /// Why it is guarded.
        why: GuardReason,
        /// It would have been read; else written.
        is_read: bool,
        /// The person said no; else there was nobody to ask.
        refused: bool,
    },
    /// It failed while the file was written under its own name, because the server takes it in no other way.
    #[error(
        "{source}; \"{path}\" was being written in place, as the server renames nothing, and is not complete"
    )]
    InPlace {
        /// What failed.
        source: Box<TransferError>,
        /// The remote path.
        path: String,
    },
    /// The server took the old file out of the way of the new one, and would put neither in its place.
    #[error("replacing \"{path}\" on the remote host: {message}; the old file is now \"{aside}\"")]
    Aside {
        /// The remote path.
        path: String,
        /// What the server said.
        message: String,
        /// Where the old file is.
        aside: String,
    },
    /// The caller gave up.
    #[error("the transfer was cancelled; what was not complete is as it was")]
    Cancelled,
}

impl TransferError {
    /// The link was lost: another attempt, over a new one, may go on where this one stood.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Ssh(SshError::Lost(_)))
    }

    /// What is wrong with one file, if it does not concern the others of its tree.
    pub(super) fn of_one_file(&self) -> Option<String> {
        match self {
            Self::Local { doing, source, .. } => Some(format!("{doing} it: {source}")),
            Self::Remote { doing, message, .. } => Some(format!("{doing} it: {message}")),
            Self::Length {
                found, expected, ..
            } => Some(format!(
                "it has {found} bytes where {expected} were expected; it changed during the transfer"
            )),
            Self::InPlace { source, .. } => Some(format!(
                "{}; it was being written in place and is not complete",
                source.of_one_file()?
            )),
            Self::Aside { .. }
            | Self::Directory(_)
            | Self::NotADirectory(_)
            | Self::NotAFile(_)
            | Self::Path(_)
            | Self::Differs(_) => Some(self.to_string()),
            _ => None,
        }
    }

    /// The same while the file at this path was written under its own name.
    pub(super) fn in_place(self, path: &[u8]) -> Self {
        Self::InPlace {
            source: Box::new(self),
            path: shown(path),
        }
    }

    /// A failure on this machine.
    pub(super) fn local(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Local {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// A path for a person: in one line, without its middle where it is long beyond reason.
pub(super) fn shown(path: &[u8]) -> String {
    let line = escape_line(path);
    let length = line.chars().count();
    if length <= MAX_SHOWN_CHARS {
        return line;
    }

    let half = MAX_SHOWN_CHARS / 2;

    line.chars()
        .take(half)
        .chain(['…'])
        .chain(line.chars().skip(length - half))
        .collect()
}

impl SftpClient {
    /// The error of a request: of the connection if that is gone, else what the server said about this path.
    pub(super) fn failed(
        &self,
        doing: &'static str,
        path: &[u8],
    ) -> impl Fn(RequestError) -> TransferError {
        move |error| {
            if self.connection().has_ended() {
                return self.connection().lost().into();
            }

            let (path, message) = (shown(path), error.to_string());
            match error {
                RequestError::Status(_) | RequestError::TooLong | RequestError::MixedUp => {
                    TransferError::Remote {
                        doing,
                        path,
                        message,
                    }
                }
                RequestError::Malformed(_) | RequestError::Closed | RequestError::Silent => {
                    TransferError::Ended {
                        doing,
                        path,
                        message,
                    }
                }
            }
        }
    }
}

fn incomplete(tally: &Tally, ended: Option<PlanError>) -> String {
    let mut moved = counted(tally.files, "file", "files");

    if tally.unkept.size > 0 {
        let unsure = counted(tally.unkept.size, "file", "files");
        let _ = write!(
            moved,
            "; the server said another length of {unsure}, or none"
        );
    }

    let unkept = tally.unkept.to_string();
    if !unkept.is_empty() {
        let _ = write!(moved, "; {unkept}");
    }

    let mut text = match ended {
        Some(ended) => format!("{ended}; moved: {moved}"),
        None => format!(
            "{} could not be moved; the rest is there ({moved})",
            entries(tally.failed)
        ),
    };

    for (path, reason) in &tally.failures {
        let _ = write!(text, "\n\"{}\": {reason}", shown(path));
    }

    for (path, reason) in &tally.named_left_out {
        let _ = write!(
            text,
            "\n\"{}\": left out, because it is guarded: {reason}",
            shown(path)
        );
    }

    let unnamed = tally.failed - tally.failures.len();
    if unnamed > 0 {
        let _ = write!(text, "\nand {} more", entries(unnamed));
    }

    text
}

fn entries(count: usize) -> String {
    if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count} entries")
    }
}
