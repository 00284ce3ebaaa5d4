//! Open files and directories of a file server.

use crate::framing::file_server::Position;

/// Open file or directory.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) path: Vec<u8>,
    /// Descriptor in the shell. `None` for a directory, which is not open between requests.
    pub(super) slot: Option<u8>,
    /// Offset at which the shell reads or writes next. `None` if unknown.
    pub(super) position: Option<u64>,
    /// Number of reads that ended early. What was asked for after such a read, and before its
    /// answer, was read from another offset.
    pub(super) early_ends: u32,
    /// Number of reads without an answer.
    pub(super) reading: u32,
    /// True after the entries of the directory were requested.
    pub(super) is_listed: bool,
}

impl OpenFile {
    pub(super) fn new(path: &[u8], slot: Option<u8>) -> Self {
        Self {
            path: path.to_vec(),
            slot,
            position: Some(0),
            early_ends: 0,
            reading: 0,
            is_listed: false,
        }
    }

    /// Returns the way to `offset`, where `length` bytes are read or written next.
    pub(super) fn go(&mut self, offset: u64, length: u64) -> Position {
        let position = match self.position {
            Some(position) if position == offset => Position::There,
            Some(position) if position < offset => Position::Ahead(offset - position),
            _ => Position::FromStart(offset),
        };
        self.position = Some(offset.saturating_add(length));

        position
    }
}
