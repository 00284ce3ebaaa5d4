//! The open files of a channel, and the evidence that a server can tell them apart.
//!
//! Erlang/OTP's server (23 to 27) gives two open files the same handle, so that requests for the
//! first reach the second. Gateways allow few open files, and do not announce the limit. After
//! either has shown, a channel has one file open at a time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::{RequestError, SftpClient};
use crate::sftp::handle::Handle;

/// Open files of a channel, as handles counted by the reading task.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// Number of open files per handle. More than one means that the server mixes files up.
    handles: HashMap<Vec<u8>, usize>,
}

/// Evidence of a server's trouble with several open files, shared by all users of a channel.
#[derive(Debug, Default)]
pub(super) struct OpenFileEvidence {
    /// Number of identical handles for two open files.
    mix_ups: AtomicU64,
    /// Number of refusals to open a file while others were open.
    refusals: AtomicU64,
    /// True if files of this channel are opened only after each other.
    one_at_a_time: AtomicBool,
    /// Lock on the channel's files. Users of open files hold the lock for reading. A user who needs
    /// the channel exclusively holds the lock for writing.
    turns: Arc<RwLock<()>>,
}

/// Permission to have a file open, either next to others or exclusively. Created by
/// [`SftpClient::turn`]; dropping the turn lets others continue.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct OpenFileTurn {
    mix_ups: u64,
    refusals: u64,
    lock: TurnLock,
}

/// Lock held by a turn on the files of the channel.
#[derive(Debug)]
enum TurnLock {
    Shared(#[expect(dead_code, reason = "held until dropped")] OwnedRwLockReadGuard<()>),
    Exclusive(#[expect(dead_code, reason = "held until dropped")] OwnedRwLockWriteGuard<()>),
}

impl OpenFiles {
    /// Counts an opened handle. Returns true if no other open file has the same handle.
    pub(super) fn opened(&mut self, handle: &Handle) -> bool {
        let count = self.handles.entry(handle.as_bytes().to_vec()).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts a closed handle.
    pub(super) fn closed(&mut self, handle: &Handle) {
        if let Some(count) = self.handles.get_mut(handle.as_bytes()) {
            *count -= 1;
            if *count == 0 {
                self.handles.remove(handle.as_bytes());
            }
        }
    }

    /// Returns true if no file is open.
    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

impl OpenFileEvidence {
    /// Records the same handle for two open files, and limits the channel to a single open file.
    pub(super) fn note_mix_up(&self) {
        self.one_at_a_time.store(true, Ordering::Relaxed);
        self.mix_ups.fetch_add(1, Ordering::Relaxed);
    }

    /// Records a refusal to open a file while others were open.
    pub(super) fn note_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }
}

impl SftpClient {
    /// Waits for permission to open a file next to others. The permission is exclusive if the
    /// server has shown that only one file can be open.
    pub(in crate::ssh::transfer) async fn turn(&self) -> OpenFileTurn {
        let evidence = &self.shared.evidence;
        if self.has_one_file() {
            return self.exclusive_turn().await;
        }

        let lock = Arc::clone(&evidence.turns).read_owned().await;
        self.turn_with(TurnLock::Shared(lock))
    }

    /// Waits for permission to open a file while no other file is open.
    pub(in crate::ssh::transfer) async fn exclusive_turn(&self) -> OpenFileTurn {
        let lock = Arc::clone(&self.shared.evidence.turns).write_owned().await;
        self.turn_with(TurnLock::Exclusive(lock))
    }

    /// Creates the turn after the wait for its lock. Evidence from earlier turns says nothing about
    /// this turn.
    fn turn_with(&self, lock: TurnLock) -> OpenFileTurn {
        OpenFileTurn {
            mix_ups: self.mix_ups(),
            refusals: self.shared.evidence.refusals.load(Ordering::Relaxed),
            lock,
        }
    }

    /// Returns true if the work of this turn has to be repeated exclusively. The work may have
    /// affected another file, or may have failed because others were open.
    pub(in crate::ssh::transfer) fn is_in_doubt(&self, turn: &OpenFileTurn, failed: bool) -> bool {
        // An exclusive turn is never in doubt, or the work would be repeated forever.
        let refused = self.shared.evidence.refusals.load(Ordering::Relaxed) > turn.refusals;
        matches!(turn.lock, TurnLock::Shared(_))
            && (self.mix_ups() > turn.mix_ups || failed && refused)
    }

    /// Returns true if a file is open on the channel.
    pub(in crate::ssh::transfer) fn has_open_files(&self) -> bool {
        !self.shared.lock().files.is_empty()
    }

    /// Returns true if files of the channel are opened only after each other.
    pub(in crate::ssh::transfer) fn has_one_file(&self) -> bool {
        self.shared.evidence.one_at_a_time.load(Ordering::Relaxed)
    }

    /// Limits the channel to a single open file from now on.
    pub(in crate::ssh::transfer) fn keep_to_one_file(&self) {
        self.shared
            .evidence
            .one_at_a_time
            .store(true, Ordering::Relaxed);
    }

    /// Returns the number of identical handles for two open files so far, for a comparison with
    /// [`is_sure_since`](Self::is_sure_since).
    pub(in crate::ssh::transfer) fn mix_ups(&self) -> u64 {
        self.shared.evidence.mix_ups.load(Ordering::Relaxed)
    }

    /// Checks if all work since the count `mix_ups` concerned the intended files.
    ///
    /// # Errors
    /// [`RequestError::MixedUp`] if the server gave two open files the same handle meanwhile.
    pub(in crate::ssh::transfer) fn is_sure_since(&self, mix_ups: u64) -> Result<(), RequestError> {
        if self.mix_ups() == mix_ups {
            Ok(())
        } else {
            Err(RequestError::MixedUp)
        }
    }
}
