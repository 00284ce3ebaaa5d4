//! Packets of a server (sections 4, 7 and 8 of the draft).

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

/// Limit for the length of a server's error message, in bytes. The rest is dropped.
const MAX_MESSAGE_BYTES: usize = 1024;

/// A packet sent by the server.
#[derive(Debug, Clone)]
pub enum Packet {
    /// First packet of a connection: the protocol version and the extensions of the server.
    Version(Version),
    /// Reply to a request.
    Reply {
        /// Id of the request.
        id: u32,
        /// Content of the reply.
        reply: SftpReply,
    },
}

/// Content of a reply, by type of packet.
#[derive(Debug, Clone)]
pub enum SftpReply {
    /// Success or an error, for requests without another reply.
    Status(Status),
    /// Handle of an opened file or directory.
    Handle(Handle),
    /// Bytes read from a file.
    Content(Content),
    /// Names in a directory, or a single path.
    Names(Vec<NameReply>),
    /// Attributes of a file.
    Attributes(Attributes),
    /// Undecoded reply to an extended request.
    Extended(Bytes),
}

/// A name in a reply, with the attributes reported by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameReply {
    /// Name in a directory, or a path. Any bytes may occur.
    pub name: Bytes,
    /// Attributes of the file, each of which may be absent.
    pub attributes: Attributes,
}

/// Protocol version and extensions of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Number of the protocol version.
    pub number: u32,
    /// Names and data of the extensions.
    extensions: Vec<(Bytes, Bytes)>,
}

impl Version {
    /// Creates version 3 of a server with these extensions.
    pub fn offering(extensions: impl Iterator<Item = &'static str>) -> Self {
        let extension = |name: &'static str| (name.into(), Bytes::from_static(b"1"));
        Self {
            number: 3,
            extensions: extensions.map(extension).collect(),
        }
    }

    /// Returns true if the server has version 1 of an extension, the only version known here.
    #[must_use]
    pub fn offers(&self, extension: &str) -> bool {
        self.extensions
            .iter()
            .any(|(name, version)| name == extension.as_bytes() && &**version == b"1")
    }

    /// Returns true if the server announces only extensions of OpenSSH's sftp-server, in the same
    /// order. Other servers offer some of the same extensions, but in another order or among
    /// others. An sftp-server that was started with an option to refuse old extensions does not
    /// count.
    #[must_use]
    pub fn is_openssh(&self) -> bool {
        // One iterator serves all names, so they have to occur in OpenSSH's order. Older versions
        // announce only the first names, which are required.
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

/// Extensions of OpenSSH's sftp-server (`process_init` of sftp-server.c). Older versions announce
/// the first few of the list.
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

/// Limits of a server for a request (`limits@openssh.com`). The value 0 means unlimited or unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// Length of a packet, in bytes.
    pub packet: u64,
    /// Length of a read, in bytes.
    pub read: u64,
    /// Length of a write, in bytes.
    pub write: u64,
    /// Number of files open at the same time.
    pub handles: u64,
}

impl ServerLimits {
    /// Decodes the reply to [`SftpRequest::Limits`](super::request::SftpRequest::Limits).
    ///
    /// # Errors
    /// Returns [`Malformed`] if the reply is cut off.
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

/// Names of users and groups (`users-groups-by-id@openssh.com`), in the order of the ids of the
/// request. A name is empty if the host does not know the id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountNames {
    /// Names of the users.
    pub users: Vec<Bytes>,
    /// Names of the groups.
    pub groups: Vec<Bytes>,
}

impl AccountNames {
    /// Decodes the reply to
    /// [`SftpRequest::AccountNames`](super::request::SftpRequest::AccountNames).
    ///
    /// # Errors
    /// Returns [`Malformed`] if the reply is cut off.
    pub fn read(mut answer: Bytes) -> Result<Self, Malformed> {
        let names = |mut list: Bytes| {
            let mut names = Vec::new();
            while !list.is_empty() {
                names.push(read_string(&mut list)?);
            }
            Ok(names)
        };

        Ok(Self {
            users: names(read_string(&mut answer)?)?,
            groups: names(read_string(&mut answer)?)?,
        })
    }
}

impl Packet {
    /// Decodes a packet of type `kind`, except file content, which
    /// [`Frames`](super::frames::Frames) reads itself.
    pub(super) fn read(kind: u8, mut body: Bytes) -> Result<Self, Malformed> {
        // The version packet carries no request id.
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
    /// Decodes the body of a reply after the request id.
    fn read(kind: u8, mut body: Bytes) -> Result<Self, Malformed> {
        Ok(match kind {
            STATUS => {
                let code = read_u32(&mut body)?.into();

                // Servers of the draft's first version send no message.
                let message = if body.has_remaining() {
                    read_string(&mut body)?
                } else {
                    Bytes::new()
                };

                // Errors are kept and quoted, and a hostile server could fill a packet with the
                // message.
                let message = message.slice(..message.len().min(MAX_MESSAGE_BYTES));

                Self::Status(Status {
                    code,
                    message: message.into(),
                })
            }
            HANDLE => {
                let handle = read_string(&mut body)?;
                if handle.len() > Handle::LONGEST {
                    return Err(Malformed("a handle is too long"));
                }

                // The handle is copied: a slice would keep the whole packet in memory while the
                // file is open.
                Self::Handle(Handle(Bytes::copy_from_slice(&handle)))
            }
            NAMES => {
                // The count is not trusted: allocating for it would let the server reserve memory.
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
            _ => return Err(Malformed("a packet has an unknown type")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_accounts_are_read() {
        let answer = b"\0\0\0\x0c\0\0\0\x04root\0\0\0\0\0\0\0\x07\0\0\0\x03adm";
        let names = AccountNames::read(Bytes::from_static(answer)).unwrap();
        assert_eq!(names.users, [&b"root"[..], b""]);
        assert_eq!(names.groups, [&b"adm"[..]]);

        for length in 0..answer.len() {
            let cut = Bytes::from_static(answer).slice(..length);
            assert!(AccountNames::read(cut).is_err(), "{length}");
        }
    }
}
