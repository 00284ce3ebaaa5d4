//! Threads that read and write local files, so that a slow disk does not delay the network.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    task::{JoinHandle, spawn_blocking},
};

use super::{flusher::Flusher, read_at::read_at, sum::Sum};
use crate::{
    local::Folder,
    sftp::content::{Chunk, Content},
};

/// Upper limit of pieces queued between a thread and the network.
const AHEAD: usize = 4;

/// Upper limit of bytes written before the free space is checked again. Other programs write to the
/// disk too, and a server need not announce how much it will send.
const ROOM_LASTS: u64 = 16 * 1024 * 1024;

/// Reader of a file on this machine or, by [`pipe`], on another host. It delivers pieces in order
/// from a thread of its own. Dropping the reader ends the thread.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct FileSource(Receiver<io::Result<Chunk>>);

impl FileSource {
    /// Reads from `from` up to `end`, or up to the end of a shorter file, in pieces of `length`
    /// bytes. Bytes read for the first time are added to `sum`, if it is wanted.
    pub(in crate::ssh::transfer) fn new(
        file: Arc<File>,
        from: u64,
        end: u64,
        length: u32,
        sum: Sum,
    ) -> Self {
        let (give, pieces) = channel(AHEAD);
        spawn_blocking(move || {
            if let Err(error) = sum.catch_up(&file, from) {
                let _ = give.blocking_send(Err(error));
                return;
            }

            let mut offset = from;
            while offset < end {
                let length = usize::try_from(end - offset)
                    .unwrap_or(usize::MAX)
                    .min(length as usize);
                let piece = read_piece(&file, offset, length);
                let read = piece.as_ref().map_or(0, |piece| piece.content().len());
                if let Ok(piece) = &piece {
                    sum.add(offset, piece.content());
                }

                // At the end of the file, or after the reader was dropped.
                if (read == 0 && piece.is_ok())
                    || give.blocking_send(piece).is_err()
                    || read < length
                {
                    return;
                }

                offset += read as u64;
            }
        });

        Self(pieces)
    }

    /// Waits for the next piece. Returns `None` after the last piece.
    pub(in crate::ssh::transfer) async fn next(&mut self) -> Option<io::Result<Chunk>> {
        self.0.recv().await
    }
}

/// Reads a piece of `length` bytes at `offset`. The piece is shorter only at the end of the file.
fn read_piece(file: &File, offset: u64, length: usize) -> io::Result<Chunk> {
    let mut piece = Chunk::with_capacity(length);
    // The packet's header stands before the content, so the content is read in place without a
    // copy.
    let buffer = piece.append_to();
    let head = buffer.len();
    buffer.resize(head + length, 0);
    let mut filled = 0;

    while filled < length {
        let Some(room) = buffer.get_mut(head + filled..) else {
            break;
        };

        // A system call may return fewer bytes than requested, and a short piece would mean the
        // end.
        match read_at(file, room, offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }

    buffer.truncate(head + filled);

    Ok(piece)
}

/// Writer of a file from the beginning on, with a thread of its own. A failed write is reported by
/// the next call of [`write`](Self::write) or by [`finish`](Self::finish).
#[derive(Debug)]
pub(in crate::ssh::transfer) struct Sink {
    /// Sender of the pieces to the thread. `None` after the last piece.
    pieces: Option<Sender<Vec<Content>>>,
    /// Handle of the writing thread. `None` after [`finish`](Self::finish).
    writing: Option<JoinHandle<io::Result<()>>>,
    /// True if the content is complete, rather than given up.
    is_complete: Arc<AtomicBool>,
}

impl Sink {
    /// Starts a thread for writing to `file` in `folder`. The content is also added to `sum`, if it
    /// is wanted, and flushed to the disk.
    pub(in crate::ssh::transfer) fn new(file: File, folder: Arc<Folder>, sum: Sum) -> Self {
        let (pieces, mut taken) = channel::<Vec<Content>>(AHEAD);
        let is_complete = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_complete);

        let writing = spawn_blocking(move || {
            let (mut offset, mut room) = (0, 0_u64);
            let mut file = Arc::new(file);
            let mut flusher = Flusher::new(Arc::clone(&file));

            while let Some(contents) = taken.blocking_recv() {
                // Asked only once in a while, since it is a system call; a file system without an
                // answer counts as roomy.
                if room == 0 {
                    room = folder
                        .room()
                        .map_or(ROOM_LASTS, |room| room.min(ROOM_LASTS));
                }

                if room == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::StorageFull,
                        "No space left on the disk",
                    ));
                }

                for piece in contents.iter().flat_map(Content::pieces) {
                    let length = piece.len() as u64;
                    file.write_all(piece)?;
                    sum.add(offset, piece);
                    offset += length;
                    room = room.saturating_sub(length);
                    flusher.wrote(length)?;
                }
            }

            if !ended.load(Ordering::Acquire) {
                return Ok(());
            }

            sum.catch_up(&file, offset)?;
            // Here, while the remote host may still compute its digest.
            flusher.finish()
        });

        Self {
            pieces: Some(pieces),
            writing: Some(writing),
            is_complete,
        }
    }

    /// Queues the next bytes, and waits while the queue is full. If this future is dropped, the
    /// bytes are not written.
    ///
    /// # Errors
    /// An earlier write failed; nothing more can be written then.
    pub(in crate::ssh::transfer) async fn write(
        &mut self,
        contents: Vec<Content>,
    ) -> io::Result<()> {
        match &self.pieces {
            Some(pieces) if pieces.send(contents).await.is_ok() => Ok(()),
            _ => self.finish().await,
        }
    }

    /// Waits until everything is written and on the disk. The future may be dropped, and the method
    /// called again.
    ///
    /// # Errors
    /// A write failed.
    pub(in crate::ssh::transfer) async fn finish(&mut self) -> io::Result<()> {
        self.is_complete.store(true, Ordering::Release);
        self.pieces = None;
        let Some(writing) = &mut self.writing else {
            return Ok(());
        };

        // The handle is kept until the end of the wait, so that a dropped future loses nothing.
        let written = writing
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)));
        self.writing = None;

        written
    }
}

/// Returns a sink and the source which delivers what the sink takes, in pieces of `length` bytes.
/// Bytes taken for the first time are added to `sum`, since nobody can read them again; the first
/// byte is at `from`.
///
/// A thread of its own cuts the pieces. It ends with the sink, or when the source is dropped.
pub(in crate::ssh::transfer) fn pipe(from: u64, length: u32, sum: Sum) -> (Sink, FileSource) {
    let (pieces, mut taken) = channel::<Vec<Content>>(AHEAD);
    let (give, given) = channel(AHEAD);
    let length = length as usize;
    sum.want();

    let writing = spawn_blocking(move || {
        let (mut offset, mut chunk) = (from, Chunk::with_capacity(length));
        while let Some(contents) = taken.blocking_recv() {
            for mut piece in contents.iter().flat_map(Content::pieces) {
                sum.add(offset, piece);
                offset += piece.len() as u64;

                while !piece.is_empty() {
                    let room = length.saturating_sub(chunk.content().len());
                    let (fitting, rest) = piece.split_at(room.min(piece.len()));
                    chunk.append_to().extend_from_slice(fitting);
                    piece = rest;

                    if chunk.content().len() >= length {
                        let full = std::mem::replace(&mut chunk, Chunk::with_capacity(length));
                        if give.blocking_send(Ok(full)).is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        }

        if !chunk.content().is_empty() {
            let _ = give.blocking_send(Ok(chunk));
        }

        Ok(())
    });

    let sink = Sink {
        pieces: Some(pieces),
        writing: Some(writing),
        is_complete: Arc::default(),
    };
    (sink, FileSource(given))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom};

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    async fn read(source: &mut FileSource) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        while let Some(piece) = source.next().await {
            pieces.push(piece.unwrap().content().to_vec());
        }
        pieces
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[tokio::test]
    async fn what_a_sink_takes_comes_out_in_pieces_of_one_length() {
        let sum = Sum::default();
        sum.want();
        sum.add(0, b"abc");
        let (mut sink, mut source) = pipe(3, 4, sum.clone());

        let writing = async {
            for content in ["", "d", "efghij", "kl", "mnopq"] {
                let content = Content::from(content.as_bytes().to_vec());
                sink.write(vec![content]).await.unwrap();
            }
            sink.finish().await.unwrap();
        };

        let ((), pieces) = tokio::join!(writing, read(&mut source));
        assert_eq!(pieces, [&b"defg"[..], b"hijk", b"lmno", b"pq"]);
        assert_eq!(
            sum.up_to(17).unwrap(),
            <[u8; 32]>::from(Sha256::digest(b"abcdefghijklmnopq"))
        );
    }

    #[tokio::test]
    async fn a_file_is_read_in_pieces_up_to_where_it_ends() {
        let file = Arc::new(file(b"0123456789"));
        for (from, end, expected) in [
            (0, 10, &["0123", "4567", "89"][..]),
            (0, 8, &["0123", "4567"]),
            (6, 100, &["6789"]),
            (3, 100, &["3456", "789"]),
            (10, 100, &[]),
            (0, 0, &[]),
        ] {
            let mut source = FileSource::new(Arc::clone(&file), from, end, 4, Sum::default());
            let expected: Vec<_> = expected
                .iter()
                .map(|piece| piece.as_bytes().to_vec())
                .collect();

            assert_eq!(read(&mut source).await, expected, "{from} to {end}");
        }
    }

    #[tokio::test]
    async fn the_sum_is_that_of_the_file_also_if_parts_are_read_again() {
        let (content, sum) = (b"0123456789", Sum::default());
        let file = Arc::new(file(content));
        sum.want();

        for (from, end) in [(0, 7), (2, 5), (5, 10), (0, 10)] {
            read(&mut FileSource::new(
                Arc::clone(&file),
                from,
                end,
                4,
                sum.clone(),
            ))
            .await;
        }

        assert_eq!(sum.up_to(10), Some(sha256(content)));
        assert_eq!(
            (sum.up_to(9), Sum::default().up_to(0)),
            (None, Some(sha256(b"")))
        );
    }

    #[tokio::test]
    async fn a_sum_wanted_late_is_that_of_the_whole_file() {
        let (content, sum) = (b"0123456789", Sum::default());
        let sent = Arc::new(file(content));

        let pieces = |from| FileSource::new(Arc::clone(&sent), from, 10, 4, sum.clone());
        read(&mut pieces(0)).await;
        assert_eq!(sum.up_to(10), None, "nobody wants it");
        sum.want();
        read(&mut pieces(7)).await;
        assert_eq!(sum.up_to(10), Some(sha256(content)));

        let (folder, sum) = (Folder::root(&std::env::temp_dir()).unwrap(), Sum::default());
        let mut sink = Sink::new(file(b""), Arc::new(folder), sum.clone());
        for (number, piece) in ["0123", "456", "789"].into_iter().enumerate() {
            // At any time.
            if number == 1 {
                sum.want();
            }

            let content = Content::from(piece.as_bytes().to_vec());
            sink.write(vec![content]).await.unwrap();
        }

        sink.finish().await.unwrap();
        assert_eq!(sum.up_to(10), Some(sha256(content)));
    }

    #[tokio::test]
    async fn nothing_more_is_read_when_nobody_wants_it() {
        let file = Arc::new(file(&[7; 100]));
        let source = FileSource::new(Arc::clone(&file), 0, 100, 1, Sum::default());
        drop(source);
        // The thread lets go of the file.
        while Arc::strong_count(&file) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_reported_at_the_next_piece_or_at_the_end() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            return;
        };
        let folder = Arc::new(Folder::root(&std::env::temp_dir()).unwrap());
        let mut sink = Sink::new(full, Arc::clone(&folder), Sum::default());
        while sink.write(vec![Content::from(b"x".to_vec())]).await.is_ok() {}
        let mut written = tempfile::tempfile().unwrap();
        let sum = Sum::default();
        sum.want();
        let mut sink = Sink::new(written.try_clone().unwrap(), folder, sum.clone());
        for piece in ["a", "bc", "def"] {
            sink.write(vec![Content::from(piece.as_bytes().to_vec())])
                .await
                .unwrap();
        }

        sink.finish().await.unwrap();
        written.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(io::read_to_string(written).unwrap(), "abcdef");
        assert_eq!(sum.up_to(6), Some(sha256(b"abcdef")));
    }
}
