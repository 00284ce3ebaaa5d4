//! Scripts that change a file by the programs of a host: for a host without SFTP, and for root.
//!
//! A script compares the file with the content that was loaded, and then changes it. The new
//! content is part of the script, as arguments of `printf`. So no limit of arguments applies, and
//! nothing else has to follow the script on stdin. A script that arrives in part does nothing,
//! because its last line makes the change.

mod checksum;
mod load;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use self::checksum::cksum;
pub use self::load::{FoundKind, FoundPath, load, parse_found};
use super::quoting::quoted;

/// Words before the answer, because a startup file may print as well.
const MARK: &[u8] = b"mcp-ssh-sessions:change:\0";
/// Beginning of every script: settings of the shell, and what all of them need.
const START: &[u8] = include_bytes!("start.sh");
/// Length of the content in an argument of `printf`, in bytes. Quoting makes it up to four times as
/// long, and Linux allows 128 KiB where `printf` is a program.
const ARGUMENT_BYTES: usize = 30 * 1024;

/// Existing file to be changed.
#[derive(Debug, Clone, Copy)]
pub struct LoadedBytes<'a> {
    /// Absolute path without symbolic links.
    pub path: &'a [u8],
    /// Content that the file must still have.
    pub content: &'a [u8],
}

/// Result of a script that changes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeEnd {
    /// The change was made.
    Done,
    /// The file is not what was loaded.
    Changed,
    /// Another edit of the file has not ended. The message is the path of its temporary files.
    Busy,
    /// The path of the new file is taken.
    Exists,
    /// The directory of the new file does not exist.
    NoDirectory,
    /// A program of the host failed, and the file is as before.
    Failed,
    /// The file was written in part, and the old content could not be put back.
    Incomplete,
}

/// Answer to a script that changes a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeAnswer<'a> {
    /// Result.
    pub end: ChangeEnd,
    /// Message of a program of the host, after a failure.
    pub message: &'a [u8],
    /// Word for the reason to write in place: `links`, `attributes`, `unseen`, `owner`,
    /// `directory` or `rename`. `None` if the file was replaced.
    pub reason: Option<&'a [u8]>,
    /// Words for the properties that could not be kept: `mode`, `owner`, `group`, `attributes`.
    pub lost: Vec<&'a [u8]>,
    /// Directories that were made, from the outermost on.
    pub made: Vec<&'a [u8]>,
    /// Path of the old content of an incomplete file.
    pub old: Option<&'a [u8]>,
}

/// Writes a script that gives a file other content. `name` is the name of a directory with temporary
/// files. It is the same for all edits of the file, so that only one of them is made at a time.
#[must_use]
pub fn write(file: LoadedBytes<'_>, content: &[u8], name: &str) -> Vec<u8> {
    script(
        "write",
        &[with_old(file), with_new(content), with_name(name)],
    )
}

/// Writes a script that creates a file. `may_make` permits to make its directory as well, and
/// `name` is a random name for a directory with temporary files.
#[must_use]
pub fn create(path: &[u8], content: &[u8], may_make: bool, name: &str) -> Vec<u8> {
    let settings = [
        with_path(path),
        with_new(content),
        with_name(name),
        with_may_make(may_make),
    ];
    script("create", &settings)
}

/// Writes a script that gives a file another path, which is absolute. `may_make` permits to make
/// the directory there.
#[must_use]
pub fn rename(file: LoadedBytes<'_>, to: &[u8], may_make: bool) -> Vec<u8> {
    let settings = [with_old(file), setting("to", to), with_may_make(may_make)];
    script("rename", &settings)
}

/// Writes a script that deletes a file.
#[must_use]
pub fn delete(file: LoadedBytes<'_>) -> Vec<u8> {
    script("delete", &[with_old(file)])
}

/// Reads the answer to a script that changes a file; `None` if the script did not come to its end.
#[must_use]
pub fn parse_change(answer: &[u8]) -> Option<ChangeAnswer<'_>> {
    let start = memchr::memmem::find(answer, MARK)? + MARK.len();
    let mut fields = answer.get(start..)?.split(|byte| *byte == 0);

    let mut change = ChangeAnswer {
        end: ChangeEnd::Done,
        message: b"",
        reason: None,
        lost: Vec::new(),
        made: Vec::new(),
        old: None,
    };

    while let (Some(key), Some(value)) = (fields.next(), fields.next()) {
        let end = match key {
            b"reason" => {
                change.reason = Some(value);
                continue;
            }
            b"lost" => {
                change.lost.push(value);
                continue;
            }
            b"made" => {
                change.made.push(value);
                continue;
            }
            b"old" => {
                change.old = Some(value);
                continue;
            }
            b"done" => ChangeEnd::Done,
            b"changed" => ChangeEnd::Changed,
            b"busy" => ChangeEnd::Busy,
            b"exists" => ChangeEnd::Exists,
            b"nodirectory" => ChangeEnd::NoDirectory,
            b"failed" => ChangeEnd::Failed,
            b"incomplete" => ChangeEnd::Incomplete,
            _ => return None,
        };

        // A value ends with a NUL byte, so another field follows, if only an empty one.
        fields.next()?;
        return Some(ChangeAnswer {
            end,
            message: value,
            ..change
        });
    }

    None
}

/// Puts a script together: settings, the functions, and the call of one.
fn script(action: &str, settings: &[Vec<u8>]) -> Vec<u8> {
    let mut script = settings.concat();
    script.extend_from_slice(START);
    script.extend_from_slice(include_bytes!("change.sh"));
    // The script is on stdin, which no program may read.
    script.extend_from_slice(format!("{action} </dev/null\n").as_bytes());

    script
}

/// Sets the path and what the content must be.
fn with_old(file: LoadedBytes<'_>) -> Vec<u8> {
    let mut digest = String::new();
    for byte in Sha256::digest(file.content) {
        let _ = write!(digest, "{byte:02x}");
    }
    let crc = cksum(file.content);

    [
        with_path(file.path),
        setting("sha256", digest.as_bytes()),
        setting("crc", crc.as_bytes()),
    ]
    .concat()
}

/// Sets the path, its directory with a slash at the end, and its name.
fn with_path(path: &[u8]) -> Vec<u8> {
    let name_at = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(name_at);

    [
        setting("path", path),
        setting("dir", directory),
        setting("base", name),
    ]
    .concat()
}

fn with_may_make(may_make: bool) -> Vec<u8> {
    setting("may_make", if may_make { b"yes" } else { b"" })
}

/// Sets a name for temporary files, which is hidden.
fn with_name(name: &str) -> Vec<u8> {
    setting("name", format!(".mcp-ssh-sessions-{name}").as_bytes())
}

/// Defines a function that prints the content, and sets its length.
fn with_new(content: &[u8]) -> Vec<u8> {
    let mut function = format!("length={}\ncontent() {{\n:\n", content.len()).into_bytes();
    for argument in content.chunks(ARGUMENT_BYTES) {
        function.extend_from_slice(b"printf '");
        for (at, byte) in argument.iter().enumerate() {
            match byte {
                0 => function.extend_from_slice(b"\\000"),
                b'\'' => function.extend_from_slice(b"\\047"),
                b'\\' => function.extend_from_slice(b"\\134"),
                b'%' => function.extend_from_slice(b"%%"),
                // No option.
                b'-' if at == 0 => function.extend_from_slice(b"\\055"),
                _ => function.push(*byte),
            }
        }
        function.extend_from_slice(b"'\n");
    }
    function.extend_from_slice(b"}\n");

    function
}

fn setting(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"=", quoted(value).as_slice(), b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_with_its_end() {
        let whole = b"motd\nmcp-ssh-sessions:change:\0made\0/a/\0made\0/a/b/\0done\0\0";
        let change = parse_change(whole).unwrap();
        assert_eq!(change.end, ChangeEnd::Done);
        assert_eq!(change.made, [&b"/a/"[..], b"/a/b/"]);

        let start = whole.len() - b"done\0\0".len();
        for length in (0..whole.len()).filter(|length| *length != start) {
            assert_eq!(parse_change(&whole[..length]), None, "{length}");
        }

        let old = b"mcp-ssh-sessions:change:\0old\0/a/old\0incomplete\0cat: full\0";
        let change = parse_change(old).unwrap();
        assert_eq!(change.end, ChangeEnd::Incomplete);
        assert_eq!(change.old, Some(&b"/a/old"[..]));
        assert_eq!(change.message, b"cat: full");

        for other in [
            &b"mcp-ssh-sessions:change:\0"[..],
            b"mcp-ssh-sessions:change:\0lost\0mode\0",
            b"mcp-ssh-sessions:change:\0else\0\0done\0\0",
            b"sh: not found",
        ] {
            assert_eq!(parse_change(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn content_is_an_argument_whatever_it_is() {
        assert_eq!(
            with_new(b"-n%s\\'\0\xff\n-"),
            b"length=10\ncontent() {\n:\nprintf '\\055n%%s\\134\\047\\000\xff\n-'\n}\n"
        );
        assert_eq!(with_new(b""), b"length=0\ncontent() {\n:\n}\n");
    }
}
