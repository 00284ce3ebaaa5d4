//! A file's content on its way: in the memory it was read into, never copied.

use bytes::Bytes;

use super::handle::Handle;

/// `SSH_FXP_WRITE`
const WRITE: u8 = 6;
/// Room for the head of a packet before the content, in bytes: its fixed fields and the longest handle.
const ROOM: usize = 25 + Handle::LONGEST;

/// A piece of a file for one request, with room before it for the head of the packet.
#[derive(Debug)]
pub struct Chunk(Vec<u8>);

impl Chunk {
    /// An empty piece that can take up to `length` bytes without moving.
    #[must_use]
    pub fn with_capacity(length: usize) -> Self {
        let mut bytes = Vec::with_capacity(ROOM + length);
        bytes.resize(ROOM, 0);
        Self(bytes)
    }

    /// Where content is appended; what is in it already is to stay.
    pub fn append_to(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.0.get(ROOM..).unwrap_or_default()
    }

    /// The request that writes it at `offset` of a file.
    #[must_use]
    pub fn write_to(self, id: u32, handle: &Handle, offset: u64) -> Bytes {
        let Self(mut bytes) = self;
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

/// What a read brought, in the pieces in which it arrived.
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

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The bytes in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| &**piece)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(vec![bytes.into()])
    }
}
