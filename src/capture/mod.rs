//! Bounded capture of a stream: its first and last part, and its total length.

pub mod console;
mod nature;

use std::collections::VecDeque;

pub use self::nature::{BEGINNING, Nature, format_of};

/// Buffer for the beginning and end of a stream, at most `head + tail` bytes.
///
/// Memory use is bounded however long the stream is. [`finish`](Self::finish) turns the capture
/// into a [`Captured`].
#[derive(Debug, Clone)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_budget: usize,
    tail_budget: usize,
    total: u64,
}

impl Capture {
    /// Creates a capture for the first `head` and the last `tail` bytes.
    #[must_use]
    pub fn new(head: usize, tail: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_budget: head,
            tail_budget: tail,
            total: 0,
        }
    }

    /// Appends the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let (first, later) = bytes.split_at(bytes.len().min(self.head_budget - self.head.len()));
        self.head.extend_from_slice(first);
        // Bytes that would leave the tail at once are not copied into it.
        let (_, later) = later.split_at(later.len().saturating_sub(self.tail_budget));
        self.tail.drain(
            ..(self.tail.len() + later.len())
                .saturating_sub(self.tail_budget)
                .min(self.tail.len()),
        );

        self.tail.extend(later);
    }

    /// Returns the length of the stream so far, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns all kept bytes. These are the whole stream if nothing was left out.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// Ends the capture and returns the kept parts.
    #[must_use]
    pub fn finish(self) -> Captured {
        let retained = (self.head.len() + self.tail.len()) as u64;
        Captured {
            total: self.total,
            omitted: self.total.saturating_sub(retained),
            head: self.head,
            tail: self.tail.into(),
            beginning: Vec::new(),
            decoded_from: None,
        }
    }
}

/// Kept parts of an ended stream, made by [`Capture::finish`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Length of the whole stream, in bytes.
    pub total: u64,
    omitted: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    /// First bytes of the original stream.
    beginning: Vec<u8>,
    /// Name of the encoding from which the text was decoded; `None` if it was not.
    pub decoded_from: Option<&'static str>,
}

impl Captured {
    /// Adds facts about the original stream, before rendering: the length and the first bytes.
    ///
    /// At most [`BEGINNING`] of the first bytes are used.
    #[must_use]
    pub fn with_original(self, total: u64, beginning: Vec<u8>) -> Self {
        Self {
            total,
            beginning,
            ..self
        }
    }

    /// Leaves out the middle, so that at most `budget` bytes are kept.
    #[must_use]
    pub fn shortened(self, budget: usize) -> Self {
        let kept = self.kept();
        if kept <= budget {
            return self;
        }

        // Without a gap, the beginning and the end may both reach into either part.
        let (first, last) = match self.whole() {
            Some(whole) => (whole.clone(), whole),
            None => (self.head, self.tail),
        };

        let head = first.get(..budget / 2).unwrap_or(&first);
        let from = last.len().saturating_sub(budget - budget / 2);
        let tail = last.get(from..).unwrap_or_default();

        Self {
            omitted: self.omitted + (kept - head.len() - tail.len()) as u64,
            head: head.to_vec(),
            tail: tail.to_vec(),
            total: self.total,
            beginning: self.beginning,
            decoded_from: self.decoded_from,
        }
    }

    /// Returns the number of kept bytes.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Returns the number of bytes left out between the first and the last part.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Returns the whole stream, or `None` if bytes were left out.
    #[must_use]
    pub fn whole(&self) -> Option<Vec<u8>> {
        (self.omitted() == 0).then(|| [self.head.as_slice(), self.tail.as_slice()].concat())
    }

    /// Returns the stream as text: the whole, or both parts around a count of the missing bytes.
    ///
    /// Bytes that are not UTF-8 become U+FFFD. No character is cut in two where bytes were left
    /// out. Binary data is replaced by a line that names its kind.
    #[must_use]
    pub fn text(&self) -> String {
        if let Nature::Binary(kind) = self.nature() {
            return self.in_place_of_bytes(kind);
        }

        if let Some(whole) = self.whole() {
            return String::from_utf8_lossy(&whole).into_owned();
        }

        // Half a character would show as U+FFFD, as if the command had printed bad UTF-8.
        let head = whole_characters_at_end(&self.head);
        let tail = whole_characters_at_start(&self.tail);
        // Bytes of incomplete characters are not shown either, so they count as left out.
        let cut = self.head.len() - head.len() + self.tail.len() - tail.len();
        let omitted = self.omitted.saturating_add(cut as u64);

        format!(
            "{}\n[… {omitted} bytes left out …]\n{}",
            String::from_utf8_lossy(head),
            String::from_utf8_lossy(tail)
        )
    }
}

/// Returns the bytes without an incomplete last character.
#[must_use]
pub fn whole_characters_at_end(bytes: &[u8]) -> &[u8] {
    // A character in UTF-8 has at most four bytes, so three steps back find its first byte.
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let width = match bytes.get(at) {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            Some(0x80..=0xbf) => continue,
            _ => return bytes,
        };

        return if width > back {
            bytes.get(..at).unwrap_or(bytes)
        } else {
            bytes
        };
    }

    bytes
}

/// Returns the bytes without the rest of a character whose beginning is missing.
fn whole_characters_at_start(bytes: &[u8]) -> &[u8] {
    let rest = bytes
        .iter()
        .take(3)
        .take_while(|byte| matches!(byte, 0x80..=0xbf))
        .count();
    bytes.get(rest..).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captured(head: usize, tail: usize, portions: &[&[u8]]) -> Captured {
        let mut capture = Capture::new(head, tail);
        for portion in portions {
            capture.push(portion);
        }
        capture.finish()
    }

    #[test]
    fn a_short_stream_is_kept_whole() {
        let whole = captured(4, 4, &[b"ab", b"cdef", b"gh"]);
        assert_eq!(
            (whole.text().as_str(), whole.total, whole.omitted()),
            ("abcdefgh", 8, 0)
        );
    }

    #[test]
    fn a_long_stream_keeps_its_two_ends_and_its_length() {
        let long = captured(3, 2, &[b"abcdef", b"ghij", b"k"]);
        assert_eq!(long.text(), "abc\n[… 6 bytes left out …]\njk");
        assert_eq!((long.total, long.omitted()), (11, 6));
    }

    #[test]
    fn a_capture_is_shortened_to_its_ends() {
        for (head, tail, budget, text) in [
            (99, 99, 8, "abcdefgh"),
            (99, 99, 5, "ab\n[… 3 bytes left out …]\nfgh"),
            (1, 7, 4, "ab\n[… 4 bytes left out …]\ngh"),
            (3, 3, 6, "abc\n[… 2 bytes left out …]\nfgh"),
            (3, 3, 4, "ab\n[… 4 bytes left out …]\ngh"),
            (3, 3, 0, "\n[… 8 bytes left out …]\n"),
        ] {
            let short = captured(head, tail, &[b"abcdefgh"]).shortened(budget);
            assert_eq!((short.text().as_str(), short.total), (text, 8));
        }
    }

    #[test]
    fn no_character_is_cut_where_something_is_left_out() {
        let cut = captured(2, 2, &["aé→b→é".as_bytes()]);
        assert_eq!(cut.text(), "a\n[… 9 bytes left out …]\né");
        assert!(
            !captured(3, 3, &["日本語日本語".as_bytes()])
                .text()
                .contains('\u{fffd}')
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_such() {
        assert_eq!(captured(9, 9, &[b"\xffa\xc3"]).text(), "\u{fffd}a\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_portions_give_the_same_capture_within_its_budget(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50, head in 0usize..40, tail in 0usize..40,
        ) {
            let portions: Vec<&[u8]> = bytes.chunks(cut).collect();
            let capture = captured(head, tail, &portions);
            prop_assert_eq!(&capture, &captured(head, tail, &[&bytes]));
            prop_assert_eq!(capture.total, bytes.len() as u64);
            prop_assert!(bytes.starts_with(&capture.head) && bytes.ends_with(&capture.tail));
            prop_assert!(capture.head.len() + capture.tail.len() <= head + tail);
        }
    }
}
