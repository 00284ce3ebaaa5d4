//! Writes a new content into the old file.

use super::{PRIVATE, SftpFiles};
use crate::{
    sftp::{attributes::Attributes, request::Access},
    ssh::transfer::{
        RemoteTemp, TransferError,
        abilities::missing_name,
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
        if !client.removes(&missing_name()?).await {
            temp = RemoteTemp::next_to(&old.path)?;
        }
        let backup = self.backup(old, &old.content, temp).await?;

        let unchanged = self.files.is_unchanged(old).await;
        if !matches!(unchanged, Ok(true)) {
            let _ = client.remove(&backup).await;
            unchanged?;
            return Err(EditError::Changed(shown(&old.path)).into());
        }

        let Err(error) = self.overwrite(old, content, old.content.len()).await else {
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
                || self.put_back(old, content.len()).await);
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

    /// Writes the old content again after up to `written` bytes of another content. Returns true if
    /// the file is as before.
    async fn put_back(&self, old: &LoadedFile, written: usize) -> bool {
        let most = written.max(old.content.len());
        self.overwrite(old, &old.content, most).await.is_ok()
            && matches!(self.files.is_unchanged(old).await, Ok(true))
    }

    /// Overwrites an existing file of up to `most` bytes, and cuts it off after the new content.
    async fn overwrite(
        &self,
        old: &LoadedFile,
        content: &[u8],
        most: usize,
    ) -> Result<(), RequestError> {
        let client = &self.files.client;
        let is_shorter = content.len() < most;
        let open = async |access| {
            client
                .open_file(&old.path, access, Attributes::default())
                .await
        };

        // Some servers cut a file off only as they open it, whatever they answer later. Others open
        // an existing file for writing only if it is replaced.
        let opened = if is_shorter && !client.is_openssh() {
            open(Access::Replace).await
        } else {
            match open(Access::Resume).await {
                Err(RequestError::Status(_)) if !client.is_openssh() => open(Access::Replace).await,
                opened => opened,
            }
        };
        let handle = opened?;

        let written = async {
            self.write_all(&handle, content).await?;
            if is_shorter && client.is_openssh() {
                let size = Attributes {
                    size: Some(content.len() as u64),
                    ..Attributes::default()
                };
                match client.fsetstat(&handle, size).await {
                    // An account that may not set attributes cuts a file off as it opens it.
                    Err(error) if error.is_refused() => {
                        let cut_off = open(Access::Replace).await?;
                        let written = self.write_all(&cut_off, content).await;
                        written.and(client.close(&cut_off).await)?;
                    }
                    cut_off => cut_off?,
                }
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
