//! Handles of open files and directories.

use bytes::Bytes;

/// Handle of an open file or directory. The server chooses the bytes; they have no meaning for a
/// client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle(pub(super) Bytes);

impl Handle {
    /// Limit for the length of a handle in bytes (section 6.2 of the draft).
    pub const LONGEST: usize = 256;

    /// Returns the bytes for a request.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<u32> for Handle {
    fn from(number: u32) -> Self {
        Self(Bytes::copy_from_slice(&number.to_be_bytes()))
    }
}
