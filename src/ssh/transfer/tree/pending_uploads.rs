//! What is on the remote host and not in its place yet, or may be.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use super::resumable::Kept;
use crate::ssh::{
    error::SshError,
    pool::Pool,
    transfer::{
        Leftover, TransferError,
        client::Client,
        file::{remote_temp::TIDY_LIMIT, upload::Upload},
    },
};

#[derive(Debug, Default)]
pub(super) struct HalfMade {
    /// Small things by their names, each with the channel over which it was made: what is asked for there later comes later.
    temporaries: Mutex<Temporaries>,
    /// Large files, which go on after a lost link.
    pub(super) uploads: Kept<Upload>,
}

type Temporaries = HashMap<Vec<u8>, (Leftover, Arc<Client>)>;

impl HalfMade {
    /// A name beside the target.
    pub(super) fn note(&self, target: &[u8], client: &Arc<Client>) -> Result<Leftover, SshError> {
        let leftover = Leftover::beside(target)?;
        self.lock().insert(leftover.temporary.clone(), (leftover.clone(), Arc::clone(client)));
        Ok(leftover)
    }

    /// It is in its place.
    pub(super) fn forget(&self, leftover: &Leftover) {
        self.lock().remove(&leftover.temporary);
    }

    /// Removes one.
    pub(super) async fn remove(&self, leftover: &Leftover, client: &Client) {
        if leftover.remove_with(client).await {
            self.forget(leftover);
        }
    }

    /// Removes what is small. Each over its own channel, if that is still there.
    pub(super) async fn remove_small(&self, client: &Client) {
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
        client: &Arc<Client>,
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
                && let Ok(another) = Client::begin(pool).await
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
    pub(super) fn take_all(&self) -> Vec<Leftover> {
        let small = std::mem::take(&mut *self.lock()).into_values().map(|(leftover, _)| leftover);
        let large = self.uploads.take_all();
        small.chain(large.into_iter().filter_map(|mut upload| upload.leftover())).collect()
    }

    /// Held for an assignment only, so one that was poisoned holds nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Temporaries> {
        self.temporaries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
