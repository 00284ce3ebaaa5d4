//! The progress of a transfer, for display while the transfer runs.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::error::shown;
use crate::lock::lock;

/// Counters of a transfer. Clones share the same counters. Updates are cheap: an atomic addition
/// for each piece, and a mutex only when a file begins.
#[derive(Debug, Clone, Default)]
pub struct TransferCounters(Arc<Counters>);

/// Shared counters of a transfer, in bytes and files.
#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    expected: AtomicU64,
    files: AtomicU64,
    name: Mutex<String>,
}

/// Snapshot of the counters of a transfer. The fields are read one after the other, so they may
/// disagree by the pieces that arrived in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferProgress {
    /// Number of content bytes transferred so far.
    pub bytes: u64,
    /// Total number of content bytes known so far. It grows while a tree is being listed.
    pub expected: u64,
    /// Number of complete files.
    pub files: u64,
    /// Name of the most recently started file, shortened for display. Empty before the first file.
    pub name: String,
}

impl TransferCounters {
    /// Adds the length of a discovered file, in bytes, to the expected total.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts the length of a file, in bytes, which is skipped or failed.
    pub(super) fn expect_less(&self, bytes: u64) {
        self.0.expected.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Records the name of the file which begins now.
    pub(super) fn begin(&self, name: &[u8]) {
        *self.name() = shown(name);
    }

    /// Adds the number of bytes which have arrived.
    pub(super) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts bytes which are sent again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.0.done.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a complete file.
    pub(super) fn count_file(&self) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns a snapshot of the counters.
    #[must_use]
    pub fn now(&self) -> TransferProgress {
        TransferProgress {
            bytes: self.0.done.load(Ordering::Relaxed),
            expected: self.0.expected.load(Ordering::Relaxed),
            files: self.0.files.load(Ordering::Relaxed),
            name: self.name().clone(),
        }
    }

    fn name(&self) -> std::sync::MutexGuard<'_, String> {
        lock(&self.0.name)
    }
}
