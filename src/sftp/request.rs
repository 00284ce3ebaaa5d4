//! What a client asks for (section 6 of the draft; OpenSSH's `PROTOCOL`, section 4).

use bytes::Bytes;

use super::{attributes::Attributes, fields::put_string, handle::Handle};

/// `SSH_FXP_EXTENDED`
const EXTENDED: u8 = 200;

/// One request. Content is written by a [`Chunk`](super::content::Chunk).
#[derive(Debug, Clone, Copy)]
pub enum SftpRequest<'a> {
    /// Opens a file.
    Open {
        /// Which.
        path: &'a [u8],
        /// What for.
        access: Access,
        /// What a new file gets.
        attributes: Attributes,
    },
    /// Closes a file or directory.
    Close(&'a Handle),
    /// Reads from a file. A server may answer with less.
    Read {
        /// The open file.
        handle: &'a Handle,
        /// From this byte on.
        offset: u64,
        /// How many bytes.
        length: u32,
    },
    /// The attributes of a path; of a link, its own.
    Lstat(&'a [u8]),
    /// The attributes of what a path leads to.
    Stat(&'a [u8]),
    /// The attributes of an open file.
    Fstat(&'a Handle),
    /// Sets attributes of what a path leads to.
    Setstat(&'a [u8], Attributes),
    /// Sets attributes of an open file.
    Fsetstat(&'a Handle, Attributes),
    /// Sets attributes of a path; of a link, its own (`lsetstat@openssh.com`).
    Lsetstat(&'a [u8], Attributes),
    /// Opens a directory.
    Opendir(&'a [u8]),
    /// Reads some names of a directory.
    Readdir(&'a Handle),
    /// Removes a file or link.
    Remove(&'a [u8]),
    /// Makes a directory.
    Mkdir(&'a [u8], Attributes),
    /// The absolute path without links.
    Realpath(&'a [u8]),
    /// Renames where nothing is there yet.
    Rename {
        /// From here.
        from: &'a [u8],
        /// To here.
        to: &'a [u8],
    },
    /// Renames over whatever is there, in one step (`posix-rename@openssh.com`).
    PosixRename {
        /// From here.
        from: &'a [u8],
        /// To here.
        to: &'a [u8],
    },
    /// Where a link leads, as it is written in it.
    Readlink(&'a [u8]),
    /// Makes a link. Which of the two paths is the link, and which is where it leads, is not the same for all servers:
    /// see [`LinkOrder`].
    Symlink {
        /// The path that comes first.
        first: &'a [u8],
        /// The other.
        second: &'a [u8],
    },
    /// Writes an open file to the disk (`fsync@openssh.com`).
    Fsync(&'a Handle),
    /// Asks how much a request may move (`limits@openssh.com`).
    Limits,
}

/// The order in which a server takes the paths of [`SftpRequest::Symlink`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOrder {
    /// Where the link leads, then where it is: OpenSSH's order (`PROTOCOL`, section 4.1).
    TargetFirst,
    /// The reverse, which is that of the draft (section 6.10).
    LinkFirst,
}

impl LinkOrder {
    /// The request for a link in this order.
    #[must_use]
    pub fn request<'a>(self, target: &'a [u8], link: &'a [u8]) -> SftpRequest<'a> {
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

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To write into it, as it is.
    Write,
    /// To go on with it, as it is.
    Resume,
    /// To write into it; it must not be there yet.
    Create,
    /// To write into it; what is in it goes, and it is made if it is not there.
    Replace,
}

impl Access {
    /// `SSH_FXF_…`
    fn flags(self) -> u32 {
        const READ: u32 = 0x1;
        const WRITE: u32 = 0x2;
        const CREATE: u32 = 0x8;
        const TRUNCATE: u32 = 0x10;
        const EXCLUSIVE: u32 = 0x20;

        // Servers that turn these into the modes of fopen(3), as those on Node.js do, know no others than these sets, and not
        // that for writing alone.
        match self {
            Self::Read => READ,
            Self::Write => WRITE,
            Self::Resume => READ | WRITE,
            Self::Create => WRITE | CREATE | TRUNCATE | EXCLUSIVE,
            Self::Replace => WRITE | CREATE | TRUNCATE,
        }
    }
}

/// The packet with which a client begins: it speaks version 3.
pub const INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];

impl SftpRequest<'_> {
    /// The packet, its length included.
    #[must_use]
    pub fn packet(&self, id: u32) -> Bytes {
        let mut out = vec![0; 4];
        out.push(self.kind());
        out.extend_from_slice(&id.to_be_bytes());
        self.put_fields(&mut out);
        let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
        if let Some(place) = out.first_chunk_mut() {
            *place = length.to_be_bytes();
        }

        out.into()
    }

    /// `SSH_FXP_…`
    fn kind(&self) -> u8 {
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
            Self::Lsetstat(..) | Self::PosixRename { .. } | Self::Fsync(_) | Self::Limits => {
                EXTENDED
            }
        }
    }

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
                attributes.put(out);
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
            Self::Setstat(path, attributes) | Self::Mkdir(path, attributes) => {
                strings(&[path]);
                attributes.put(out);
            }
            Self::Fsetstat(handle, attributes) => {
                strings(&[handle.as_bytes()]);
                attributes.put(out);
            }
            Self::Lsetstat(path, attributes) => {
                strings(&[b"lsetstat@openssh.com", path]);
                attributes.put(out);
            }
            Self::Rename { from, to } => strings(&[from, to]),
            Self::PosixRename { from, to } => strings(&[b"posix-rename@openssh.com", from, to]),
            Self::Symlink { first, second } => strings(&[first, second]),
            Self::Fsync(handle) => strings(&[b"fsync@openssh.com", handle.as_bytes()]),
            Self::Limits => strings(&[b"limits@openssh.com"]),
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
