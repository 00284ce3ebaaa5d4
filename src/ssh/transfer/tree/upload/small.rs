//! The upload of a file that fits into a single write request.

use super::Up;
use crate::{
    sftp::{attributes::Attributes as Found, content::Chunk, request::Access},
    ssh::transfer::{
        TransferError,
        client::Pipelined,
        file::{finish_write::FinishWrite, source::to_set},
        request::FileResult,
        tree::channels::Pipeline,
    },
    tree::{entry::Leaf, tally::Unkept},
};

impl Up<'_> {
    /// Sends a file small enough for a single write request. Returns `None` if the file has to be
    /// sent like a large one: it has grown too long, or the server gave an unexpected handle.
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
        let (bytes, attributes) = (content.content().len() as u64, to_set(attributes));

        let unkept = match self.context.channel_set.pipeline() {
            Some(pipeline) => match self.pipelined(pipeline, content, attributes, to).await? {
                Pipelined::Done(unkept) => unkept,
                Pipelined::Repeat => return Ok(None),
            },
            None => Box::pin(self.in_slot(content, attributes, to)).await?,
        };

        self.context.progress.add(bytes);

        Ok(Some(FileResult {
            bytes,
            verified: false,
            unkept,
        }))
    }

    /// Sends a file with all requests but the rename at once. The rename waits until the content is
    /// known to be complete.
    async fn pipelined(
        &self,
        pipeline: Pipeline<'_>,
        content: Chunk,
        attributes: Found,
        to: &[u8],
    ) -> Result<Pipelined<Unkept>, TransferError> {
        let client = pipeline.client();
        // Recorded before the file exists, so that a lost connection cannot leave it behind
        // unnoticed.
        let temporary = self.pending_uploads.create_name(to, client)?;

        let (path, new) = (&temporary.temporary, mode_until_finished(attributes));
        let sent = client.create_pipelined(path, new, content, attributes, to);
        let Pipelined::Done(attributes_set) = sent.await? else {
            self.pending_uploads.remove(&temporary, client).await;
            return Ok(Pipelined::Repeat);
        };

        let mut unkept = self.put_in_place(&temporary, client).await?;
        unkept += Unkept {
            attributes: u64::from(!attributes_set),
            ..Unkept::default()
        };

        Ok(Pipelined::Done(unkept))
    }

    /// Sends a file with a slot for an open file: the requests after the open follow its reply.
    async fn in_slot(
        &self,
        content: Chunk,
        attributes: Found,
        to: &[u8],
    ) -> Result<Unkept, TransferError> {
        let slot = self.context.channel_set.slot().await;
        let client = slot.client();
        let temporary = self.pending_uploads.create_name(to, client)?;

        let new = mode_until_finished(attributes);
        let made = client
            .open_file(&temporary.temporary, Access::Create, new)
            .await;
        let handle = made.map_err(client.failed("creating a file next to", to))?;
        let length = content.content().len() as u64;

        let write = async {
            if length == 0 {
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
            length,
            // A tree may have very many small files, each of which would wait for the disk.
            flushes: false,
        };

        let mut unkept = finish.at_once(write).await?;
        unkept += self.put_in_place(&temporary, client).await?;

        Ok(unkept)
    }
}

/// Returns the mode of a new file until its attributes are set. A server that cannot change modes
/// keeps this mode, as with `sftp`. The owner must be able to write.
fn mode_until_finished(attributes: Found) -> Found {
    Found::mode(attributes.permissions.unwrap_or(0o644) & 0o777 | 0o600)
}
