//! The turn of a command that waits for its shell. A turn comes or is given up, and never both.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Turn of a command, shared by the waiting caller and the shell's task. Whoever comes first
/// decides: the shell takes the turn, or the caller gives it up.
#[derive(Debug, Clone, Default)]
pub struct ShellTurn {
    /// True if the turn was taken or given up.
    is_over: Arc<AtomicBool>,
    /// Token to cancel when the turn comes.
    begun: CancellationToken,
}

impl ShellTurn {
    /// Creates a turn which cancels `begun` when taken.
    #[must_use]
    pub fn new(begun: CancellationToken) -> Self {
        Self {
            is_over: Arc::default(),
            begun,
        }
    }

    /// Takes the turn. Returns false if the caller has given up.
    pub(super) fn begin(&self) -> bool {
        let is_free = !self.is_over.swap(true, Ordering::AcqRel);
        if is_free {
            self.begun.cancel();
        }
        is_free
    }

    /// Gives the turn up: the command will not run. Returns false if the command has begun.
    #[must_use]
    pub fn give_up(&self) -> bool {
        !self.is_over.swap(true, Ordering::AcqRel)
    }
}
