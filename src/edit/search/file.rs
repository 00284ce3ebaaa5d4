//! Searches the bytes of a file, for hosts without a program that does.

use std::collections::VecDeque;

use super::{matches::MatchReader, pattern::Pattern};
use crate::edit::lines;

/// Number of bytes of a line that are searched.
const MAX_LINE: usize = 256 * 1024;

/// Search in one file, fed with its bytes in order. Each found line goes to a [`MatchReader`], in
/// the form in which `rg --column` prints it.
#[derive(Debug)]
pub struct FileSearch<'a> {
    name: &'a [u8],
    pattern: &'a Pattern,
    /// Number of lines around a match.
    context: usize,
    /// Bytes of the line that is not complete yet.
    held: Vec<u8>,
    number: u64,
    /// Lines before this one that were not passed on.
    before: VecDeque<Vec<u8>>,
    /// Number of lines that follow the latest match and are still wanted.
    wanted_after: usize,
    /// Number of the line that was passed on last; 0 if there was none.
    latest: u64,
}

impl<'a> FileSearch<'a> {
    /// Begins the search in a file.
    #[must_use]
    pub fn new(name: &'a [u8], pattern: &'a Pattern, context: usize) -> Self {
        Self {
            name,
            pattern,
            context,
            held: Vec::new(),
            number: 0,
            before: VecDeque::new(),
            wanted_after: 0,
            latest: 0,
        }
    }

    /// Reads the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8], matches: &mut MatchReader) {
        for part in lines::lines(bytes) {
            let room = MAX_LINE.saturating_sub(self.held.len());
            self.held
                .extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                self.end_line(matches);
            }
        }
    }

    /// Ends the file. A last line without a line end counts.
    pub fn finish(mut self, matches: &mut MatchReader) {
        if !self.held.is_empty() {
            self.end_line(matches);
        }
    }

    fn end_line(&mut self, matches: &mut MatchReader) {
        self.number += 1;
        let held = std::mem::take(&mut self.held);
        let line = lines::text(&held);

        if let Some(column) = self.pattern.find(line) {
            let first = self.number - self.before.len() as u64;
            if self.context > 0 && self.latest > 0 && first > self.latest + 1 {
                matches.push(b"--\n");
            }
            for (number, line) in (first..).zip(std::mem::take(&mut self.before)) {
                self.pass_on(number, b"-", &line, matches);
            }
            let place = format!(":{}:", column + 1);
            self.pass_on(self.number, place.as_bytes(), line, matches);
            self.wanted_after = self.context;
        } else if self.wanted_after > 0 {
            self.wanted_after -= 1;
            self.pass_on(self.number, b"-", line, matches);
        } else if self.context > 0 {
            if self.before.len() == self.context {
                self.before.pop_front();
            }
            self.before.push_back(line.to_vec());
        }
    }

    fn pass_on(&mut self, number: u64, sign: &[u8], line: &[u8], matches: &mut MatchReader) {
        matches.push(self.name);
        matches.push(format!("\0{number}").as_bytes());
        matches.push(sign);
        matches.push(line);
        matches.push(b"\n");
        self.latest = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::search::matches::MatchPlace;

    fn found(file: &[u8], context: usize, size: usize) -> String {
        let pattern = Pattern::parse("x.y", false).unwrap();
        let mut matches = MatchReader::new(b"./".to_vec(), 9, MatchPlace::Column);
        let mut search = FileSearch::new(b"./a", &pattern, context);
        for chunk in file.chunks(size) {
            search.push(chunk, &mut matches);
        }
        search.finish(&mut matches);
        matches.finish().text()
    }

    #[test]
    fn lines_are_found_however_the_file_is_cut() {
        for size in [1, 3, 100] {
            for (content, context, text) in [
                (&b"a\nx-y\r\nb\n\nc\nxxy"[..], 0, "./a:2: x-y\n./a:6: xxy\n"),
                (
                    b"a\nx-y\nb\n\nc\nxxy",
                    1,
                    "./a-1- a\n./a:2: x-y\n./a-3- b\n--\n./a-5- c\n./a:6: xxy\n",
                ),
                (b"xzy\nxzy\nb\n", 1, "./a:1: xzy\n./a:2: xzy\n./a-3- b\n"),
                (b"x\ny\n", 2, ""),
                (b"", 2, ""),
            ] {
                assert_eq!(found(content, context, size), text);
            }
        }
    }
}
