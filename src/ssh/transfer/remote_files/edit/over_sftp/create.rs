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

        let mut temp = RemoteTemp::next_to(path)?;
        let attributes = Attributes::mode(mode);
        let created = if temp.can_replace(client).await {
            match self.create_by_rename(&temp, content, attributes).await {
                // Some servers reject hidden names.
                Err(error) if error.is_refused() && !client.is_openssh() => {
                    temp.show();
                    self.create_by_rename(&temp, content, attributes).await
                }
                created => created,
            }
        } else {
            self.create_directly(path, content, attributes).await
        };

        // An account that takes no other names may still take this one.
        let created = match created {
            Err(error) if error.is_refused() && !client.is_openssh() => {
                self.create_directly(path, content, attributes).await
            }
            created => created,
        };
        if let Err(error) = created {
            if client.lstat(path).await.is_ok() {
                return Err(EditError::Exists(shown(path)).into());
            }
            return Err(self.failure("creating", path, error));
        }

        Ok(Written {
            created_directories,
            ..Written::default()
        })
    }

    /// Creates a file under a temporary name and renames it. The temporary file is removed after an
    /// error.
    async fn create_by_rename(
        &self,
        temp: &RemoteTemp,
        content: &[u8],
        attributes: Attributes,
    ) -> Result<(), RequestError> {
        let client = &self.files.client;
        lock(self.temps).push(temp.clone());
        let opened = client
            .open_file(&temp.temporary, Access::Create, attributes)
            .await;
        let handle = match opened {
            Ok(handle) => handle,
            Err(error) => {
                // A server that has not answered may have created the file.
                if matches!(error, RequestError::Status(_)) {
                    self.forget(temp);
                }
                return Err(error);
            }
        };

        let keeps = Attributes::default();
        let filled = self.fill(&handle, &temp.temporary, content, &keeps).await;
        // The server refuses to rename over a file that exists.
        let renamed = match filled {
            Ok(_) => client.rename(&temp.temporary, &temp.target).await,
            Err(error) => Err(error),
        };
        if renamed.is_ok() {
            self.forget(temp);
        } else {
            self.discard(temp).await;
        }

        renamed
    }

    /// Creates a file under its own name, for servers which do not rename. The file is removed after
    /// an error.
    async fn create_directly(
        &self,
        path: &[u8],
        content: &[u8],
        attributes: Attributes,
    ) -> Result<(), RequestError> {
        let client = &self.files.client;
        let handle = client.open_file(path, Access::Create, attributes).await?;
        let filled = self
            .fill(&handle, path, content, &Attributes::default())
            .await;
        if filled.is_err() {
            let _ = client.remove(path).await;
        }

        filled.map(drop)
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
