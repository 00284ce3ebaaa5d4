//! Requests of a client (section 6 of the draft; OpenSSH's `PROTOCOL`, section 4).

use bytes::Bytes;

use super::{attributes::Attributes, fields::put_string, handle::Handle};

/// `SSH_FXP_EXTENDED`.
const EXTENDED: u8 = 200;

/// A request, except writes, which are encoded by [`Chunk`](super::content::Chunk).
#[derive(Debug, Clone, Copy)]
pub enum SftpRequest<'a> {
    /// Opens a file.
    Open {
        /// Path of the file.
        path: &'a [u8],
        /// Purpose, which selects the flags.
        access: Access,
        /// Attributes of a new file.
        attributes: Attributes,
    },
    /// Closes a file or directory.
    Close(&'a Handle),
    /// Reads from a file. The server may return fewer bytes.
    Read {
        /// The open file.
        handle: &'a Handle,
        /// First byte to read.
        offset: u64,
        /// Number of bytes to read.
        length: u32,
    },
    /// Asks for the attributes of a path, without following a link.
    Lstat(&'a [u8]),
    /// Asks for the attributes of a path, following links.
    Stat(&'a [u8]),
    /// Asks for the attributes of an open file.
    Fstat(&'a Handle),
    /// Sets attributes of a path, following links.
    Setstat(&'a [u8], Attributes),
    /// Sets attributes of an open file.
    Fsetstat(&'a Handle, Attributes),
    /// Sets attributes of a path, without following a link (`lsetstat@openssh.com`).
    Lsetstat(&'a [u8], Attributes),
    /// Opens a directory.
    Opendir(&'a [u8]),
    /// Reads some of the names in an open directory. The end is a status.
    Readdir(&'a Handle),
    /// Removes a file or link.
    Remove(&'a [u8]),
    /// Makes a directory.
    Mkdir(&'a [u8], Attributes),
    /// Asks for the absolute form of a path, with links resolved.
    Realpath(&'a [u8]),
    /// Renames a file if the new path does not exist yet.
    Rename {
        /// Present path.
        from: &'a [u8],
        /// New path.
        to: &'a [u8],
    },
    /// Renames a file and atomically replaces whatever has the new path
    /// (`posix-rename@openssh.com`).
    PosixRename {
        /// Present path.
        from: &'a [u8],
        /// New path.
        to: &'a [u8],
    },
    /// Asks for the target of a link, as stored in the link.
    Readlink(&'a [u8]),
    /// Creates a symbolic link. Servers disagree about the order of the two paths: see
    /// [`LinkOrder`].
    Symlink {
        /// First path of the packet.
        first: &'a [u8],
        /// Second path of the packet.
        second: &'a [u8],
    },
    /// Flushes an open file to the disk (`fsync@openssh.com`).
    Fsync(&'a Handle),
    /// Asks for the limits of a request (`limits@openssh.com`).
    Limits,
    /// Asks for the names of users and groups (`users-groups-by-id@openssh.com`).
    AccountNames {
        /// User ids.
        users: &'a [u32],
        /// Group ids.
        groups: &'a [u32],
    },
}

/// Order in which a server expects the paths of [`SftpRequest::Symlink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOrder {
    /// The target, then the link: the order of OpenSSH (`PROTOCOL`, section 4.1).
    TargetFirst,
    /// The link, then the target: the order of the draft (section 6.10).
    LinkFirst,
}

impl LinkOrder {
    /// Returns the request for creating a symbolic link, with the two paths in the order that the
    /// server expects.
    #[must_use]
    pub fn request<'a>(self, target: &'a [u8], link: &'a [u8]) -> SftpRequest<'a> {
        // OpenSSH implemented the reverse of the draft by mistake and keeps the order for its
        // clients.
        match self {
            Self::TargetFirst => SftpRequest::Symlink {
                first: target,
                second: link,
            },
            Self::LinkFirst => SftpRequest::Symlink {
                first: link,
                second: target,
            },
        }
    }
}

/// Purpose for which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing into an existing file, whose content stays.
    Write,
    /// Continuing an interrupted upload: writing into an existing file, which can also be read.
    Resume,
    /// Writing into a new file. Opening fails if the path exists.
    Create,
    /// Writing into an empty file, which is created or truncated.
    Replace,
}

impl Access {
    /// Returns the `SSH_FXF_…` flags.
    fn flags(self) -> u32 {
        const READ: u32 = 0x1;
        const WRITE: u32 = 0x2;
        const CREATE: u32 = 0x8;
        const TRUNCATE: u32 = 0x10;
        const EXCLUSIVE: u32 = 0x20;

        // Some servers, such as those on Node.js, translate the flags into a mode of fopen(3). They
        // know only these sets, and not even `WRITE` without other flags.
        match self {
            Self::Read => READ,
            Self::Write => WRITE,
            Self::Resume => READ | WRITE,
            Self::Create => WRITE | CREATE | TRUNCATE | EXCLUSIVE,
            Self::Replace => WRITE | CREATE | TRUNCATE,
        }
    }
}

/// First packet of a client, which asks for version 3.
pub const INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];

impl SftpRequest<'_> {
    /// Encodes the whole packet, including the length.
    #[must_use]
    pub fn packet(&self, id: u32) -> Bytes {
        let mut out = vec![0; 4];
        out.push(self.kind());
        out.extend_from_slice(&id.to_be_bytes());
        self.put_fields(&mut out);
        // The fallback is never sent: callers refuse strings which no packet can hold.
        let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
        if let Some(length_field) = out.first_chunk_mut() {
            *length_field = length.to_be_bytes();
        }

        out.into()
    }

    /// Returns the `SSH_FXP_…` type of the packet.
    fn kind(&self) -> u8 {
        // `SSH_FXP_WRITE` (6) is missing: `Chunk` encodes writes. All extensions share a type, and
        // their name follows as the first field.
        match self {
            Self::Open { .. } => 3,
            Self::Close(_) => 4,
            Self::Read { .. } => 5,
            Self::Lstat(_) => 7,
            Self::Fstat(_) => 8,
            Self::Setstat(..) => 9,
            Self::Fsetstat(..) => 10,
            Self::Opendir(_) => 11,
            Self::Readdir(_) => 12,
            Self::Remove(_) => 13,
            Self::Mkdir(..) => 14,
            Self::Realpath(_) => 16,
            Self::Stat(_) => 17,
            Self::Rename { .. } => 18,
            Self::Readlink(_) => 19,
            Self::Symlink { .. } => 20,
            Self::Lsetstat(..)
            | Self::PosixRename { .. }
            | Self::Fsync(_)
            | Self::Limits
            | Self::AccountNames { .. } => EXTENDED,
        }
    }

    /// Appends the fields after the request id. An extended request begins with the name of its
    /// extension.
    fn put_fields(&self, out: &mut Vec<u8>) {
        let mut strings =
            |strings: &[&[u8]]| strings.iter().for_each(|string| put_string(out, string));

        match self {
            Self::Open {
                path,
                access,
                attributes,
            } => {
                strings(&[path]);
                out.extend_from_slice(&access.flags().to_be_bytes());
                attributes.encode(out);
            }
            Self::Read {
                handle,
                offset,
                length,
            } => {
                strings(&[handle.as_bytes()]);
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
            }
            Self::Close(handle) | Self::Fstat(handle) | Self::Readdir(handle) => {
                strings(&[handle.as_bytes()]);
            }
            Self::Lstat(path)
            | Self::Stat(path)
            | Self::Opendir(path)
            | Self::Remove(path)
            | Self::Realpath(path)
            | Self::Readlink(path) => strings(&[path]),
            // Attributes are never optional here. Empty attributes are encoded as flags of zero.
            Self::Setstat(path, attributes) | Self::Mkdir(path, attributes) => {
                strings(&[path]);
                attributes.encode(out);
            }
            Self::Fsetstat(handle, attributes) => {
                strings(&[handle.as_bytes()]);
                attributes.encode(out);
            }
            Self::Lsetstat(path, attributes) => {
                strings(&[b"lsetstat@openssh.com", path]);
                attributes.encode(out);
            }
            Self::Rename { from, to } => strings(&[from, to]),
            Self::PosixRename { from, to } => strings(&[b"posix-rename@openssh.com", from, to]),
            // `LinkOrder` has already put the paths into the order of the server.
            Self::Symlink { first, second } => strings(&[first, second]),
            Self::Fsync(handle) => strings(&[b"fsync@openssh.com", handle.as_bytes()]),
            Self::Limits => strings(&[b"limits@openssh.com"]),
            Self::AccountNames { users, groups } => {
                let [users, groups] = [users, groups].map(|ids| {
                    ids.iter()
                        .flat_map(|id| id.to_be_bytes())
                        .collect::<Vec<u8>>()
                });
                strings(&[b"users-groups-by-id@openssh.com", &users, &groups]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes as Wire;
    use proptest::prelude::*;
    use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet as Theirs};

    use super::*;
    use crate::sftp::{
        content::Chunk,
        frames::Frames,
        reply::{Packet, SftpReply},
    };

    /// A handle can only come from a server.
    fn handle(bytes: &[u8]) -> Handle {
        let length = u32::try_from(bytes.len()).unwrap();

        let all = [
            &(length + 9).to_be_bytes()[..],
            &[102, 0, 0, 0, 1],
            &length.to_be_bytes(),
            bytes,
        ]
        .concat();

        let mut frames = Frames::default();
        frames.push(Wire::from(all));

        let Ok(Some(Packet::Reply {
            reply: SftpReply::Handle(handle),
            ..
        })) = frames.next_packet()
        else {
            panic!()
        };

        handle
    }

    /// What another implementation reads, its length checked and taken off.
    fn theirs(packet: &Wire) -> Theirs {
        let mut body = packet.slice(4..);
        assert_eq!(
            packet[..4],
            u32::try_from(body.len()).unwrap().to_be_bytes()
        );
        Theirs::try_from(&mut body).unwrap()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    fn another_implementation_reads_every_request_as_it_is_meant() {
        let h = &handle(b"h");

        let all = Attributes {
            size: Some(1 << 40),
            owner: Some((1, 2)),
            permissions: Some(0o644),
            times: Some((3, 4)),
        };

        let expected = FileAttributes {
            size: Some(1 << 40),
            uid: Some(1),
            gid: Some(2),
            permissions: Some(0o644),
            atime: Some(3),
            mtime: Some(4),
            ..FileAttributes::empty()
        };

        let open =
            |flags: OpenFlags| format!("Open(Open {{ id: 7, filename: \"p\", pflags: {flags:?}, ");
        let (set, none) = (
            format!("attrs: {expected:?} }})"),
            format!("attrs: {:?} }})", FileAttributes::empty()),
        );

        for (request, head, attributes) in [
            (
                SftpRequest::Open {
                    path: b"p",
                    access: Access::Create,
                    attributes: all,
                },
                open(
                    OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::EXCLUDE,
                ),
                &set,
            ),
            (
                SftpRequest::Open {
                    path: b"p",
                    access: Access::Write,
                    attributes: Attributes::default(),
                },
                open(OpenFlags::WRITE),
                &none,
            ),
            (
                SftpRequest::Open {
                    path: b"p",
                    access: Access::Resume,
                    attributes: Attributes::default(),
                },
                open(OpenFlags::READ | OpenFlags::WRITE),
                &none,
            ),
            (
                SftpRequest::Open {
                    path: b"p",
                    access: Access::Replace,
                    attributes: all,
                },
                open(OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE),
                &set,
            ),
            (
                SftpRequest::Open {
                    path: b"p",
                    access: Access::Read,
                    attributes: Attributes::default(),
                },
                open(OpenFlags::READ),
                &none,
            ),
            (
                SftpRequest::Fsetstat(h, all),
                "FSetStat(FSetStat { id: 7, handle: \"h\", ".to_owned(),
                &set,
            ),
            (
                SftpRequest::Setstat(b"p", all),
                "SetStat(SetStat { id: 7, path: \"p\", ".to_owned(),
                &set,
            ),
            (
                SftpRequest::Mkdir(b"p", all),
                "MkDir(MkDir { id: 7, path: \"p\", ".to_owned(),
                &set,
            ),
        ] {
            assert_eq!(
                format!("{:?}", theirs(&request.packet(7))),
                format!("{head}{attributes}")
            );
        }

        for (request, expected) in [
            (
                SftpRequest::Read {
                    handle: h,
                    offset: 1 << 33,
                    length: 9,
                },
                "Read(Read { id: 7, handle: \"h\", offset: 8589934592, len: 9 })",
            ),
            (
                SftpRequest::Rename {
                    from: b"f",
                    to: b"t",
                },
                "Rename(Rename { id: 7, oldpath: \"f\", newpath: \"t\" })",
            ),
            // Its names are those of the draft.
            (
                LinkOrder::LinkFirst.request(b"t", b"l"),
                "Symlink(Symlink { id: 7, linkpath: \"l\", targetpath: \"t\" })",
            ),
            (
                LinkOrder::TargetFirst.request(b"t", b"l"),
                "Symlink(Symlink { id: 7, linkpath: \"t\", targetpath: \"l\" })",
            ),
            (
                SftpRequest::Close(h),
                "Close(Close { id: 7, handle: \"h\" })",
            ),
            (
                SftpRequest::Fstat(h),
                "Fstat(Fstat { id: 7, handle: \"h\" })",
            ),
            (
                SftpRequest::Readdir(h),
                "ReadDir(ReadDir { id: 7, handle: \"h\" })",
            ),
            (
                SftpRequest::Lstat(b"p"),
                "Lstat(Lstat { id: 7, path: \"p\" })",
            ),
            (SftpRequest::Stat(b"p"), "Stat(Stat { id: 7, path: \"p\" })"),
            (
                SftpRequest::Opendir(b"p"),
                "OpenDir(OpenDir { id: 7, path: \"p\" })",
            ),
            (
                SftpRequest::Remove(b"p"),
                "Remove(Remove { id: 7, filename: \"p\" })",
            ),
            (
                SftpRequest::Realpath(b"p"),
                "RealPath(RealPath { id: 7, path: \"p\" })",
            ),
            (
                SftpRequest::Readlink(b"p"),
                "ReadLink(ReadLink { id: 7, path: \"p\" })",
            ),
        ] {
            assert_eq!(format!("{:?}", theirs(&request.packet(7))), expected);
        }

        for (request, name, length) in [
            (
                SftpRequest::PosixRename {
                    from: b"f",
                    to: b"to",
                },
                "posix-rename@openssh.com",
                4 + 1 + 4 + 2,
            ),
            (
                SftpRequest::Lsetstat(b"p", Attributes::mode(0)),
                "lsetstat@openssh.com",
                4 + 1 + 4 + 4,
            ),
            (SftpRequest::Fsync(h), "fsync@openssh.com", 4 + 1),
            (SftpRequest::Limits, "limits@openssh.com", 0),
        ] {
            let Theirs::Extended(extended) = theirs(&request.packet(7)) else {
                panic!()
            };
            assert_eq!(
                (extended.id, extended.request.as_str(), extended.data.len()),
                (7, name, length)
            );
        }

        let Theirs::Init(init) = theirs(&Wire::from_static(INIT)) else {
            panic!()
        };
        assert_eq!(init.version, 3);
    }

    proptest! {
        #[test]
        fn a_chunk_becomes_a_write_whatever_the_handle(
            name in prop::collection::vec(any::<u8>(), 0..=256),
            content in prop::collection::vec(any::<u8>(), 0..2000),
            offset in any::<u64>(),
        ) {
            let packet = Chunk::from(&*content).write_to(5, &handle(&name), offset);
            let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
            let fields = [&[6, 0, 0, 0, 5][..], &length(&name), &name, &offset.to_be_bytes(), &length(&content), &content];
            let body = fields.concat();
            prop_assert_eq!(&*packet, &[&length(&body)[..], &body].concat());
        }
    }
}
