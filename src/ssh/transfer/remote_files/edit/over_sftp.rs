//! Writes files over SFTP.
//!
//! A new content is written to a temporary file, which then takes the place of the old one. Shortly
//! before, the old file is compared with what was loaded, and once more afterwards, because another
//! program may have written to it in between.

use std::sync::Mutex;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{EditError, InPlaceReason, LoadedFile, Written, load::parent, temporary_name};
use crate::{
    lock::lock,
    sftp::{attributes::Attributes, content::Chunk, handle::Handle, request::Access},
    ssh::transfer::{
        TransferError, client::RequestError, error::shown, file::remote_temp::RemoteTemp,
        remote_files::RemoteFiles,
    },
};

/// Mode of a file while it is written.
const PRIVATE: u32 = 0o600;
/// Mode of a new file, from which the server takes the bits of the umask.
const USUAL: u32 = 0o644;
/// Mode of a new directory in a private one.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// Mode of a new directory, from which the server takes the bits of the umask.
const USUAL_DIRECTORY: u32 = 0o755;

/// Files of a host that are changed over SFTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct SftpFiles<'a> {
    pub(super) files: &'a RemoteFiles,
    /// Temporary files on the host. One stays here if the link is lost before its removal.
    pub(super) temps: &'a Mutex<Vec<RemoteTemp>>,
}

/// New content of a file, complete in a temporary file.
#[derive(Debug)]
pub(super) struct StagedFile {
    temp: RemoteTemp,
    /// The old file, open for reading.
    old: Handle,
}

impl SftpFiles<'_> {
    /// Writes a new content to a temporary file with mode and owner of the old file.
    ///
    /// # Errors
    /// The old file has changed, or the channel fails. The temporary file is removed.
    pub(super) async fn stage(
        &self,
        old: &LoadedFile,
        content: &[u8],
    ) -> Result<Result<StagedFile, InPlaceReason>, TransferError> {
        let client = &self.files.client;
        let temp = RemoteTemp::named(&old.path, &temporary_name(&old.path));
        let (created, opened) = self
            .files
            .in_order(
                client.open_file(&temp.temporary, Access::Create, Attributes::mode(PRIVATE)),
                client.open_file(&old.path, Access::Read, Attributes::default()),
            )
            .await;

        let created = match created {
            Ok(created) => created,
            Err(error) => {
                if let Ok(opened) = &opened {
                    client.close_read(opened).await;
                }
                // Without an answer, the file may have been created.
                if error.code().is_none() {
                    lock(self.temps).push(temp.clone());
                }
                self.fail_unless_refused(&old.path, error)?;
                self.check_not_busy(&old.path, &temp.temporary).await?;
                return Ok(Err(InPlaceReason::Directory));
            }
        };
        lock(self.temps).push(temp.clone());

        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.discard(&temp).await;
                return Err(client.failed("reading", &old.path)(error));
            }
        };

        let keeps = Attributes {
            owner: old.owner,
            permissions: old.mode,
            ..Attributes::default()
        };
        let filled = Box::pin(self.fill(&created, content, &keeps));
        let compared = Box::pin(self.is_still(&opened, old));
        let (filled, compared) = self.files.in_order(filled, compared).await;

        let refused = match filled {
            Ok(found) if lacks(&found, &keeps, content) => Some(InPlaceReason::Owner),
            Ok(_) => None,
            // In place, the reason becomes clear.
            Err(RequestError::Status(_)) => Some(InPlaceReason::Directory),
            Err(error) => {
                self.discard(&temp).await;
                return Err(client.failed("writing", &old.path)(error));
            }
        };
        let not_staged = match (compared, refused) {
            (Ok(true), None) => return Ok(Ok(StagedFile { temp, old: opened })),
            (Ok(true), Some(refused)) => Ok(refused),
            (Ok(false), _) => Err(EditError::Changed(shown(&old.path)).into()),
            (Err(error), _) => Err(error),
        };
        self.discard(&temp).await;
        client.close_read(&opened).await;

        not_staged.map(Err)
    }

    /// Gives the temporary file the name of the old one.
    ///
    /// # Errors
    /// The old file was written to meanwhile, which is undone, or the channel fails.
    pub(super) async fn commit(
        &self,
        staged: StagedFile,
        old: &LoadedFile,
        content: &[u8],
    ) -> Result<Result<Written, InPlaceReason>, TransferError> {
        let client = &self.files.client;
        let StagedFile { temp, old: handle } = staged;

        let length = old.content.len() as u64;
        let (renamed, after) = self
            .files
            .in_order(
                client.posix_rename(&temp.temporary, &temp.target),
                self.files
                    .read_open(&old.path, &handle, length, super::MAX_EDITED_BYTES),
            )
            .await;
        client.close_read(&handle).await;

        if let Err(error) = renamed {
            self.fail_unsure_unless_refused(&old.path, error)?;
            self.discard(&temp).await;
            return Ok(Err(InPlaceReason::NoRename));
        }
        self.forget(&temp);

        match after {
            Ok((theirs, _)) if theirs != old.content => self.give_way(old, content, &theirs).await,
            // Nothing is known of a file that can no longer be read.
            _ => Ok(Ok(Written::default())),
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

    /// Puts back what another program wrote to the old file while it was replaced.
    ///
    /// # Errors
    /// Always: the edit was not made, or what the other program wrote is in another file.
    async fn give_way<T>(
        &self,
        old: &LoadedFile,
        content: &[u8],
        theirs: &[u8],
    ) -> Result<T, TransferError> {
        let ours = LoadedFile {
            content: content.to_vec(),
            ..old.clone()
        };
        let changed = || TransferError::from(EditError::Changed(shown(&old.path)));

        let backup = RemoteTemp::named(&old.path, &temporary_name(&old.path)).temporary;
        let backup = self.backup(&ours, theirs, backup).await?;
        if !self.files.is_unchanged(&ours).await? {
            return Err(EditError::Incomplete {
                path: shown(&old.path),
                message: "another program wrote to it at the same moment".to_owned(),
                old: shown(&backup),
            }
            .into());
        }

        let renamed = self.files.client.posix_rename(&backup, &old.path).await;
        renamed.map_err(self.files.client.failed("replacing", &old.path))?;
        Err(changed())
    }

    /// Writes a new content into the old file.
    ///
    /// # Errors
    /// The old file has changed, a step is refused, or the channel fails. The old content is put
    /// back, or its place is named.
    pub(super) async fn write_in_place(
        &self,
        old: &LoadedFile,
        content: &[u8],
        reason: InPlaceReason,
    ) -> Result<Written, TransferError> {
        let client = &self.files.client;
        let name = format!("{}.old", temporary_name(&old.path));
        let backup = RemoteTemp::named(&old.path, &name).temporary;
        let backup = self.backup(old, &old.content, backup).await?;

        let unchanged = self.files.is_unchanged(old).await;
        if !matches!(unchanged, Ok(true)) {
            let _ = client.remove(&backup).await;
            unchanged?;
            return Err(EditError::Changed(shown(&old.path)).into());
        }

        let Err(error) = self.overwrite(old, content).await else {
            let _ = client.remove(&backup).await;
            return Ok(Written {
                in_place: Some(reason),
                ..Written::default()
            });
        };

        let is_refused = matches!(error, RequestError::Status(_));
        let message = error.to_string();
        let is_as_before = is_refused
            && (matches!(self.files.is_unchanged(old).await, Ok(true))
                || self.overwrite(old, &old.content).await.is_ok());
        if is_as_before {
            let _ = client.remove(&backup).await;
            return Err(EditError::Failed {
                doing: "writing",
                path: shown(&old.path),
                message,
            }
            .into());
        }

        Err(EditError::Incomplete {
            path: shown(&old.path),
            message,
            old: shown(&backup),
        }
        .into())
    }

    /// Creates a file. Nothing is overwritten.
    ///
    /// # Errors
    /// Something has the path, a step is refused, or the channel fails.
    pub(super) async fn create(
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
    pub(super) async fn rename(&self, old: &LoadedFile, to: &[u8]) -> Result<(), TransferError> {
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
    pub(super) async fn delete(&self, old: &LoadedFile) -> Result<(), TransferError> {
        self.check_unchanged(old).await?;

        let removed = self.files.client.remove(&old.path).await;
        removed.map_err(|error| self.failure("deleting", &old.path, error))
    }

    /// Checks that a file still has the content that was loaded.
    async fn check_unchanged(&self, file: &LoadedFile) -> Result<(), TransferError> {
        if self.files.is_unchanged(file).await? {
            Ok(())
        } else {
            Err(EditError::Changed(shown(&file.path)).into())
        }
    }

    /// Returns true if an open file has the content that was loaded, and still has its path.
    async fn is_still(&self, handle: &Handle, file: &LoadedFile) -> Result<bool, TransferError> {
        let client = &self.files.client;
        let length = file.content.len() as u64;
        let read = self.files.read_open(&file.path, handle, length, length);
        let (read, at_path) = self.files.in_order(read, client.stat(&file.path)).await;

        let (content, open) = read?;
        let at_path = at_path.map_err(client.failed("reading", &file.path))?;
        let is_same = at_path.size == open.size && at_path.modified() == open.modified();

        Ok(is_same && content == file.content)
    }

    /// Writes content, owner and mode to an open new file, flushes and closes it. Returns its
    /// attributes.
    async fn fill(
        &self,
        handle: &Handle,
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
            return found;
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

        found
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

    /// Overwrites an existing file, and cuts it off after the new content.
    async fn overwrite(&self, old: &LoadedFile, content: &[u8]) -> Result<(), RequestError> {
        let is_shorter = content.len() < old.content.len();

        // Some servers cut a file off only as they open it, whatever they answer later.
        if is_shorter && !self.files.client.is_openssh() {
            return self.overwrite_opened(Access::Replace, old, content).await;
        }
        self.overwrite_opened(Access::Resume, old, content).await
    }

    async fn overwrite_opened(
        &self,
        access: Access,
        old: &LoadedFile,
        content: &[u8],
    ) -> Result<(), RequestError> {
        let client = &self.files.client;
        let handle = client
            .open_file(&old.path, access, Attributes::default())
            .await?;

        let written = async {
            self.write_all(&handle, content).await?;
            if access == Access::Resume && content.len() < old.content.len() {
                let size = Attributes {
                    size: Some(content.len() as u64),
                    ..Attributes::default()
                };
                client.fsetstat(&handle, size).await?;
            }

            // Writing takes the bits of set-user-ID and set-group-ID away.
            if let Some(mode) = old.mode.filter(|mode| mode & 0o6000 != 0) {
                let _ = client.fsetstat(&handle, Attributes::mode(mode)).await;
            }
            self.flush(&handle).await
        };
        let written = written.await;
        let closed = client.close(&handle).await;

        written.and(closed)
    }

    /// Writes a content to a new file with this path, or else into the home directory. Returns the
    /// path.
    async fn backup(
        &self,
        file: &LoadedFile,
        content: &[u8],
        mut path: Vec<u8>,
    ) -> Result<Vec<u8>, TransferError> {
        let client = &self.files.client;
        let create = async |path: &[u8]| {
            client
                .open_file(path, Access::Create, Attributes::mode(PRIVATE))
                .await
        };

        let handle = match create(&path).await {
            Ok(handle) => handle,
            Err(RequestError::Status(_)) => {
                self.check_not_busy(&file.path, &path).await?;
                let home = client.realpath(b".").await;
                let home = home.map_err(|error| self.failure("writing", &file.path, error))?;
                let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(&path);
                path = [&home, &b"/"[..], name].concat();
                let created = create(&path).await;
                if created.is_err() {
                    self.check_not_busy(&file.path, &path).await?;
                }
                created.map_err(|error| self.failure("keeping a copy of", &file.path, error))?
            }
            Err(error) => return Err(client.failed("writing", &path)(error)),
        };

        let keeps = Attributes {
            owner: file.owner,
            permissions: file.mode,
            ..Attributes::default()
        };
        if let Err(error) = self.fill(&handle, content, &keeps).await {
            let _ = client.remove(&path).await;
            return Err(self.failure("keeping a copy of", &file.path, error));
        }

        Ok(path)
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

    /// Removes a temporary file. It stays noted if the server does not answer.
    pub(super) async fn discard(&self, temp: &RemoteTemp) {
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

    /// Returns Ok if the server refused a step, so that there may be another way.
    fn fail_unless_refused(&self, path: &[u8], error: RequestError) -> Result<(), TransferError> {
        match error {
            RequestError::Status(_) => Ok(()),
            error => Err(self.files.client.failed("writing", path)(error)),
        }
    }

    /// Returns Ok if the server refused the rename. Otherwise it may have happened.
    fn fail_unsure_unless_refused(
        &self,
        path: &[u8],
        error: RequestError,
    ) -> Result<(), TransferError> {
        match error {
            RequestError::Status(_) => Ok(()),
            error if self.files.client.connection().has_ended() => {
                Err(self.files.client.failed("replacing", path)(error))
            }
            error => Err(EditError::Unsure {
                path: shown(path),
                message: error.to_string(),
            }
            .into()),
        }
    }
}

impl StagedFile {
    /// Removes the temporary file, because the content is written in another way.
    pub(super) async fn discard(self, files: SftpFiles<'_>) {
        files.discard(&self.temp).await;
        files.files.client.close_read(&self.old).await;
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

/// Returns true if only its owner gets at what is in a directory.
fn is_private(directory: &Attributes) -> bool {
    directory
        .permissions
        .is_some_and(|mode| mode.trailing_zeros() >= 6)
}

/// Returns true if a new file lacks what it was to have: content, mode or owner.
fn lacks(found: &Attributes, keeps: &Attributes, content: &[u8]) -> bool {
    let differs = |found: Option<u32>, kept: Option<u32>| kept.is_some() && found != kept;
    let mode = found.permissions.map(|mode| mode & 0o7777);

    found.size.is_some_and(|size| size != content.len() as u64)
        || differs(mode, keeps.permissions)
        || keeps.owner.is_some() && found.owner != keeps.owner
}
