//! The SHA-256 of a file that is read or written.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use sha2::{Digest as _, Sha256};

use super::read_at::read_at;
use crate::lock::lock;

/// Bytes of a file that are read at once for a sum that was not wanted before.
const CAUGHT_UP_AT_ONCE: usize = 256 * 1024;

/// SHA-256 of a file, computed while the file is read or written in order, but only from the moment
/// on at which it is [wanted](Self::want): most long files are never compared. Parts read repeatedly
/// count once. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(in crate::ssh::transfer) struct Sum(Arc<Mutex<SumState>>);

/// State of a [`Sum`]: the hash, and the number of hashed bytes.
#[derive(Debug, Default)]
struct SumState {
    wanted: bool,
    hash: Sha256,
    bytes: u64,
}

impl Sum {
    /// Computes the sum from now on. The thread of the file reads what has passed before.
    pub(in crate::ssh::transfer) fn want(&self) {
        self.lock().wanted = true;
    }

    /// Adds the part of the file up to `end` that has passed before the sum was wanted.
    pub(super) fn catch_up(&self, file: &File, end: u64) -> io::Result<()> {
        let mut buffer = Vec::new();

        loop {
            let mut state = self.lock();
            let missing = end.saturating_sub(state.bytes);
            if !state.wanted || missing == 0 {
                return Ok(());
            }

            buffer.resize(CAUGHT_UP_AT_ONCE, 0);
            let length = usize::try_from(missing).unwrap_or(usize::MAX);
            let length = length.min(buffer.len());
            let Some(room) = buffer.get_mut(..length) else {
                return Ok(());
            };

            match read_at(file, room, state.bytes) {
                // Cut off meanwhile. A digest of less than the whole file is compared with nothing.
                Ok(0) => return Ok(()),
                Ok(read) => {
                    state.hash.update(room.get(..read).unwrap_or_default());
                    state.bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds the new part of a piece at `offset`. A piece after a gap waits for
    /// [`catch_up`](Self::catch_up).
    pub(super) fn add(&self, offset: u64, piece: &[u8]) {
        let mut state = self.lock();
        if !state.wanted || offset > state.bytes {
            return;
        }

        // After a lost connection, or for another attempt, parts of the file are read again.
        let known = usize::try_from(state.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(new) = piece.get(known..) {
            state.hash.update(new);
            state.bytes += new.len() as u64;
        }
    }

    /// Returns the digest of the first `length` bytes. `None` if more or fewer bytes were added.
    pub(in crate::ssh::transfer) fn up_to(&self, length: u64) -> Option<[u8; 32]> {
        let state = self.lock();
        (state.bytes == length).then(|| state.hash.clone().finalize().into())
    }

    fn lock(&self) -> MutexGuard<'_, SumState> {
        lock(&self.0)
    }
}
