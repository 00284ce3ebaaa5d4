//! What this machine trusts, and so what a transfer neither sends nor replaces without the person: a pure decision about
//! facts that others have collected.
//!
//! Transfers run outside the sandbox of the client, and their local paths come from an agent that may have been misled. A
//! private key that is sent is lost; an `ssh_config` or a shell's start-up file that is replaced runs commands here.
//!
//! [`table`] names the places, [`places`] recognises them, [`marks`] recognises a private key by its content.

pub mod marks;
mod names;
pub mod places;
pub mod table;
mod why;

use std::path::PathBuf;

pub use self::{
    names::GuardedName,
    places::{DirectoryFacts, Places},
    why::GuardReason,
};

/// What a transfer does with files of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferDirection {
    /// It reads them: an upload.
    Read,
    /// It makes and replaces them: a download.
    Write,
}

/// What tells a file or directory of this machine from all others, whatever names it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileId {
    /// On Unix (`st_dev` and `st_ino` of stat(2)).
    Inode {
        /// The file system.
        device: u64,
        /// The file in it.
        inode: u64,
    },
    /// Elsewhere its path, links resolved.
    Path(PathBuf),
}
