//! Output of a `grep` that writes no NUL after names, as blocks of one file each.

use super::matches::MatchReader;

/// Number of bytes of a name at most.
const MAX_NAME: usize = 16 * 1024;
/// Line between two groups of lines, which belongs to no file.
const SEPARATOR: &[u8] = b"--\n";

/// Reader of blocks, fed with bytes on arrival: NUL, the name and NUL, then lines without names. Each
/// line goes to a [`MatchReader`] with the name.
#[derive(Debug, Default)]
pub struct BlockReader {
    name: Vec<u8>,
    is_in_name: bool,
    /// Beginning of a line, until it cannot be a separator any more.
    start: Vec<u8>,
    is_in_line: bool,
}

impl BlockReader {
    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8], matches: &mut MatchReader) {
        for part in bytes.split_inclusive(|byte| matches!(byte, 0 | b'\n')) {
            let (text, is_end) = match part.split_last() {
                Some((0, text)) => (text, true),
                _ => (part, false),
            };

            if self.is_in_name {
                let room = MAX_NAME.saturating_sub(self.name.len());
                self.name
                    .extend_from_slice(text.get(..room).unwrap_or(text));
                self.is_in_name = !is_end;
                continue;
            }

            self.pass_on(text, matches);
            if is_end {
                self.name.clear();
                self.start.clear();
                self.is_in_name = true;
                self.is_in_line = false;
            }
        }
    }

    /// Passes on a part of a line, at the beginning of a line after the name.
    fn pass_on(&mut self, text: &[u8], matches: &mut MatchReader) {
        if self.is_in_line {
            matches.push(text);
            self.is_in_line = !text.ends_with(b"\n");
            return;
        }

        self.start.extend_from_slice(text);
        if self.start.len() < SEPARATOR.len() && !self.start.ends_with(b"\n") {
            return;
        }

        let start = std::mem::take(&mut self.start);
        if start != SEPARATOR && !self.name.is_empty() {
            matches.push(&self.name);
            matches.push(b"\0");
        }
        matches.push(&start);
        self.is_in_line = !start.ends_with(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edit::search::matches::{MatchPlace, Matches};

    fn read(output: &[u8], size: usize) -> Matches {
        let mut matches = MatchReader::new(b"./".to_vec(), 9, MatchPlace::Unknown);
        let mut blocks = BlockReader::default();
        for chunk in output.chunks(size.max(1)) {
            blocks.push(chunk, &mut matches);
        }
        matches.finish()
    }

    #[test]
    fn each_line_belongs_to_the_block_of_its_file() {
        let output =
            b"\0./a\x001:x\n2-y\n\0./b\n:2\x007:./a\n--\n9:z\n\0\0Binary file ./c matches\n\0./d\x001:cut";
        for size in [1, 7, 100] {
            let found = read(output, size);
            assert_eq!(
                found.text(),
                "./a:1: x\n./a-2- y\n./b\\n:2:7: ./a\n./b\\n:2:9: z\n"
            );
            assert_eq!(found.ignored, 1);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(output in prop::collection::vec(prop::sample::select(b"./a\0\n:-19\xff".to_vec()), 0..80)) {
            let found = read(&output, 1);
            prop_assert!(found.files.iter().all(|file| file.path.starts_with(b"./")));
        }
    }
}
