//! What a server answers (sections 4, 7 and 8 of the draft).

use bytes::{Buf as _, Bytes};

pub use super::fields::Malformed;
use super::{
    attributes::Attributes,
    content::Content,
    fields::{read_string, read_u32, read_u64},
    handle::Handle,
    status::Status,
};

pub(super) const VERSION: u8 = 2;
pub(super) const DATA: u8 = 103;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const NAMES: u8 = 104;
const ATTRIBUTES: u8 = 105;
const EXTENDED: u8 = 201;

/// The longest reason that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A packet of the server's.
#[derive(Debug, Clone)]
pub enum Packet {
    /// The first: what it speaks.
    Version(Version),
    /// All others: the answer to the request of this id.
    Reply {
        /// The request's.
        id: u32,
        /// The answer.
        reply: SftpReply,
    },
}

/// An answer.
#[derive(Debug, Clone)]
pub enum SftpReply {
    /// Done, or why not.
    Status(Status),
    /// What was opened.
    Handle(Handle),
    /// What was read of a file.
    Content(Content),
    /// Names in a directory, or one path.
    Names(Vec<NameReply>),
    /// What was asked for.
    Attributes(Attributes),
    /// The answer to an extended request.
    Extended(Bytes),
}

/// A name with what the server knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameReply {
    /// Any bytes: a name in a directory, or a path.
    pub name: Bytes,
    /// Its attributes, perhaps none.
    pub attributes: Attributes,
}

/// What a server speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The protocol's version.
    pub number: u32,
    /// Names and data of its extensions.
    extensions: Vec<(Bytes, Bytes)>,
}

impl Version {
    /// Whether it has an extension of OpenSSH's in its first version, the only one that is known here.
    #[must_use]
    pub fn offers(&self, extension: &str) -> bool {
        self.extensions
            .iter()
            .any(|(name, version)| name == extension.as_bytes() && &**version == b"1")
    }

    /// Whether it announces what OpenSSH's sftp-server announces, in its order, and is not told to refuse any of it that is
    /// older than that option. Others offer some of the same, but not so.
    #[must_use]
    pub fn is_openssh(&self) -> bool {
        let mut known = OPENSSH.iter();
        let all_known = self
            .extensions
            .iter()
            .all(|(name, _)| known.any(|known| name == known.as_bytes()));

        let has = |wanted: &str| {
            self.extensions
                .iter()
                .any(|(name, _)| name == wanted.as_bytes())
        };

        all_known && has("posix-rename@openssh.com") && has("fstatvfs@openssh.com")
    }
}

/// What OpenSSH's sftp-server announces (`process_init` of sftp-server.c), older versions the first of it.
const OPENSSH: [&str; 11] = [
    "posix-rename@openssh.com",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "hardlink@openssh.com",
    "fsync@openssh.com",
    "lsetstat@openssh.com",
    "limits@openssh.com",
    "expand-path@openssh.com",
    "copy-data",
    "home-directory",
    "users-groups-by-id@openssh.com",
];

/// How much one request may move, in bytes; what is 0 is not limited, or not known (`limits@openssh.com`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// The longest packet.
    pub packet: u64,
    /// The most that a read brings.
    pub read: u64,
    /// The most that a write takes.
    pub write: u64,
    /// How many files may be open at once.
    pub handles: u64,
}

impl ServerLimits {
    /// Reads the answer to [`Request::Limits`](super::request::SftpRequest::Limits).
    ///
    /// # Errors
    /// It is cut off.
    pub fn read(mut answer: Bytes) -> Result<Self, Malformed> {
        let mut next = || read_u64(&mut answer);
        Ok(Self {
            packet: next()?,
            read: next()?,
            write: next()?,
            handles: next()?,
        })
    }
}

impl Packet {
    /// Reads a packet of this type, except one with content.
    pub(super) fn read(kind: u8, mut body: Bytes) -> Result<Self, Malformed> {
        if kind == VERSION {
            let number = read_u32(&mut body)?;
            let mut extensions = Vec::new();
            while !body.is_empty() {
                extensions.push((read_string(&mut body)?, read_string(&mut body)?));
            }

            return Ok(Self::Version(Version { number, extensions }));
        }

        let id = read_u32(&mut body)?;
        Ok(Self::Reply {
            id,
            reply: SftpReply::read(kind, body)?,
        })
    }
}

impl SftpReply {
    fn read(kind: u8, mut body: Bytes) -> Result<Self, Malformed> {
        Ok(match kind {
            STATUS => {
                let code = read_u32(&mut body)?.into();

                // Servers of the draft's first version give no reason.
                let message = if body.has_remaining() {
                    read_string(&mut body)?
                } else {
                    Bytes::new()
                };

                let message = message.slice(..message.len().min(MAX_MESSAGE_BYTES));

                Self::Status(Status {
                    code,
                    message: String::from_utf8_lossy(&message).into_owned(),
                })
            }
            HANDLE => {
                let handle = read_string(&mut body)?;
                if handle.len() > Handle::LONGEST {
                    return Err(Malformed("a handle is too long"));
                }

                // A copy: it would keep the memory of the whole packet, for as long as the file is open.
                Self::Handle(Handle(Bytes::copy_from_slice(&handle)))
            }
            NAMES => {
                // The count is the server's word: what is there is read, and no room is made for what is not.
                let (count, mut names) = (read_u32(&mut body)?, Vec::new());
                for _ in 0..count {
                    let name = read_string(&mut body)?;
                    let _like_ls = read_string(&mut body)?;
                    names.push(NameReply {
                        name,
                        attributes: Attributes::read(&mut body)?,
                    });
                }

                Self::Names(names)
            }
            ATTRIBUTES => Self::Attributes(Attributes::read(&mut body)?),
            EXTENDED => Self::Extended(body),
            _ => return Err(Malformed("a packet is of no known type")),
        })
    }
}
