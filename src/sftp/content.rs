//! Content of a file on the way to or from a server, kept in the buffer which received the bytes.

use bytes::Bytes;

use super::handle::Handle;

/// `SSH_FXP_WRITE`.
const WRITE: u8 = 6;
/// Bytes reserved before the content for the head of a packet: the fixed fields and the longest
/// handle.
const ROOM: usize = 25 + Handle::LONGEST;

/// A piece of a file for a write request. The buffer has room for the head of the packet in front,
/// so that sending copies no content.
#[derive(Debug)]
pub struct Chunk(Vec<u8>);

impl Chunk {
    /// Creates an empty piece, which takes up to `length` bytes without reallocation.
    #[must_use]
    pub fn with_capacity(length: usize) -> Self {
        let mut bytes = Vec::with_capacity(ROOM + length);
        bytes.resize(ROOM, 0);
        Self(bytes)
    }

    /// Returns the buffer to which content is appended. The caller must not touch the bytes already
    /// in the buffer.
    pub fn append_to(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Returns the content without the reserved room.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.0.get(ROOM..).unwrap_or_default()
    }

    /// Converts the piece into the request which writes the content at `offset` of the open file.
    #[must_use]
    pub fn write_to(self, id: u32, handle: &Handle, offset: u64) -> Bytes {
        let Self(mut bytes) = self;
        // Neither length can exceed `u32` in practice: the caller reads pieces of at most one
        // packet.
        let content = u32::try_from(bytes.len().saturating_sub(ROOM)).unwrap_or(u32::MAX);
        let handle = handle.as_bytes();
        let mut head = Vec::with_capacity(ROOM);
        let length = u32::try_from(21 + handle.len())
            .unwrap_or(u32::MAX)
            .saturating_add(content);
        head.extend_from_slice(&length.to_be_bytes());
        head.push(WRITE);
        head.extend_from_slice(&id.to_be_bytes());
        super::fields::put_string(&mut head, handle);
        head.extend_from_slice(&offset.to_be_bytes());
        head.extend_from_slice(&content.to_be_bytes());
        // Handles differ in length, so the head ends where the content begins and starts anywhere.
        let start = ROOM.saturating_sub(head.len());
        if let Some(room) = bytes.get_mut(start..ROOM) {
            room.copy_from_slice(&head);
        }

        Bytes::from(bytes).slice(start..)
    }
}

impl From<&[u8]> for Chunk {
    fn from(content: &[u8]) -> Self {
        let mut chunk = Self::with_capacity(content.len());
        chunk.append_to().extend_from_slice(content);
        chunk
    }
}

/// Content of a read reply, in the pieces in which the bytes arrived.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Content {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(Bytes::len).sum();
        Self { pieces, length }
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns true if the reply brought no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns the pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &**piece)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(vec![bytes.into()])
    }
}
