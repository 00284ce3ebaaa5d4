//! Finds the place of a hunk in a file.

use super::{Hunk, HunkLine, HunkProblem, Leniency};
use crate::edit::nearest::nearest;

/// Number of lines that an error names.
const LINES_NAMED: usize = 20;

/// Place of a hunk in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the first line.
    pub(super) start: usize,
    /// Number of kept and removed lines.
    pub(super) length: usize,
    pub(super) leniency: Leniency,
}

/// Levels in the order in which they are tried.
const LEVELS: [Leniency; 4] = [
    Leniency::Exact,
    Leniency::LineEnds,
    Leniency::TrailingWhitespace,
    Leniency::Indentation,
];

impl Leniency {
    /// Returns the part of a line that is compared. The line may have its line end.
    fn compared(self, line: &[u8]) -> &[u8] {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match self {
            Self::Exact => text,
            Self::LineEnds => text.strip_suffix(b"\r").unwrap_or(text),
            Self::TrailingWhitespace => text.trim_ascii_end(),
            Self::Indentation => text.trim_ascii(),
        }
    }
}

impl Hunk {
    /// Returns the kept and removed lines.
    fn old_lines(&self) -> Vec<&[u8]> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                HunkLine::Keep(text) | HunkLine::Remove(text) => Some(text.as_slice()),
                HunkLine::Add(_) => None,
            })
            .collect()
    }

    /// Returns the place of the hunk among the lines of a file, at `from` or later.
    ///
    /// The strictest level on which the lines occur counts. If they occur several times, the header
    /// decides, but only where the lines are equal: then the first place after the header is meant.
    pub(super) fn find(&self, file: &[&[u8]], from: usize) -> Result<Place, HunkProblem> {
        let old = self.old_lines();
        let has_header = !self.headers.is_empty();
        if old.is_empty() {
            // As in apply_patch: lines without a place are added at the end.
            return if has_header {
                Err(HunkProblem::OnlyAdded)
            } else {
                Ok(Place {
                    start: file.len(),
                    length: 0,
                    leniency: Leniency::Exact,
                })
            };
        }

        let after_header = self.after_headers(file, from)?;
        let blank = old.iter().rev().take_while(|line| line.is_empty()).count();
        let trimmed = old.get(..old.len() - blank).unwrap_or_default();
        // A blank line before the next section may only separate the two.
        let ends_in_blank =
            matches!(self.lines.last(), Some(HunkLine::Keep(text)) if text.is_empty());
        let may_be_trimmed = ends_in_blank && !trimmed.is_empty();

        for lines in [Some(old.as_slice()), may_be_trimmed.then_some(trimmed)] {
            let Some(lines) = lines else { continue };
            for level in LEVELS {
                let places = self.places(file, lines, after_header, level);
                match places.as_slice() {
                    [] => {}
                    [start, ..]
                        if places.len() == 1 || (has_header && level <= Leniency::LineEnds) =>
                    {
                        return Ok(Place {
                            start: *start,
                            length: lines.len(),
                            leniency: level,
                        });
                    }
                    _ => return Err(several(&places)),
                }
            }
        }

        Err(self.not_found(file, &old, after_header))
    }

    /// Returns the index of the line after the last header.
    fn after_headers(&self, file: &[&[u8]], from: usize) -> Result<usize, HunkProblem> {
        let mut from = from;
        for header in &self.headers {
            let found = LEVELS.iter().find_map(|level| {
                let wanted = level.compared(header);
                let rest = file.iter().skip(from);
                let mut lines = rest.map(|line| level.compared(line));
                lines.position(|line| line == wanted)
            });
            match found {
                Some(at) => from += at + 1,
                None => return Err(HunkProblem::NoHeader(header.clone())),
            }
        }

        Ok(from)
    }

    /// Returns the first line of each place where the lines occur, at `from` or later.
    fn places(&self, file: &[&[u8]], lines: &[&[u8]], from: usize, level: Leniency) -> Vec<usize> {
        let last = file.len().checked_sub(lines.len());
        let from = if self.at_end {
            last.map_or(from, |last| last.max(from))
        } else {
            from
        };
        let rest = file.get(from..).unwrap_or_default();

        rest.windows(lines.len())
            .enumerate()
            .filter(|(_, window)| {
                let mut pairs = window.iter().zip(lines);
                pairs.all(|(a, b)| level.compared(a) == level.compared(b))
            })
            .map(|(at, _)| from + at)
            .collect()
    }

    /// Returns the reason for which the lines were not found after `from`.
    fn not_found(&self, file: &[&[u8]], old: &[&[u8]], from: usize) -> HunkProblem {
        let anywhere = Self {
            at_end: false,
            ..self.clone()
        };
        let places = anywhere.places(file, old, 0, Leniency::LineEnds);
        if places.iter().any(|at| *at >= from) {
            return HunkProblem::NotAtEnd;
        }

        if !places.is_empty() {
            return HunkProblem::OutOfOrder(numbers(&places));
        }

        let wanted: Vec<u8> = old
            .iter()
            .flat_map(|line| [line, &b"\n"[..]])
            .flatten()
            .copied()
            .collect();
        HunkProblem::NotFound(nearest(&file.concat(), &wanted).map(Box::new))
    }
}

fn several(places: &[usize]) -> HunkProblem {
    HunkProblem::FoundSeveralTimes {
        count: places.len(),
        lines: numbers(places),
    }
}

/// Returns line numbers from 1 for the first places.
fn numbers(places: &[usize]) -> Vec<usize> {
    places.iter().take(LINES_NAMED).map(|at| at + 1).collect()
}
