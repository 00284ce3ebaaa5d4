//! Page of a file that is read from its beginning.

use std::fmt::Write as _;

use super::{Encoding, MAX_CHARACTERS, MAX_LINE_CHARACTERS, MAX_LINES, Page, Step};
use crate::edit::{
    display::{escaped, grouped},
    encoding::Decoder,
    lines::count_line_ends,
};

/// Number of bytes of a line that are kept. Characters have at most four bytes.
const HELD_BYTES: usize = 4 * MAX_LINE_CHARACTERS;

/// Reader of a page, fed with the chunks of a file in order from its first byte.
///
/// A pager holds the page and the beginning of one line. The result does not depend on how the
/// file is cut into chunks.
#[derive(Debug)]
pub struct Pager {
    /// Number of the first line of the page, from 1.
    first: u64,
    /// Number that stands before that line.
    label: i64,
    limit: usize,
    /// First bytes of the file, until the encoding is known.
    beginning: Vec<u8>,
    encoding: Option<Encoding>,
    /// Decoder, for encodings other than UTF-8.
    decoder: Option<Decoder>,
    /// Number of ended lines so far.
    ended: u64,
    line: Line,
    is_full: bool,
    page: Page,
    characters: usize,
}

/// Beginning of the line that is read.
#[derive(Debug, Default)]
struct Line {
    held: Vec<u8>,
    /// Number of bytes of the whole line.
    length: u64,
    /// Number of characters after the held bytes.
    dropped: u64,
    ends_in_cr: bool,
}

impl Pager {
    /// Creates a reader of at most `limit` lines, and never more than 2,000, from line `first` on.
    #[must_use]
    pub fn new(first: u64, limit: usize) -> Self {
        let first = first.max(1);
        Self::labelled(first, i64::try_from(first).unwrap_or(i64::MAX), limit, None)
    }

    /// Creates a reader that writes other numbers before the lines.
    ///
    /// With an encoding, chunks are already decoded and without a byte order mark.
    pub(super) fn labelled(
        first: u64,
        label: i64,
        limit: usize,
        encoding: Option<Encoding>,
    ) -> Self {
        Self {
            first,
            label,
            limit: limit.clamp(1, MAX_LINES),
            beginning: Vec::new(),
            encoding,
            decoder: None,
            ended: 0,
            line: Line::default(),
            is_full: false,
            page: Page {
                text: String::new(),
                first: label,
                shown: 0,
                total: None,
                encoding: Encoding::Utf8,
                has_invalid_bytes: false,
                lf: 0,
                crlf: 0,
                lacks_newline_at_end: false,
                begins_inside_line: false,
            },
            characters: 0,
        }
    }

    /// Reads the next chunk. After [`Step::Enough`], further chunks only count lines.
    pub fn push(&mut self, chunk: &[u8]) -> Step {
        if self.encoding.is_some() {
            self.push_encoded(chunk);
        } else {
            self.beginning.extend_from_slice(chunk);
            if self.beginning.len() >= Encoding::LONGEST_MARK {
                self.begin();
            }
        }

        if self.is_full {
            Step::Enough
        } else {
            Step::More
        }
    }

    /// Ends the page. `reached_end` is true if all chunks up to the end of the file were pushed.
    #[must_use]
    pub fn finish(mut self, reached_end: bool) -> Page {
        if self.encoding.is_none() {
            self.begin();
        }

        if reached_end {
            if let Some(rest) = self.decoder.as_mut().map(Decoder::finish) {
                self.push_text(&rest);
            }

            let has_open_line = self.line.length > 0;
            if has_open_line {
                self.end_line(false);
            }
            self.page.total = Some(self.ended + u64::from(has_open_line));
        }

        self.page.encoding = self.encoding.unwrap_or(Encoding::Utf8);

        self.page
    }

    /// Chooses the encoding and reads the bytes that were kept for that.
    fn begin(&mut self) {
        let beginning = std::mem::take(&mut self.beginning);
        let encoding = Encoding::of(&beginning);
        self.encoding = Some(encoding);
        self.decoder = encoding.is_utf16().then(|| Decoder::new(encoding));
        self.push_encoded(beginning.get(encoding.mark_length()..).unwrap_or_default());
    }

    fn push_encoded(&mut self, chunk: &[u8]) {
        match &mut self.decoder {
            None => self.push_text(chunk),
            Some(decoder) => {
                let text = decoder.push(chunk);
                self.push_text(&text);
            }
        }
    }

    fn push_text(&mut self, mut text: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', text) {
            if self.is_full {
                break;
            }
            let (line, rest) = text.split_at_checked(end).unwrap_or((text, b""));
            self.push_part(line);
            self.end_line(true);
            self.ended += 1;
            text = rest.get(1..).unwrap_or_default();
        }

        // After the page, only the number of lines and the length of the open line matter.
        if self.is_full {
            self.ended += u64::try_from(count_line_ends(text)).unwrap_or(u64::MAX);
            if let Some(end) = memchr::memrchr(b'\n', text) {
                self.line = Line::default();
                text = text.get(end + 1..).unwrap_or_default();
            }
        }
        self.push_part(text);
    }

    /// Adds a part of the line that is read.
    fn push_part(&mut self, part: &[u8]) {
        let Some(last) = part.last() else { return };
        self.line.length += u64::try_from(part.len()).unwrap_or(u64::MAX);
        if self.is_full || self.ended + 1 < self.first {
            return;
        }

        self.line.ends_in_cr = *last == b'\r';
        let room = HELD_BYTES
            .saturating_sub(self.line.held.len())
            .min(part.len());
        let (held, dropped) = part.split_at_checked(room).unwrap_or((part, b""));
        self.line.held.extend_from_slice(held);
        let starts = dropped.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        self.line.dropped += u64::try_from(starts).unwrap_or(u64::MAX);
    }

    /// Ends the line that is read, and shows it if it belongs to the page.
    fn end_line(&mut self, has_end: bool) {
        let line = std::mem::take(&mut self.line);
        if self.is_full || self.ended + 1 < self.first {
            return;
        }

        let has_crlf = has_end && line.ends_in_cr;
        let (shown, is_valid) = line.show(has_crlf);
        let shown = format!("{}\t{shown}\n", self.label);
        let characters = shown.chars().count();
        // A page has at least one line, so that the next page is another one.
        if self.page.shown > 0 && self.characters + characters > MAX_CHARACTERS {
            self.is_full = true;
            return;
        }

        self.page.text.push_str(&shown);
        self.characters += characters;
        self.page.shown += 1;
        self.label = self.label.saturating_add(1);
        self.page.has_invalid_bytes |= !is_valid;
        self.page.lf += usize::from(has_end && !has_crlf);
        self.page.crlf += usize::from(has_crlf);
        self.page.lacks_newline_at_end = !has_end;
        self.is_full = self.page.shown == self.limit;
    }
}

impl Line {
    /// Returns the line as it is shown, and whether all shown bytes are UTF-8.
    fn show(&self, has_crlf: bool) -> (String, bool) {
        let mut text = self.held.as_slice();
        let mut dropped = self.dropped;
        if has_crlf {
            // The CR is the last byte, which may have been dropped.
            match dropped.checked_sub(1) {
                Some(less) => dropped = less,
                None => text = text.strip_suffix(b"\r").unwrap_or(text),
            }
        }

        let (kept, after) = split_characters(text, MAX_LINE_CHARACTERS);
        let more = dropped + u64::try_from(after).unwrap_or(u64::MAX);
        let mut shown = escaped(kept);
        if more > 0 {
            let _ = write!(shown, "… [{} more characters]", grouped(more));
        }

        (shown, std::str::from_utf8(kept).is_ok())
    }
}

/// Returns the first `count` characters, and the number of characters after them.
///
/// A byte that is not UTF-8 counts as a character.
fn split_characters(text: &[u8], count: usize) -> (&[u8], usize) {
    let (mut end, mut characters, mut cut) = (0, 0, None);
    for chunk in text.utf8_chunks() {
        let lengths = chunk.valid().chars().map(char::len_utf8);
        // The bytes of a character that was cut at the end of the held bytes count as one.
        let invalid = (!chunk.invalid().is_empty()).then_some(chunk.invalid().len());
        for length in lengths.chain(invalid) {
            if characters == count {
                cut = Some(end);
            }
            characters += 1;
            end += length;
        }
    }

    let kept = text.get(..cut.unwrap_or(end)).unwrap_or(text);
    (kept, characters.saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(content: &[u8], first: u64, limit: usize) -> Page {
        let mut pager = Pager::new(first, limit);
        pager.push(content);
        pager.finish(true)
    }

    #[test]
    fn lines_are_numbered() {
        for (content, first, limit, text, range, notes) in [
            (
                &b"a\nb\n"[..],
                1,
                9,
                "1\ta\n2\tb\n",
                "lines 1–2 of 2",
                &[][..],
            ),
            (b"a\nb\nc\n", 2, 1, "2\tb\n", "line 2 of 3", &[]),
            (b"", 1, 9, "", "empty", &[]),
            (b"a\n", 5, 9, "", "no line 5, the file has 1", &[]),
            (b"\n\n", 1, 9, "1\t\n2\t\n", "lines 1–2 of 2", &[]),
            (
                b"a\r\nb\r\n",
                1,
                9,
                "1\ta\n2\tb\n",
                "lines 1–2 of 2",
                &["CRLF"],
            ),
            (
                b"a\r\nb\n",
                1,
                9,
                "1\ta\n2\tb\n",
                "lines 1–2 of 2",
                &["mixed line ends: 1 CRLF, 1 LF"],
            ),
            (
                b"a\nb",
                1,
                9,
                "1\ta\n2\tb\n",
                "lines 1–2 of 2",
                &["no newline at end"],
            ),
            (b"a\nb", 1, 1, "1\ta\n", "line 1 of 2", &[]),
            (
                b"a\rb\r",
                1,
                9,
                "1\ta\\rb\\r\n",
                "line 1 of 1",
                &["no newline at end"],
            ),
            (
                b"caf\xe9\n\tx\x1b\n",
                1,
                9,
                "1\tcaf\\xe9\n2\t\tx\\u{1b}\n",
                "lines 1–2 of 2",
                &["bytes that are not UTF-8 are escaped"],
            ),
            (
                b"\xef\xbb\xbfa\n",
                1,
                9,
                "1\ta\n",
                "line 1 of 1",
                &["UTF-8 with BOM"],
            ),
            (
                b"\xff\xfea\0\r\0\n\0b\0\n\0",
                1,
                9,
                "1\ta\n2\tb\n",
                "lines 1–2 of 2",
                &["UTF-16 LE with BOM", "mixed line ends: 1 CRLF, 1 LF"],
            ),
            (
                b"\xfe\xff\0a\0\n\xd8\0",
                1,
                9,
                "1\ta\n2\t\\xed\\xa0\\x80\n",
                "lines 1–2 of 2",
                &[
                    "UTF-16 BE with BOM",
                    "bytes that are not UTF-16 are escaped",
                    "no newline at end",
                ],
            ),
            (b"\xff\xfe", 1, 9, "", "empty", &["UTF-16 LE with BOM"]),
        ] {
            let page = page(content, first, limit);
            assert_eq!((page.text.as_str(), page.range().as_str()), (text, range));
            assert_eq!(page.notes(), notes);
        }
    }

    #[test]
    fn pages_and_lines_are_bounded() {
        let many = page(&b"x\n".repeat(5_000), 1, usize::MAX);
        assert_eq!(
            (many.shown, many.next_offset(), many.total),
            (2_000, Some(2_001), Some(5_000))
        );

        let wide = page(
            &[&b"y".repeat(99)[..], b"\n"].concat().repeat(500),
            1,
            2_000,
        );
        assert!(
            wide.text.chars().count() <= MAX_CHARACTERS && wide.shown > 340,
            "{}",
            wide.shown
        );
        assert_eq!(
            wide.next_offset(),
            Some(i64::try_from(wide.shown).unwrap() + 1)
        );

        for (line, end) in [
            ("é".repeat(2_000), "é\n"),
            ("é".repeat(2_001), "é… [1 more characters]\n"),
            ("€".repeat(9_000), "€… [7,000 more characters]\n"),
        ] {
            for ending in ["", "\n", "\r\n"] {
                let page = page(format!("{line}{ending}").as_bytes(), 1, 9);
                assert!(page.text.ends_with(end), "{}", page.text);
                assert_eq!(
                    page.text.chars().filter(|c| "é€".contains(*c)).count(),
                    2_000
                );
                assert_eq!(page.crlf, usize::from(ending == "\r\n"));
            }
        }
    }

    #[test]
    fn a_pager_that_stops_early_knows_no_total() {
        let mut pager = Pager::new(2, 1);
        assert_eq!(pager.push(b"a\nb"), Step::More);
        assert_eq!(pager.push(b"c\nd"), Step::Enough);
        let page = pager.finish(false);
        assert_eq!(
            (page.text.as_str(), page.range().as_str()),
            ("2\tbc\n", "line 2")
        );
        assert_eq!((page.total, page.next_offset()), (None, Some(3)));
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            content in prop::collection::vec(prop::sample::select(b"a\xff\xfe\xef\xbb\xbf\0\r\n\xd8".to_vec()), 0..60),
            first in 1_u64..6, limit in 1_usize..6, cut in 1_usize..7,
        ) {
            let mut pager = Pager::new(first, limit);
            for chunk in content.chunks(cut) {
                pager.push(chunk);
            }
            prop_assert_eq!(pager.finish(true), page(&content, first, limit));
        }

        #[test]
        fn pages_make_the_whole_file(content in "[a-c\n]{0,60}", limit in 1_usize..5) {
            let (mut text, mut next) = (String::new(), Some(1));
            while let Some(first) = next {
                let page = page(content.as_bytes(), first, limit);
                text.push_str(&page.text);
                next = page.next_offset().map(i64::unsigned_abs);
            }

            let numbered = content.lines().enumerate();
            let whole: Vec<String> = numbered.map(|(at, line)| format!("{}\t{line}\n", at + 1)).collect();
            prop_assert_eq!(text, whole.concat());
        }
    }
}
