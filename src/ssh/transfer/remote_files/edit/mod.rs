//! Changes files of the remote host.
//!
//! A file is loaded whole, changed in memory, and written back only if the host still has the
//! loaded content.

mod by_script;
mod editor;
mod load;
mod over_sftp;
mod prepare;

use std::collections::BTreeSet;

pub use self::editor::{ChangeState, FileEditor};
pub use crate::ssh::transfer::error::EditError;
use sha2::{Digest as _, Sha256};

use super::{TransferError, path::resolve};
use crate::{
    edit::{
        diff::Diff,
        patch::{LenientHunk, Patch},
    },
    ssh::transfer::paths::split,
};

/// Upper limit of a file that is edited, in bytes.
pub const MAX_EDITED_BYTES: u64 = 4 * 1024 * 1024;

/// Existing file as an edit finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedFile {
    /// Absolute path, with all symbolic links resolved.
    pub path: Vec<u8>,
    /// Whole content.
    pub content: Vec<u8>,
    /// Permission bits, if known.
    pub mode: Option<u32>,
    /// User and group by number, if known.
    pub owner: Option<(u32, u32)>,
    /// Time of the last modification, in seconds since 1970, if known.
    pub modified: Option<u32>,
}

/// Result of looking for a file to edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// A regular file of at most [`MAX_EDITED_BYTES`].
    File(LoadedFile),
    /// Nothing has this absolute path. Symbolic links among its directories are resolved.
    Missing(Vec<u8>),
}

/// The way in which a change was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Reason for which the file was written in place instead of being replaced by a rename.
    pub in_place: Option<InPlaceReason>,
    /// Properties of the file that could not be kept, such as `group`.
    pub not_kept: Vec<&'static str>,
    /// Path of a copy of the old content that the server did not remove.
    pub left_copy: Option<Vec<u8>>,
    /// Directories that were created, from the outermost on.
    pub created_directories: Vec<Vec<u8>>,
}

/// Reason for which a file is written in place. A rename would lose something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlaceReason {
    /// The file has several names (hard links).
    HardLinks,
    /// The file has an access control list or extended attributes that a new file cannot get.
    Attributes,
    /// The file belongs to another user or group.
    Owner,
    /// The host does not show if the file has other names, a list or attributes.
    Unseen,
    /// The account cannot create files in the directory.
    Directory,
    /// The server does not rename over a file.
    NoRename,
    /// The account may not remove files, so that a temporary file would stay.
    NoRemove,
}

/// Change that a caller asks for. Paths are as typed until
/// [`in_directory`](Self::in_directory).
#[derive(Debug, Clone)]
pub enum EditAction {
    /// A text of an existing file is replaced.
    Replace {
        /// Path of the file.
        path: Vec<u8>,
        /// Text to replace. It has to occur exactly once, unless `all` is true.
        old: Vec<u8>,
        /// Text to put there.
        new: Vec<u8>,
        /// True if every place is replaced.
        all: bool,
    },
    /// A file gets a whole new content, or is created.
    Content {
        /// Path of the file.
        path: Vec<u8>,
        /// The content.
        content: Vec<u8>,
    },
    /// Files are changed, created, deleted and renamed.
    Patch(Patch),
}

impl EditAction {
    /// Converts the paths from the form in which a caller types them to the form of SFTP, with
    /// relative paths in the absolute `directory`; in the home directory if that is empty.
    ///
    /// # Errors
    /// A path cannot be used.
    pub fn in_directory(self, directory: &[u8]) -> Result<Self, TransferError> {
        self.with_paths(|path| resolve(path, directory))
    }

    /// Replaces each path by what `convert` makes of it.
    ///
    /// # Errors
    /// A path cannot be used, or `convert` fails.
    pub fn with_paths(
        self,
        convert: impl Fn(&str) -> Result<Vec<u8>, TransferError>,
    ) -> Result<Self, TransferError> {
        let resolve = |path: &[u8]| {
            let path = std::str::from_utf8(path).map_err(|_| {
                TransferError::Path("the path is not UTF-8; write other bytes as \\xNN".to_owned())
            })?;
            convert(path)
        };

        Ok(match self {
            Self::Replace {
                path,
                old,
                new,
                all,
            } => Self::Replace {
                path: resolve(&path)?,
                old,
                new,
                all,
            },
            Self::Content { path, content } => Self::Content {
                path: resolve(&path)?,
                content,
            },
            Self::Patch(mut patch) => {
                patch.resolve(resolve)?;
                Self::Patch(patch)
            }
        })
    }

    /// Returns the paths of all files that the action names.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<&[u8]> {
        match self {
            Self::Replace { path, .. } | Self::Content { path, .. } => {
                BTreeSet::from([path.as_slice()])
            }
            Self::Patch(patch) => patch.paths(),
        }
    }
}

/// Edit whose result is known, before anything is written.
#[derive(Debug, Clone)]
pub struct PreparedEdit {
    /// Files that change, in the order of writing.
    pub files: Vec<PreparedFile>,
    /// Hunks of a patch whose lines were found only with leniency.
    pub lenient: Vec<LenientHunk>,
    /// True if an existing file gets a whole new content, whatever the old one is.
    pub replaces_content: bool,
}

/// Change of a file before it is written.
#[derive(Debug, Clone)]
pub struct PreparedFile {
    /// The change.
    pub change: FileChange,
    /// Difference that the change makes.
    pub diff: Diff,
}

/// Change of one file. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// A file is created.
    Create {
        /// Path of the file, which nothing has yet.
        path: Vec<u8>,
        /// Content of the file.
        content: Vec<u8>,
        /// True if missing parent directories are created, too.
        makes_directories: bool,
    },
    /// A file gets a new content.
    Write {
        /// The file as it was found.
        old: LoadedFile,
        /// New content.
        content: Vec<u8>,
    },
    /// A file gets another path.
    Rename {
        /// The file as it was found.
        old: LoadedFile,
        /// New path, which nothing has yet.
        to: Vec<u8>,
        /// New content; `None` if the content stays.
        content: Option<Vec<u8>>,
    },
    /// A file is deleted.
    Delete {
        /// The file as it was found.
        old: LoadedFile,
    },
}

/// Returns the part of the names of temporary files that is the same for all edits of a file, so that
/// only one of them is made at a time.
fn edit_id(path: &[u8]) -> String {
    let (_, name) = split(path);
    let digest = Sha256::digest(name);

    digest
        .iter()
        .take(8)
        .fold(String::new(), |id, byte| format!("{id}{byte:02x}"))
}

/// Returns the name of the temporary file of an edit, next to the file.
fn temporary_name(path: &[u8]) -> String {
    format!(".mcp-ssh-sessions-{}", edit_id(path))
}

impl FileChange {
    /// Returns the path of the file after the change, or of a deleted file.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Create { path, .. } | Self::Rename { to: path, .. } => path,
            Self::Write { old, .. } | Self::Delete { old } => &old.path,
        }
    }

    /// Returns true if the file already has the content that it is to get.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        matches!(self, Self::Write { old, content } if old.content == *content)
    }

    /// Returns the file as it was found; `None` if it is created.
    #[must_use]
    pub fn old(&self) -> Option<&LoadedFile> {
        match self {
            Self::Create { .. } => None,
            Self::Write { old, .. } | Self::Rename { old, .. } | Self::Delete { old } => Some(old),
        }
    }
}
