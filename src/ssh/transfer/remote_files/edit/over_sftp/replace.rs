//! Replaces a file by a temporary one that has the new content.

use super::{PRIVATE, SftpFiles};
use crate::{
    lock::lock,
    sftp::{attributes::Attributes, handle::Handle, request::Access},
    ssh::transfer::{
        RemoteTemp, TransferError,
        client::RequestError,
        error::shown,
        remote_files::edit::{
            EditError, InPlaceReason, LoadedFile, MAX_EDITED_BYTES, Written, temporary_name,
        },
    },
};

/// New content of a file, complete in a temporary file.
#[derive(Debug)]
pub(in crate::ssh::transfer::remote_files::edit) struct StagedFile {
    temp: RemoteTemp,
    /// The old file, open for reading.
    old: Handle,
}

impl SftpFiles<'_> {
    /// Writes a new content to a temporary file with mode and owner of the old file.
    ///
    /// # Errors
    /// The old file has changed, or the channel fails. The temporary file is removed.
    pub(in crate::ssh::transfer::remote_files::edit) async fn stage(
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
                let is_alone = matches!(error, RequestError::Status(_)) && !client.is_openssh();
                let _ = client.close(&created).await;
                self.discard(&temp).await;
                // The server may allow one open file.
                if is_alone {
                    return Ok(Err(InPlaceReason::Unseen));
                }
                return Err(client.failed("reading", &old.path)(error));
            }
        };

        let keeps = Attributes {
            owner: old.owner,
            permissions: old.mode,
            ..Attributes::default()
        };
        let filled = Box::pin(self.fill(&created, &temp.temporary, content, &keeps));
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
    pub(in crate::ssh::transfer::remote_files::edit) async fn commit(
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
                    .read_open(&old.path, &handle, length, MAX_EDITED_BYTES),
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

        let backup = RemoteTemp::named(&old.path, &temporary_name(&old.path));
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
    pub(in crate::ssh::transfer::remote_files::edit) async fn discard(self, files: SftpFiles<'_>) {
        files.discard(&self.temp).await;
        files.files.client.close_read(&self.old).await;
    }
}

/// Returns true if a new file lacks what it was to have: content, mode or owner.
fn lacks(found: &Attributes, keeps: &Attributes, content: &[u8]) -> bool {
    let differs = |found: Option<u32>, kept: Option<u32>| kept.is_some() && found != kept;
    let mode = found.permissions.map(|mode| mode & 0o7777);

    found.size.is_some_and(|size| size != content.len() as u64)
        || differs(mode, keeps.permissions)
        || keeps.owner.is_some() && found.owner != keeps.owner
}
