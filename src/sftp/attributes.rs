//! File attributes as SFTP encodes them (section 5 of the draft).

use bytes::Bytes;

use super::fields::{Malformed, read_string, read_u32, read_u64};

const SIZE: u32 = 0x1;
const OWNER: u32 = 0x2;
const PERMISSIONS: u32 = 0x4;
const TIMES: u32 = 0x8;
const EXTENDED: u32 = 0x8000_0000;

/// Attributes of a file, as reported by the server or to be set by a request. `None` means unknown
/// in a reply, and unchanged in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Length of the file, in bytes.
    pub size: Option<u64>,
    /// User id and group id.
    pub owner: Option<(u32, u32)>,
    /// Type and permission bits (`st_mode` of stat(2)).
    pub permissions: Option<u32>,
    /// Times of the last access and the last modification, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// Type of a file, from `S_IFMT` of the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Special,
    /// The server has not reported the type.
    Unknown,
}

impl Attributes {
    /// Creates attributes with permission bits only, for a new file.
    #[must_use]
    pub fn mode(permissions: u32) -> Self {
        Self {
            permissions: Some(permissions),
            ..Self::default()
        }
    }

    /// Returns the type of the file.
    #[must_use]
    pub fn kind(&self) -> FileType {
        // The whole field has to be compared: the bits of a socket include the bits of a directory.
        match self.permissions.unwrap_or(0) & 0o170_000 {
            0o100_000 => FileType::File,
            0o040_000 => FileType::Directory,
            0o120_000 => FileType::Link,
            0 => FileType::Unknown,
            _ => FileType::Special,
        }
    }

    /// Returns the time of the last modification, in seconds since 1970.
    #[must_use]
    pub fn modified(&self) -> Option<u32> {
        self.times.map(|(_, modified)| modified)
    }

    /// Returns true unless the mode is known to differ from the mode in `set`. Only permission bits
    /// are compared.
    #[must_use]
    pub fn has_mode(&self, set: &Self) -> bool {
        let bits = |attributes: &Self| attributes.permissions.map(|mode| mode & 0o7777);
        same(bits(self), bits(set))
    }

    /// Returns true unless the modification time is known to differ from the time in `set`.
    #[must_use]
    pub fn has_time(&self, set: &Self) -> bool {
        same(self.modified(), set.modified())
    }

    /// Appends the encoded attributes to a request.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // The flags come first: they say which fields follow.
        let flag = |present: bool, bit: u32| if present { bit } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.permissions.is_some(), PERMISSIONS)
            | flag(self.times.is_some(), TIMES);

        out.extend_from_slice(&flags.to_be_bytes());
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }

        // The order of the fields is fixed by the draft, whichever of them are present.
        let (owner, times) = (
            self.owner.map(<[u32; 2]>::from),
            self.times.map(<[u32; 2]>::from),
        );

        for number in owner
            .into_iter()
            .flatten()
            .chain(self.permissions)
            .chain(times.into_iter().flatten())
        {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    /// Takes encoded attributes off the front of a reply.
    pub(super) fn read(bytes: &mut Bytes) -> Result<Self, Malformed> {
        // A field without its flag is absent, so the fields can only be read one after another.
        let flags = read_u32(bytes)?;
        let has = |bit| flags & bit != 0;
        let pair = |bytes: &mut Bytes| Ok((read_u32(bytes)?, read_u32(bytes)?));

        let attributes = Self {
            size: has(SIZE).then(|| read_u64(bytes)).transpose()?,
            owner: has(OWNER).then(|| pair(bytes)).transpose()?,
            permissions: has(PERMISSIONS).then(|| read_u32(bytes)).transpose()?,
            times: has(TIMES).then(|| pair(bytes)).transpose()?,
        };

        // Extended pairs have no meaning here, but the next name of a listing begins after them.
        if has(EXTENDED) {
            for _ in 0..read_u32(bytes)? {
                read_string(bytes)?;
                read_string(bytes)?;
            }
        }

        Ok(attributes)
    }
}

/// Returns true if both values are equal or either value is unknown.
fn same(one: Option<u32>, other: Option<u32>) -> bool {
    one.is_none() || other.is_none() || one == other
}
