//! Reads a page of the content of a file: from its beginning, or only its end.

use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::{
    FileContent, MAX_EDITED_BYTES, MAX_LINES, ReadRequest, RemoteFiles, Start, TransferError,
    failure,
};
use crate::{
    edit::{
        kind::{Kind, SNIFFED_BYTES},
        page::{Encoding, MAX_TAIL_BYTES, Pager, Step, Tail},
    },
    sftp::{attributes::Attributes, handle::Handle, request::Access},
    ssh::transfer::in_flight,
};

/// Bytes in flight of a file that is read from its beginning. A file of this size comes in one
/// round trip, and is read to its end, so that the number of its lines is known.
pub(super) const WINDOW: u32 = 1024 * 1024;
/// Bytes that are read in search of the first line of a page.
const MAX_SKIPPED_BYTES: u64 = 256 * 1024 * 1024;
/// Size of the largest image that is shown.
pub(super) const MAX_IMAGE_BYTES: usize = 3_750_000;
/// Bytes at the end of a file that are read first, at least and at most.
pub(super) const FIRST_TAIL: (u64, u64) = (64 * 1024, 1024 * 1024);
/// Expected length of a line in bytes.
pub(super) const USUAL_LINE_BYTES: u64 = 256;

/// Content of a page, and the SHA-256 of the file if all of it was read.
pub(super) type ReadContent = (FileContent, Option<[u8; 32]>);

/// File that is open over SFTP.
pub(super) struct OpenFile<'a> {
    pub(super) files: &'a RemoteFiles,
    pub(super) path: &'a [u8],
    pub(super) handle: Handle,
    /// Length in bytes; 0 if the server reports none.
    pub(super) size: u64,
}

/// Bytes at a position of a file.
struct Piece {
    bytes: Vec<u8>,
    /// True if the file ends within or after these bytes.
    is_last: bool,
}

impl RemoteFiles {
    /// Reads the page of a request from a file with these attributes.
    ///
    /// # Errors
    /// The file cannot be read, or the page begins too far from its beginning.
    pub(super) async fn content(
        &self,
        path: &[u8],
        attributes: &Attributes,
        request: &ReadRequest,
    ) -> Result<ReadContent, TransferError> {
        let opened = self
            .client
            .open_file(path, Access::Read, Attributes::default())
            .await;
        let file = OpenFile {
            files: self,
            path,
            handle: opened.map_err(self.client.failed("reading", path))?,
            size: attributes.size.unwrap_or(0),
        };

        let content = match request.start {
            Start::Line(first) => file.page(first, request.limit).await,
            Start::FromEnd(wanted) => file.tail(wanted, request.limit).await,
        };
        self.client.close_read(&file.handle).await;

        content
    }

    /// Reads a whole file at once, and returns its attributes as well. `size` is its expected
    /// length; 0 is unknown, as in `/proc`. Of a file longer than `most` bytes, one more is read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn read_whole(
        &self,
        path: &[u8],
        size: u64,
        most: u64,
    ) -> Result<(Vec<u8>, Attributes), TransferError> {
        let client = &self.client;
        let opened = client
            .open_file(path, Access::Read, Attributes::default())
            .await;
        let handle = opened.map_err(client.failed("reading", path))?;
        let read = self.read_open(path, &handle, size, most).await;
        client.close_read(&handle).await;

        read
    }

    /// Reads a whole open file as [`read_whole`](Self::read_whole) does.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) async fn read_open(
        &self,
        path: &[u8],
        handle: &Handle,
        size: u64,
        most: u64,
    ) -> Result<(Vec<u8>, Attributes), TransferError> {
        let client = &self.client;
        let file = OpenFile {
            files: self,
            path,
            handle: handle.clone(),
            size,
        };

        let end = if size == 0 { most + 1 } else { size.min(most) };
        let attributes = async {
            let found = client.fstat_or_stat(handle, path).await;
            found.map_err(client.failed("reading", path))
        };
        let (pieces, attributes) = tokio::try_join!(Box::pin(file.range(0, end)), attributes)?;
        let mut content = pieces.concat();

        // Only a file that has grown, or one of unknown length, costs another request.
        if length(&content) == end && end <= most && attributes.size.is_none_or(|size| size > end) {
            let rest = file.piece(end, most + 1 - end).await?;
            content.extend(rest.bytes);
        }

        Ok((content, attributes))
    }
}

impl OpenFile<'_> {
    /// Reads a page of lines that begins with line `first`, or a file that is not a text.
    async fn page(&self, first: u64, limit: usize) -> Result<ReadContent, TransferError> {
        let pieces = self.pieces(0, self.end(), WINDOW);
        futures_util::pin_mut!(pieces);

        let beginning = pieces.try_next().await?.unwrap_or_default();
        match Kind::of(&beginning) {
            Kind::Text => {}
            Kind::Image(format) => {
                let mut bytes = beginning;
                // A growing file may have more bytes than its size says.
                while bytes.len() <= MAX_IMAGE_BYTES
                    && let Some(piece) = pieces.try_next().await?
                {
                    bytes.extend(piece);
                }

                return Ok(if bytes.len() <= MAX_IMAGE_BYTES {
                    let sha256 = Sha256::digest(&bytes).into();
                    (FileContent::Image { format, bytes }, Some(sha256))
                } else {
                    let kind = format!("{}, too large to be shown", format.media_type());
                    (binary(kind, bytes), None)
                });
            }
            Kind::Binary(kind) => return Ok((binary(kind.to_owned(), beginning), None)),
        }

        let (mut pager, mut digest, mut read) = (Pager::new(first, limit), Sha256::new(), 0);
        let mut next = Some(beginning);
        while let Some(piece) = next {
            read += length(&piece);
            let step = pager.push(&piece);
            if read <= MAX_EDITED_BYTES {
                digest.update(&piece);
            }

            // The rest of a short file is read for the number of its lines.
            if step == Step::Enough && self.size.max(read) > u64::from(WINDOW) {
                return Ok((FileContent::Text(pager.finish(false)), None));
            }

            if step == Step::More && read > MAX_SKIPPED_BYTES {
                let message = format!("line {first} is more than 256 MiB from the beginning");
                return Err(failure(self.path, message));
            }

            next = pieces.try_next().await?;
        }

        let sha256 = (read <= MAX_EDITED_BYTES).then(|| digest.finalize().into());
        Ok((FileContent::Text(pager.finish(true)), sha256))
    }

    /// Reads a page of lines that begins `wanted` lines before the end. Reads no more than is needed
    /// of the end, and in two steps at most.
    async fn tail(&self, wanted: u64, limit: usize) -> Result<ReadContent, TransferError> {
        let most = MAX_TAIL_BYTES as u64;
        let guess = wanted
            .min(MAX_LINES as u64)
            .saturating_mul(USUAL_LINE_BYTES)
            .clamp(FIRST_TAIL.0, FIRST_TAIL.1);

        // A file without a size can be read only from its beginning.
        let (from, end) = if self.size == 0 {
            (0, most + 1)
        } else {
            (self.size.saturating_sub(guess), self.size)
        };

        let sniff = async {
            if from == 0 {
                return Ok(None);
            }
            self.piece(0, SNIFFED_BYTES as u64).await.map(Some)
        };
        let (sniffed, last) = tokio::try_join!(sniff, self.range(from, end))?;
        let beginning = match &sniffed {
            Some(piece) => piece.bytes.as_slice(),
            None => last.first().map(Vec::as_slice).unwrap_or_default(),
        };

        if Kind::of(beginning) != Kind::Text {
            return self.page(1, limit).await;
        }
        let encoding = Encoding::of(beginning);

        let end = from + last.iter().map(|piece| length(piece)).sum::<u64>();
        if self.size == 0 && end > most {
            return Err(failure(
                self.path,
                "it has no end; leave out the negative offset",
            ));
        }

        let sha256 = (from == 0 && end <= MAX_EDITED_BYTES).then(|| {
            let digest = Sha256::new();
            let digest = last.iter().fold(digest, Sha256::chain_update);
            digest.finalize().into()
        });

        let mut tail = Tail::new(wanted, limit, encoding, end);
        if push_backwards(&mut tail, last) == Step::More {
            let earlier = self
                .range(self.size.saturating_sub(most), tail.position())
                .await?;
            push_backwards(&mut tail, earlier);
        }

        Ok((FileContent::Text(tail.finish(None)), sha256))
    }

    /// Returns the position after the last byte that may be read.
    pub(super) fn end(&self) -> u64 {
        if self.size == 0 { u64::MAX } else { self.size }
    }

    /// Reads the bytes from `start` up to `end` at once. Fewer come only from the beginning of a
    /// file, whose size may be wrong, as in `/sys`.
    async fn range(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, TransferError> {
        let wanted = end.saturating_sub(start);
        let window = u32::try_from(wanted).unwrap_or(u32::MAX);
        let pieces: Vec<Vec<u8>> = self.pieces(start, end, window).try_collect().await?;
        let read: u64 = pieces.iter().map(|piece| length(piece)).sum();

        if start > 0 && read < wanted {
            return Err(failure(self.path, "it became shorter meanwhile"));
        }

        Ok(pieces)
    }

    /// Returns the pieces from `start` up to `end` in order, with `window` bytes in flight. Ends
    /// early with the file.
    pub(super) fn pieces(
        &self,
        start: u64,
        end: u64,
        window: u32,
    ) -> impl Stream<Item = Result<Vec<u8>, TransferError>> {
        let client = &self.files.client;
        let chunk = client.read_chunk();

        // A file without a size is generated while it is read, and has to be read in order.
        let most = if self.size == 0 {
            1
        } else {
            in_flight(window, chunk).min(client.most_requests())
        };

        let mut has_ended = false;
        stream::iter((start..end).step_by(chunk as usize))
            .map(move |at| self.piece(at, (end - at).min(u64::from(chunk))))
            .buffered(most)
            .try_take_while(move |piece| {
                let is_wanted = !has_ended;
                has_ended = piece.is_last;
                async move { Ok(is_wanted) }
            })
            .map_ok(|piece| piece.bytes)
    }

    /// Reads `wanted` bytes from a position on, with as many requests as necessary.
    async fn piece(&self, at: u64, wanted: u64) -> Result<Piece, TransferError> {
        let client = &self.files.client;
        let mut bytes = Vec::new();

        while length(&bytes) < wanted {
            let left = u32::try_from(wanted - length(&bytes)).unwrap_or(u32::MAX);
            let answer = client
                .read(&self.handle, at + length(&bytes), left)
                .await
                .map_err(client.failed("reading", self.path))?;

            let Some(content) = answer else {
                let is_last = true;
                return Ok(Piece { bytes, is_last });
            };
            content
                .pieces()
                .for_each(|piece| bytes.extend_from_slice(piece));
        }

        let is_last = false;
        Ok(Piece { bytes, is_last })
    }
}

/// Gives the pieces to the reader of a tail, the last one first.
fn push_backwards(tail: &mut Tail, pieces: Vec<Vec<u8>>) -> Step {
    for piece in pieces.into_iter().rev() {
        if tail.push(piece) == Step::Enough {
            return Step::Enough;
        }
    }

    if tail.position() == 0 {
        Step::Enough
    } else {
        Step::More
    }
}

pub(super) fn binary(kind: String, mut beginning: Vec<u8>) -> FileContent {
    beginning.truncate(SNIFFED_BYTES);
    FileContent::Binary { kind, beginning }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
