//! What goes on after a lost link, wherever the work on it was cut off.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::tree::plan::PlannedItem;

/// States of large files, by the work that they belong to.
#[derive(Debug)]
pub(super) struct Resumable<T>(Mutex<HashMap<PlannedItem, T>>);

/// One of them while it is worked on. Dropped with it, it is kept.
pub(super) struct Borrowed<'a, T> {
    kept: &'a Resumable<T>,
    ticket: PlannedItem,
    /// To be taken out when it is needed no more.
    pub(super) state: Option<T>,
}

impl<T> Default for Resumable<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Resumable<T> {
    /// What was kept for this work, to go on with.
    pub(super) fn take(&self, ticket: PlannedItem) -> Borrowed<'_, T> {
        let state = self.lock().remove(&ticket);
        Borrowed {
            kept: self,
            ticket,
            state,
        }
    }

    /// All that is kept.
    pub(super) fn take_all(&self) -> Vec<T> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    /// Does something with each.
    pub(super) fn for_each(&self, mut change: impl FnMut(&mut T)) {
        self.lock().values_mut().for_each(&mut change);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PlannedItem, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.kept.lock().insert(self.ticket, state);
        }
    }
}
