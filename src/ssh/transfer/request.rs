//! What is asked of a transfer, and what came of one file.

use super::progress::TransferCounters;
use crate::tree::tally::{Tally, Unkept};

/// What is to be moved, and how.
#[derive(Debug, Clone, Default)]
pub struct TransferRequest {
    /// The path on this machine, as a person types it.
    pub local: String,
    /// The path on the remote host, as a person types it.
    pub remote: String,
    /// Patterns of what is left out of a tree, as in `gitignore(5)`.
    pub exclude: Vec<String>,
    /// Whether files of the same size and time are left as they are.
    pub skip_unchanged: bool,
    /// Where it is told how far it is.
    pub progress: TransferCounters,
}

/// A file that has arrived, either way.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileResult {
    pub(super) bytes: u64,
    pub(super) verified: bool,
    pub(super) unkept: Unkept,
}

impl FileResult {
    /// The tally of it alone.
    pub(super) fn tally(self) -> Tally {
        Tally {
            files: 1,
            bytes: self.bytes,
            unkept: self.unkept,
            ..Tally::default()
        }
    }
}
