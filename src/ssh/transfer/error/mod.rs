//! The errors of transfers. After an error the previous file at the destination is unchanged,
//! unless the error says otherwise.

mod edit;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

pub use self::edit::EditError;
use super::{
    abilities::missing_name,
    client::{RequestError, SftpClient},
};
use crate::{
    foreign_text::escape_line,
    policy::GuardReason,
    ssh::error::SshError,
    tree::{
        excludes::ExcludeError,
        limits::PlanError,
        tally::{Tally, counted},
    },
};

/// Upper limit of a path shown in full, in characters.
const MAX_SHOWN_CHARS: usize = 400;

/// Reason for which a transfer, or a file of a tree, failed. The text is shown to users and agents.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The connection or the SFTP channel failed.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// In a copy between hosts, reading from the first host failed.
    #[error("session {session:?}: {source}")]
    Origin {
        /// Name of the session from which the copy reads.
        session: String,
        /// Error of that host.
        source: Box<TransferError>,
    },
    /// A copy would replace its source, or contain itself.
    #[error("\"{0}\" is the source itself, or inside it")]
    Itself(String),
    /// The server has no SFTP subsystem.
    #[error("the server offers no SFTP")]
    NoSftp,
    /// The server has no SFTP, and the host cannot do without.
    #[error("the server offers no SFTP, and without SFTP {0}")]
    NoShell(String),
    /// The subsystem started, but does not speak SFTP. The text quotes what was printed.
    #[error("SFTP does not start on the server: {0}")]
    Start(String),
    /// The account may not write over SFTP.
    #[error("this account may not write files over SFTP; nothing was written")]
    ReadOnly,
    /// An operation on a local file failed.
    #[error("{doing} {path}: {source}", path = path.display())]
    Local {
        /// Failed operation, as a participle: "reading".
        doing: &'static str,
        /// Path of the local file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// An operation on a remote file failed.
    #[error("{doing} \"{path}\" on the remote host: {message}")]
    Remote {
        /// Failed operation, as a participle: "reading".
        doing: &'static str,
        /// Path of the remote file.
        path: String,
        /// Message of the server.
        message: String,
    },
    /// A directory exists where a file is needed.
    #[error("{0} is a directory, which a file does not replace")]
    Directory(String),
    /// Something other than a directory exists where a directory is needed.
    #[error("{0} is not a directory, and a directory does not replace it")]
    NotADirectory(String),
    /// The source or the target is a device, socket or pipe.
    #[error("{0} is not a regular file")]
    NotAFile(String),
    /// The path cannot be used, such as an empty path or another user's `~`. The text explains the
    /// reason.
    #[error("{0}")]
    Path(String),
    /// The number of bytes moved differs from the length of the file, which changed in the
    /// meantime.
    #[error(
        "{path} has {found} bytes where {expected} were expected; it changed during the transfer"
    )]
    Length {
        /// Path of the file, for display.
        path: String,
        /// Length found, in bytes.
        found: u64,
        /// Length expected, in bytes.
        expected: u64,
    },
    /// Both sides have the same length but different content.
    #[error(
        "the copy of {0} differs from it (SHA-256); it changed during the transfer, or a disk is faulty"
    )]
    Differs(String),
    /// A pattern of [`TransferRequest::exclude`](super::TransferRequest::exclude) is invalid.
    #[error(transparent)]
    Exclude(#[from] ExcludeError),
    /// The tree exceeds a limit, such as the number of entries.
    #[error(transparent)]
    Tree(#[from] PlanError),
    /// Part of a tree could not be moved. The rest has arrived.
    #[error("{}", incomplete(tally, *ended))]
    Incomplete {
        /// Counts of the entries moved, and the failures.
        tally: Box<Tally>,
        /// Limit at which the transfer ended early. `None` if every entry was tried.
        ended: Option<PlanError>,
    },
    /// The SFTP channel ended or became unusable, while the connection still works.
    #[error("{doing} \"{path}\" on the remote host: {message}")]
    Ended {
        /// Interrupted operation, as a participle.
        doing: &'static str,
        /// Path of the remote file.
        path: String,
        /// Description of the way in which the channel ended.
        message: String,
    },
    /// The path is guarded, and the user did not permit the access. Nothing was read or written
    /// there.
    #[error("{doing} {path}: it is guarded, because {why}, and {answer}", path = path.display(),
        doing = if *is_read { "reading" } else { "writing to" },
        answer = if *refused { "the user refused" } else { "the user cannot be asked" })]
    Guarded {
        /// Absolute local path, with symbolic links resolved.
        path: PathBuf,
        /// Reason for which the path is guarded.
        why: GuardReason,
        /// True if the file was to be read, false if the file was to be written.
        is_read: bool,
        /// True if the user refused, false if nobody could be asked.
        refused: bool,
    },
    /// The transfer failed while the target itself was being written. This happens with servers
    /// which do not rename files. The old content is gone and the new content is incomplete.
    #[error(
        "{source}; \"{path}\" was being written in place, because the server does not rename files, and is incomplete"
    )]
    InPlace {
        /// Error at which the writing stopped.
        source: Box<TransferError>,
        /// Path of the incomplete remote file.
        path: String,
    },
    /// The server moved the old file to another name, but then refused to rename either file to the
    /// target.
    #[error("replacing \"{path}\" on the remote host: {message}; the old file is now \"{aside}\"")]
    Aside {
        /// Path of the target.
        path: String,
        /// Message of the server.
        message: String,
        /// Path at which the old file is now.
        aside: String,
    },
    /// An edit was not made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The caller gave up, or the session ended.
    #[error("the transfer was cancelled; incomplete files were left unchanged")]
    Cancelled,
}

impl TransferError {
    /// Returns true if the connection was lost. A further attempt over a new connection continues
    /// where this attempt stopped.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Ssh(error) => matches!(error, SshError::Lost(_)),
            Self::Origin { source, .. } => source.is_lost(),
            _ => false,
        }
    }

    /// Returns the message for a failure of a single file. `None` if the error ends the transfer of
    /// the whole tree.
    pub(super) fn of_one_file(&self) -> Option<String> {
        match self {
            Self::Local { doing, source, .. } => Some(format!("{}: {source}", of_it(doing))),
            Self::Remote { doing, message, .. } => Some(format!("{}: {message}", of_it(doing))),
            Self::Length {
                found, expected, ..
            } => Some(format!(
                "it has {found} bytes where {expected} were expected; it changed during the transfer"
            )),
            Self::Origin { session, source } => {
                Some(format!("{} (session {session})", source.of_one_file()?))
            }
            Self::InPlace { source, .. } => Some(format!(
                "{}; it was being written in place and is incomplete",
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

    /// Names the reason if a refused write was refused because the account may not write at all.
    pub(super) async fn or_read_only(self, client: &SftpClient) -> Self {
        let (Self::Remote { message, .. } | Self::Edit(EditError::Failed { message, .. })) = &self
        else {
            return self;
        };
        if !message.starts_with("permission denied") {
            return self;
        }

        match missing_name() {
            Ok(missing) if !client.writes(&missing).await => Self::ReadOnly,
            _ => self,
        }
    }

    /// Wraps the error of a file which was being written under the final name, at `path`.
    pub(super) fn in_place(self, path: &[u8]) -> Self {
        Self::InPlace {
            source: Box::new(self),
            path: shown(path),
        }
    }

    /// Names the session in an error of the host from which a copy reads. A cancellation concerns
    /// both hosts.
    pub(super) fn of_origin(self, session: &str) -> Self {
        match self {
            Self::Cancelled => self,
            _ => Self::Origin {
                session: session.to_owned(),
                source: Box::new(self),
            },
        }
    }

    /// Creates the error of a local operation.
    pub(super) fn local(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Local {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Returns the path as text, with `\xNN` for each byte that is not UTF-8.
pub(super) fn as_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }

    text
}

/// Formats a path for display: on a single line, and without the middle of a path longer than
/// 400 characters.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    let line = escape_line(as_text(path));
    let length = line.chars().count();
    if length <= MAX_SHOWN_CHARS {
        return line;
    }

    // The beginning tells the user which tree the path is in, and the end which file it is.
    let half = MAX_SHOWN_CHARS / 2;

    line.chars()
        .take(half)
        .chain(['…'])
        .chain(line.chars().skip(length - half))
        .collect()
}

impl SftpClient {
    /// Returns a function which converts the error of a request on `path`. If the connection has
    /// ended, the result is the error of the connection, because that is the cause.
    pub(super) fn failed(
        &self,
        doing: &'static str,
        path: &[u8],
    ) -> impl Fn(RequestError) -> TransferError {
        move |error| {
            // A lost connection fails all requests in flight. Only the error of the connection
            // permits another attempt.
            if self.connection().has_ended() {
                return self.connection().lost().into();
            }

            let (path, message) = (shown(path), error.to_string());
            // A status concerns this path only. A broken or silent channel would fail the other
            // files of a tree as well, so it has to end the transfer.
            match error {
                RequestError::Status(_) | RequestError::TooLong | RequestError::MixedUp => {
                    TransferError::Remote {
                        doing,
                        path,
                        message,
                    }
                }
                RequestError::Malformed(_)
                | RequestError::BadAnswer(_)
                | RequestError::Closed
                | RequestError::NoAnswer => TransferError::Ended {
                    doing,
                    path,
                    message,
                },
            }
        }
    }
}

/// Formats the message of [`TransferError::Incomplete`]: the counts, the named failures, and the
/// number of the other failures.
fn incomplete(tally: &Tally, ended: Option<PlanError>) -> String {
    let mut moved = counted(tally.files, "file", "files");

    if tally.unkept.size > 0 {
        let unsure = counted(tally.unkept.size, "file", "files");
        let _ = write!(
            moved,
            "; the server reported another length for {unsure}, or none"
        );
    }

    let unkept = tally.unkept.to_string();
    if !unkept.is_empty() {
        let _ = write!(moved, "; {unkept}");
    }

    let mut text = match ended {
        Some(ended) => format!("{ended}; moved: {moved}"),
        None => format!(
            "{} could not be moved; the rest has arrived ({moved})",
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

    // The tally names only the first failures.
    let unnamed = tally.failed - tally.failures.len();
    if unnamed > 0 {
        let _ = write!(text, "\nand {} more", entries(unnamed));
    }

    text
}

/// Formats a number of entries.
fn entries(count: usize) -> String {
    if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count} entries")
    }
}
/// Returns the failed step of a file which was named before.
fn of_it(doing: &str) -> String {
    if doing.ends_with(" link") || doing.ends_with(" directory") {
        doing.to_owned()
    } else {
        format!("{doing} it")
    }
}
