//! Decides which local files a transfer neither sends nor replaces without the user's consent. The
//! decision is pure: the caller collects the facts.
//!
//! Transfers run outside the sandbox of the client, and an agent that may have been misled chooses
//! their local paths. A private key that is sent is lost. A replaced `ssh_config` or shell start-up
//! file runs commands on this machine.
//!
//! [`table`] names the guarded places, [`places`] recognises them, and [`marks`] recognises a
//! private key by its content.

pub(crate) mod marks;
mod names;
pub(crate) mod places;
pub(crate) mod table;
mod why;

pub(crate) use self::{
    names::GuardedName,
    places::{DirectoryFacts, Places},
    why::GuardReason,
};

/// Direction of a transfer, as seen from the files of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TransferDirection {
    /// An upload, which reads local files.
    Read,
    /// A download, which creates and replaces local files.
    Write,
}

/// Identity of a local file or directory, which is the same under all names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FileId {
    /// Identity on Unix (`st_dev` and `st_ino` of stat(2)).
    Inode {
        /// Number of the file system.
        device: u64,
        /// Number of the file within the file system.
        inode: u64,
    },
    /// Path with all links resolved, on other systems.
    #[cfg(not(unix))]
    Path(std::path::PathBuf),
}
