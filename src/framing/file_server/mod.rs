//! A file server that runs in `/bin/sh` of a host without SFTP: the script, the lines of requests
//! and the answers.
//!
//! The script uses what POSIX demands of a shell, and of the host's programs those that are there.
//! It carries the requests out in order, so an answer is known by its position. Each answer ends
//! with a random mark and a number, which no file can contain by accident.

mod answer;
mod facts;
mod line;
mod request;
mod time;

use self::line::{Line, umask};
pub use self::{
    answer::{Answer, Answers, BadAnswer},
    facts::{PathFacts, entries, facts},
    request::{Changes, FileRequest, Opening, Position},
};
use super::sentinel::Sentinel;

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
            // The target of a link is stored as it is, so it may begin with a dash.
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
                    line.push_byte(byte);
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

        // The shell has no operator that writes to a file without creating it.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_path_stays_in_its_line(path in prop::collection::vec(1_u8.., 0..40), size in any::<u64>()) {
            let path = path.as_slice();
            let changes = Changes { size: Some(size), mode: Some(0o644), ..Changes::default() };
            let tools = ServerTools::parse(b"dd").unwrap();
            for request in [
                FileRequest::Facts { path, follows: true },
                FileRequest::Rename { from: path, to: path, replaces: true },
                FileRequest::Link { target: path, link: path },
                FileRequest::Change { slot: Some(3), path, changes },
                FileRequest::Open { slot: 3, path, opening: Opening::Create(0o600) },
                FileRequest::Read { slot: 3, path, offset: 1, length: 2, position: Position::FromStart(1) },
            ] {
                let line = tools.line(request);
                prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            }
        }
    }

    #[test]
    fn content_is_sent_as_text_where_no_program_takes_it() {
        let text = ServerTools::parse(b"pt").unwrap();
        let line = text.write(3, b"/x", Position::There, b"a'\n\0 9");
        assert_eq!(line, b"wp 3 'a\\0047\\0012\\0000 9'; z\n");

        let program = ServerTools::parse(b"dd").unwrap();
        let line = program.write(3, b"/x", Position::Ahead(7), b"a\n");
        assert_eq!(line, b"sw 3 7; wr 3 2; z\na\n");
    }

    #[test]
    fn a_new_file_has_no_more_bits_than_its_mode() {
        for (mode, expected) in [
            (0o644, "u-x,g-wx,o-wx"),
            (0o700, "g-rwx,o-rwx"),
            (0o777, "$(umask)"),
        ] {
            assert_eq!(umask(mode), expected);
        }
    }
}
