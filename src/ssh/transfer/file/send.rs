//! Sends the content of a file: over one channel, and over several for a long round trip. Each
//! channel has a window of its own (sshd's is 2 MiB), and so has each connection.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::{
    sftp::{attributes::Attributes, content::Chunk, handle::Handle, request::Access},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            FAR, RemoteTemp, TransferCounters,
            client::SftpClient,
            error::TransferError,
            file::{early_flush::EarlyFlush, growing_digest::GrowingDigest},
            further_connections, in_flight,
            local::io_threads::FileSource,
        },
    },
};

/// Upper limit of bytes in flight per channel. Twice sshd's window keeps the channel busy. All
/// channels together hold 16 MiB.
const IN_FLIGHT: u32 = 4 * 1024 * 1024;
/// Upper limit of channels per file.
const CHANNELS: usize = 4;
/// Bytes left to send above which further channels are opened. A shorter file is sent before
/// another channel is of use.
const ONE_CHANNEL_BYTES: u64 = 4 * 1024 * 1024;

/// Channel on which the file is open.
struct UploadChannel {
    client: Arc<SftpClient>,
    handle: Handle,
    /// Number of writes which have not ended.
    in_flight: usize,
}

/// Parameters of sending a file's content.
pub(in crate::ssh::transfer) struct Sending<'a> {
    pub(in crate::ssh::transfer) host: &'a Arc<RemoteHost>,
    pub(in crate::ssh::transfer) client: &'a Arc<SftpClient>,
    /// Names of the temporary file and of the target.
    pub(in crate::ssh::transfer) names: &'a RemoteTemp,
    /// Handle of the temporary file on `client`.
    pub(in crate::ssh::transfer) handle: &'a Handle,
    pub(in crate::ssh::transfer) source: FileSource,
    /// Number of bytes from the beginning on which have arrived without a gap. Updated during the
    /// transfer.
    pub(in crate::ssh::transfer) arrived: &'a mut u64,
    /// Flushing of the file meanwhile.
    pub(in crate::ssh::transfer) flush: Option<&'a EarlyFlush>,
    /// Digest that the remote host computes meanwhile.
    pub(in crate::ssh::transfer) digest: Option<&'a mut GrowingDigest>,
    /// Length of the file, in bytes. 0 means that the length is unknown.
    pub(in crate::ssh::transfer) size: u64,
    pub(in crate::ssh::transfer) progress: &'a TransferCounters,
    /// Path of the local file, for error messages.
    pub(in crate::ssh::transfer) local: &'a std::path::Path,
}

impl Sending<'_> {
    /// Sends the whole source. Returns the offset at which the source ends.
    ///
    /// # Errors
    /// A read or a write failed.
    pub(in crate::ssh::transfer) async fn run(mut self) -> Result<u64, TransferError> {
        let mut channels = vec![UploadChannel {
            client: Arc::clone(self.client),
            handle: self.handle.clone(),
            in_flight: 0,
        }];

        let left = self.size.saturating_sub(*self.arrived);

        // Other servers may not keep everything that is written to a file which is open several
        // times, and a shell writes a file from its beginning to its end.
        let several = self.client.is_openssh_program()
            && self.client.round_trip >= FAR
            && left > ONE_CHANNEL_BYTES;
        let further = if several { CHANNELS - 1 } else { 0 };
        let (host, path) = (self.host, &self.names.temporary);

        // A long file also gets connections of its own, which have other windows.
        let mut opening: FuturesUnordered<_> = (0..further)
            .map(|number| async move {
                let client = if number < further_connections(left) {
                    SftpClient::on_another_connection(host).await
                } else {
                    SftpClient::opportunistic(host).await
                };

                open(client?, path).await
            })
            .collect();

        // The limit is per channel, because each channel has a window of its own.
        let most = in_flight(IN_FLIGHT, self.client.write_chunk()).min(self.client.most_requests());
        let (mut offset, mut ended) = (*self.arrived, false);
        let (mut writes, mut underway) = (FuturesUnordered::new(), BTreeSet::new());

        // Writes may end in any order. An attempt after a lost connection continues at the first
        // gap, which is the smallest offset underway.
        while !(ended && writes.is_empty()) {
            let least = channels
                .iter()
                .enumerate()
                .min_by_key(|(_, channel)| channel.in_flight)
                .map(|(index, _)| index);

            // Without a free channel no piece is read, which bounds the memory.
            let free = least.filter(|index| {
                channels
                    .get(*index)
                    .is_some_and(|channel| channel.in_flight < most)
            });

            tokio::select! {
                Some(channel) = opening.next() => channels.extend(channel),
                piece = self.source.next(), if !ended && free.is_some() => match piece {
                    Some(piece) => {
                        let piece = piece.map_err(|source| TransferError::local("reading", self.local, source))?;
                        let length = piece.content().len() as u64;
                        if let Some((index, channel)) = free.and_then(|index| Some((index, channels.get_mut(index)?))) {
                            channel.in_flight += 1;
                            underway.insert(offset);
                            writes.push(write(index, Arc::clone(&channel.client), channel.handle.clone(), offset, piece));
                        }
                        offset += length;
                    }
                    None => ended = true,
                },
                Some((index, at, written)) = writes.next() => {
                    if let Some(channel) = channels.get_mut(index) {
                        channel.in_flight -= 1;
                        written.map_err(channel.client.failed("writing", &self.names.target))?;
                    }
                    underway.remove(&at);
                    let arrived = underway.first().copied().unwrap_or(offset);
                    self.progress.add(arrived - *self.arrived);
                    *self.arrived = arrived;
                    if let Some(flush) = self.flush {
                        flush.note_arrived(arrived);
                    }
                    if let Some(digest) = &mut self.digest {
                        digest.note_arrived(arrived);
                    }
                }
            }
        }

        Ok(offset)
    }
}

/// Opens the file on the channel of `client`. Returns `None` if the server refuses.
async fn open(client: SftpClient, path: &[u8]) -> Option<UploadChannel> {
    let handle = client
        .open_file(path, Access::Write, Attributes::default())
        .await
        .ok()?;

    Some(UploadChannel {
        client: Arc::new(client),
        handle,
        in_flight: 0,
    })
}

/// Writes a piece and returns the index of the channel and the offset with the result.
async fn write(
    channel: usize,
    client: Arc<SftpClient>,
    handle: Handle,
    offset: u64,
    piece: Chunk,
) -> (
    usize,
    u64,
    Result<(), crate::ssh::transfer::client::RequestError>,
) {
    let written = client.write(&handle, offset, piece).await;
    (channel, offset, written)
}
