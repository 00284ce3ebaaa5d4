//! The request for a transfer, and the result for one file.

use super::progress::TransferCounters;
use crate::tree::tally::{Tally, Unkept};

/// Request for a transfer: the paths of both sides and the options. Both directions use it.
#[derive(Debug, Clone, Default)]
pub struct TransferRequest {
    /// Path on this machine, as typed by the user. `~` stands for the home directory.
    pub local: String,
    /// Path on the remote host, as typed by the user. `~` stands for the home directory.
    pub remote: String,
    /// Patterns of the entries to leave out of a tree, in the syntax of `gitignore(5)`.
    pub exclude: Vec<String>,
    /// True if files with the same size and modification time on both sides are skipped.
    pub skip_unchanged: bool,
    /// Counters of the bytes and files moved so far, which the transfer updates.
    pub progress: TransferCounters,
}

/// Result of a file which has arrived, in either direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileResult {
    /// Length of the file, in bytes.
    pub(super) bytes: u64,
    /// True if both sides have the same SHA-256.
    pub(super) verified: bool,
    /// Counts of the properties which the server did not keep for this file.
    pub(super) unkept: Unkept,
}

impl FileResult {
    /// Returns a tally with this file only.
    pub(super) fn tally(self) -> Tally {
        Tally {
            files: 1,
            bytes: self.bytes,
            unkept: self.unkept,
            ..Tally::default()
        }
    }
}
