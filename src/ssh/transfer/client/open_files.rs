//! Which files are open on a channel, and whether the server can tell them apart.
//!
//! Erlang/OTP's server (23 to 27) gives two open files the same handle, so that what is meant for the one goes to the other.
//! Gateways allow few open files, and do not say how many. Both are used with one file at a time once that has shown.

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

/// The open files of one channel.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// How often the server has given each handle and not closed it since.
    handles: HashMap<Vec<u8>, usize>,
}

/// What has shown about a server that is asked for several open files.
#[derive(Debug, Default)]
pub(super) struct OpenFileEvidence {
    /// How often two open files had the same handle.
    mix_ups: AtomicU64,
    /// How often one was refused while others were open.
    refusals: AtomicU64,
    one_at_a_time: AtomicBool,
    /// Whoever has files open reads it; whoever is to be alone writes it.
    turns: Arc<RwLock<()>>,
}

/// The right to have a file open, beside others or alone.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct OpenFileTurn {
    mix_ups: u64,
    refusals: u64,
    alone: Option<OwnedRwLockWriteGuard<()>>,
    _beside_others: Option<OwnedRwLockReadGuard<()>>,
}

impl OpenFiles {
    /// Whether nothing else that is open has this handle.
    pub(super) fn opened(&mut self, handle: &Handle) -> bool {
        let count = self.handles.entry(handle.as_bytes().to_vec()).or_default();
        *count += 1;
        *count == 1
    }

    pub(super) fn closed(&mut self, handle: &Handle) {
        if let Some(count) = self.handles.get_mut(handle.as_bytes()) {
            *count -= 1;
            if *count == 0 {
                self.handles.remove(handle.as_bytes());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

impl OpenFileEvidence {
    pub(super) fn note_mix_up(&self) {
        self.one_at_a_time.store(true, Ordering::Relaxed);
        self.mix_ups.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_refusal(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }
}

impl SftpClient {
    /// Waits until a file may be opened: alone, if that is wanted or has proved necessary.
    pub(in crate::ssh::transfer) async fn turn(&self, alone: bool) -> OpenFileTurn {
        let shown = &self.shared.shown;
        let turns = Arc::clone(&shown.turns);
        let (alone, beside_others) = if alone || shown.one_at_a_time.load(Ordering::Relaxed) {
            (Some(turns.write_owned().await), None)
        } else {
            (None, Some(turns.read_owned().await))
        };

        let refusals = shown.refusals.load(Ordering::Relaxed);

        OpenFileTurn {
            mix_ups: self.mix_ups(),
            refusals,
            alone,
            _beside_others: beside_others,
        }
    }

    /// Whether what was done in this turn is to be done again alone: it may concern another file, or it has failed where
    /// that may be due to the others.
    pub(in crate::ssh::transfer) fn is_in_doubt(&self, turn: &OpenFileTurn, failed: bool) -> bool {
        let refused = self.shared.shown.refusals.load(Ordering::Relaxed) > turn.refusals;
        turn.alone.is_none() && (self.mix_ups() > turn.mix_ups || failed && refused)
    }

    /// Whether any file is open on the channel.
    pub(in crate::ssh::transfer) fn has_open_files(&self) -> bool {
        !self.shared.lock().files.is_empty()
    }

    /// From now on one file is open at a time.
    pub(in crate::ssh::transfer) fn keep_to_one_file(&self) {
        self.shared
            .shown
            .one_at_a_time
            .store(true, Ordering::Relaxed);
    }

    /// How often the server has given two open files the same handle, to compare it with later.
    pub(in crate::ssh::transfer) fn mix_ups(&self) -> u64 {
        self.shared.shown.mix_ups.load(Ordering::Relaxed)
    }

    /// Whether what was done since then concerned the files that were meant.
    ///
    /// # Errors
    /// [`RequestError::MixedUp`]
    pub(in crate::ssh::transfer) fn is_sure_since(&self, mix_ups: u64) -> Result<(), RequestError> {
        if self.mix_ups() == mix_ups {
            Ok(())
        } else {
            Err(RequestError::MixedUp)
        }
    }
}
