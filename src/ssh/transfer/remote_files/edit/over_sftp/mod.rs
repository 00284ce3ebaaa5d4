//! Writes files over SFTP.
//!
//! A new content is written to a temporary file, which then takes the place of the old one. Shortly
//! before, the old file is compared with what was loaded, and once more afterwards, because another
//! program may have written to it in between.

mod create;
mod in_place;
mod replace;

use std::sync::Mutex;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{EditError, LoadedFile};
use crate::{
    lock::lock,
    sftp::{attributes::Attributes, content::Chunk, handle::Handle},
    ssh::transfer::{
        RemoteTemp, TransferError, client::RequestError, error::shown, remote_files::RemoteFiles,
    },
};

/// Mode of a file while it is written.
const PRIVATE: u32 = 0o600;

/// Files of a host that are changed over SFTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct SftpFiles<'a> {
    pub(super) files: &'a RemoteFiles,
    /// Temporary files on the host. One stays here if the link is lost before its removal.
    pub(super) temps: &'a Mutex<Vec<RemoteTemp>>,
}

impl SftpFiles<'_> {
    /// Writes content, owner and mode to an open new file, flushes and closes it. Returns its
    /// attributes.
    async fn fill(
        &self,
        handle: &Handle,
        path: &[u8],
        content: &[u8],
        keeps: &Attributes,
    ) -> Result<Attributes, RequestError> {
        let client = &self.files.client;
        // A change of the owner takes the bits of set-user-ID away, so the mode comes after it.
        let owner = Attributes {
            owner: keeps.owner,
            ..Attributes::default()
        };
        let mode = Attributes {
            permissions: keeps.permissions,
            ..Attributes::default()
        };
        // What is refused shows in the attributes.
        let set = async |attributes: Attributes| {
            if attributes != Attributes::default() {
                let _ = client.fsetstat(handle, attributes).await;
            }
        };

        if !client.is_openssh() {
            self.write_all(handle, content).await?;
            set(owner).await;
            set(mode).await;
            self.flush(handle).await?;
            let found = client.fstat(handle).await;
            client.close(handle).await?;
            return self.or_by_path(found, path).await;
        }

        let (written, (), (), flushed, found, closed) = tokio::join!(
            self.write_all(handle, content),
            set(owner),
            set(mode),
            self.flush(handle),
            client.fstat(handle),
            client.close(handle),
        );
        written?;
        flushed?;
        closed?;

        self.or_by_path(found, path).await
    }

    /// Returns the attributes of a closed file, by its path if they were not told by its handle.
    async fn or_by_path(
        &self,
        found: Result<Attributes, RequestError>,
        path: &[u8],
    ) -> Result<Attributes, RequestError> {
        match found {
            Err(RequestError::Status(_)) => self.files.client.stat(path).await,
            found => found,
        }
    }

    /// Writes a content from the beginning of an open file.
    async fn write_all(&self, handle: &Handle, content: &[u8]) -> Result<(), RequestError> {
        let client = &self.files.client;
        let size = client.write_chunk() as usize;

        stream::iter((0..content.len()).step_by(size))
            .map(|offset| {
                let rest = content.get(offset..).unwrap_or_default();
                let chunk = Chunk::from(rest.get(..size).unwrap_or(rest));
                client.write(handle, offset as u64, chunk)
            })
            .buffered(client.most_requests().min(content.len() / size + 1))
            .try_collect()
            .await
    }

    /// Flushes an open file to the disk, if the server can do so.
    async fn flush(&self, handle: &Handle) -> Result<(), RequestError> {
        if !self.files.client.offers("fsync@openssh.com") {
            return Ok(());
        }

        // Some servers offer it and then refuse it, and a disk that is full refuses more than this.
        match self.files.client.fsync(handle).await {
            Err(RequestError::Status(_)) if !self.files.client.is_openssh() => Ok(()),
            flushed => flushed,
        }
    }

    /// Checks that a file still has the content that was loaded.
    async fn check_unchanged(&self, file: &LoadedFile) -> Result<(), TransferError> {
        if self.files.is_unchanged(file).await? {
            Ok(())
        } else {
            Err(EditError::Changed(shown(&file.path)).into())
        }
    }

    /// Checks that no other program has the temporary file of an edit.
    async fn check_not_busy(&self, path: &[u8], temp: &[u8]) -> Result<(), EditError> {
        if self.files.client.lstat(temp).await.is_err() {
            return Ok(());
        }

        Err(EditError::Busy {
            path: shown(path),
            temp: shown(temp),
        })
    }

    /// Removes a temporary file. It stays noted if the server does not answer.
    async fn discard(&self, temp: &RemoteTemp) {
        if temp.remove_with(&self.files.client).await {
            self.forget(temp);
        }
    }

    fn forget(&self, temp: &RemoteTemp) {
        lock(self.temps).retain(|noted| noted != temp);
    }

    /// Returns the error of a step that left the file as it was.
    fn failure(&self, doing: &'static str, path: &[u8], error: RequestError) -> TransferError {
        match error {
            RequestError::Status(status) => EditError::Failed {
                doing,
                path: shown(path),
                message: status.to_string(),
            }
            .into(),
            error => self.files.client.failed(doing, path)(error),
        }
    }
}

impl RemoteFiles {
    /// Carries out two operations. OpenSSH's server carries requests out in order, so they are in
    /// flight at the same time; with other servers, the second begins after the first.
    async fn in_order<A, B>(
        &self,
        first: impl Future<Output = A>,
        second: impl Future<Output = B>,
    ) -> (A, B) {
        if self.client.is_openssh() {
            tokio::join!(first, second)
        } else {
            let first = first.await;
            (first, second.await)
        }
    }
}
