//! Page of a file that is read from its end.

use super::{Encoding, Page, Pager, Step};
use crate::edit::encoding::Decoder;
use crate::edit::lines::{count_line_ends, lines};

/// Number of bytes at the end of a file that are read at most.
pub const MAX_TAIL_BYTES: usize = 8 * 1024 * 1024;

/// Reader of the last lines of a file, fed with its chunks from the last to the first.
///
/// A tail holds what was pushed, which is at most 8 MiB and one chunk.
#[derive(Debug)]
pub struct Tail {
    /// Number of the first line of the page, counted from the end.
    wanted: u64,
    limit: usize,
    encoding: Encoding,
    /// Size of the file in bytes.
    size: u64,
    /// Chunks from the last to the first.
    chunks: Vec<Vec<u8>>,
    held: usize,
    /// Number of line ends in the chunks. The last one ends the last line.
    line_ends: u64,
}

impl Tail {
    /// Creates a reader of at most `limit` lines, the first of which is `wanted` lines from the end.
    ///
    /// The encoding is that of the file's first bytes ([`Encoding::of`]), and `size` is the position
    /// at which the first pushed chunk ends.
    #[must_use]
    pub fn new(wanted: u64, limit: usize, encoding: Encoding, size: u64) -> Self {
        Self {
            wanted: wanted.max(1),
            limit,
            encoding,
            size,
            chunks: Vec::new(),
            held: 0,
            line_ends: 0,
        }
    }

    /// Returns the position in the file at which the next chunk has to end.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.size
            .saturating_sub(u64::try_from(self.held).unwrap_or(u64::MAX))
    }

    /// Reads the chunk before the chunks so far.
    pub fn push(&mut self, chunk: Vec<u8>) -> Step {
        self.held += chunk.len();
        let line_ends = if self.encoding.is_utf16() {
            // A line end that two chunks share is not counted, which only asks for one chunk more.
            let is_odd = self.position() % 2 == 1;
            let units = chunk
                .get(usize::from(is_odd)..)
                .unwrap_or_default()
                .chunks_exact(2);
            units
                .filter_map(|unit| unit.try_into().ok())
                .filter(|unit| self.encoding.unit(*unit) == u16::from(b'\n'))
                .count()
        } else {
            count_line_ends(&chunk)
        };
        self.line_ends += u64::try_from(line_ends).unwrap_or(u64::MAX);
        self.chunks.push(chunk);

        // One line end more is needed: that of the line before the page.
        if self.line_ends > self.wanted || self.held >= MAX_TAIL_BYTES || self.position() == 0 {
            Step::Enough
        } else {
            Step::More
        }
    }

    /// Ends the page.
    ///
    /// Lines have numbers from the beginning if the file was read up to there or `total` is its
    /// number of lines. Otherwise they have negative numbers from the end.
    #[must_use]
    pub fn finish(self, total: Option<u64>) -> Page {
        let reached_start = self.position() == 0;
        let text = self.text(reached_start);
        let ends_open = !text.is_empty() && !text.ends_with(b"\n");
        let available = count_line_ends(&text) + usize::from(ends_open);

        // The first held line may lack its beginning, and is shown only if there is no other.
        let is_cut = !reached_start && available > 0;
        let whole = if is_cut {
            (available - 1).max(1)
        } else {
            available
        };
        let begins_inside_line = is_cut && available == 1;
        let shown = usize::try_from(self.wanted)
            .unwrap_or(usize::MAX)
            .min(whole);
        let skipped: usize = lines(&text).take(available - shown).map(<[u8]>::len).sum();

        let total = if reached_start {
            u64::try_from(available).ok()
        } else {
            total
        };
        let from_end = i64::try_from(shown).unwrap_or(i64::MAX);
        let label = match total.and_then(|total| i64::try_from(total).ok()) {
            Some(total) => total.saturating_sub(from_end).saturating_add(1),
            None => -from_end,
        };

        let mut pager = Pager::labelled(1, label, self.limit, Some(self.encoding));
        pager.push(text.get(skipped..).unwrap_or_default());
        let mut page = pager.finish(true);
        page.total = total;
        page.begins_inside_line = begins_inside_line;

        page
    }

    /// Returns what was pushed as UTF-8, without a byte order mark.
    fn text(&self, reached_start: bool) -> Vec<u8> {
        let bytes: Vec<u8> = self.chunks.iter().rev().flatten().copied().collect();
        let skipped = if reached_start {
            self.encoding.mark_length()
        } else {
            usize::from(self.encoding.is_utf16() && self.position() % 2 == 1)
        };
        let bytes = bytes.get(skipped..).unwrap_or_default();
        if !self.encoding.is_utf16() {
            return bytes.to_vec();
        }

        let mut decoder = Decoder::new(self.encoding);
        let mut text = decoder.push(bytes);
        text.extend(decoder.finish());

        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a tail in chunks of a size.
    fn tail(content: &[u8], wanted: u64, limit: usize, size: usize) -> (Page, usize) {
        let length = u64::try_from(content.len()).unwrap();
        let mut tail = Tail::new(wanted, limit, Encoding::of(content), length);
        while tail.position() > 0 {
            let end = usize::try_from(tail.position()).unwrap();
            let step = tail.push(content[end.saturating_sub(size)..end].to_vec());
            if step == Step::Enough {
                break;
            }
        }
        let held = tail.held;

        (tail.finish(None), held)
    }

    #[test]
    fn lines_are_counted_from_the_end() {
        for (content, wanted, limit, size, text, range) in [
            ("a\nb\nc\n", 2, 9, 100, "2\tb\n3\tc\n", "lines 2–3 of 3"),
            ("a\nb\nc", 2, 9, 100, "2\tb\n3\tc\n", "lines 2–3 of 3"),
            ("a\nb\nc\n", 9, 9, 1, "1\ta\n2\tb\n3\tc\n", "lines 1–3 of 3"),
            (
                "aaa\nbbb\nccc\n",
                1,
                9,
                5,
                "-1\tccc\n",
                "line -1 from the end",
            ),
            (
                "aaa\nbbb\nccc\nddd\n",
                2,
                1,
                5,
                "-2\tccc\n",
                "line -2 from the end",
            ),
            (
                "aaa\nbbb\nccc\nddd\n",
                2,
                9,
                5,
                "-2\tccc\n-1\tddd\n",
                "lines -2 to -1 from the end",
            ),
            ("", 3, 9, 5, "", "empty"),
            ("\u{feff}a\n", 1, 9, 1, "1\ta\n", "line 1 of 1"),
        ] {
            let (page, _) = tail(content.as_bytes(), wanted, limit, size);
            assert_eq!(
                (page.text.as_str(), page.range().as_str()),
                (text, range),
                "{content:?}"
            );
        }
    }

    #[test]
    fn utf16_is_read_from_the_end() {
        let units = "\u{feff}ab\ncd\r\n😀f\n".encode_utf16();
        let bytes: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        for size in 1..bytes.len() {
            let (page, _) = tail(&bytes, 2, 9, size);
            let texts: Vec<_> = page
                .text
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .map(|(_, text)| text)
                .collect();
            assert_eq!(texts, ["cd", "😀f"], "{size}");
            assert_eq!((page.crlf, page.lf), (1, 1));
        }
    }

    #[test]
    fn a_known_number_of_lines_gives_their_numbers() {
        let mut tail = Tail::new(1, 9, Encoding::Utf8, 1_000);
        assert_eq!(tail.push(b"x\nlast\n".to_vec()), Step::Enough);
        let page = tail.finish(Some(250));
        assert_eq!(
            (page.text.as_str(), page.range().as_str()),
            ("250\tlast\n", "line 250 of 250")
        );
        assert_eq!(page.next_offset(), None);
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let mut tail = Tail::new(5, 9, Encoding::Utf8, 10_000_000_000);
        assert_eq!(tail.push(vec![b'x'; MAX_TAIL_BYTES / 2]), Step::More);
        assert_eq!(tail.push(vec![b'x'; MAX_TAIL_BYTES / 2]), Step::Enough);
        let page = tail.finish(None);
        assert!(page.begins_inside_line && page.shown == 1 && page.text.starts_with("-1\txxx"));
    }

    proptest! {
        #[test]
        fn a_tail_is_the_end_of_the_whole(content in "[a-c\r\n]{0,60}", wanted in 1_u64..8, size in 1_usize..9) {
            let (page, held) = tail(content.as_bytes(), wanted, 100, size);
            let lines: Vec<&str> = content.lines().collect();
            let wanted = usize::try_from(wanted).unwrap().min(lines.len());
            prop_assert_eq!(page.shown, wanted);

            let mut pager = Pager::new(u64::try_from(lines.len() - wanted).unwrap() + 1, 100);
            pager.push(content.as_bytes());
            let whole = pager.finish(true);
            let texts = |page: &Page| -> Vec<String> {
                page.text.lines().map(|line| line.split_once('\t').unwrap().1.to_owned()).collect()
            };
            prop_assert_eq!(texts(&page), texts(&whole));
            prop_assert_eq!(page.lacks_newline_at_end, whole.lacks_newline_at_end);
            if held == content.len() {
                prop_assert_eq!(page, whole);
            }
        }
    }
}
