//! The chain: each line carries the digest of the line before.

use serde::Deserialize;
use serde_json::Error;
use sha2::{Digest as _, Sha256};

use super::record::{Event, Record};
use crate::foreign_text::json_for_a_terminal;

/// Digest in the first line of a log, in hexadecimal.
pub const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// SHA-256 of a line without its line feed, in hexadecimal.
#[must_use]
pub fn digest(line: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(line) {
        let _ = write!(hex, "{byte:02x}");
    }

    hex
}

/// End of a log: what the next line follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Number of the last whole line; 0 in an empty log.
    n: u64,
    /// Digest of the last whole line.
    digest: String,
    /// Digests of broken lines after it.
    torn: Vec<String>,
    /// True if the last broken line has no line feed.
    is_cut: bool,
}

/// What the next line takes from the last one.
#[derive(Deserialize)]
struct LastLine {
    n: u64,
}

impl Default for Tail {
    /// Returns the end of an empty log.
    fn default() -> Self {
        Self {
            n: 0,
            digest: NOTHING_BEFORE.to_owned(),
            torn: Vec::new(),
            is_cut: false,
        }
    }
}

impl Tail {
    /// Finds the end of a log in the last lines of a file. Returns `None` if none of them is whole.
    #[must_use]
    pub fn find(lines: &[u8]) -> Option<Self> {
        let mut tail = Self::default();
        let whole = lines.strip_suffix(b"\n").unwrap_or(lines);
        tail.is_cut = whole.len() == lines.len() && !lines.is_empty();

        // A crash in the middle of a write leaves a part of a line, which no record can be read
        // from.
        for line in whole.rsplit(|byte| *byte == b'\n') {
            let is_cut = tail.is_cut && tail.torn.is_empty();
            match serde_json::from_slice(line) {
                Ok(LastLine { n }) if !is_cut => {
                    tail.n = n;
                    tail.digest = digest(line);
                    tail.torn.reverse();
                    return Some(tail);
                }
                _ => tail.torn.push(digest(line)),
            }
        }

        None
    }

    /// Returns the tail for another file, which has only these broken lines so far.
    #[must_use]
    pub fn in_file(self, broken: &[u8]) -> Self {
        let lines = broken.strip_suffix(b"\n").unwrap_or(broken);
        let torn = lines.split(|byte| *byte == b'\n').map(digest);

        Self {
            torn: self
                .torn
                .into_iter()
                .chain(torn.filter(|_| !broken.is_empty()))
                .collect(),
            is_cut: !broken.is_empty() && !broken.ends_with(b"\n"),
            ..self
        }
    }

    /// Returns the line that records this event, and the tail after it. `time` is in UTC (RFC
    /// 3339), and `lost` the number of lines that could not be written before.
    ///
    /// # Errors
    /// The event cannot be written as JSON.
    pub fn append(&self, time: String, lost: u64, event: Event) -> Result<(String, Self), Error> {
        let record = Record {
            prev: self.digest.clone(),
            n: self.n + 1,
            time,
            lost,
            torn: self.torn.clone(),
            event,
        };

        // Commands come from others, and the file may be shown on a terminal as it is.
        let line = json_for_a_terminal(&serde_json::to_string(&record)?);
        let tail = Self {
            n: record.n,
            digest: digest(line.as_bytes()),
            torn: Vec::new(),
            is_cut: false,
        };

        let begin = if self.is_cut { "\n" } else { "" };

        Ok((format!("{begin}{line}\n"), tail))
    }

    /// Returns the number of the last whole line; 0 in an empty log.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Returns the digest of the last whole line, in hexadecimal: the head of the chain.
    #[must_use]
    pub fn head(&self) -> &str {
        &self.digest
    }
}
