//! What is on the remote host and not in its place yet, or may be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use super::resumable::Resumable;
use crate::ssh::{
    error::SshError,
    pool::Pool,
    transfer::{
        RemoteTemp, TransferError,
        client::SftpClient,
        file::{remote_temp::TIDY_LIMIT, upload::Upload},
    },
};

#[derive(Debug, Default)]
pub(super) struct PendingUploads {
    /// Small things by their names, each with the channel over which it was made: what is asked for there later comes later.
    temporaries: Mutex<Temporaries>,
    /// Large files, which go on after a lost link.
    pub(super) uploads: Resumable<Upload>,
}

type Temporaries = HashMap<Vec<u8>, (RemoteTemp, Arc<SftpClient>)>;

impl PendingUploads {
    /// A name beside the target.
    pub(super) fn note(&self, target: &[u8], client: &Arc<SftpClient>) -> Result<RemoteTemp, SshError> {
        let leftover = RemoteTemp::beside(target)?;
        self.lock().insert(leftover.temporary.clone(), (leftover.clone(), Arc::clone(client)));
        Ok(leftover)
    }

    /// It is in its place.
    pub(super) fn forget(&self, leftover: &RemoteTemp) {
        self.lock().remove(&leftover.temporary);
    }

    /// Removes one.
    pub(super) async fn remove(&self, leftover: &RemoteTemp, client: &SftpClient) {
        if leftover.remove_with(client).await {
            self.forget(leftover);
        }
    }

    /// Removes what is small. Each over its own channel, if that is still there.
    pub(super) async fn remove_small(&self, client: &SftpClient) {
        let temporaries = self.lock().clone();
        let mut removals = FuturesUnordered::new();
        for (leftover, over) in temporaries.values() {
            let over = if over.is_over() { client } else { over };
            removals.push(async move { leftover.remove_with(over).await.then_some(leftover) });
        }
        while let Some(removed) = removals.next().await {
            if let Some(leftover) = removed {
                self.forget(leftover);
            }
        }
    }

    /// After an error: removes what is not complete. After a lost link it stays for the next attempt, or to be told of.
    /// Returns the error with what has become of a file that was written under its own name.
    pub(super) async fn tidy_up(
        &self,
        mut error: TransferError,
        pool: &Arc<Pool>,
        client: &Arc<SftpClient>,
    ) -> TransferError {
        if error.is_lost() {
            self.uploads.for_each(Upload::note_lost);
            return error;
        }
        let uploads = self.uploads.take_all();
        if let Some(path) = uploads.iter().find_map(Upload::broken) {
            error = error.in_place(path);
        }
        let all = async {
            self.remove_small(client).await;
            // Their server may have ended, while the connection has not.
            if !self.lock().is_empty()
                && let Ok(another) = SftpClient::begin(pool).await
            {
                self.remove_small(&another).await;
            }
            for mut upload in uploads {
                upload.tidy_up(TransferError::Cancelled, pool, client).await;
            }
        };
        let _ = timeout(TIDY_LIMIT, all).await;
        error
    }

    /// All that is left, which is not kept any more.
    pub(super) fn take_all(&self) -> Vec<RemoteTemp> {
        let small = std::mem::take(&mut *self.lock()).into_values().map(|(leftover, _)| leftover);
        let large = self.uploads.take_all();
        small.chain(large.into_iter().filter_map(|mut upload| upload.leftover())).collect()
    }

    /// Held for an assignment only, so one that was poisoned holds nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Temporaries> {
        self.temporaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
