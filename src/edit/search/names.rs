//! Names that a program of the host prints, read as the newest ones.

use std::{cmp::Reverse, collections::BTreeSet};

use super::glob::Glob;
use crate::edit::display::{escaped, grouped};

/// Number of bytes of a name, or of the times in a batch, at most.
const MAX_FIELD: usize = 1024 * 1024;
/// Number of names in a batch at most.
const MAX_BATCH: usize = 200_000;

/// Reader of batches of names, fed with bytes on arrival.
///
/// A batch is the times of its files in lines, and NUL; then each name and NUL; then NUL. The result
/// does not depend on how the output is cut. Memory use is bounded by the limit.
#[derive(Debug)]
pub struct NameReader {
    root: Vec<u8>,
    glob: Option<Glob>,
    limit: usize,
    /// Bytes of the field that is not complete yet.
    held: Vec<u8>,
    /// Times of the batch; `None` before them.
    times: Option<Vec<Option<i64>>>,
    batch: Vec<Vec<u8>>,
    newest: BTreeSet<(Option<i64>, Reverse<Vec<u8>>)>,
    total: u64,
}

/// Names that a search has found, made by [`NameReader::finish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundNames {
    /// Names, newest first, up to the limit.
    pub names: Vec<Vec<u8>>,
    /// Number of all names.
    pub total: u64,
    /// False if the host does not tell the times of files.
    pub has_times: bool,
}

impl NameReader {
    /// Creates a reader that keeps at most `limit` names. Names that do not begin with `root` are
    /// ignored. The rest of each has to match the glob.
    #[must_use]
    pub fn new(root: Vec<u8>, glob: Option<Glob>, limit: usize) -> Self {
        Self {
            root,
            glob,
            limit,
            held: Vec::new(),
            times: None,
            batch: Vec::new(),
            newest: BTreeSet::new(),
            total: 0,
        }
    }

    /// Returns the number of names so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == 0) {
            let room = MAX_FIELD.saturating_sub(self.held.len());
            self.held
                .extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\0") {
                let mut field = std::mem::take(&mut self.held);
                if field.ends_with(b"\0") {
                    field.pop();
                }
                self.end_field(field);
            }
        }
    }

    /// Adds a name with the time of the last modification.
    pub fn add(&mut self, name: Vec<u8>, modified: Option<i64>) {
        let Some(path) = name.strip_prefix(self.root.as_slice()) else {
            return;
        };
        // A name that is the root itself was named by the caller.
        if !path.is_empty() && self.glob.as_ref().is_some_and(|glob| !glob.matches(path)) {
            return;
        }

        self.total += 1;
        self.newest.insert((modified, Reverse(name)));
        if self.newest.len() > self.limit {
            self.newest.pop_first();
        }
    }

    /// Ends the reading. What is not complete does not count, but the names of a batch do.
    #[must_use]
    pub fn finish(mut self) -> FoundNames {
        self.end_batch();
        FoundNames {
            has_times: self.newest.iter().any(|(time, _)| time.is_some()),
            names: self
                .newest
                .into_iter()
                .rev()
                .map(|(_, name)| name.0)
                .collect(),
            total: self.total,
        }
    }

    fn end_field(&mut self, field: Vec<u8>) {
        if self.times.is_none() {
            let times = String::from_utf8_lossy(&field);
            self.times = Some(times.lines().map(|time| time.parse().ok()).collect());
        } else if field.is_empty() {
            self.end_batch();
        } else if self.batch.len() < MAX_BATCH {
            self.batch.push(field);
        }
    }

    fn end_batch(&mut self) {
        let names = std::mem::take(&mut self.batch);
        let mut times = self.times.take().unwrap_or_default();
        // A file that has gone since has no time, so the times belong to nobody knows whom.
        if times.len() != names.len() {
            times = vec![None; names.len()];
        }
        for (name, time) in names.into_iter().zip(times) {
            self.add(name, time);
        }
    }
}

impl FoundNames {
    /// Returns the names, one a line.
    #[must_use]
    pub fn text(&self) -> String {
        let names = self.names.iter().map(|name| escaped(name) + "\n");
        names.collect()
    }

    /// Describes the number of names, as in `100 of 2,314 files`.
    #[must_use]
    pub fn summary(&self) -> String {
        let shown = self.names.len() as u64;
        match (shown, self.total) {
            (_, 0) => "no files".to_owned(),
            (_, 1) => "1 file".to_owned(),
            (shown, total) if shown == total => format!("{} files", grouped(total)),
            (shown, total) => format!("newest {} of {} files", grouped(shown), grouped(total)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(output: &[u8], limit: usize, size: usize) -> (Vec<String>, u64, bool) {
        let glob = Glob::parse("*.x").unwrap();
        let mut reader = NameReader::new(b"./".to_vec(), Some(glob), limit);
        for chunk in output.chunks(size.max(1)) {
            reader.push(chunk);
        }
        let found = reader.finish();
        let names = found
            .names
            .iter()
            .map(|name| name.escape_ascii().to_string());
        (names.collect(), found.total, found.has_times)
    }

    #[test]
    fn the_newest_names_are_kept() {
        let output =
            b"3\n9\n5\n\0./old.x\0./new\n.x\0./b/mid.x\0\x007\n\0./late.x\0\x001\n2\n\0./\xff.x\0\0";
        let (names, total, has_times) = read(output, 3, 4);
        assert_eq!(names, ["./new\\n.x", "./late.x", "./b/mid.x"]);
        assert_eq!((total, has_times), (5, true));

        // Other names, what is cut off, and files without times.
        assert_eq!(
            read(b"\0/etc/a.x\0./a.y\0./b.x\0./a.x\0./cut", 9, 3),
            (vec!["./a.x".to_owned(), "./b.x".to_owned()], 2, false)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(output in prop::collection::vec(prop::sample::select(b"./ax\0\n19\xff".to_vec()), 0..80), size in 1_usize..9) {
            prop_assert_eq!(read(&output, 3, size), read(&output, 3, output.len()));
        }
    }
}
