//! The upload of a file that fits into a single write request.

use super::Up;
use crate::{
    sftp::{attributes::Attributes as Found, request::Access},
    ssh::transfer::{
        TransferError,
        file::{finish_write::FinishWrite, source::to_set},
        request::FileResult,
    },
    tree::entry::Leaf,
};

impl Up<'_> {
    /// Sends a file small enough for a single write request. Returns `None` if the file has grown
    /// too long.
    ///
    /// # Errors
    /// A request failed, or the file cannot be read or is guarded.
    pub(super) async fn small(
        &self,
        leaf: &Leaf,
        size: u64,
        to: &[u8],
    ) -> Result<Option<FileResult>, TransferError> {
        let read = self.source.read_small(self.context, leaf, size).await?;
        let Some((content, attributes)) = read else {
            return Ok(None);
        };
        let slot = self.context.channel_set.slot().await;
        let client = slot.client();
        // Recorded before the file exists, so that a lost connection cannot leave it behind
        // unnoticed.
        let temporary = self.pending_uploads.create_name(to, client)?;
        let attributes = to_set(attributes);

        // A server that cannot change modes keeps this mode, as with `sftp`. The owner must be able
        // to write.
        let new = Found::mode(attributes.permissions.unwrap_or(0o644) & 0o777 | 0o600);
        let made = client
            .open_file(&temporary.temporary, Access::Create, new)
            .await;
        let handle = made.map_err(client.failed("creating a file next to", to))?;
        let bytes = content.content().len() as u64;

        let write = async {
            if bytes == 0 {
                Ok(())
            } else {
                client.write(&handle, 0, content).await
            }
        };

        let finish = FinishWrite {
            client,
            handle: &handle,
            target: to,
            attributes,
            length: bytes,
            // A tree may have very many small files, each of which would wait for the disk.
            flushes: false,
        };

        let mut unkept = finish.at_once(write).await?;
        unkept += self.put_in_place(&temporary, client).await?;
        self.context.progress.add(bytes);

        Ok(Some(FileResult {
            bytes,
            verified: false,
            unkept,
        }))
    }
}
