//! How far a transfer has come, for whoever shows it meanwhile.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::error::shown;

/// A transfer's counters. Clones share them; to count costs nothing that a transfer would feel.
#[derive(Debug, Clone, Default)]
pub struct TransferCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    expected: AtomicU64,
    files: AtomicU64,
    name: Mutex<String>,
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferProgress {
    /// Bytes of content that have arrived.
    pub bytes: u64,
    /// Bytes of content in all, as far as they are known.
    pub expected: u64,
    /// Files that are complete.
    pub files: u64,
    /// The file that was begun last, for a person.
    pub name: String,
}

impl TransferCounters {
    /// A file of this length, in bytes, is known of.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.expected.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file of this length, in bytes, is not moved after all.
    pub(super) fn expect_less(&self, bytes: u64) {
        self.0.expected.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A file is begun.
    pub(super) fn begin(&self, name: &[u8]) {
        *self.name() = shown(name);
    }

    /// Bytes have arrived.
    pub(super) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that had arrived are sent again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.0.done.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A file is complete.
    pub(super) fn end(&self) {
        self.0.files.fetch_add(1, Ordering::Relaxed);
    }

    /// How far it is now.
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
        self.0.name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
