//! The turn of a command that waits for its shell. A turn comes or is given up, and never both.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::event::Event;

/// Turn of a command, shared by the waiting caller and the shell's task. Whoever comes first
/// decides: the shell takes the turn, or the caller gives it up.
#[derive(Debug, Clone, Default)]
pub struct ShellTurn {
    /// True if the turn was taken or given up.
    is_decided: Arc<AtomicBool>,
    /// Event to set when the turn comes.
    started: Event,
}

impl ShellTurn {
    /// Creates a turn which sets `started` when taken.
    #[must_use]
    pub fn new(started: Event) -> Self {
        Self {
            is_decided: Arc::default(),
            started,
        }
    }

    /// Takes the turn. Returns false if the caller has given up.
    pub(super) fn begin(&self) -> bool {
        let is_free = !self.is_decided.swap(true, Ordering::AcqRel);
        if is_free {
            self.started.set();
        }
        is_free
    }

    /// Gives the turn up: the command will not run. Returns false if the command has begun.
    #[must_use]
    pub fn give_up(&self) -> bool {
        !self.is_decided.swap(true, Ordering::AcqRel)
    }
}
