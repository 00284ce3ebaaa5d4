//! Output of `rg` and `grep`, read as matches by file.
//!
//! The programs write the name of a file and NUL before each line, and the number of the line with
//! `:` after it for a match and `-` for a line of context:
//!
//! - `rg --null --line-number --no-heading --color=never [--column]`
//! - `grep -ZnHI`

use std::fmt::Write as _;

use super::{glob::Glob, pattern::Pattern};
use crate::edit::{
    display::{cut_around, escaped, grouped},
    lines::{lines, text},
};

/// Number of bytes of a line that are shown.
pub const MAX_LINE_BYTES: usize = 300;
/// Number of bytes that are kept of all names and lines together.
const MAX_KEPT_BYTES: usize = 32_000;
/// Number of bytes of a line that are searched for the match.
const MAX_HELD_LINE: usize = 64 * 1024;
/// Number of bytes of a name at most. Linux takes 4096.
const MAX_NAME: usize = 16 * 1024;
/// Line of `grep` and `rg` between two groups of lines.
const SEPARATOR: &[u8] = b"--\n";
/// Ends of messages that `rg` and `grep` write after the name of a file, with further text in brackets.
const MESSAGES: [&[u8]; 2] = [
    b": binary file matches",
    b": WARNING: stopped searching binary file after match",
];
/// Beginning of the message of other programs.
const BINARY_FILE: &[u8] = b"Binary file ";

/// Means of finding the match in a line, so that a long line is cut around the match.
#[derive(Debug, Clone)]
pub enum MatchPlace {
    /// The program writes the column of the first match, as `rg --column` does.
    Column,
    /// The pattern of the search finds it.
    Pattern(Box<Pattern>),
    /// The place is not known, so lines are cut at the end.
    Unknown,
}

/// What a reader keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Lines,
    Files,
}

/// Reader of a program's output, fed with bytes on arrival.
///
/// The result does not depend on how the output is cut. Memory use is bounded by the limit.
#[derive(Debug)]
pub struct MatchReader {
    root: Vec<u8>,
    place: MatchPlace,
    limit: usize,
    glob: Option<Glob>,
    kept: Kept,
    /// Number of bytes that may still be kept.
    room: usize,
    /// Bytes of the record that is not complete yet.
    held: Vec<u8>,
    /// True if the rest of a long line is left out.
    is_cut: bool,
    /// Name of the latest file, which may be past the limit.
    latest: Vec<u8>,
    latest_has_match: bool,
    /// True after the group of lines in which the limit was reached.
    is_closed: bool,
    matches: Matches,
}

/// Matches of a search, made by [`MatchReader::finish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// Files with matches, in the order of the program, up to the limit.
    pub files: Vec<FileMatches>,
    /// Number of matches in [`files`](Self::files).
    pub shown: usize,
    /// Number of all matches that were read.
    pub total: u64,
    /// Number of all files with matches.
    pub total_files: u64,
    /// Number of lines that belong to no file for certain, such as messages of the program.
    pub ignored: u64,
    /// Number of those lines which say that a binary file matches.
    pub binary_files: u64,
}

/// Lines of one file that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMatches {
    /// Name of the file as the program wrote it.
    pub path: Vec<u8>,
    /// Number of matches in the file.
    pub count: u64,
    /// Matches and lines around them, in the order of the program. Empty if only files are wanted.
    pub lines: Vec<FoundLine>,
}

/// Line of a file that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLine {
    /// Number of the line, from 1.
    pub number: u64,
    /// True for a match, false for a line around one.
    pub is_match: bool,
    /// The line, escaped and cut around the match.
    pub text: String,
}

impl MatchReader {
    /// Creates a reader that keeps at most `limit` matches.
    ///
    /// Each name of a file has to begin with `root`, the path that was searched. Other lines are
    /// ignored, such as messages of the program. With an empty root they are taken for names.
    #[must_use]
    pub fn new(root: Vec<u8>, limit: usize, place: MatchPlace) -> Self {
        Self {
            root,
            place,
            limit,
            glob: None,
            kept: Kept::Lines,
            room: MAX_KEPT_BYTES,
            held: Vec::new(),
            is_cut: false,
            latest: Vec::new(),
            latest_has_match: false,
            is_closed: false,
            matches: Matches::default(),
        }
    }

    /// Leaves out files whose path below the root does not match. A file that is the root itself
    /// stays.
    #[must_use]
    pub fn in_files(mut self, glob: Option<Glob>) -> Self {
        self.glob = glob;
        self
    }

    /// Keeps files instead of lines, at most as many as the limit.
    #[must_use]
    pub fn files_only(mut self) -> Self {
        self.kept = Kept::Files;
        self
    }

    /// Returns the matches so far.
    #[must_use]
    pub fn so_far(&self) -> &Matches {
        &self.matches
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in lines(bytes) {
            let room = (MAX_NAME + MAX_HELD_LINE).saturating_sub(self.held.len());
            self.held
                .extend_from_slice(part.get(..room).unwrap_or(part));
            self.is_cut |= part.len() > room;

            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Ends the reading. A last line without a line end is incomplete and does not count.
    #[must_use]
    pub fn finish(self) -> Matches {
        self.matches
    }

    /// Reads the held bytes. The line end that was read may be part of a name.
    fn end_line(&mut self) {
        let is_cut = std::mem::take(&mut self.is_cut);
        let has_root = self.held.starts_with(&self.root);
        let name_end = memchr::memchr(0, &self.held);
        // The root may have line ends as well.
        let is_of_name = has_root || self.root.starts_with(&self.held);
        let may_be_name =
            is_of_name && name_end.is_none() && !is_cut && self.held.len() <= MAX_NAME;
        if may_be_name && !is_message(&self.held) {
            return;
        }

        let held = std::mem::take(&mut self.held);
        if held == SEPARATOR {
            self.is_closed = self.matches.shown >= self.limit;
            return;
        }

        let record = name_end.filter(|_| has_root).and_then(|end| {
            let (path, rest) = held.split_at_checked(end)?;
            // A message that begins like a name looks like the first part of the next name.
            let next_root = [b"\n", self.root.as_slice()].concat();
            let is_certain = memchr::memmem::find(path, &next_root).is_none();
            let line = Record::parse(rest.get(1..)?, matches!(self.place, MatchPlace::Column))?;
            is_certain.then_some((path, line))
        });

        if let Some((path, line)) = record {
            self.add(path, &line);
        } else {
            self.matches.ignored += 1;
            self.matches.binary_files += u64::from(is_message(&held));
        }
    }

    /// Adds a line of a file, within the limit.
    fn add(&mut self, path: &[u8], line: &Record<'_>) {
        let below = path.get(self.root.len()..).unwrap_or_default();
        let is_left_out = |glob: &Glob| !below.is_empty() && !glob.matches(below);
        if self.glob.as_ref().is_some_and(is_left_out) {
            return;
        }

        let is_new = self.latest != path || self.latest.is_empty();
        if is_new {
            self.latest = path.to_vec();
            self.latest_has_match = false;
            self.is_closed = self.is_full();
        }

        let has_room = !self.is_full();
        if line.is_match {
            self.matches.total += 1;
            self.matches.total_files += u64::from(!self.latest_has_match);
            if self.kept == Kept::Lines {
                self.matches.shown += usize::from(has_room);
                self.is_closed |= !has_room;
            }
            self.latest_has_match = true;
        }

        if self.kept == Kept::Files {
            self.count(path, is_new, line.is_match);
            return;
        }

        // After the last match, the lines around that match still belong to it.
        if !has_room && (line.is_match || self.is_closed || self.room == 0) {
            return;
        }

        let found = FoundLine {
            number: line.number,
            is_match: line.is_match,
            text: cut_around(line.text, line.place(&self.place), MAX_LINE_BYTES),
        };
        self.room = self.room.saturating_sub(path.len() + found.text.len());
        let count = u64::from(line.is_match);
        match self.matches.files.last_mut() {
            Some(file) if !is_new => {
                file.count += count;
                file.lines.push(found);
            }
            _ => self.matches.files.push(FileMatches {
                path: path.to_vec(),
                count,
                lines: vec![found],
            }),
        }
    }

    /// Returns true if no further match is kept.
    fn is_full(&self) -> bool {
        self.matches.shown >= self.limit || self.room == 0
    }

    /// Counts a match of a file, within the limit of files.
    fn count(&mut self, path: &[u8], is_new: bool, is_match: bool) {
        let last = self.matches.files.last_mut();
        if let Some(file) = last.filter(|file| !is_new && file.path == path) {
            file.count += u64::from(is_match);
        } else if is_match && self.latest_has_match && !self.is_full() {
            self.room = self.room.saturating_sub(path.len());
            self.matches.shown += 1;
            self.matches.files.push(FileMatches {
                path: path.to_vec(),
                count: 1,
                lines: Vec::new(),
            });
        }
    }
}

impl Matches {
    /// Returns the lines as `path:line: text`, and lines around matches as `path-line- text`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut output = String::new();
        for file in &self.files {
            let path = escaped(&file.path);
            let has_context = file.lines.iter().any(|line| !line.is_match);
            let mut next = None;

            for line in &file.lines {
                if has_context && next.is_some_and(|next| next != line.number) {
                    output.push_str("--\n");
                }
                let sign = if line.is_match { ':' } else { '-' };
                let _ = writeln!(output, "{path}{sign}{}{sign} {}", line.number, line.text);
                next = line.number.checked_add(1);
            }
        }

        output
    }

    /// Returns the files as `path: 3`, with the numbers of their matches.
    #[must_use]
    pub fn files_text(&self) -> String {
        let mut output = String::new();
        for file in &self.files {
            let _ = writeln!(output, "{}: {}", escaped(&file.path), grouped(file.count));
        }

        output
    }

    /// Describes the number of matches, as in `100 of 2,314 matches in 87 files`.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.total == 0 {
            return "no matches".to_owned();
        }

        let shown = u64::try_from(self.shown).unwrap_or(u64::MAX);
        let has_lines = self.files.iter().any(|file| !file.lines.is_empty());
        if !has_lines && shown < self.total_files {
            return format!(
                "{} of {} files with {} matches",
                grouped(shown),
                grouped(self.total_files),
                grouped(self.total)
            );
        }

        let of = if has_lines && shown < self.total {
            format!("{} of ", grouped(shown))
        } else {
            String::new()
        };
        let matches = if self.total == 1 { "match" } else { "matches" };
        let files = if self.total_files == 1 {
            "file"
        } else {
            "files"
        };

        format!(
            "{of}{} {matches} in {} {files}",
            grouped(self.total),
            grouped(self.total_files)
        )
    }
}

/// Returns true for a message about a binary file.
fn is_message(line: &[u8]) -> bool {
    let mut messages = MESSAGES.iter();
    line.starts_with(BINARY_FILE)
        || messages.any(|message| memchr::memmem::find(line, message).is_some())
}

/// Line of the program's output after the name of the file.
struct Record<'a> {
    number: u64,
    is_match: bool,
    /// Position of the match in the text, if the program wrote a column.
    column: Option<usize>,
    text: &'a [u8],
}

impl<'a> Record<'a> {
    fn parse(line: &'a [u8], has_column: bool) -> Option<Self> {
        let (number, rest) = digits(line)?;
        let (sign, mut rest) = rest.split_first()?;
        let is_match = match sign {
            b':' => true,
            b'-' => false,
            _ => return None,
        };

        let mut column = None;
        if has_column && is_match {
            let (found, after) = digits(rest)?;
            column = usize::try_from(found).ok()?.checked_sub(1);
            rest = after.strip_prefix(b":")?;
        }

        Some(Self {
            number,
            is_match,
            column,
            text: text(rest),
        })
    }

    /// Returns the position of the match in the text, or 0.
    fn place(&self, place: &MatchPlace) -> usize {
        let found = match place {
            MatchPlace::Pattern(pattern) if self.is_match => pattern.find(self.text),
            _ => self.column,
        };
        found.unwrap_or_default()
    }
}

/// Splits a number from the beginning of the bytes.
fn digits(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at_checked(length)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;

    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(output: &[u8], limit: usize, place: MatchPlace) -> Matches {
        let mut reader = MatchReader::new(b"./".to_vec(), limit, place);
        reader.push(output);
        reader.finish()
    }

    #[test]
    fn matches_are_grouped_by_file() {
        for (output, text, summary, ignored) in [
            (&b""[..], "", "no matches", 0),
            (b"./a\x001:x\n", "./a:1: x\n", "1 match in 1 file", 0),
            (
                b"./a\x001:x\n./a\x0030:y\r\n./b\x002:z\n",
                "./a:1: x\n./a:30: y\n./b:2: z\n",
                "3 matches in 2 files",
                0,
            ),
            // Lines around matches.
            (
                b"./a\x001-x\n./a\x002:y\n--\n./a\x009:z\n",
                "./a-1- x\n./a:2: y\n--\n./a:9: z\n",
                "2 matches in 1 file",
                0,
            ),
            // Names with line ends, colons and other bytes; text that looks like a record.
            (
                b"./a\nb:1:\x003:x\n",
                "./a\\nb:1::3: x\n",
                "1 match in 1 file",
                0,
            ),
            (
                b"./\xff\x003:./b:4:y\n",
                "./\\xff:3: ./b:4:y\n",
                "1 match in 1 file",
                0,
            ),
            (
                b"./a\x003:./b\x004:y\n",
                "./a:3: ./b\\04:y\n",
                "1 match in 1 file",
                0,
            ),
            (b"./--\n\x003:x\n", "./--\\n:3: x\n", "1 match in 1 file", 0),
            // Messages, also those that begin like a name, and lines that are cut off.
            (
                b"Binary file ./c matches\n./a\x001:x\n",
                "./a:1: x\n",
                "1 match in 1 file",
                1,
            ),
            (
                b"./c: binary file matches (found \"\\0\" byte around offset 5)\n./a\x001:x\n",
                "./a:1: x\n",
                "1 match in 1 file",
                1,
            ),
            (
                b"./c: some message\n./a\x001:x\n./a\x002:x\n",
                "./a:2: x\n",
                "1 match in 1 file",
                1,
            ),
            (
                b"./a\x001:x\n./a\x002:y",
                "./a:1: x\n",
                "1 match in 1 file",
                0,
            ),
            (b"./a\x00x:y\n./a\x00:y\n./a\x001;y\n", "", "no matches", 3),
        ] {
            let found = read(output, 100, MatchPlace::Unknown);
            assert_eq!(
                (found.text().as_str(), found.summary().as_str()),
                (text, summary)
            );
            assert_eq!(found.ignored, ignored, "{}", output.escape_ascii());
        }
    }

    #[test]
    fn what_is_past_the_limit_is_counted() {
        let mut output = Vec::new();
        for file in 0..30 {
            for line in [1, 2, 50] {
                output.extend(
                    format!("./{file}\x00{line}:x\n./{file}\x00{}-c\n--\n", line + 10).bytes(),
                );
            }
        }

        let found = read(&output, 4, MatchPlace::Unknown);
        assert_eq!(found.summary(), "4 of 90 matches in 30 files");
        assert_eq!(found.text().lines().last(), Some("./1-11- c"));
        assert_eq!(found.files.len(), 2);
    }

    #[test]
    fn a_long_line_is_cut_around_the_match() {
        let line = format!("{}Needle{}", "a".repeat(5_000), "b".repeat(90_000));
        for (head, place) in [
            ("1:5001:", MatchPlace::Column),
            (
                "1:",
                MatchPlace::Pattern(Box::new(Pattern::parse("needle", true).unwrap())),
            ),
        ] {
            let found = read(format!("./x\0{head}{line}\n").as_bytes(), 9, place);
            let text = found
                .files
                .first()
                .and_then(|file| file.lines.first())
                .expect("a line")
                .text
                .clone();
            assert!(
                text.contains("aNeedleb") && text.chars().count() == 302,
                "{text}"
            );
        }

        let context = read(
            b"./x\x001-5:no column\n./x\x002:1:yes\n",
            9,
            MatchPlace::Column,
        );
        assert_eq!(context.text(), "./x-1- 5:no column\n./x:2: yes\n");
    }

    #[test]
    fn the_root_may_be_a_name_with_line_ends() {
        let root = b"./a\nb:1".to_vec();
        let mut reader = MatchReader::new(root, 9, MatchPlace::Unknown);
        reader.push(b"noise\n./a\nb:1\x002:x\n./a\nc\x003:y\n");
        let found = reader.finish();
        assert_eq!(found.text(), "./a\\nb:1:2: x\n");
        assert_eq!(found.ignored, 2);
    }

    #[test]
    fn files_are_counted_instead_of_lines() {
        let output = b"./a\x001:x\n./a\x002:x\n./b\x001:x\n./c\x001:x\n./c\x007:x\n";
        let mut reader = MatchReader::new(b"./".to_vec(), 2, MatchPlace::Unknown)
            .files_only()
            .in_files(Some(Glob::parse("[ac]").unwrap()));
        reader.push(output);
        let found = reader.finish();
        assert_eq!(found.files_text(), "./a: 2\n./c: 2\n");
        assert_eq!(found.summary(), "4 matches in 2 files");

        let mut reader = MatchReader::new(b"./".to_vec(), 2, MatchPlace::Unknown).files_only();
        reader.push(output);
        assert_eq!(reader.finish().summary(), "2 of 3 files with 5 matches");
    }

    #[test]
    fn only_so_many_bytes_are_kept() {
        let line = format!("./a\x001:{}\n", "x".repeat(290));
        let mut reader = MatchReader::new(b"./".to_vec(), usize::MAX, MatchPlace::Unknown);
        reader.push(line.repeat(1_000).as_bytes());
        let found = reader.finish();
        assert!(found.text().len() < 36_000 && found.shown > 100);
        assert_eq!(found.total, 1_000);
    }

    proptest! {
        #[test]
        fn each_line_goes_to_its_file(
            records in prop::collection::vec(("[a\n:-]{1,4}", 1_u64..300, any::<bool>(), "[a:./0-9-]{0,5}"), 0..12),
            cut in 1_usize..9,
        ) {
            let mut output = Vec::new();
            for (name, number, is_match, text) in &records {
                let sign = if *is_match { ':' } else { '-' };
                output.extend(format!("./{name}\0{number}{sign}{text}\n").bytes());
            }

            let mut reader = MatchReader::new(b"./".to_vec(), usize::MAX, MatchPlace::Unknown);
            for chunk in output.chunks(cut) {
                reader.push(chunk);
            }
            let found = reader.finish().files.into_iter().flat_map(|file| {
                let path = String::from_utf8(file.path).expect("ASCII");
                file.lines.into_iter().map(move |line| (path.clone(), line.number, line.is_match, line.text))
            });
            let expected = records.into_iter().map(|(name, number, is_match, text)| (format!("./{name}"), number, is_match, text));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read(output in prop::collection::vec(prop::sample::select(b"./a\0\n:-19\xff".to_vec()), 0..80), cut in 1_usize..9) {
            for place in [MatchPlace::Column, MatchPlace::Unknown] {
                let mut reader = MatchReader::new(b"./".to_vec(), 3, place.clone());
                for chunk in output.chunks(cut) {
                    reader.push(chunk);
                }
                let found = reader.finish();
                prop_assert!(found.files.iter().all(|file| file.path.starts_with(b"./")));
                prop_assert_eq!(found, read(&output, 3, place));
            }
        }
    }
}
