//! The upload of a file that fits into a single write request.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
};

use super::Up;
use crate::{
    local::Folder,
    sftp::{attributes::Attributes as Found, content::Chunk, request::Access},
    ssh::transfer::{
        TransferError,
        file::{
            finish_write::FinishWrite,
            source::{attributes, to_set},
        },
        guard::content,
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
        let filter = self.filter.clone();

        let read = move |folder: &Folder, name: &[u8]| {
            let read = read_whole(folder.open(name)?, size)?;
            // The content that is checked is the content that is sent, so nothing can change in
            // between.
            let guarded = match (&read, filter) {
                (Some((chunk, metadata)), Some(filter)) => {
                    filter.opened(metadata, || Ok(content(chunk.content())))?
                }
                _ => None,
            };

            Ok((read, guarded))
        };

        let (read, guarded) = self.read(leaf, read).await?;
        self.unless(guarded, leaf)?;
        let Some((content, metadata)) = read else {
            return Ok(None);
        };
        let slot = self.context.channel_set.slot().await;
        let client = slot.client();
        // Recorded before the file exists, so that a lost connection cannot leave it behind
        // unnoticed.
        let temporary = self.pending_uploads.create_name(to, client)?;
        let attributes = to_set(attributes(&metadata));

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

/// Reads a whole file. Returns `None` if the file is longer than `size`.
fn read_whole(file: File, size: u64) -> io::Result<Option<(Chunk, Metadata)>> {
    let metadata = file.metadata()?;

    // One byte more than expected reveals a file that has grown.
    let room = size + 1;
    let mut chunk = Chunk::with_capacity(usize::try_from(room).unwrap_or(0));
    file.take(room).read_to_end(chunk.append_to())?;

    Ok(if (chunk.content().len() as u64) < room {
        Some((chunk, metadata))
    } else {
        None
    })
}
