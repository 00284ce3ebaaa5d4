//! Creates, renames and deletes files.

use super::{PRIVATE, SftpFiles};
use crate::{
    lock::lock,
    sftp::{attributes::Attributes, request::Access},
    ssh::transfer::{
        RemoteTemp, TransferError,
        client::RequestError,
        error::shown,
        remote_files::edit::{EditError, LoadedFile, Written, load::parent},
    },
};

/// Mode of a new file, from which the server takes the bits of the umask.
const USUAL: u32 = 0o644;
/// Mode of a new directory in a private one.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// Mode of a new directory, from which the server takes the bits of the umask.
const USUAL_DIRECTORY: u32 = 0o755;

impl SftpFiles<'_> {
    /// Creates a file. Nothing is overwritten.
    ///
    /// # Errors
    /// Something has the path, a step is refused, or the channel fails.
    pub(in crate::ssh::transfer::remote_files::edit) async fn create(
        &self,
        path: &[u8],
        content: &[u8],
        makes_directories: bool,
    ) -> Result<Written, TransferError> {
        let client = &self.files.client;
        let (directory, created_directories) = match self.files.directory_of(path).await {
            Err(TransferError::Edit(EditError::NoDirectory(_))) if makes_directories => {
                let created = self.make_directories(parent(path)).await?;
                (self.files.directory_of(path).await?, created)
            }
            found => (found?, Vec::new()),
        };

        let mode = if is_private(&directory) {
            PRIVATE
        } else {
            USUAL
        };

        let temp = RemoteTemp::next_to(path)?;
        lock(self.temps).push(temp.clone());
        let opened = client
            .open_file(&temp.temporary, Access::Create, Attributes::mode(mode))
            .await;
        let handle = match opened {
            Ok(handle) => handle,
            Err(error) => {
                // A server that has not answered may have created the file.
                if matches!(error, RequestError::Status(_)) {
                    self.forget(&temp);
                }
                return Err(self.failure("creating", path, error));
            }
        };

        let filled = self.fill(&handle, content, &Attributes::default()).await;
        // The server refuses to rename over a file that exists.
        let renamed = match filled {
            Ok(_) => client.rename(&temp.temporary, path).await,
            Err(error) => Err(error),
        };
        if let Err(error) = renamed {
            self.discard(&temp).await;
            if client.lstat(path).await.is_ok() {
                return Err(EditError::Exists(shown(path)).into());
            }
            return Err(self.failure("creating", path, error));
        }
        self.forget(&temp);

        Ok(Written {
            created_directories,
            ..Written::default()
        })
    }

    /// Gives a file another path. Nothing is overwritten.
    ///
    /// # Errors
    /// The file has changed, something has the new path, or a step is refused.
    pub(in crate::ssh::transfer::remote_files::edit) async fn rename(
        &self,
        old: &LoadedFile,
        to: &[u8],
    ) -> Result<(), TransferError> {
        self.files.directory_of(to).await?;
        if self.files.client.lstat(to).await.is_ok() {
            return Err(EditError::Exists(shown(to)).into());
        }
        self.check_unchanged(old).await?;

        let renamed = self.files.client.rename(&old.path, to).await;
        renamed.map_err(|error| self.failure("renaming", &old.path, error))
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// The file has changed, or a step is refused.
    pub(in crate::ssh::transfer::remote_files::edit) async fn delete(
        &self,
        old: &LoadedFile,
    ) -> Result<(), TransferError> {
        self.check_unchanged(old).await?;

        let removed = self.files.client.remove(&old.path).await;
        removed.map_err(|error| self.failure("deleting", &old.path, error))
    }

    /// Creates a directory and its missing parents. Returns what was created.
    async fn make_directories(&self, directory: &[u8]) -> Result<Vec<Vec<u8>>, TransferError> {
        let mut missing = vec![directory];
        let existing = loop {
            let last = missing.last().copied().unwrap_or(directory);
            match self.files.directory_of(last).await {
                Err(TransferError::Edit(EditError::NoDirectory(_)))
                    if parent(last) != last && !parent(last).is_empty() =>
                {
                    missing.push(parent(last));
                }
                found => break found?,
            }
        };
        let mode = if is_private(&existing) {
            PRIVATE_DIRECTORY
        } else {
            USUAL_DIRECTORY
        };

        let mut created = Vec::new();
        for directory in missing.into_iter().rev() {
            let mode = Attributes::mode(mode);
            let done = self.files.client.mkdir(directory, mode).await;
            done.map_err(|error| self.failure("creating", directory, error))?;
            created.push(directory.to_vec());
        }

        Ok(created)
    }
}

/// Returns true if only its owner gets at what is in a directory.
fn is_private(directory: &Attributes) -> bool {
    directory
        .permissions
        .is_some_and(|mode| mode.trailing_zeros() >= 6)
}
