//! Registry of the file transfers in progress, for the status page.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{
    lock::lock,
    ssh::transfer::{TransferCounters, TransferRequest},
};

/// Transfers in progress in this process, in the order of their start.
#[derive(Debug, Default)]
pub struct Transfers(Mutex<Vec<Arc<TransferEntry>>>);

/// Description and progress of a transfer.
#[derive(Debug)]
pub struct TransferEntry {
    /// Name of the session.
    pub session: String,
    /// Direction of the transfer.
    pub direction: Direction,
    /// Path on this machine, or `session:/path`, as given by the caller.
    pub local: String,
    /// Path on the remote machine, as given by the caller.
    pub remote: String,
    /// Counters updated while the transfer proceeds.
    pub progress: TransferCounters,
    started_at: Instant,
}

/// Direction of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From this machine to the remote machine.
    Upload,
    /// From the remote machine to this machine.
    Download,
}

/// Guard for the entry of a transfer; dropping the guard removes the entry.
#[derive(Debug)]
pub struct TransferListing<'a> {
    transfers: &'a Transfers,
    transfer: Arc<TransferEntry>,
}

impl Transfers {
    /// Adds a transfer to the registry until the returned guard is dropped.
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
            started_at: Instant::now(),
        });

        self.lock().push(Arc::clone(&transfer));
        TransferListing {
            transfers: self,
            transfer,
        }
    }

    /// Returns all transfers in progress.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<TransferEntry>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<TransferEntry>>> {
        lock(&self.0)
    }
}

impl TransferEntry {
    /// Returns the time since the transfer began.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.started_at.elapsed()
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
