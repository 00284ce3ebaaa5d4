//! The transfers of a process that are under way, for whoever looks on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::ssh::transfer::{TransferCounters, TransferRequest};

/// The transfers, in the order of their start.
#[derive(Debug, Default)]
pub struct Transfers(Mutex<Vec<Arc<TransferEntry>>>);

/// One transfer.
#[derive(Debug)]
pub struct TransferEntry {
    /// The session's name.
    pub session: String,
    /// Which way.
    pub direction: Direction,
    /// The path on this machine, as it was given.
    pub local: String,
    /// The path on the remote machine, as it was given.
    pub remote: String,
    /// How far it is.
    pub progress: TransferCounters,
    begun: Instant,
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the remote machine.
    Upload,
    /// From it.
    Download,
}

/// A transfer's place in the list, until this is dropped.
#[derive(Debug)]
pub struct TransferListing<'a> {
    transfers: &'a Transfers,
    transfer: Arc<TransferEntry>,
}

impl Transfers {
    /// Shows a transfer for as long as the answer is held.
    pub fn track(
        &self,
        session: &str,
        direction: Direction,
        request: &TransferRequest,
    ) -> TransferListing<'_> {
        let transfer = Arc::new(TransferEntry {
            session: session.to_owned(),
            direction,
            local: request.local.clone(),
            remote: request.remote.clone(),
            progress: request.progress.clone(),
            begun: Instant::now(),
        });

        self.lock().push(Arc::clone(&transfer));
        TransferListing {
            transfers: self,
            transfer,
        }
    }

    /// All that are under way.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<TransferEntry>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<TransferEntry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TransferEntry {
    /// For how long it has been under way.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for TransferListing<'_> {
    fn drop(&mut self) {
        self.transfers
            .lock()
            .retain(|transfer| !Arc::ptr_eq(transfer, &self.transfer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_listed_until_it_is_over() {
        let transfers = Transfers::default();
        let request = TransferRequest::default();
        let first = transfers.track("box", Direction::Upload, &request);
        let second = transfers.track("box", Direction::Upload, &request);
        assert_eq!(transfers.list().len(), 2);
        drop(first);
        assert!(Arc::ptr_eq(&transfers.list()[0], &second.transfer));
        drop(second);
        assert!(transfers.list().is_empty());
    }
}
