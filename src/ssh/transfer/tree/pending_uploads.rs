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
    pub(super) fn note(
        &self,
        target: &[u8],
        client: &Arc<SftpClient>,
    ) -> Result<RemoteTemp, SshError> {
        let remote_temp = RemoteTemp::beside(target)?;
        self.lock().insert(
            remote_temp.temporary.clone(),
            (remote_temp.clone(), Arc::clone(client)),
        );
        Ok(remote_temp)
    }

    /// It is in its place.
    pub(super) fn forget(&self, remote_temp: &RemoteTemp) {
        self.lock().remove(&remote_temp.temporary);
    }

    /// Removes one.
    pub(super) async fn remove(&self, remote_temp: &RemoteTemp, client: &SftpClient) {
        if remote_temp.remove_with(client).await {
            self.forget(remote_temp);
        }
    }

    /// Removes what is small. Each over its own channel, if that is still there.
    pub(super) async fn remove_small(&self, client: &SftpClient) {
        let temporaries = self.lock().clone();
        let mut removals = FuturesUnordered::new();
        for (remote_temp, over) in temporaries.values() {
            let over = if over.is_over() { client } else { over };
            removals
                .push(async move { remote_temp.remove_with(over).await.then_some(remote_temp) });
        }

        while let Some(removed) = removals.next().await {
            if let Some(remote_temp) = removed {
                self.forget(remote_temp);
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
        let small = std::mem::take(&mut *self.lock())
            .into_values()
            .map(|(remote_temp, _)| remote_temp);
        let large = self.uploads.take_all();
        small
            .chain(
                large
                    .into_iter()
                    .filter_map(|mut upload| upload.remote_temp()),
            )
            .collect()
    }

    /// Held for an assignment only, so one that was poisoned holds nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Temporaries> {
        self.temporaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
