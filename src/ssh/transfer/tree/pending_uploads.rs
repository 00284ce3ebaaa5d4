//! The remote files which are not in place yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::timeout;

use super::resumable::Resumable;
use crate::{
    lock::lock,
    ssh::{
        command::remote_host::RemoteHost,
        error::SshError,
        transfer::{
            RemoteTemp, TransferError,
            client::SftpClient,
            file::{remote_temp::TIDY_LIMIT, upload::Upload},
        },
    },
};

/// Remote files of a tree which are not in place yet, or whose rename is not confirmed. The upload
/// keeps the record over all attempts, to remove or continue the files.
#[derive(Debug, Default)]
pub(super) struct PendingUploads {
    /// Small files and links by temporary name, each with the channel that created it. Requests
    /// over the same channel are processed in order, so that a removal follows the creation.
    temporaries: Mutex<Temporaries>,
    /// States of large files, which continue after a lost connection.
    pub(super) uploads: Resumable<Upload>,
}

/// Recorded files by temporary name, each with the channel over which it was created.
type Temporaries = HashMap<Vec<u8>, (RemoteTemp, Arc<SftpClient>)>;

impl PendingUploads {
    /// Creates and records a temporary name next to the target. The name is hidden only on OpenSSH's
    /// server, because some servers reject hidden names.
    ///
    /// # Errors
    /// The system provides no random number.
    pub(super) fn create_name(
        &self,
        target: &[u8],
        client: &Arc<SftpClient>,
    ) -> Result<RemoteTemp, SshError> {
        let mut remote_temp = RemoteTemp::next_to(target)?;
        if !client.is_openssh() {
            remote_temp.show();
        }
        self.lock().insert(
            remote_temp.temporary.clone(),
            (remote_temp.clone(), Arc::clone(client)),
        );
        Ok(remote_temp)
    }

    /// Forgets a file which is in place or removed.
    pub(super) fn forget(&self, remote_temp: &RemoteTemp) {
        self.lock().remove(&remote_temp.temporary);
    }

    /// Removes a temporary file, and forgets it if that succeeds.
    pub(super) async fn remove(&self, remote_temp: &RemoteTemp, client: &SftpClient) {
        if remote_temp.remove_with(client).await {
            self.forget(remote_temp);
        }
    }

    /// Removes all small temporary files, each over its own channel if that still works.
    pub(super) async fn remove_small(&self, client: &SftpClient) {
        // Cloned, because the mutex must not be held while the replies are awaited.
        let temporaries = self.lock().clone();
        let mut removals = FuturesUnordered::new();
        for (remote_temp, channel) in temporaries.values() {
            let channel = if channel.is_over() { client } else { channel };
            removals.push(async move {
                remote_temp
                    .remove_with(channel)
                    .await
                    .then_some(remote_temp)
            });
        }

        while let Some(removed) = removals.next().await {
            if let Some(remote_temp) = removed {
                self.forget(remote_temp);
            }
        }
    }

    /// Removes incomplete files after an error. After a lost connection they remain for the next
    /// attempt, or to be reported. Returns the error, extended by the state of a target that was
    /// being written.
    pub(super) async fn tidy_up(
        &self,
        mut error: TransferError,
        host: &Arc<RemoteHost>,
        client: &Arc<SftpClient>,
    ) -> TransferError {
        if error.is_lost() {
            self.uploads.for_each(Upload::note_lost);
            return error;
        }

        // The user has to know about a target whose old content is gone.
        let uploads = self.uploads.take_all();
        if let Some(path) = uploads.iter().find_map(Upload::broken) {
            error = error.in_place(path);
        }

        let all = async {
            self.remove_small(client).await;

            // The SFTP server may have exited, while the connection still works.
            if !self.lock().is_empty()
                && let Ok(another) = SftpClient::begin_either(host).await
            {
                self.remove_small(&another).await;
            }

            for mut upload in uploads {
                upload.tidy_up(TransferError::Cancelled, host, client).await;
            }
        };

        // A server which no longer answers must not keep the caller from learning about the error.
        let _ = timeout(TIDY_LIMIT, all).await;

        error
    }

    /// Removes and returns all remaining temporary files.
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

    /// Locks the record. The mutex is held only for an assignment, so a poisoned mutex is
    /// consistent.
    fn lock(&self) -> MutexGuard<'_, Temporaries> {
        lock(&self.temporaries)
    }
}
