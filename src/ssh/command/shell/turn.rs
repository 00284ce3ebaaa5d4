//! The turn of a command that waits for its shell: it comes, or is given up before, and never both.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// A turn, shared by whoever waits for it and the shell.
#[derive(Debug, Clone, Default)]
pub struct ShellTurn {
    is_over: Arc<AtomicBool>,
    begun: CancellationToken,
}

impl ShellTurn {
    /// A turn that cancels `begun` when it comes.
    #[must_use]
    pub fn new(begun: CancellationToken) -> Self {
        Self {
            is_over: Arc::default(),
            begun,
        }
    }

    /// Takes the turn; `false` if it was given up.
    pub(super) fn begin(&self) -> bool {
        let is_free = !self.is_over.swap(true, Ordering::AcqRel);
        if is_free {
            self.begun.cancel();
        }
        is_free
    }

    /// Gives the turn up: the command will not be run. `false` if it has begun.
    #[must_use]
    pub fn give_up(&self) -> bool {
        !self.is_over.swap(true, Ordering::AcqRel)
    }
}
