//! Encodings of RFC 4251, section 5, as SFTP uses them.

use bytes::{Buf as _, Bytes};

/// Error for bytes which are not valid SFTP. The text says what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not SFTP: {0}")]
pub struct Malformed(pub &'static str);

const CUT: Malformed = Malformed("a field is cut off");

pub(super) fn read_u32(bytes: &mut Bytes) -> Result<u32, Malformed> {
    bytes.try_get_u32().map_err(|_| CUT)
}

pub(super) fn read_u64(bytes: &mut Bytes) -> Result<u64, Malformed> {
    bytes.try_get_u64().map_err(|_| CUT)
}

/// Takes a string off the front. The result shares the memory of the packet.
pub(super) fn read_string(bytes: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = read_u32(bytes)? as usize;
    if length > bytes.len() {
        return Err(CUT);
    }
    Ok(bytes.split_to(length))
}

/// Appends a string. The caller has to refuse a string which no packet can hold; servers reject
/// packets of such a length.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}
