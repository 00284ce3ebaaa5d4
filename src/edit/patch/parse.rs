//! Parser of the patch format.

use super::{Hunk, HunkLine, Operation, PatchError, Section};
use crate::edit::lines;

const BEGIN: &[u8] = b"*** Begin Patch";
const END: &[u8] = b"*** End Patch";
const ADD_FILE: &[u8] = b"*** Add File:";
const DELETE_FILE: &[u8] = b"*** Delete File:";
const UPDATE_FILE: &[u8] = b"*** Update File:";
const MOVE_TO: &[u8] = b"*** Move to:";
const END_OF_FILE: &[u8] = b"*** End of File";

/// Parses a whole patch into its sections.
pub(super) fn sections(patch: &[u8]) -> Result<Vec<Section>, PatchError> {
    let mut lines = PatchLines::new(patch)?;
    let mut sections = Vec::new();

    while let Some(line) = lines.next_filled() {
        sections.push(section(line, &mut lines)?);
    }

    if sections.is_empty() {
        return Err(lines.error("the patch has no section such as *** Update File: PATH"));
    }

    Ok(sections)
}

/// Lines of a patch between its first and its last line.
struct PatchLines<'a> {
    lines: Vec<&'a [u8]>,
    next: usize,
    /// Number of lines before the first of `lines`.
    before: usize,
}

impl<'a> PatchLines<'a> {
    /// Checks the first and last line of the patch, and returns the lines in between.
    fn new(patch: &'a [u8]) -> Result<Self, PatchError> {
        let mut lines: Vec<&[u8]> = lines::lines(patch).collect();
        let has_crlf = lines
            .iter()
            .find(|line| !line.trim_ascii().is_empty())
            .is_some_and(|line| line.ends_with(b"\r\n"));
        for line in &mut lines {
            *line = line.strip_suffix(b"\n").unwrap_or(line);
            if has_crlf {
                *line = line.strip_suffix(b"\r").unwrap_or(line);
            }
        }

        let is_filled = |line: &&[u8]| !line.trim_ascii().is_empty();
        let first = lines.iter().position(is_filled).unwrap_or_default();
        let last = lines.iter().rposition(is_filled).unwrap_or_default();
        let is = |at: usize, marker: &[u8]| {
            lines
                .get(at)
                .is_some_and(|line| line.trim_ascii() == marker)
        };

        if !is(first, BEGIN) {
            return Err(syntax(first + 1, "the first line must be *** Begin Patch"));
        }

        if !is(last, END) {
            return Err(syntax(last + 1, "the last line must be *** End Patch"));
        }

        Ok(Self {
            lines: lines.get(first + 1..last).unwrap_or_default().to_vec(),
            next: 0,
            before: first + 1,
        })
    }

    fn peek(&self) -> Option<&'a [u8]> {
        self.lines.get(self.next).copied()
    }

    /// Returns the next line that is not blank, and goes on to the line after it.
    fn next_filled(&mut self) -> Option<&'a [u8]> {
        while let Some(line) = self.peek() {
            self.next += 1;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }

        None
    }

    /// Returns an error at the line that was returned last.
    fn error(&self, reason: &'static str) -> PatchError {
        syntax(self.before + self.next, reason)
    }
}

fn syntax(line: usize, reason: &'static str) -> PatchError {
    PatchError::Syntax { line, reason }
}

/// Parses the section whose header is `line`.
fn section(line: &[u8], lines: &mut PatchLines<'_>) -> Result<Section, PatchError> {
    let header = line.trim_ascii();
    let path = |marker| header.strip_prefix(marker);

    let (named, operation) = if let Some(named) = path(ADD_FILE) {
        let named = checked_path(named, lines)?;
        (named, Operation::Add(added_lines(lines)))
    } else if let Some(named) = path(DELETE_FILE) {
        (checked_path(named, lines)?, Operation::Delete)
    } else if let Some(named) = path(UPDATE_FILE) {
        let named = checked_path(named, lines)?;
        (named, update(lines)?)
    } else {
        return Err(lines.error(
            "expected *** Add File: PATH, *** Update File: PATH or *** Delete File: PATH; \
             a line of a file begins with a space, + or -",
        ));
    };

    Ok(Section {
        path: named,
        operation,
    })
}

/// Returns the path that a header names.
fn checked_path(named: &[u8], lines: &PatchLines<'_>) -> Result<Vec<u8>, PatchError> {
    let path = named.trim_ascii();
    if path.is_empty() {
        return Err(lines.error("the path is missing"));
    }

    if path.contains(&0) {
        return Err(lines.error("a path cannot hold a NUL byte"));
    }

    Ok(path.to_vec())
}

/// Returns the content of an added file, in which each line ends in LF.
fn added_lines(lines: &mut PatchLines<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(line) = lines.peek().and_then(|line| line.strip_prefix(b"+")) {
        content.extend_from_slice(line);
        content.push(b'\n');
        lines.next += 1;
    }

    content
}

/// Parses what follows the header of an update.
fn update(lines: &mut PatchLines<'_>) -> Result<Operation, PatchError> {
    let mut move_to = None;
    let target = lines.peek().map(<[u8]>::trim_ascii);
    if let Some(target) = target.and_then(|line| line.strip_prefix(MOVE_TO)) {
        lines.next += 1;
        move_to = Some(checked_path(target, lines)?);
    }

    let mut hunks = Vec::new();
    while let Some(hunk) = hunk(lines)? {
        hunks.push(hunk);
    }

    if hunks.is_empty() && move_to.is_none() {
        return Err(lines.error("the update has no hunk"));
    }

    Ok(Operation::Update { move_to, hunks })
}

/// Parses the next hunk, or returns `None` at the end of the section.
fn hunk(lines: &mut PatchLines<'_>) -> Result<Option<Hunk>, PatchError> {
    // Blank lines between hunks belong to none of them.
    while lines
        .peek()
        .is_some_and(|line| line.trim_ascii().is_empty() && !line.starts_with(b" "))
    {
        lines.next += 1;
    }

    let mut hunk = Hunk {
        line: lines.before + lines.next + 1,
        ..Hunk::default()
    };
    let begin = lines.next;
    while let Some(header) = lines.peek().and_then(|line| line.strip_prefix(b"@@")) {
        lines.next += 1;
        // The text after "@@ " is a line of the file, with its indentation.
        let header = header.strip_prefix(b" ").unwrap_or(header);
        if !header.trim_ascii().is_empty() {
            hunk.headers.push(header.to_vec());
        }
    }

    while let Some(line) = lines.peek() {
        let line = match line.split_first() {
            // Editors and agents strip the space of an empty line.
            None => HunkLine::Keep(Vec::new()),
            Some((b' ', text)) => HunkLine::Keep(text.to_vec()),
            Some((b'-', text)) => HunkLine::Remove(text.to_vec()),
            Some((b'+', text)) => HunkLine::Add(text.to_vec()),
            Some(_) if line.trim_ascii() == END_OF_FILE => {
                hunk.at_end = true;
                lines.next += 1;
                break;
            }
            Some(_) => break,
        };
        hunk.lines.push(line);
        lines.next += 1;
    }

    if !hunk.lines.is_empty() {
        return Ok(Some(hunk));
    }

    if lines.next > begin {
        return Err(lines.error("the hunk has no lines"));
    }

    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<Vec<Section>, PatchError> {
        sections(format!("*** Begin Patch\n{body}\n*** End Patch\n").as_bytes())
    }

    #[test]
    fn each_kind_of_section_is_read() {
        let body = "*** Add File: a b.txt\n+one\n+\n+ two\n\n*** Delete File: /etc/x\n\
                    *** Update File: y\n*** Move to: z\n@@ class A\n@@   def f():\n keep\n-out\n+in\n\n last\n*** End of File";
        let text = |text: &str| text.as_bytes().to_vec();
        let section = |path, operation| Section {
            path: text(path),
            operation,
        };
        assert_eq!(
            parsed(body),
            Ok(vec![
                section("a b.txt", Operation::Add(text("one\n\n two\n"))),
                section("/etc/x", Operation::Delete),
                section(
                    "y",
                    Operation::Update {
                        move_to: Some(text("z")),
                        hunks: vec![Hunk {
                            line: 10,
                            headers: vec![text("class A"), text("  def f():")],
                            lines: vec![
                                HunkLine::Keep(text("keep")),
                                HunkLine::Remove(text("out")),
                                HunkLine::Add(text("in")),
                                HunkLine::Keep(text("")),
                                HunkLine::Keep(text("last")),
                            ],
                            at_end: true,
                        }],
                    }
                ),
            ])
        );
    }

    #[test]
    fn padding_and_crlf_are_accepted() {
        let plain = parsed("*** Update File: a\n@@\n-x\n+y");
        for patch in [
            "\n  *** Begin Patch \n *** Update File: a \n@@\n-x\n+y\n  *** End Patch\n\n",
            "*** Begin Patch\r\n*** Update File: a\r\n@@\r\n-x\r\n+y\r\n*** End Patch\r\n",
        ] {
            let lines = |sections: Vec<Section>| match sections.into_iter().next() {
                Some(Section {
                    path,
                    operation: Operation::Update { hunks, .. },
                }) => (
                    path,
                    hunks.into_iter().map(|hunk| hunk.lines).collect::<Vec<_>>(),
                ),
                _ => panic!("an update"),
            };
            assert_eq!(
                sections(patch.as_bytes()).map(lines),
                plain.clone().map(lines),
                "{patch:?}"
            );
        }
    }

    #[test]
    fn a_line_of_a_file_is_never_a_marker() {
        let sections =
            parsed("*** Update File: a\n-*** Delete File: b\n+*** End Patch\n *** Add File: c");
        assert_eq!(sections.map(|sections| sections.len()), Ok(1));
    }

    #[test]
    fn the_line_of_a_mistake_is_named() {
        for (patch, line, beginning) in [
            ("", 1, "the first line must be"),
            ("*** Update File: a\n", 1, "the first line must be"),
            (
                "*** Begin Patch\n*** Add File: a\n+x\n",
                3,
                "the last line must be",
            ),
            (
                "*** Begin Patch\n*** End Patch\n",
                1,
                "the patch has no section",
            ),
            (
                "*** Begin Patch\n*** Rename File: a\n*** End Patch\n",
                2,
                "expected *** Add File",
            ),
            (
                "*** Begin Patch\n*** Add File: a\n+x\ny\n*** End Patch\n",
                4,
                "expected *** Add File",
            ),
            (
                "*** Begin Patch\n*** Add File:\n+x\n*** End Patch\n",
                2,
                "the path is missing",
            ),
            (
                "*** Begin Patch\n*** Add File: a\0b\n+x\n*** End Patch\n",
                2,
                "a path cannot hold",
            ),
            (
                "*** Begin Patch\n*** Update File: a\n*** End Patch\n",
                2,
                "the update has no hunk",
            ),
            (
                "*** Begin Patch\n*** Update File: a\n@@ x\n*** End Patch\n",
                3,
                "the hunk has no lines",
            ),
            (
                "*** Begin Patch\n*** Update File: a\n@@\n-x\ny\n*** End Patch\n",
                5,
                "expected *** Add File",
            ),
        ] {
            match sections(patch.as_bytes()) {
                Err(PatchError::Syntax {
                    line: found,
                    reason,
                }) => {
                    assert!(
                        found == line && reason.starts_with(beginning),
                        "{patch:?}: {found} {reason}"
                    );
                }
                other => panic!("{patch:?}: {other:?}"),
            }
        }
    }
}
