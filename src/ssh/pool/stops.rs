//! The commands that are about to be stopped: those of one moment share a script.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::framing::stop::{Order, StopReport};

/// The commands of a pool that are about to be stopped.
#[derive(Debug, Default)]
pub(in crate::ssh) struct Stops(Mutex<Vec<PendingStop>>);

/// A command that is to be stopped, and who waits to hear what came of it.
#[derive(Debug)]
pub(in crate::ssh) struct PendingStop {
    pub(in crate::ssh) order: Order,
    /// How long each signal may take to work, in tenths of a second.
    pub(in crate::ssh) grace_tenths: u32,
    /// The program ends.
    pub(in crate::ssh) in_a_hurry: bool,
    pub(in crate::ssh) tell: oneshot::Sender<Option<StopReport>>,
}

impl Stops {
    /// Puts one in, and says whether it is the first.
    pub(in crate::ssh) fn push(&self, one: PendingStop) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(one);
        waiting.len() == 1
    }

    /// Takes all of them.
    pub(in crate::ssh) fn take_all(&self) -> Vec<PendingStop> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
