//! A file server that runs in `/bin/sh` of a host without SFTP: the script, the lines of requests
//! and the answers.
//!
//! The script uses what POSIX demands of a shell, and of the host's programs those that are there.
//! It carries the requests out in order, so an answer is known by its position. Each answer ends
//! with a random mark and a number, which no file can contain by accident.

mod answer;
mod facts;
mod time;

pub use self::{
    answer::{Answer, Answers, BadAnswer},
    facts::{PathFacts, entries, facts},
};
use super::{quoting::quote, sentinel::Sentinel};

/// Files that the server can have open at the same time: the descriptors 3 to 8.
pub const SLOTS: std::ops::RangeInclusive<u8> = 3..=8;

/// Bytes of content in a request if the host has no program that takes bytes from stdin. Then the
/// content is written as text.
const TEXT_BYTES: usize = 8 * 1024;

/// Programs by which a host reads and writes files, as the script reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTools {
    writer: Writer,
    reader: Reader,
}

/// Program that writes content to an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// `dd` or `head`, with the content after the request.
    Program,
    /// The shell itself, with the content as text in the request.
    Shell,
}

/// Program that reads from a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// `dd`, which also moves the position of an open file.
    Dd,
    /// `head`, which takes as many bytes as it prints.
    Head,
    /// `tail` and `head`, which read the path.
    Tail,
}

/// Request to the server. Paths are absolute, or begin in the directory in which the shell started,
/// which is the home directory.
#[derive(Debug, Clone, Copy)]
pub enum FileRequest<'a> {
    /// Facts of a path; read by [`facts`].
    Facts {
        /// Path.
        path: &'a [u8],
        /// True if a link is followed.
        follows: bool,
    },
    /// Facts of an open file.
    FactsOfOpen {
        /// Descriptor of the file.
        slot: u8,
        /// Path under which it was opened.
        path: &'a [u8],
    },
    /// Entries of a directory; read by [`entries`].
    List(&'a [u8]),
    /// Path without links. The last name need not exist.
    Resolve(&'a [u8]),
    /// Destination of a link.
    Destination(&'a [u8]),
    /// Makes a directory.
    MakeDirectory {
        /// Path.
        path: &'a [u8],
        /// Permission bits that it has at most.
        mode: u32,
    },
    /// Removes a file or a link.
    Remove(&'a [u8]),
    /// Renames a file.
    Rename {
        /// Old path.
        from: &'a [u8],
        /// New path.
        to: &'a [u8],
        /// True if the file takes the place of an existing file.
        replaces: bool,
    },
    /// Makes a symbolic link.
    Link {
        /// Destination, as stored.
        target: &'a [u8],
        /// Path of the link.
        link: &'a [u8],
    },
    /// Changes a file.
    Change {
        /// Descriptor if the file is open.
        slot: Option<u8>,
        /// Path.
        path: &'a [u8],
        /// Properties to set.
        changes: Changes,
    },
    /// Opens a file.
    Open {
        /// Descriptor, one of [`SLOTS`] that is free.
        slot: u8,
        /// Path.
        path: &'a [u8],
        /// Form of opening it.
        opening: Opening,
    },
    /// Reads from an open file.
    Read {
        /// Descriptor of the file.
        slot: u8,
        /// Path under which it was opened.
        path: &'a [u8],
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes at most.
        length: u32,
        /// Way to the offset.
        position: Position,
    },
    /// Writes the content of the open file with this descriptor to the disk.
    Flush(u8),
    /// Closes the file with this descriptor.
    Close(u8),
}

/// Properties of a file to set. `None` leaves a property as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changes {
    /// Length in bytes.
    pub size: Option<u64>,
    /// User id and group id.
    pub owner: Option<(u32, u32)>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Times of the last modification and of the last access, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// Form of opening a file.
#[derive(Debug, Clone, Copy)]
pub enum Opening {
    /// Existing file, for reading.
    Read,
    /// Existing file, for writing without loss of its content.
    Write,
    /// New file with at most these permission bits, for writing. Fails if the path exists, even as
    /// a link.
    Create(u32),
    /// New file with at most these permission bits, or an existing file without its content.
    Replace(u32),
}

/// Way to the offset of a read or write, from the position of the open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The file is at the offset.
    There,
    /// The offset is this many bytes ahead.
    Ahead(u64),
    /// The file is opened again, and the offset is this many bytes from the beginning.
    FromStart(u64),
}

/// Returns the script for a shell that reads it from stdin. The shell then takes requests.
#[must_use]
pub fn script(mark: &Sentinel) -> Vec<u8> {
    include_str!("server.sh")
        .replacen("MARK'", &format!("{}'", mark.as_str()), 1)
        .into_bytes()
}

impl ServerTools {
    /// Reads the tools from the first answer. `None` if the host cannot read files.
    #[must_use]
    pub fn parse(ready: &[u8]) -> Option<Self> {
        let [writer, reader] = ready.first_chunk()?;
        Some(Self {
            writer: if *writer == b'p' {
                Writer::Shell
            } else {
                Writer::Program
            },
            reader: match reader {
                b'd' => Reader::Dd,
                b'h' => Reader::Head,
                b't' => Reader::Tail,
                _ => return None,
            },
        })
    }

    /// Returns true if an open file can be moved to another position.
    #[must_use]
    pub fn can_move(self) -> bool {
        self.reader == Reader::Dd
    }

    /// Returns the longest useful content of a write, in bytes, if the host prefers short ones.
    #[must_use]
    pub fn longest_write(self) -> Option<u32> {
        (self.writer == Writer::Shell).then_some(32 * 1024)
    }

    /// Writes the line of a request.
    #[must_use]
    pub fn line(self, request: FileRequest<'_>) -> Vec<u8> {
        let mut line = Line::default();
        match request {
            FileRequest::Facts { path, follows } => {
                line.words(if follows { "r st -L " } else { "r st -P " }, &[path]);
            }
            FileRequest::FactsOfOpen { slot, path } => {
                line.words(&format!("fp {slot} "), &[path]);
                line.push("; r st -L \"$p\"");
            }
            FileRequest::List(path) => line.words("r li ", &[path]),
            FileRequest::Resolve(path) => line.words("r rp ", &[path]),
            FileRequest::Destination(path) => line.words("r lk ", &[path]),
            FileRequest::MakeDirectory { path, mode } => {
                line.words(&format!("r mk {} ", umask(mode)), &[path]);
            }
            FileRequest::Remove(path) => line.words("r rm ", &[path]),
            FileRequest::Rename { from, to, replaces } => {
                line.words(if replaces { "r pr " } else { "r rn " }, &[from, to]);
            }
            // The target of a link is no path to be found, so it may begin with anything.
            FileRequest::Link { target, link } => {
                line.push("r ln_ ");
                line.text(target);
                line.words(" ", &[link]);
            }
            FileRequest::Change {
                slot,
                path,
                changes,
            } => {
                match slot {
                    Some(slot) => line.words(&format!("fp {slot} "), &[path]),
                    None => line.words("p=", &[path]),
                }
                line.change(changes);
            }
            FileRequest::Open {
                slot,
                path,
                opening,
            } => self.open(&mut line, slot, path, opening),
            FileRequest::Read {
                slot,
                path,
                offset,
                length,
                position,
            } => {
                if self.reader == Reader::Tail {
                    line.words("rt ", &[path]);
                    line.push(&format!(" {} {length}", offset.saturating_add(1)));
                } else {
                    line.go("<", "sk", slot, path, position);
                    line.push(&format!("rd {slot} {length}"));
                }
            }
            FileRequest::Flush(slot) => line.push(&format!("fy {slot}")),
            FileRequest::Close(slot) => line.push(&format!("exec {slot}>&-")),
        }

        line.end()
    }

    /// Writes the request that writes `content` to an open file. The content follows the line where
    /// a program takes it.
    #[must_use]
    pub fn write(self, slot: u8, path: &[u8], position: Position, content: &[u8]) -> Vec<u8> {
        let mut line = Line::default();
        if self.can_move() {
            line.go("<>", "sw", slot, path, position);
        }

        if self.writer == Writer::Program {
            line.push(&format!("wr {slot} {}", content.len()));
            let mut request = line.end();
            request.extend_from_slice(content);
            return request;
        }

        for (number, part) in content.chunks(TEXT_BYTES).enumerate() {
            line.push(if number > 0 { "; " } else { "" });
            line.push(&format!("wp {slot} '"));
            for &byte in part {
                if byte.is_ascii_alphanumeric() || byte == b' ' {
                    line.0.push(byte);
                } else {
                    // `%b` of printf takes four octal digits.
                    line.push(&format!("\\0{byte:03o}"));
                }
            }
            line.push("'");
        }

        line.end()
    }

    /// Writes the opening of a file. The shell's own message about a failure becomes the content of
    /// the answer.
    fn open(self, line: &mut Line, slot: u8, path: &[u8], opening: Opening) {
        let (operator, mode) = match opening {
            Opening::Read => ("<", None),
            // Without `dd`, the position cannot be moved, so content is only appended.
            Opening::Write if self.can_move() => ("<>", None),
            Opening::Write => (">>", None),
            Opening::Create(mode) | Opening::Replace(mode) => (">", Some(mode)),
        };

        // Writing without creating is no operator of the shell.
        if matches!(opening, Opening::Write) {
            line.words("[ -e ", &[path]);
            line.push(" ] || r no 'No such file or directory'; [ $s != 0 ] || ");
        }
        if let Some(mode) = mode {
            line.push(&format!("u=$(umask); umask {}; ", umask(mode)));
        }
        if matches!(opening, Opening::Create(_)) {
            line.push("set -C; ");
        }

        line.push(&format!("{{ {{ command exec {slot}{operator}"));
        line.words("", &[path]);
        line.push("; } 2>&9; s=$?; }");

        if mode.is_some() {
            line.push("; set +C; umask $u");
        }
    }
}

/// A line with a request, whose last command ends the answer.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Line {
    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends commands of the shell and paths, none of which a program takes for an option.
    fn words(&mut self, commands: &str, paths: &[&[u8]]) {
        self.push(commands);
        for (number, path) in paths.iter().enumerate() {
            if number > 0 {
                self.push(" ");
            }

            if path.starts_with(b"/") {
                self.text(path);
            } else {
                self.text(&[b"./", *path].concat());
            }
        }
    }

    /// Appends a text in quotes. A line end would end the request.
    fn text(&mut self, text: &[u8]) {
        for (number, part) in text.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.push("\"$N\"");
            }
            quote(&mut self.0, part);
        }
    }

    /// Appends the way to an offset, by the function `moves`.
    fn go(&mut self, operator: &str, moves: &str, slot: u8, path: &[u8], position: Position) {
        let ahead = match position {
            Position::There => 0,
            Position::Ahead(bytes) => bytes,
            Position::FromStart(bytes) => {
                // The same file, even if another one has its path by now.
                self.push(&format!(
                    "{{ command exec {slot}{operator}/proc/$$/fd/{slot}; }} 2>/dev/null || \
                     {{ command exec {slot}{operator}"
                ));
                self.words("", &[path]);
                self.push("; } 2>/dev/null; ");
                bytes
            }
        };
        if ahead > 0 {
            self.push(&format!("{moves} {slot} {ahead}; "));
        }
    }

    /// Appends the changes to the file at `$p`. The owner comes first, because a new owner clears
    /// bits of the mode, and the times last.
    fn change(&mut self, changes: Changes) {
        let Changes {
            size,
            owner,
            mode,
            times,
        } = changes;

        let size = size.map(|size| format!("cu {size}"));
        let owner = owner.map(|(user, group)| format!("chown {user}:{group}"));
        // Five digits clear the bits that four leave as they are on a directory.
        let mode = mode.map(|mode| format!("chmod {:05o}", mode & 0o7777));
        let times = times.map(|(modified, accessed)| {
            format!(
                "tm {} {}",
                time::for_touch(modified),
                time::for_touch(accessed)
            )
        });

        for change in [size, owner, mode, times].into_iter().flatten() {
            self.push(&format!("; [ $s != 0 ] || r {change} \"$p\""));
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.push("; z\n");
        self.0
    }
}

/// Returns the symbolic mask that takes the bits outside of `mode` from new files.
fn umask(mode: u32) -> String {
    let who = [('u', 6), ('g', 3), ('o', 0)].into_iter();
    let clauses = who.filter_map(|(who, shift)| {
        let bits = [(4, 'r'), (2, 'w'), (1, 'x')].into_iter();
        let denied: String = bits
            .filter(|(bit, _)| (mode >> shift) & bit == 0)
            .map(|(_, letter)| letter)
            .collect();
        (!denied.is_empty()).then(|| format!("{who}-{denied}"))
    });

    let mask = clauses.collect::<Vec<_>>().join(",");
    if mask.is_empty() {
        "$(umask)".to_owned()
    } else {
        mask
    }
}
