//! What could not be searched.

use crate::{foreign_text::escape_line, framing::search::MARK};

/// Number of problems that are named.
const MAX_NAMED: usize = 3;
/// Number of bytes that are shown of a problem.
const MAX_BYTES: usize = 200;
/// End of the message by which `grep` reports a match in a binary file. It is harmless.
const BINARY: &[u8] = b": binary file matches";
/// Messages of `rg` that tell of no problem.
const REMARKS: [&[u8]; 2] = [b"No files were searched", b"Running with --debug"];

/// Files and directories that could not be searched.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    /// Number of them.
    pub count: u64,
    /// The first of them, with the reasons, each for one line.
    pub first: Vec<String>,
    /// Number of binary files that match.
    pub(super) binary_files: u64,
    /// Bytes of the line that is not complete yet.
    held: Vec<u8>,
    has_begun: bool,
}

impl Problems {
    /// Reads the stderr of a search.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| matches!(byte, 0 | b'\n')) {
            if !self.has_begun {
                self.held.extend_from_slice(part);
                let excess = self.held.len().saturating_sub(MARK.len());
                self.held.drain(..excess);
                self.has_begun = self.held == MARK;
                if self.has_begun {
                    self.held.clear();
                }
                continue;
            }

            let room = (MAX_BYTES + 50).saturating_sub(self.held.len());
            self.held
                .extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.held);
                self.add(line.trim_ascii());
            }
        }
    }

    /// Adds the message of a program, or of the server.
    pub(super) fn add(&mut self, message: &[u8]) {
        let message = [&b"rg: "[..], b"grep: ", b"find: ", b"sh: ", b"search: "]
            .iter()
            .find_map(|program| message.strip_prefix(*program))
            .unwrap_or(message);
        if message.ends_with(BINARY) {
            self.binary_files += 1;
            return;
        }
        if message.is_empty() || REMARKS.iter().any(|remark| message.starts_with(remark)) {
            return;
        }

        self.count += 1;
        if self.first.len() < MAX_NAMED {
            let message = message.strip_prefix(b"./").unwrap_or(message);
            let shown = message.get(..MAX_BYTES).unwrap_or(message);
            let mut shown = escape_line(shown);
            // The number tells nothing beyond the words.
            if let Some(words) = shown
                .rsplit_once(" (os error ")
                .map(|(words, _)| words.len())
            {
                shown.truncate(words);
            }
            self.first.push(shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_after_the_mark_are_counted_and_named() {
        let output = b"motd\nmcp-ssh-sessions:search:\0rg: ./x: Permission denied (os error 13)\n\
            No files were searched, which means\ngrep: a\x1b[2Jb: Is\nfind: './c': no\n\nd: more\n\
            grep: ./e: binary file matches\ncut";
        for size in [1, 5, 1_000] {
            let mut problems = Problems::default();
            output.chunks(size).for_each(|part| problems.push(part));
            assert_eq!((problems.count, problems.binary_files), (4, 1));
            assert_eq!(
                problems.first,
                ["x: Permission denied", "a\\u{1b}[2Jb: Is", "'./c': no"]
            );
        }

        let mut problems = Problems::default();
        problems.push(&b"x".repeat(10_000_000));
        assert!(problems.held.len() < 1_000);
    }
}
