//! Receives the content of a file: over one channel, whose window is chosen by this program, and
//! for a long file and a long round trip also over further connections. Meanwhile the remote host
//! may compute the SHA-256, with which the received content is compared.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};

use crate::{
    sftp::{attributes::Attributes, content::Content, handle::Handle, request::Access},
    ssh::{
        command::remote_host::RemoteHost,
        transfer::{
            FAR, MAX_UNSIZED_BYTES, TransferCounters,
            client::SftpClient,
            error::{TransferError, shown},
            file::remote_digest::{Comparison, RemoteDigest},
            further_connections, in_flight,
            local::{io_threads::Sink, sum::Sum},
        },
    },
};

/// Upper limit of bytes in flight per channel. This is also this program's receive window.
const IN_FLIGHT: u32 = 8 * 1024 * 1024;

/// Upper limit of in-flight windows per file, which bounds the memory.
const WINDOWS: usize = 2;

/// Range of the page sizes on Linux, in bytes.
const PAGES: std::ops::RangeInclusive<u64> = 4 * 1024..=64 * 1024;
/// Size in bytes below which a partial reply is copied together with the next replies. A server
/// that sends single bytes must not cost the memory of a reply for each.
const GATHERED: usize = 16 * 1024;

/// Channel on which the file is open.
struct DownloadChannel {
    client: Arc<SftpClient>,
    handle: Handle,
    /// Number of reads which have not ended.
    in_flight: AtomicUsize,
}

/// Parameters of receiving a file's content.
pub(in crate::ssh::transfer) struct Receiving<'a> {
    pub(in crate::ssh::transfer) host: &'a Arc<RemoteHost>,
    pub(in crate::ssh::transfer) client: &'a Arc<SftpClient>,
    /// Path of the remote file.
    pub(in crate::ssh::transfer) path: &'a [u8],
    /// Length of the file, in bytes. 0 means that the length is unknown.
    pub(in crate::ssh::transfer) size: u64,
    /// Upper limit of content in flight, in bytes.
    pub(in crate::ssh::transfer) room: u64,
    pub(in crate::ssh::transfer) sink: &'a mut Sink,
    /// Number of bytes from the beginning on which the sink has accepted. Updated during the
    /// transfer.
    pub(in crate::ssh::transfer) received: &'a mut u64,
    pub(in crate::ssh::transfer) progress: &'a TransferCounters,
    /// Path of the local file, for error messages.
    pub(in crate::ssh::transfer) local: &'a Path,
}

impl Receiving<'_> {
    /// Fetches the missing content, writes it to the sink, and waits until the sink has finished.
    /// `sum` is the digest of what the sink has taken. With `compared`, the digest is compared with
    /// that of the remote host, except for a file without a size.
    ///
    /// # Errors
    /// A read or write failed, or the file is shorter than announced.
    pub(in crate::ssh::transfer) async fn run(
        mut self,
        sum: &Sum,
        compared: bool,
    ) -> Result<Comparison, TransferError> {
        let (client, path, size) = (self.client, self.path, self.size);

        // The remote host reads the file for the digest while it is fetched, over another channel.
        let digest = (compared && size > 0).then(|| RemoteDigest::start(self.host));
        let digest = async {
            let digest = digest?;
            digest
                .compute(&client.realpath(path).await.ok()?, size)
                .await
        };

        // If the server confuses handles from here on, the content may be that of another file.
        let mix_ups = client.mix_ups();

        let content = async {
            let handle = client
                .open_file(path, Access::Read, Attributes::default())
                .await;
            let handle = handle.map_err(client.failed("opening", path))?;

            // The handle is closed even after an error, because some servers allow few open files.
            let received = self.receive(handle.clone()).await;
            client.close_read(&handle).await;
            received?;
            client
                .is_sure_since(mix_ups)
                .map_err(client.failed("reading", path))?;

            self.sink
                .finish()
                .await
                .map_err(|source| TransferError::local("writing", self.local, source))
        };

        let (digest, ()) =
            futures_util::future::try_join(async { Ok(digest.await) }, content).await?;
        let Some(computed) = digest else {
            return Ok(Comparison::Unknown);
        };

        // A file that ended before its announced length was read as a whole by the remote host too.
        let received = *self.received;
        Ok(computed
            .compare(client, sum, received, received != size)
            .await)
    }

    /// Fetches the missing content of the open file and writes it to the sink.
    ///
    /// # Errors
    /// A read or write failed, or the file is shorter than announced.
    async fn receive(&mut self, handle: Handle) -> Result<(), TransferError> {
        let Self {
            host,
            client,
            path,
            size,
            room,
            ref mut sink,
            ref mut received,
            progress,
            local,
        } = *self;

        let window = u32::try_from(room).unwrap_or(IN_FLIGHT).min(IN_FLIGHT);

        // A file without a size is generated while it is read, and has to be read in order.
        let most = in_flight(window, client.read_chunk()).min(client.most_requests());
        let (wanted, most) = if size == 0 {
            (MAX_UNSIZED_BYTES, 1)
        } else {
            (size, most)
        };

        let first = Arc::new(DownloadChannel {
            client: Arc::clone(client),
            handle,
            in_flight: AtomicUsize::new(0),
        });

        let mut channels = vec![Arc::clone(&first)];
        // Over a short distance a single channel fills the line.
        let further = if client.round_trip >= FAR {
            further_connections(size.saturating_sub(**received).min(room))
        } else {
            0
        };
        let mut opening: FuturesUnordered<_> = (0..further).map(|_| open(host, path)).collect();
        let (mut requested, mut ended, mut reads) = (**received, false, FuturesOrdered::new());

        loop {
            while !ended && requested < wanted && reads.len() < most * channels.len().min(WINDOWS) {
                // The channel with the fewest reads is the fastest one at the moment.
                let Some(channel) = channels
                    .iter()
                    .min_by_key(|channel| channel.in_flight.load(Ordering::Relaxed))
                else {
                    break;
                };

                let length = u32::try_from(wanted - requested)
                    .unwrap_or(u32::MAX)
                    .min(channel.client.read_chunk());
                channel.in_flight.fetch_add(1, Ordering::Relaxed);
                reads.push_back(read_piece(Arc::clone(channel), path, requested, length));
                requested += u64::from(length);
            }

            tokio::select! {
                Some(channel) = opening.next() => channels.extend(channel.map(Arc::new)),
                Some(piece) = reads.next() => {
                    let (contents, whole) = piece?;
                    // Content after the end of the file is not part of it, even if a hostile server
                    // sends some.
                    if !ended {
                        ended = !whole;
                        let bytes: u64 = contents.iter().map(|content| content.len() as u64).sum();
                        let taken = sink.write(contents).await;
                        taken.map_err(|source| TransferError::local("writing", local, source))?;
                        **received += bytes;
                        progress.add(bytes);
                    }
                }
                else => break,
            }

            if reads.is_empty() && (ended || requested >= wanted) {
                break;
            }
        }

        // The limit was reached: the file is a device or generated without end.
        if size == 0 && !ended {
            return Err(TransferError::NotAFile(format!(
                "\"{}\", which has no end,",
                shown(path)
            )));
        }

        if size == 0 || **received == size {
            return Ok(());
        }

        // Files in `/sys` have the size of a page rather than of their content, and still do after
        // the read.
        let now = client
            .fstat_or_stat(&first.handle, path)
            .await
            .map_err(client.failed("reading", path))?
            .size;

        if PAGES.contains(&size) && size.is_power_of_two() && now == Some(size) {
            return Ok(());
        }

        let path = format!("\"{}\"", shown(path));

        Err(TransferError::Length {
            path,
            found: **received,
            expected: size,
        })
    }
}

/// Opens the file on another connection. Returns `None` if there is no further connection.
async fn open(host: &Arc<RemoteHost>, path: &[u8]) -> Option<DownloadChannel> {
    let client = SftpClient::on_another_connection(host).await?;
    let handle = client
        .open_file(path, Access::Read, Attributes::default())
        .await
        .ok()?;

    Some(DownloadChannel {
        client: Arc::new(client),
        handle,
        in_flight: AtomicUsize::new(0),
    })
}

/// Reads a piece of `length` bytes, with as many requests as necessary. The flag is true if the
/// piece is complete; otherwise the file has ended.
async fn read_piece(
    channel: Arc<DownloadChannel>,
    path: &[u8],
    offset: u64,
    length: u32,
) -> Result<(Vec<Content>, bool), TransferError> {
    let (mut contents, mut gathered, mut have) = (Vec::new(), Vec::new(), 0);

    while have < length {
        // A server may return less than requested without being at the end (section 6.4 of the
        // draft).
        let answer = channel
            .client
            .read(&channel.handle, offset + u64::from(have), length - have)
            .await;

        let Some(content) = answer.map_err(channel.client.failed("reading", path))? else {
            break;
        };
        have += u32::try_from(content.len()).unwrap_or(u32::MAX);

        if content.len() < GATHERED && have < length {
            content
                .pieces()
                .for_each(|piece| gathered.extend_from_slice(piece));
            continue;
        }

        if !gathered.is_empty() {
            contents.push(Content::from(std::mem::take(&mut gathered)));
        }

        contents.push(content);
    }

    if !gathered.is_empty() {
        contents.push(Content::from(gathered));
    }

    channel.in_flight.fetch_sub(1, Ordering::Relaxed);

    Ok((contents, have == length))
}
