//! The upload of a file that fits into a single write request.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
};

use super::Up;
use crate::{
    local::Folder,
    sftp::{attributes::Attributes as Found, content::Chunk, handle::Handle, request::Access},
    ssh::transfer::{
        TransferError,
        client::{RequestError, SftpClient},
        error::shown,
        file::source::{attributes, to_set},
        guard::content,
        request::FileResult,
    },
    tree::{entry::Leaf, tally::Unkept},
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
        let handle = made.map_err(client.failed("creating a file beside", to))?;
        let bytes = content.content().len() as u64;
        let mut unkept = write_whole(client, &handle, content, attributes, to).await?;
        unkept += self.put_in_place(&temporary, client).await?;
        self.context.progress.add(bytes);

        Ok(Some(FileResult {
            bytes,
            verified: false,
            unkept,
        }))
    }
}

/// Writes, checks and closes a small file with all requests in flight at once. OpenSSH's server
/// answers the requests for a file in order. Returns the unkept properties.
///
/// # Errors
/// A request failed, or the remote file has another length.
async fn write_whole(
    client: &SftpClient,
    handle: &Handle,
    content: Chunk,
    attributes: Found,
    to: &[u8],
) -> Result<Unkept, TransferError> {
    let bytes = content.content().len() as u64;

    let write = async {
        if bytes == 0 {
            Ok(())
        } else {
            client.write(handle, 0, content).await
        }
    };

    let (written, found, set, closed) = tokio::join!(
        write,
        client.fstat(handle),
        client.fsetstat(handle, attributes),
        client.close(handle)
    );

    written.map_err(client.failed("writing", to))?;
    let found = found.map_err(client.failed("checking", to))?.size;

    if let Some(found) = found
        && found != bytes
    {
        return Err(TransferError::Length {
            path: shown(to),
            found,
            expected: bytes,
        });
    }

    // A refusal to set mode or times is no failure: the content has arrived.
    let is_kept = match set {
        Ok(()) => true,
        Err(RequestError::Status(_)) => false,
        Err(error) => return Err(client.failed("setting mode and times of", to)(error)),
    };

    closed.map_err(client.failed("closing", to))?;

    Ok(Unkept {
        attributes: u64::from(!is_kept),
        size: u64::from(found.is_none()),
        ..Unkept::default()
    })
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
