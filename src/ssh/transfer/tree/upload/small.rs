//! A file of one piece on its way to the remote host.

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
    /// A file of one piece; `None` if it has more.
    pub(super) async fn small(
        &self,
        leaf: &Leaf,
        size: u64,
        to: &[u8],
    ) -> Result<Option<FileResult>, TransferError> {
        let sieve = self.sieve.clone();

        let read = move |folder: &Folder, name: &[u8]| {
            let read = read_whole(folder.open(name)?, size)?;
            let guarded = match (&read, sieve) {
                (Some((chunk, metadata)), Some(sieve)) => {
                    sieve.opened(metadata, || Ok(content(chunk.content())))?
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
        let slot = self.common.channel_set.slot().await;
        let client = slot.client();
        let temporary = self.pending_uploads.note(to, client)?;
        let attributes = to_set(attributes(&metadata));

        // Where the server sets no modes later, this one stays, as with `sftp`.
        let new = Found::mode(attributes.permissions.unwrap_or(0o644) & 0o777 | 0o600);
        let made = client
            .open_file(&temporary.temporary, Access::Create, new)
            .await;
        let handle = made.map_err(client.failed("creating a file beside", to))?;
        let bytes = content.content().len() as u64;
        let mut unkept = write_whole(client, &handle, content, attributes, to).await?;
        unkept += self.put_in_place(&temporary, client).await?;
        self.common.progress.add(bytes);

        Ok(Some(FileResult {
            bytes,
            verified: false,
            unkept,
        }))
    }
}

/// All at once: OpenSSH's server answers the requests for one file in their order. Returns what was not kept.
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

    let kept = match set {
        Ok(()) => true,
        Err(RequestError::Status(_)) => false,
        Err(error) => return Err(client.failed("setting mode and times of", to)(error)),
    };

    closed.map_err(client.failed("closing", to))?;

    Ok(Unkept {
        attributes: u64::from(!kept),
        size: u64::from(found.is_none()),
        ..Unkept::default()
    })
}

/// The content of a file, if it is no longer than this.
fn read_whole(file: File, size: u64) -> io::Result<Option<(Chunk, Metadata)>> {
    let metadata = file.metadata()?;

    // One byte more shows one that has grown.
    let room = size + 1;
    let mut chunk = Chunk::with_capacity(usize::try_from(room).unwrap_or(0));
    file.take(room).read_to_end(chunk.append_to())?;

    Ok(if (chunk.content().len() as u64) < room {
        Some((chunk, metadata))
    } else {
        None
    })
}
