//! The request for a transfer, and the results of a file and of an attempt.

use super::progress::TransferCounters;
use crate::tree::tally::{Tally, Unkept};

/// Request for a transfer: the paths of both sides and the options. Both directions use it, and
/// copies between hosts.
#[derive(Debug, Clone, Default)]
pub struct TransferRequest {
    /// Path on this machine or, in a copy between hosts, on the host from which the copy reads. As
    /// typed by the user; `~` stands for the home directory.
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

/// Result of an attempt after which nothing is left to move.
#[derive(Debug)]
pub(super) struct AttemptResult {
    /// Path at the destination, for display.
    pub(super) to: String,
    pub(super) tally: Tally,
    /// True if both sides are known to have the same SHA-256. Always false for a tree.
    pub(super) verified: bool,
}

impl AttemptResult {
    /// Creates the result for a single file. `None` stands for a file skipped as unchanged.
    pub(super) fn for_file(to: String, result: Option<FileResult>) -> Self {
        let tally = match result {
            Some(result) => Tally {
                files: 1,
                bytes: result.bytes,
                unkept: result.unkept,
                ..Tally::default()
            },
            None => Tally {
                unchanged: 1,
                ..Tally::default()
            },
        };

        Self {
            to,
            tally,
            verified: result.is_some_and(|result| result.verified),
        }
    }

    /// Creates the result for a tree, whose files are not compared as a whole.
    pub(super) fn for_tree(to: String, tally: Tally) -> Self {
        Self {
            to,
            tally,
            verified: false,
        }
    }
}
