//! Unified diff of a file before and after an edit, for a reader.

use std::{fmt::Write as _, ops::Range, time::Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};

use super::{
    display::cut_around,
    lines::{count_line_ends, line_end, lines, text},
};

/// Number of unchanged lines around a change.
const CONTEXT: usize = 2;
/// Number of lines shown at most.
const MAX_LINES: usize = 60;
/// Number of bytes of a line shown at most.
const MAX_LINE: usize = 300;
/// Number of lines of both sides above which the changed part is one replaced block.
const MAX_COMPARED: usize = 200_000;

/// Diff of two contents, made by [`unified`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// At most 60 lines of a unified diff without file names, each with LF. Empty if the contents
    /// are equal. Foreign text is escaped, and a last line tells how many more lines there are.
    pub text: String,
    /// Number of added lines.
    pub added: usize,
    /// Number of removed lines.
    pub removed: usize,
}

/// Returns the unified diff with two lines of context.
///
/// A CR before a line end is shown as `\r`, unless all lines of both contents end in CRLF. Work is
/// bounded: after `deadline`, and in parts of more than 200,000 lines, what is not compared yet
/// counts as replaced as a whole.
#[must_use]
pub fn unified(old: &[u8], new: &[u8], deadline: Option<Instant>) -> Diff {
    if old == new {
        return Diff::default();
    }

    let (start, old_end, new_end) = changed_part(old, new);
    let old_lines: Vec<&[u8]> = lines(old.get(start..old_end).unwrap_or_default()).collect();
    let new_lines: Vec<&[u8]> = lines(new.get(start..new_end).unwrap_or_default()).collect();

    let ops = if old_lines.len() + new_lines.len() > MAX_COMPARED {
        replaced_block(&old_lines, &new_lines)
    } else {
        capture_diff_slices_deadline(Algorithm::Myers, &old_lines, &new_lines, deadline)
    };

    let is_crlf = |lines: &[&[u8]]| {
        lines
            .iter()
            .all(|line| !line.ends_with(b"\n") || line.ends_with(b"\r\n"))
    };
    let mut writer = Writer {
        old: &old_lines,
        new: &new_lines,
        first_line: 1 + count_line_ends(old.get(..start).unwrap_or_default()),
        hides_cr: is_crlf(&old_lines) && is_crlf(&new_lines),
        diff: Diff::default(),
        lines: 0,
    };
    for group in group_diff_ops(ops, CONTEXT) {
        writer.group(&group);
    }

    writer.finish()
}

/// Returns where the changed part begins and ends in each content, with context around it.
///
/// Most edits change little of a file, so only this part is split into lines.
fn changed_part(old: &[u8], new: &[u8]) -> (usize, usize, usize) {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let mut start = line_start(old, same);
    for _ in 0..CONTEXT {
        start = line_start(old, start.saturating_sub(1));
    }

    let shorter = old.len().min(new.len());
    let tail = old.iter().rev().zip(new.iter().rev());
    let mut tail = tail
        .take(shorter - same)
        .take_while(|(a, b)| a == b)
        .count();
    // The part ends with a whole line in both, and with the lines of context after it.
    for _ in 0..=CONTEXT {
        let rest = old.get(old.len() - tail..).unwrap_or_default();
        tail = memchr::memchr(b'\n', rest).map_or(0, |end| rest.len() - end - 1);
    }

    (start, old.len() - tail, new.len() - tail)
}

/// Returns the start of the line that covers a position.
fn line_start(bytes: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', bytes.get(..at).unwrap_or_default()).map_or(0, |end| end + 1)
}

/// Returns one replacement of all lines but the equal ones at both ends.
fn replaced_block(old: &[&[u8]], new: &[&[u8]]) -> Vec<DiffOp> {
    let first = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let shorter = old.len().min(new.len());
    let last = old.iter().rev().zip(new.iter().rev());
    let last = last
        .take(shorter - first)
        .take_while(|(a, b)| a == b)
        .count();
    let (old_len, new_len) = (old.len() - first - last, new.len() - first - last);

    vec![
        DiffOp::Equal {
            old_index: 0,
            new_index: 0,
            len: first,
        },
        DiffOp::Replace {
            old_index: first,
            old_len,
            new_index: first,
            new_len,
        },
        DiffOp::Equal {
            old_index: first + old_len,
            new_index: first + new_len,
            len: last,
        },
    ]
}

/// Writer of a diff, which counts all lines and shows the first of them.
struct Writer<'a> {
    old: &'a [&'a [u8]],
    new: &'a [&'a [u8]],
    /// Number of the first line of both parts, from 1.
    first_line: usize,
    hides_cr: bool,
    diff: Diff,
    /// Number of lines so far, those left out included.
    lines: usize,
}

impl Writer<'_> {
    /// Writes a hunk.
    fn group(&mut self, ops: &[DiffOp]) {
        let all = |range: fn(&DiffOp) -> Range<usize>| {
            let start = ops.first().map_or(0, |op| range(op).start);
            start..ops.last().map_or(start, |op| range(op).end)
        };
        let (old, new) = (
            self.range(all(DiffOp::old_range)),
            self.range(all(DiffOp::new_range)),
        );
        self.line(|| format!("@@ -{old} +{new} @@"));

        for op in ops {
            let (old, new) = (op.old_range(), op.new_range());
            if let DiffOp::Equal { .. } = op {
                self.lines_of(' ', self.old, old, None);
                continue;
            }

            // The lines of a replacement are compared in pairs, so that a cut shows the difference.
            self.diff.removed += old.len();
            self.diff.added += new.len();
            let old_pairs = self.new.get(new.clone()).unwrap_or_default();
            let new_pairs = self.old.get(old.clone()).unwrap_or_default();
            self.lines_of('-', self.old, old, Some(old_pairs));
            self.lines_of('+', self.new, new, Some(new_pairs));
        }
    }

    fn lines_of(
        &mut self,
        sign: char,
        side: &[&[u8]],
        range: Range<usize>,
        pairs: Option<&[&[u8]]>,
    ) {
        for (at, line) in side.get(range).unwrap_or_default().iter().enumerate() {
            let pair = pairs
                .and_then(|pairs| pairs.get(at))
                .copied()
                .unwrap_or_default();
            let hides_cr = self.hides_cr;
            self.line(|| {
                let same = line.iter().zip(pair).take_while(|(a, b)| a == b).count();
                let shown = if hides_cr {
                    text(line)
                } else {
                    line.strip_suffix(b"\n").unwrap_or(line)
                };
                format!("{sign}{}", cut_around(shown, same, MAX_LINE))
            });

            if line_end(line).is_empty() {
                self.line(|| "\\ No newline at end of file".to_owned());
            }
        }
    }

    /// Adds a line if there is room, and counts the line in any case.
    fn line(&mut self, line: impl FnOnce() -> String) {
        self.lines += 1;
        // The note on further lines takes the place of the last one.
        if self.lines <= MAX_LINES {
            self.diff.text.push_str(&line());
            self.diff.text.push('\n');
        }
    }

    /// Returns the numbers of lines as in the header of a hunk.
    fn range(&self, range: Range<usize>) -> String {
        let first = self.first_line + range.start;
        match range.len() {
            // As in diff: an empty range names the line before.
            0 => format!("{},0", first - 1),
            1 => first.to_string(),
            length => format!("{first},{length}"),
        }
    }

    fn finish(mut self) -> Diff {
        if self.lines > MAX_LINES {
            let kept = self.diff.text.lines().take(MAX_LINES - 1);
            let mut text: String = kept.flat_map(|line| [line, "\n"]).collect();
            let more = self.lines - (MAX_LINES - 1);
            let _ = writeln!(text, "… {more} more lines");
            self.diff.text = text;
        }

        self.diff
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn text_of(old: &str, new: &str) -> String {
        unified(old.as_bytes(), new.as_bytes(), None).text
    }

    #[test]
    fn a_change_is_shown_with_two_lines_around_it() {
        for (old, new, text) in [
            (
                "1\n2\n3\n4\n5\n6\n7\n",
                "1\n2\n3\nx\n5\n6\n7\n",
                "@@ -2,5 +2,5 @@\n 2\n 3\n-4\n+x\n 5\n 6\n",
            ),
            ("1\n2\n", "1\nx\n2\n", "@@ -1,2 +1,3 @@\n 1\n+x\n 2\n"),
            ("", "a\n", "@@ -0,0 +1 @@\n+a\n"),
            ("a\n", "", "@@ -1 +0,0 @@\n-a\n"),
            (
                "a\nb",
                "a\nc",
                "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n",
            ),
            (
                "a",
                "a\n",
                "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n",
            ),
            ("a\r\nb\r\n", "a\r\nc\r\n", "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"),
            (
                "a\r\nb\r\n",
                "a\r\nb\n",
                "@@ -1,2 +1,2 @@\n a\\r\n-b\\r\n+b\n",
            ),
            (
                "a\tb\n",
                "a\tc\u{1b}\n",
                "@@ -1 +1 @@\n-a\tb\n+a\tc\\u{1b}\n",
            ),
            ("x\nx\n", "x\nx\nx\n", "@@ -1,2 +1,3 @@\n x\n x\n+x\n"),
            ("same", "same", ""),
        ] {
            assert_eq!(text_of(old, new), text, "{old:?} {new:?}");
        }
    }

    #[test]
    fn far_changes_are_hunks_of_their_own() {
        let old: String = (1..=30).map(|n| n.to_string() + "\n").collect();
        let new = old.replace("5\n6\n", "5\nsix\n").replace("29\n", "");
        let diff = unified(old.as_bytes(), new.as_bytes(), None);
        assert_eq!(
            diff.text,
            "@@ -4,5 +4,5 @@\n 4\n 5\n-6\n+six\n 7\n 8\n@@ -27,4 +27,3 @@\n 27\n 28\n-29\n 30\n"
        );
        assert_eq!((diff.added, diff.removed), (1, 2));
    }

    #[test]
    fn long_diffs_and_lines_are_cut() {
        let new: String = (0..500).map(|n| n.to_string() + "\n").collect();
        let diff = unified(b"", new.as_bytes(), None);
        assert_eq!((diff.text.lines().count(), diff.added), (60, 500));
        assert!(
            diff.text
                .ends_with("\n57\n… 442 more lines\n".replace("57", "+57").as_str()),
            "{}",
            diff.text
        );

        let line = "ab".repeat(5_000);
        let text = text_of(&format!("{line}1{line}\n"), &format!("{line}2{line}\n"));
        assert!(
            text.len() < 700 && text.contains("b1a") && text.contains("b2a"),
            "{text}"
        );
    }

    #[test]
    fn a_huge_change_takes_bounded_time() {
        let numbers = |order: fn(u32) -> u32| -> String {
            (0..90_000).map(|n| order(n).to_string() + "\n").collect()
        };
        let (old, new) = (numbers(|n| n), numbers(|n| n.wrapping_mul(48_271) % 90_001));
        let begin = Instant::now();
        let diff = unified(
            old.as_bytes(),
            new.as_bytes(),
            Some(begin + Duration::from_millis(100)),
        );
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(diff.text.lines().count(), 60);

        let (old, new) = ("a\n".repeat(150_000), "b\n".repeat(150_000));
        let diff = unified(old.as_bytes(), new.as_bytes(), None);
        assert_eq!((diff.added, diff.removed), (150_000, 150_000));
    }

    proptest! {
        #[test]
        fn the_diff_turns_the_old_content_into_the_new(old in "[ab\n]{0,24}", new in "[ab\n]{0,24}") {
            let diff = unified(old.as_bytes(), new.as_bytes(), None);
            prop_assert_eq!(diff.text.is_empty(), old == new);

            let (mut result, mut next, mut last_sign) = (String::new(), 0, "");
            let old_lines: Vec<&str> = old.split_inclusive('\n').collect();
            for line in diff.text.lines() {
                let (sign, text) = line.split_at(1);
                match sign {
                    "@" => {
                        let numbers = text.split(['-', ' ', ',']).find(|part| part.parse::<usize>().is_ok());
                        let first: usize = numbers.expect("a number").parse().expect("a number");
                        let is_empty = text.contains(&format!("-{first},0 "));
                        let until = if is_empty { first } else { first - 1 };
                        result.push_str(&old_lines[next..until].concat());
                        next = until;
                    }
                    "\\" if last_sign == "-" => {}
                    "\\" => drop(result.pop()),
                    "-" => next += 1,
                    _ => {
                        next += usize::from(sign == " ");
                        result.push_str(text);
                        result.push('\n');
                    }
                }
                last_sign = sign;
            }
            result.push_str(&old_lines[next..].concat());
            prop_assert_eq!(result, new);
        }
    }
}
