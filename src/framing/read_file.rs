//! Scripts that print a part of a file, and what they say about it, for a host without SFTP.
//!
//! A path is an argument of fixed commands. It is quoted, and begins with `/` or `./`, so that it
//! becomes neither a command nor an option.

use super::quoting::quoted;

/// Words before the facts, because a startup file may print as well.
pub(super) const MARK: &[u8] = b"mcp-ssh-sessions:file:\0";

/// Upper limit of a path in an answer, in bytes: Linux' `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// Upper limit of a user and a group together, in bytes.
const MAX_OWNER_BYTES: usize = 128;

/// Command line for a shell that reads one of the scripts. In the locale `C`, names are bytes.
pub const SHELL: &str = "exec env LC_ALL=C /bin/sh";

/// Part of a file that a script prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePart {
    /// This number of bytes at the beginning.
    Beginning(u64),
    /// This number of bytes at the end.
    End(u64),
}

impl FilePart {
    /// Returns the number of bytes of the part, if the file has as many.
    #[must_use]
    pub fn most(self) -> u64 {
        let (Self::Beginning(bytes) | Self::End(bytes)) = self;
        bytes
    }
}

/// Kind of what has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A regular file, whose bytes follow.
    File,
    /// A directory, whose names follow, each with a NUL byte.
    Directory,
    /// A device, socket or FIFO.
    Special,
    /// A file or directory that the account may not read.
    Denied,
    /// Nothing, or something in a directory that the account may not search.
    Missing,
}

/// Facts about a file, as far as the programs of the host tell them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScriptFacts {
    /// Type and permission bits.
    pub mode: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Time of the last modification, in seconds since 1970.
    pub modified: Option<u32>,
    /// User and group, such as `root:root`.
    pub owner: Option<String>,
}

/// Answer to the script of [`script`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAnswer<'a> {
    /// Kind of what there is.
    pub found: PathKind,
    /// Facts about it.
    pub facts: ScriptFacts,
    /// Directory in which a relative path starts.
    pub directory: &'a [u8],
    /// Absolute path with symbolic links resolved, if the host has a program for that.
    pub resolved: Option<&'a [u8]>,
    /// First bytes of the file, for its byte order mark.
    pub first_bytes: Vec<u8>,
    /// Bytes of the part, names, or the target of a symbolic link that leads to nothing.
    pub content: &'a [u8],
}

/// Writes a script that prints a part of a file, or the names in a directory. Links are followed.
#[must_use]
pub fn script(path: &[u8], part: FilePart) -> Vec<u8> {
    let print = match part {
        FilePart::Beginning(bytes) => format!("head -c {bytes}"),
        FilePart::End(bytes) => format!("tail -c {bytes}"),
    };
    let stat = stat("-L", "\"$path\"");

    let rest = format!(
        r#"
here=$PWD first=
{stat}
resolved=$(readlink -f "$path" 2>/dev/null && echo /)
show() {{ printf 'mcp-ssh-sessions:file:\0%s\0%s\0%s\0%s\0%s\0' "$1" "$facts" "$here" "$resolved" "$first"; }}
if [ ! -e "$path" ]; then
  show missing
  if [ -L "$path" ]; then readlink "$path"; fi
elif [ ! -r "$path" ]; then show denied
elif [ -d "$path" ]; then
  cd "$path" 2>/dev/null || {{ show denied; exit; }}
  show directory
  for name in * .*; do
    if [ -e "$name" ] || [ -L "$name" ]; then printf '%s\0' "$name"; fi
  done
  printf '\0'
elif [ -f "$path" ]; then
  first=$(head -c 3 <"$path" | od -An -tx1)
  show file
  {print} <"$path"
else show special
fi
"#
    );

    [b"path=", quoted(path).as_slice(), rest.as_bytes()].concat()
}

/// Reads the answer to [`script`]; `None` if it is none.
#[must_use]
pub fn parse(answer: &[u8]) -> Option<FileAnswer<'_>> {
    let start = memchr::memmem::find(answer, MARK)? + MARK.len();
    let mut fields = answer.get(start..)?.splitn(6, |byte| *byte == 0);

    let found = match fields.next()? {
        b"file" => PathKind::File,
        b"directory" => PathKind::Directory,
        b"special" => PathKind::Special,
        b"denied" => PathKind::Denied,
        b"missing" => PathKind::Missing,
        _ => return None,
    };
    let facts = ScriptFacts::parse(fields.next()?);
    let is_usable = |path: &&[u8]| path.starts_with(b"/") && path.len() <= MAX_PATH_BYTES;
    let directory = Some(fields.next()?).filter(is_usable)?;
    // The slash keeps the line ends of a name from being lost.
    let resolved = fields.next()?.strip_suffix(b"\n/").filter(is_usable);
    let first_bytes = std::str::from_utf8(fields.next()?)
        .ok()?
        .split_whitespace()
        .filter_map(|digits| u8::from_str_radix(digits, 16).ok())
        .collect();

    Some(FileAnswer {
        found,
        facts,
        directory,
        resolved,
        first_bytes,
        content: fields.next()?,
    })
}

/// Reads the names in a directory from the content of an answer, without `.` and `..`. The second
/// value is false if the answer ends before the last name.
#[must_use]
pub fn names(content: &[u8]) -> (Vec<&[u8]>, bool) {
    let is_whole = content == b"\0" || content.ends_with(b"\0\0");
    // The last name may be cut.
    let end = memchr::memrchr(0, content).unwrap_or(0);
    let names = content
        .get(..end)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !matches!(*name, b"" | b"." | b".."))
        .collect();

    (names, is_whole)
}

/// Writes a script that prints the facts about entries of a directory, and the targets of links.
#[must_use]
pub fn details(directory: &[u8], names: &[&[u8]]) -> Vec<u8> {
    let mut script = [b"cd ", quoted(directory).as_slice(), b" || exit\nset --"].concat();
    for name in names {
        script.push(b' ');
        script.extend(quoted(&[b"./", *name].concat()));
    }

    let stat = stat("", "\"$@\"");
    let rest = format!(
        r#"
{stat}
printf 'mcp-ssh-sessions:file:\0%s\0' "$facts"
for name do
  if [ -L "$name" ]; then readlink "$name"; fi
  printf '\0'
done
"#
    );
    script.extend_from_slice(rest.as_bytes());

    script
}

/// Reads the answer to [`details`] about this number of entries: the facts, and the target of a
/// link. What is not known is left out.
#[must_use]
pub fn parse_details(answer: &[u8], count: usize) -> Vec<(ScriptFacts, Option<Vec<u8>>)> {
    let start = memchr::memmem::find(answer, MARK).map_or(answer.len(), |at| at + MARK.len());
    let mut fields = answer
        .get(start..)
        .unwrap_or_default()
        .split(|byte| *byte == 0);

    let lines = fields.next().unwrap_or_default();
    let mut facts: Vec<ScriptFacts> = lines
        .split(|byte| *byte == b'\n')
        .map(ScriptFacts::parse)
        .collect();
    // An entry that has gone since has no line, so the lines belong to nobody knows whom.
    if facts.len() != count {
        facts = vec![ScriptFacts::default(); count];
    }

    let targets = fields
        .map(|target| target.strip_suffix(b"\n").map(<[u8]>::to_vec))
        .chain(std::iter::repeat(None));

    facts.into_iter().zip(targets).collect()
}

impl ScriptFacts {
    /// Reads a line such as `81a4 7 1764000000 0:0 root:root`. Names may contain spaces.
    fn parse(line: &[u8]) -> Self {
        let line = String::from_utf8_lossy(line);
        let mut words = line.splitn(5, ' ');
        let mut next = || words.next().filter(|word| !word.is_empty());

        Self {
            mode: next().and_then(|word| u32::from_str_radix(word, 16).ok()),
            size: next().and_then(|word| word.parse().ok()),
            modified: next().and_then(|word| word.parse().ok()),
            owner: next()
                .zip(next())
                .map(|(numbers, names)| {
                    // For a number without a name.
                    names
                        .split(':')
                        .zip(numbers.split(':'))
                        .map(|(name, number)| if name == "UNKNOWN" { number } else { name })
                        .collect::<Vec<_>>()
                        .join(":")
                })
                .filter(|owner| owner.len() <= MAX_OWNER_BYTES),
        }
    }
}

/// Writes the line that sets `facts`, one line a file: by the `stat` of GNU and busybox, else by
/// that of the BSDs and macOS.
fn stat(option: &str, files: &str) -> String {
    format!(
        "facts=$(stat {option} -c '%f %s %Y %u:%g %U:%G' {files} 2>/dev/null)\n\
         [ -n \"$facts\" ] || facts=$(stat {option} -f '%Xp %z %m %u:%g %Su:%Sg' {files} 2>/dev/null)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_after_other_words() {
        let answer = b"motd\0\nmcp-ssh-sessions:file:\0file\x0081a4 7 1764000000 0:7 root:UNKNOWN\0/home/u\0/srv/x\n\n/\0 ff fe\0a\0b";
        let answer = parse(answer).unwrap();
        assert_eq!(
            answer,
            FileAnswer {
                found: PathKind::File,
                facts: ScriptFacts {
                    mode: Some(0o100_644),
                    size: Some(7),
                    modified: Some(1_764_000_000),
                    owner: Some("root:7".to_owned()),
                },
                directory: b"/home/u",
                resolved: Some(b"/srv/x\n"),
                first_bytes: vec![0xff, 0xfe],
                content: b"a\0b",
            }
        );

        for (answer, found) in [
            (
                &b"mcp-ssh-sessions:file:\0missing\0\0/\0\0\0"[..],
                Some(PathKind::Missing),
            ),
            (
                b"mcp-ssh-sessions:file:\0denied\0? x\0/\0/\0\0",
                Some(PathKind::Denied),
            ),
            (b"mcp-ssh-sessions:file:\0other\0\0/\0\0\0", None),
            (b"mcp-ssh-sessions:file:\0file\0\0/", None),
            (b"sh: not found", None),
        ] {
            assert_eq!(parse(answer).map(|answer| answer.found), found);
        }
    }

    #[test]
    fn entries_have_facts_only_if_none_is_missing() {
        let answer = b"mcp-ssh-sessions:file:\x0041ed 9 5 0:0 a:b\na1ff 1 6 0:0 a:b c\0\0to\n\n\0";
        let details = parse_details(answer, 2);
        assert_eq!(details[0].0.mode, Some(0o040_755));
        assert_eq!(
            (details[1].0.modified, details[1].1.as_deref()),
            (Some(6), Some(&b"to\n"[..]))
        );
        assert_eq!(details[0].1, None);

        let details = parse_details(answer, 3);
        assert_eq!((details.len(), details[0].0.mode), (3, None));
        assert_eq!(parse_details(b"", 2).len(), 2);
    }

    #[test]
    fn a_cut_list_of_names_is_noticed() {
        for (content, wanted, is_whole) in [
            (&b"\0"[..], &[][..], true),
            (b".\0..\0\0", &[], true),
            (b"a\0.b\0.\0..\0\0", &["a", ".b"], true),
            (b"a\0b\0", &["a", "b"], false),
            (b"a\0b", &["a"], false),
            (b"a", &[], false),
            (b"", &[], false),
        ] {
            let (found, whole) = names(content);
            let wanted: Vec<&[u8]> = wanted.iter().map(|name| name.as_bytes()).collect();
            assert_eq!((found, whole), (wanted, is_whole), "{content:?}");
        }
    }

    #[test]
    fn a_path_is_one_word() {
        let script = script(b"/a'b;$(c)\n", FilePart::Beginning(5));
        assert!(script.starts_with(b"path='/a'\\''b;$(c)\n'\n"));
    }
}
