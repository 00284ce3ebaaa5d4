//! Writes a new content into the old file.

use super::{PRIVATE, SftpFiles};
use crate::{
    sftp::{attributes::Attributes, request::Access},
    ssh::transfer::{
        RemoteTemp, TransferError,
        client::RequestError,
        error::shown,
        remote_files::edit::{EditError, InPlaceReason, LoadedFile, Written, temporary_name},
    },
};

impl SftpFiles<'_> {
    /// Writes a new content into the old file.
    ///
    /// # Errors
    /// The old file has changed, a step is refused, or the channel fails. The old content is put
    /// back, or its place is named.
    pub(in crate::ssh::transfer::remote_files::edit) async fn write_in_place(
        &self,
        old: &LoadedFile,
        content: &[u8],
        reason: InPlaceReason,
    ) -> Result<Written, TransferError> {
        let client = &self.files.client;
        let name = format!("{}.old", temporary_name(&old.path));
        let mut temp = RemoteTemp::named(&old.path, &name);
        // The copy of an earlier edit would be in the way for ever.
        if !client.removes(&temp.visible()).await {
            temp = RemoteTemp::next_to(&old.path)?;
        }
        let backup = self.backup(old, &old.content, temp).await?;

        let unchanged = self.files.is_unchanged(old).await;
        if !matches!(unchanged, Ok(true)) {
            let _ = client.remove(&backup).await;
            unchanged?;
            return Err(EditError::Changed(shown(&old.path)).into());
        }

        let Err(error) = self.overwrite(old, content).await else {
            let removed = client.remove(&backup).await;
            return Ok(Written {
                in_place: Some(reason),
                left_copy: removed.is_err().then_some(backup),
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

    /// Overwrites an existing file, and cuts it off after the new content.
    async fn overwrite(&self, old: &LoadedFile, content: &[u8]) -> Result<(), RequestError> {
        let is_shorter = content.len() < old.content.len();

        // Some servers cut a file off only as they open it, whatever they answer later.
        if is_shorter && !self.files.client.is_openssh() {
            return self.overwrite_opened(Access::Replace, old, content).await;
        }

        match self.overwrite_opened(Access::Resume, old, content).await {
            // Some accounts may not cut a file off later.
            Err(error) if is_shorter && error.is_refused() => {
                self.overwrite_opened(Access::Replace, old, content).await
            }
            written => written,
        }
    }

    /// Overwrites an existing file, which is opened for this.
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

    /// Writes a content to a new file, which has the name of a temporary file, or else a visible
    /// name, or is in the home directory. Returns the path.
    pub(super) async fn backup(
        &self,
        file: &LoadedFile,
        content: &[u8],
        mut temp: RemoteTemp,
    ) -> Result<Vec<u8>, TransferError> {
        let client = &self.files.client;
        let create = async |path: &[u8]| {
            client
                .open_file(path, Access::Create, Attributes::mode(PRIVATE))
                .await
        };

        let (hidden, visible) = (temp.temporary.clone(), temp.visible());
        let mut created = create(&hidden).await;
        if let Err(RequestError::Status(_)) = created {
            self.check_not_busy(&file.path, &hidden).await?;
            created = create(&visible).await;
            temp.show();
        }

        let mut path = temp.temporary;
        let handle = match created {
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
        if let Err(error) = self.fill(&handle, &path, content, &keeps).await {
            let _ = client.remove(&path).await;
            return Err(self.failure("keeping a copy of", &file.path, error));
        }

        Ok(path)
    }
}
