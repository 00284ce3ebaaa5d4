//! The state of large files, which survives a lost connection and the cancellation of the work.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use crate::{lock::lock, tree::plan::PlannedItem};

/// States of large files, by the planned item to which each belongs.
#[derive(Debug)]
pub(super) struct Resumable<T>(Mutex<HashMap<PlannedItem, T>>);

/// State of a large file during the work of an attempt. Dropping the guard puts the state back.
pub(super) struct Borrowed<'a, T> {
    states: &'a Resumable<T>,
    ticket: PlannedItem,
    /// State of the file. Set to `None` when the file needs no further attempt.
    pub(super) state: Option<T>,
}

impl<T> Default for Resumable<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Resumable<T> {
    /// Takes the kept state of an item, if any.
    pub(super) fn borrow(&self, ticket: PlannedItem) -> Borrowed<'_, T> {
        let state = self.lock().remove(&ticket);
        Borrowed {
            states: self,
            ticket,
            state,
        }
    }

    /// Removes and returns all states.
    pub(super) fn take_all(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    /// Calls `change` for each state.
    pub(super) fn for_each(&self, mut change: impl FnMut(&mut T)) {
        self.lock().values_mut().for_each(&mut change);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlannedItem, T>> {
        lock(&self.0)
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.states.lock().insert(self.ticket, state);
        }
    }
}
