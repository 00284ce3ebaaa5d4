//! Fetches a file's content: over one channel, whose window is ours to choose, and over a second connection where the way
//! is long and so is the file.

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
        pool::Pool,
        transfer::{
            FAR, LONG, MAX_UNSIZED_BYTES, TransferCounters,
            client::SftpClient,
            error::{TransferError, shown},
            in_flight,
            local::io_threads::Sink,
        },
    },
};

/// Bytes in flight on one channel: our window.
const IN_FLIGHT: u32 = 8 * 1024 * 1024;

/// The smallest and the largest page of memory, in bytes, among the systems that Linux runs on.
const PAGES: std::ops::RangeInclusive<u64> = 4 * 1024..=64 * 1024;
/// An answer that brings less than this, in bytes, and less than was asked for, is copied to the others: a server that
/// sends single bytes must not cost the memory of an answer for each.
const GATHERED: usize = 16 * 1024;

/// One channel on which the file is open.
struct DownloadChannel {
    client: Arc<SftpClient>,
    handle: Handle,
    in_flight: AtomicUsize,
}

/// A file's content on its way.
pub(in crate::ssh::transfer) struct Receiving<'a> {
    pub(in crate::ssh::transfer) pool: &'a Arc<Pool>,
    pub(in crate::ssh::transfer) client: &'a Arc<SftpClient>,
    /// The remote file.
    pub(in crate::ssh::transfer) path: &'a [u8],
    pub(in crate::ssh::transfer) handle: Handle,
    /// Its length; 0 is not known.
    pub(in crate::ssh::transfer) size: u64,
    /// What may be in flight, in bytes.
    pub(in crate::ssh::transfer) room: u64,
    pub(in crate::ssh::transfer) sink: &'a mut Sink,
    /// Bytes from the beginning on that the sink has taken; kept up to date.
    pub(in crate::ssh::transfer) received: &'a mut u64,
    pub(in crate::ssh::transfer) progress: &'a TransferCounters,
    /// The local file, for errors.
    pub(in crate::ssh::transfer) local: &'a Path,
}

impl Receiving<'_> {
    /// Fetches what is missing.
    ///
    /// # Errors
    /// Those of any read, and of writing; a file that is shorter than it was.
    pub(in crate::ssh::transfer) async fn run(self) -> Result<(), TransferError> {
        let Self {
            pool,
            client,
            path,
            handle,
            size,
            room,
            sink,
            received,
            progress,
            local,
        } = self;

        let window = u32::try_from(room).unwrap_or(IN_FLIGHT).min(IN_FLIGHT);

        // What has no size is made as it is read, and must be read in order.
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

        let mut channel_set = vec![Arc::clone(&first)];
        let far = client.round_trip >= FAR && size.saturating_sub(*received).min(room) > LONG;
        let mut opening: FuturesUnordered<_> = far.then(|| open(pool, path)).into_iter().collect();
        let (mut asked, mut ended, mut reads) = (*received, false, FuturesOrdered::new());

        loop {
            while !ended && asked < wanted && reads.len() < most * channel_set.len() {
                let Some(lane) = channel_set
                    .iter()
                    .min_by_key(|lane| lane.in_flight.load(Ordering::Relaxed))
                else {
                    break;
                };

                let length = u32::try_from(wanted - asked)
                    .unwrap_or(u32::MAX)
                    .min(lane.client.read_chunk());
                lane.in_flight.fetch_add(1, Ordering::Relaxed);
                reads.push_back(read_piece(Arc::clone(lane), path, asked, length));
                asked += u64::from(length);
            }

            tokio::select! {
                Some(lane) = opening.next() => channel_set.extend(lane.map(Arc::new)),
                Some(piece) = reads.next() => {
                    let (contents, whole) = piece?;
                    // What lies behind the end of the file is not part of it, should a server send it all the same.
                    if !ended {
                        ended = !whole;
                        let bytes: u64 = contents.iter().map(|content| content.len() as u64).sum();
                        let taken = sink.write(contents).await;
                        taken.map_err(|source| TransferError::local("writing", local, source))?;
                        *received += bytes;
                        progress.add(bytes);
                    }
                }
                else => break,
            }

            if reads.is_empty() && (ended || asked >= wanted) {
                break;
            }
        }

        if size == 0 && !ended {
            return Err(TransferError::NotAFile(format!(
                "\"{}\", which has no end,",
                shown(path)
            )));
        }

        if size == 0 || *received == size {
            return Ok(());
        }

        // A file whose size is that of a page and not of its content, as in `/sys`, still says the same.
        let now = client
            .fstat(&first.handle)
            .await
            .map_err(client.failed("reading", path))?
            .size;

        if PAGES.contains(&size) && size.is_power_of_two() && now == Some(size) {
            return Ok(());
        }

        let path = format!("\"{}\"", shown(path));

        Err(TransferError::Length {
            path,
            found: *received,
            expected: size,
        })
    }
}

/// One more channel with the file open on it; `None` where there is none to be had.
async fn open(pool: &Arc<Pool>, path: &[u8]) -> Option<DownloadChannel> {
    let client = SftpClient::apart(pool).await?;
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

/// Reads one piece, however many answers it takes. The flag says that it is as long as was asked for; if it is not, the
/// file has ended.
async fn read_piece(
    lane: Arc<DownloadChannel>,
    path: &[u8],
    offset: u64,
    length: u32,
) -> Result<(Vec<Content>, bool), TransferError> {
    let (mut contents, mut gathered, mut have) = (Vec::new(), Vec::new(), 0);

    while have < length {
        let answer = lane
            .client
            .read(&lane.handle, offset + u64::from(have), length - have)
            .await;

        let Some(content) = answer.map_err(lane.client.failed("reading", path))? else {
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

    lane.in_flight.fetch_sub(1, Ordering::Relaxed);

    Ok((contents, have == length))
}
