//! The parts of a stream that a reader has not been shown.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::capture::{Capture, Captured};

/// One who is shown outputs, and no part of them twice, and files: a client of MCP.
///
/// The default, [`SHARED`](Self::SHARED), stands for all clients that cannot be told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReaderId(u64);

impl ReaderId {
    /// The one reader for all clients that cannot be told apart.
    pub const SHARED: Self = Self(0);

    /// Returns a reader that is new in this process.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ReaderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Part of a stream that a reader has not been shown. Bounded like the beginning and end of a
/// stream in an answer.
#[derive(Debug, Clone)]
pub(super) struct Unseen {
    /// Bytes of the stream before this part.
    pub(super) from: u64,
    /// End of what the reader has read by offset without a gap, in bytes of the stream.
    pub(super) read_to: u64,
    /// True if the reader has been shown the end of the command.
    pub(super) knows_end: bool,
    /// Unfinished line, or screen, that the reader has been shown; empty once other lines follow.
    known: Vec<u8>,
    /// Finished lines of the part.
    settled: Capture,
}

impl Unseen {
    /// Creates the part after the first `from` bytes of a stream. The reader knows the unfinished
    /// line there, and `settled` is the empty text of the part.
    pub(super) fn new(from: u64, known: Vec<u8>, settled: Capture) -> Self {
        Self {
            from,
            read_to: from,
            knows_end: false,
            known,
            settled,
        }
    }

    /// Appends finished lines of the stream, without what the reader knows of them.
    pub(super) fn push(&mut self, settled: &[u8]) {
        let known = known_beginning(&self.known, settled);
        let new = settled.get(known..).unwrap_or_default();
        self.settled.push(new);

        // Lines of a known screen are finished one by one.
        if new.is_empty() {
            self.known.drain(..known.min(self.known.len()));
        } else {
            self.known.clear();
        }
    }

    /// Returns the part with the unfinished line, or `None` if there is nothing new.
    pub(super) fn captured(&self, unfinished: &[u8]) -> Option<Captured> {
        // A line goes on where the reader's ends. Of a screen, single rows would mean little.
        let is_screen = self.known.contains(&b'\n');
        let new = if unfinished == self.known {
            &[]
        } else if is_screen {
            unfinished
        } else {
            let known = known_beginning(&self.known, unfinished);
            unfinished.get(known..).unwrap_or_default()
        };

        let mut shown = self.settled.clone();
        shown.push(new);

        (shown.total() > 0).then(|| shown.finish())
    }
}

/// Returns the length of the beginning of `text` that a reader of `known` knows: all of `known`, or
/// else whole lines.
fn known_beginning(known: &[u8], text: &[u8]) -> usize {
    // The spaces after a prompt are gone once its line is finished.
    for whole in [known, known.trim_ascii_end()] {
        if text.starts_with(whole) {
            return whole.len();
        }
    }

    let common = known
        .iter()
        .zip(text)
        .take_while(|(known, text)| known == text)
        .count();

    let lines = text.get(..common).unwrap_or_default();
    memchr::memrchr(b'\n', lines).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a part whose reader knows `known`, after these finished lines and an unfinished
    /// one.
    fn new_text(known: &str, settled: &[&str], unfinished: &str) -> Option<String> {
        let mut unseen = Unseen::new(0, known.into(), Capture::new(100, 100));
        for lines in settled {
            unseen.push(lines.as_bytes());
        }
        unseen
            .captured(unfinished.as_bytes())
            .map(|captured| captured.text())
    }

    #[test]
    fn a_line_goes_on_where_the_reader_left_it() {
        for (known, settled, unfinished, new) in [
            ("", &[][..], "", None),
            ("", &["a\n"], "b", Some("a\nb")),
            ("Name? ", &[], "Name? ", None),
            ("Name? ", &[], "Name? A", Some("A")),
            (
                "Name? ",
                &["Name? Ann\n", "Hello\n"],
                "",
                Some("Ann\nHello\n"),
            ),
            ("Name? ", &["Name?\nNext\n"], "", Some("\nNext\n")),
            ("10%", &[], "50%", Some("50%")),
            ("10%", &["done\n"], "", Some("done\n")),
        ] {
            assert_eq!(
                new_text(known, settled, unfinished).as_deref(),
                new,
                "{known:?} {settled:?} {unfinished:?}"
            );
        }
    }

    #[test]
    fn a_screen_is_shown_again_only_when_it_has_changed() {
        let screen = "one\ntwo\n:";
        assert_eq!(new_text(screen, &[], screen), None);
        assert_eq!(
            new_text(screen, &[], "one\n> two\n:").as_deref(),
            Some("one\n> two\n:")
        );

        // Rows that leave the screen at its top.
        assert_eq!(
            new_text(screen, &["one\n", "two\n"], "three\n:").as_deref(),
            Some("three\n:")
        );
        assert_eq!(
            new_text(screen, &["one\nTWO\n"], ":").as_deref(),
            Some("TWO\n:")
        );
    }
}
