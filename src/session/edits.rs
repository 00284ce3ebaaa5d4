//! The last edits of remote files, for the status page.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use crate::{foreign_text::ForeignText, lock::lock, ssh::transfer::Diff};

/// Number of edits that are kept.
const MAX_EDITS: usize = 20;
/// Length limit of a path, in bytes.
const MAX_PATH_BYTES: usize = 1_000;
/// Length limit of a diff, in bytes. Most diffs of 60 lines are far shorter.
const MAX_DIFF_BYTES: usize = 20_000;

/// The last edits in this process, at most 20 and at most half a megabyte.
#[derive(Debug, Default)]
pub struct Edits(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// Number of edits so far.
    count: u64,
    /// The last edits, the oldest first.
    last: VecDeque<Arc<EditEntry>>,
}

/// Edit of one file, as it was written.
#[derive(Debug)]
pub struct EditEntry {
    /// Number of the edit in this process, from 1.
    pub number: u64,
    /// Time at which the edit was recorded.
    pub at: SystemTime,
    /// Name of the session.
    pub session: String,
    /// Path on the remote machine.
    pub path: ForeignText,
    /// Unified diff without file names, cut if it is long.
    pub diff: ForeignText,
    /// Number of added lines.
    pub added: usize,
    /// Number of removed lines.
    pub removed: usize,
}

impl Edits {
    /// Records an edit after the file was written. The oldest edit makes room.
    pub fn record(&self, session: &str, path: &[u8], diff: &Diff) {
        let mut recorded = lock(&self.0);
        recorded.count += 1;
        if recorded.last.len() == MAX_EDITS {
            recorded.last.pop_front();
        }

        let edit = EditEntry {
            number: recorded.count,
            at: SystemTime::now(),
            session: session.to_owned(),
            path: ForeignText::from(path).cut(MAX_PATH_BYTES),
            diff: ForeignText::from(&diff.text).cut(MAX_DIFF_BYTES),
            added: diff.added,
            removed: diff.removed,
        };
        recorded.last.push_back(Arc::new(edit));
    }

    /// Returns the last edits, the oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<EditEntry>> {
        lock(&self.0).last.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_edits_are_kept_and_long_ones_are_cut() {
        let edits = Edits::default();
        let long = "é".repeat(30_000);
        for number in 0..=MAX_EDITS {
            let diff = Diff {
                text: long.clone(),
                added: number,
                removed: 2,
            };
            edits.record("box", long.as_bytes(), &diff);
        }

        let kept = edits.list();
        let numbers: Vec<u64> = kept.iter().map(|edit| edit.number).collect();
        assert_eq!(numbers, (2..=21).collect::<Vec<u64>>());

        let last = &kept[19];
        assert_eq!((last.added, last.removed), (20, 2));
        assert!(last.path.raw().len() < 1_010 && last.path.raw().ends_with("é…"));
        assert!(last.diff.raw().len() < 20_010 && last.diff.raw().ends_with("é…"));
    }
}
