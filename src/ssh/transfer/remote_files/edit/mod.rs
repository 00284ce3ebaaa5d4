//! Changes files of the remote host.
//!
//! A file is loaded whole, changed in memory, and written back only if the host still has the
//! loaded content.

mod by_script;
mod error;

pub use self::error::EditError;

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
    /// Number of names (hard links) of the file, if known.
    pub links: Option<u64>,
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
    /// The account cannot create files in the directory.
    Directory,
    /// The server does not rename over a file.
    NoRename,
}
