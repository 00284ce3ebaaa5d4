//! Loads a whole file, or finds out what is in its place.

use super::{
    super::{quoting::quoted, read_file::MARK},
    START,
};

/// Kind of what has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundKind {
    /// A regular file, with its content.
    File,
    /// A regular file that is longer than permitted, with its length in the message.
    Long,
    /// A regular file that the account may not read.
    Denied,
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// Nothing, in a directory that exists.
    Missing,
    /// Nothing, in a directory that does not exist.
    NoDirectory,
    /// A symbolic link to nothing.
    Dangling,
    /// Symbolic links that lead to each other.
    Loop,
    /// Something that cannot be reached, for the reason in the message.
    Failed,
}

/// Answer to the script of [`load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPath<'a> {
    /// Kind of what there is.
    pub kind: FoundKind,
    /// Absolute path, with symbolic links resolved as far as they lead.
    pub path: &'a [u8],
    /// Type and permission bits.
    pub mode: Option<u32>,
    /// Time of the last modification, in seconds since 1970.
    pub modified: Option<u32>,
    /// User and group by number.
    pub owner: Option<(u32, u32)>,
    /// Message of a program of the host.
    pub message: &'a [u8],
    /// Content of a file.
    pub content: &'a [u8],
}

/// Writes a script that prints a whole file, if it has at most this number of bytes. A file that
/// grows meanwhile is printed with one byte more.
#[must_use]
pub fn load(path: &[u8], most_bytes: u64) -> Vec<u8> {
    let most = format!("\nmost={most_bytes}\n");
    [
        b"path=",
        quoted(path).as_slice(),
        most.as_bytes(),
        START,
        include_bytes!("load.sh"),
    ]
    .concat()
}

/// Reads the answer to [`load`]; `None` if it is none.
#[must_use]
pub fn parse_found(answer: &[u8]) -> Option<FoundPath<'_>> {
    let start = memchr::memmem::find(answer, MARK)? + MARK.len();
    let mut fields = answer.get(start..)?.splitn(5, |byte| *byte == 0);

    let kind = match fields.next()? {
        b"file" => FoundKind::File,
        b"long" => FoundKind::Long,
        b"denied" => FoundKind::Denied,
        b"directory" => FoundKind::Directory,
        b"fifo" => FoundKind::Fifo,
        b"socket" => FoundKind::Socket,
        b"device" => FoundKind::Device,
        b"missing" => FoundKind::Missing,
        b"nodirectory" => FoundKind::NoDirectory,
        b"dangling" => FoundKind::Dangling,
        b"loop" => FoundKind::Loop,
        b"failed" => FoundKind::Failed,
        _ => return None,
    };
    let path = fields.next()?;

    // A line such as `81a4 7 1764000000 0 0`.
    let facts = String::from_utf8_lossy(fields.next()?);
    let mut words = facts.split_ascii_whitespace();
    let mode = words
        .next()
        .and_then(|word| u32::from_str_radix(word, 16).ok());
    let _size = words.next();
    let modified = words.next().and_then(|word| word.parse().ok());
    let mut number = || words.next().and_then(|word| word.parse().ok());
    let owner = number().zip(number());

    Some(FoundPath {
        kind,
        path,
        mode,
        modified,
        owner,
        message: fields.next()?,
        content: fields.next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_its_facts() {
        let answer =
            b"motd\nmcp-ssh-sessions:file:\0file\0/a\n\x0081a4 7 1764000000 0 33 2\0\0a\0b";
        let found = parse_found(answer).unwrap();
        assert_eq!((found.kind, found.path), (FoundKind::File, &b"/a\n"[..]));
        assert_eq!(
            (found.mode, found.modified),
            (Some(0o100_644), Some(1_764_000_000))
        );
        assert_eq!(found.owner, Some((0, 33)));
        assert_eq!((found.message, found.content), (&b""[..], &b"a\0b"[..]));

        let bare = parse_found(b"mcp-ssh-sessions:file:\0missing\0/a\0\0\0").unwrap();
        assert_eq!(
            (bare.kind, bare.mode, bare.owner),
            (FoundKind::Missing, None, None)
        );
        for other in [
            &b"mcp-ssh-sessions:file:\0missing\0/a\0\0"[..],
            b"mcp-ssh-sessions:file:\0else\0/a\0\0\0",
            b"sh: not found",
        ] {
            assert_eq!(parse_found(other), None, "{}", other.escape_ascii());
        }
    }
}
