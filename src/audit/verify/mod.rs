//! Whether a log is as it was written.
//!
//! The digests form a chain from the last line back to the first. So any line that was changed,
//! removed, added or moved is found, unless everything after it was written anew. The end of the
//! chain is what no file can vouch for: only a head that was kept elsewhere shows that lines are
//! missing after the last one, or that the log was written anew.

use std::{collections::HashMap, fmt};

use serde::Deserialize;

use super::chain::{NOTHING_BEFORE, digest};

/// What a check of a log has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Number of lines in all files.
    pub lines: usize,
    /// Digest of the last whole line, in hexadecimal; `None` if there is none.
    pub head: Option<String>,
    /// Signs that somebody changed the log, in the order of its lines.
    pub problems: Vec<Finding>,
    /// What looks like a crash and not like a change, in the order of the lines.
    pub notes: Vec<Finding>,
    /// Number of lines after the line of the wanted head; `None` without one, or if it is not there.
    pub after_wanted: Option<usize>,
}

/// Something about one line. The `Display` form names file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the file.
    pub file: String,
    /// Number of the line in the file, from 1; 0 for the log as a whole.
    pub line: usize,
    /// What is the matter with it.
    pub what: What,
}

/// What is the matter with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is not what it was when the line after it was written.
    Changed,
    /// These entries are missing before it.
    Missing {
        /// Number of the first of them.
        first: u64,
        /// Number of the last of them.
        last: u64,
    },
    /// It belongs before the line that it follows.
    Moved,
    /// It does not belong to the chain.
    Added,
    /// It broke off, and the log went on after it.
    Torn,
    /// No line has the wanted head.
    NoHead,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;

        match what {
            What::NoHead => f.write_str(
                "no line has that head: lines at the end were removed, or the log was written anew",
            ),
            What::Changed => write!(f, "{file} line {line} was changed"),
            What::Missing { first, last } if first == last => {
                write!(f, "{file} line {line}: entry {first} is missing before it")
            }
            What::Missing { first, last } => {
                write!(
                    f,
                    "{file} line {line}: entries {first} to {last} are missing before it"
                )
            }
            What::Moved => write!(f, "{file} line {line} was moved: it belongs further up"),
            What::Added => write!(f, "{file} line {line} was added or moved there"),
            What::Torn => write!(f, "{file} line {line} broke off, as in a crash"),
        }
    }
}

/// Lines of a log, entered file by file, the oldest first.
#[derive(Debug, Default)]
pub struct Verifier {
    files: Vec<String>,
    lines: Vec<Line>,
}

/// What counts of a line.
#[derive(Debug)]
struct Line {
    /// Index of the file.
    file: usize,
    /// Number in the file, from 1.
    number: usize,
    digest: String,
    /// `None` if the line is not a record.
    link: Option<Link>,
    /// True if a line feed ends it.
    is_whole: bool,
    place: Place,
}

/// Place of a line, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Unknown,
    /// In the chain.
    Chain,
    /// Left by a crash, as a later line says.
    Torn,
}

/// Part of a record that makes the chain.
#[derive(Debug, Clone, Deserialize)]
struct Link {
    prev: String,
    n: u64,
    #[serde(default)]
    torn: Vec<String>,
}

/// Step back in the chain: the line, and what it says of the line before.
struct Step {
    at: usize,
    n: u64,
    /// Digest of the line before; `None` if the line cannot be read.
    prev: Option<String>,
}

impl Verifier {
    /// Enters the lines of the next file.
    pub fn add(&mut self, name: &str, text: &[u8]) {
        let file = self.files.len();
        self.files.push(name.to_owned());

        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let whole = line.strip_suffix(b"\n");
            let content = whole.unwrap_or(line);

            self.lines.push(Line {
                file,
                number: index + 1,
                digest: digest(content),
                link: whole.and_then(|line| serde_json::from_slice(line).ok()),
                is_whole: whole.is_some(),
                place: Place::Unknown,
            });
        }
    }

    /// Checks the chain. With `wanted`, a line must have this digest (hexadecimal).
    #[must_use]
    pub fn finish(mut self, wanted: Option<&str>) -> Verdict {
        self.mark_torn();

        let last = self
            .lines
            .iter()
            .rposition(|line| line.link.is_some() && line.place == Place::Unknown);
        let mut found = match last {
            Some(last) => self.walk(last),
            None => Vec::new(),
        };

        found.extend(self.outside(last));
        found.sort_by_key(|(at, _)| *at);

        let (notes, mut problems): (Vec<_>, Vec<_>) = found
            .into_iter()
            .filter_map(|(at, what)| self.finding(at, what))
            .partition(|finding| finding.what == What::Torn);

        let after_wanted = wanted.and_then(|wanted| self.after(wanted));
        if wanted.is_some() && after_wanted.is_none() {
            problems.push(Finding {
                file: String::new(),
                line: 0,
                what: What::NoHead,
            });
        }

        Verdict {
            lines: self.lines.len(),
            head: last.and_then(|last| Some(self.lines.get(last)?.digest.clone())),
            problems,
            notes,
            after_wanted,
        }
    }

    /// Marks the broken lines which the line after them names.
    fn mark_torn(&mut self) {
        for at in 0..self.lines.len() {
            let line = self.lines.get(at);
            let torn = line.and_then(|line| Some(line.link.as_ref()?.torn.clone()));
            let torn = torn.unwrap_or_default();

            let before = at.saturating_sub(torn.len())..at;
            for line in self.lines.get_mut(before).into_iter().flatten() {
                if torn.contains(&line.digest) {
                    line.place = Place::Torn;
                }
            }
        }
    }

    /// Follows the chain back from the line `last`, and returns what is wrong with it.
    fn walk(&mut self, last: usize) -> Vec<(usize, What)> {
        let mut by_digest: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, line) in self.lines.iter().enumerate() {
            by_digest.entry(line.digest.clone()).or_default().push(at);
        }

        let mut found = Vec::new();
        let mut step = self.step(last, 1);

        while step.n > 1 {
            let linked = step.prev.as_ref().and_then(|prev| by_digest.get(prev));
            let linked = linked.and_then(|places| self.nearest(places, step.at));

            if let Some(at) = linked {
                if at > step.at {
                    found.push((at, What::Moved));
                }
                step = self.step(at, step.n - 1);
                continue;
            }

            match self.without_link(&step, &mut found) {
                Some((at, n)) => step = self.step(at, n),
                None => return found,
            }
        }

        if step.prev.is_some_and(|prev| prev != NOTHING_BEFORE) {
            found.push((step.at, What::Changed));
        }

        found
    }

    /// Looks for the line before `step` by its place, because no line has the right digest. Returns
    /// the line with its number, and enters what is wrong. The chain ends if there is no such line.
    fn without_link(&self, step: &Step, found: &mut Vec<(usize, What)>) -> Option<(usize, u64)> {
        let may_precede = |line: &Line| {
            let n = line.link.as_ref().map(|link| link.n);
            line.place == Place::Unknown && n.is_none_or(|n| n < step.n)
        };
        let before = self.lines.get(..step.at).unwrap_or_default();

        let Some(at) = before.iter().rposition(may_precede) else {
            let (first, last) = (1, step.n - 1);
            found.push((step.at, What::Missing { first, last }));
            return None;
        };

        let n = before.get(at).and_then(|line| Some(line.link.as_ref()?.n));
        let n = n.unwrap_or(step.n - 1);

        if n < step.n - 1 {
            let (first, last) = (n + 1, step.n - 1);
            found.push((step.at, What::Missing { first, last }));
        } else if step.prev.is_some() {
            // A line that cannot be read says nothing about the one before.
            found.push((at, What::Changed));
        }

        Some((at, n))
    }

    /// Enters a line into the chain. `n` is its number, unless the line itself has one.
    fn step(&mut self, at: usize, n: u64) -> Step {
        let link = self.lines.get_mut(at).and_then(|line| {
            line.place = Place::Chain;
            line.link.as_ref()
        });

        Step {
            at,
            n: link.map_or(n, |link| link.n),
            prev: link.map(|link| link.prev.clone()),
        }
    }

    /// Returns the nearest of these lines that has no place yet, preferably before the line `at`.
    fn nearest(&self, places: &[usize], at: usize) -> Option<usize> {
        let is_free = |place: &&usize| {
            let line = self.lines.get(**place);
            line.is_some_and(|line| line.place == Place::Unknown)
        };

        let before = places
            .iter()
            .rev()
            .find(|place| **place < at && is_free(place));
        before.or_else(|| places.iter().find(is_free)).copied()
    }

    /// Returns what is to be said of the lines outside the chain. `last` is the last line of the
    /// chain.
    fn outside(&self, last: Option<usize>) -> Vec<(usize, What)> {
        let lines = self.lines.iter().enumerate();
        let outside = lines.filter(|(_, line)| line.place != Place::Chain);

        outside
            .map(|(at, line)| {
                let is_at_the_end = last.is_none_or(|last| at > last);
                let what = match line.place {
                    Place::Torn => What::Torn,
                    // Nothing has been written after it yet.
                    _ if is_at_the_end && !line.is_whole => What::Torn,
                    _ if line.link.is_none() => What::Changed,
                    _ => What::Added,
                };
                (at, what)
            })
            .collect()
    }

    /// Returns the number of lines after the one with this digest; `None` if there is none.
    fn after(&self, wanted: &str) -> Option<usize> {
        let wanted = wanted.trim();
        let at = self.lines.iter().position(|line| {
            line.place == Place::Chain && line.digest.eq_ignore_ascii_case(wanted)
        })?;

        Some(self.lines.len() - at - 1)
    }

    fn finding(&self, at: usize, what: What) -> Option<Finding> {
        let line = self.lines.get(at)?;

        Some(Finding {
            file: self.files.get(line.file)?.clone(),
            line: line.number,
            what,
        })
    }
}

#[cfg(test)]
mod tests;
