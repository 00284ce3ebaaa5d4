//! Opens the remote file of an upload: the file of an earlier attempt, a new temporary file or, if
//! the server accepts none, the target.

use super::{UploadState, may_be_its_name};
use crate::{
    sftp::{attributes::Attributes, handle::Handle, request::Access, status::StatusCode},
    ssh::transfer::{
        client::{RequestError, SftpClient},
        error::TransferError,
        file::source::SourceFile,
    },
};

impl UploadState {
    /// Creates the file, or reopens the file of an earlier attempt at the old position.
    pub(super) async fn open(
        &mut self,
        client: &SftpClient,
        local: &mut SourceFile,
    ) -> Result<Handle, TransferError> {
        // Writes of an earlier attempt end first, if their link still works.
        self.close().await;

        if self.made {
            let path = self.path().to_owned();
            match client
                .open_file(&path, Access::Resume, Attributes::default())
                .await
            {
                Err(error) if client.may_be_missing(&error) => self.start_over(local),
                again => {
                    let handle = again.map_err(client.failed("opening", &path))?;
                    let found = client
                        .fstat_or_stat(&handle, &path)
                        .await
                        .map_err(client.failed("looking at", &path))?;

                    if local.has_changed().await?
                        || found.size.is_none_or(|size| size < self.arrived)
                    {
                        self.start_over(local);
                    }

                    // Pieces may have arrived after a gap, so the file is cut where the content is
                    // known to be whole.
                    let size = Attributes {
                        size: Some(self.arrived),
                        ..Attributes::default()
                    };

                    client
                        .fsetstat(&handle, size)
                        .await
                        .map_err(client.failed("cutting", &path))?;

                    return Ok(handle);
                }
            }
        }

        // A server that cannot change modes keeps this mode, as with `sftp`. The owner must be able
        // to write.
        let mode = local.attributes().permissions.unwrap_or(0o644) & 0o777 | 0o600;
        self.make(client, Attributes::mode(mode)).await
    }

    /// Creates the temporary file or, if the server accepts none, the target.
    async fn make(
        &mut self,
        client: &SftpClient,
        attributes: Attributes,
    ) -> Result<Handle, TransferError> {
        if !self.in_place {
            // Set in advance, because the reply may be lost.
            self.made = true;

            let refused = match self.make_temporary(client, attributes).await {
                Err(refused) if may_be_its_name(client, &refused) => refused,
                made => {
                    return made
                        .map_err(client.failed("creating a file next to", &self.names.target));
                }
            };

            self.remove_refused(client).await;

            // A full disk would refuse the file too, and then the old content is the only copy.
            let is_final = matches!(
                refused.code(),
                Some(StatusCode::PermissionDenied | StatusCode::Unsupported)
            );

            self.made = false;

            if !is_final && client.lstat(&self.names.target).await.is_ok() {
                return Err(client.failed("creating a file next to", &self.names.target)(refused));
            }
        }

        let target = self.names.target.clone();

        if client.lstat(&target).await.is_ok() {
            // Replacing truncates the file. So the server has to allow writing before the old
            // content is lost.
            let may_write = client
                .open_file(&target, Access::Write, Attributes::default())
                .await;
            let handle = may_write.map_err(client.failed("writing into", &target))?;
            client.close_read(&handle).await;
        }

        (self.in_place, self.made) = (true, true);
        let made = client.open_file(&target, Access::Replace, attributes).await;
        self.made = !matches!(made, Err(RequestError::Status(_)));

        made.map_err(client.failed("creating", &target))
    }

    /// Creates the temporary file, with a visible name or a simpler request if the server refuses
    /// the first. Some servers reject hidden names, and some do not know the flag for a new file.
    /// The name is random, so nobody can have placed a file there.
    async fn make_temporary(
        &mut self,
        client: &SftpClient,
        attributes: Attributes,
    ) -> Result<Handle, RequestError> {
        match client
            .open_file(&self.names.temporary, Access::Create, attributes)
            .await
        {
            Err(refused) if may_be_its_name(client, &refused) => {
                self.remove_refused(client).await;
                self.names.show();
            }
            made => return made,
        }

        match client
            .open_file(&self.names.temporary, Access::Create, attributes)
            .await
        {
            Err(refused) if may_be_its_name(client, &refused) => {
                client
                    .open_file(&self.names.temporary, Access::Replace, attributes)
                    .await
            }
            made => made,
        }
    }

    /// Removes a file whose creation was refused. The server may have created the file and then
    /// failed to set its mode.
    async fn remove_refused(&self, client: &SftpClient) {
        let _ = client.remove(&self.names.temporary).await;
    }
}
