//! What a server calls an open file.

use bytes::Bytes;

/// What the server calls an open file or directory: any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle(pub(super) Bytes);

impl Handle {
    /// The longest that the draft allows (section 6.2), in bytes.
    pub const LONGEST: usize = 256;

    /// The bytes, for a request.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
