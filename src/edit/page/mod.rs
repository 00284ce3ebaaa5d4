//! A page of numbered lines of a file, made from chunks of bytes.
//!
//! A [`Pager`] reads from the beginning of the file, and a [`Tail`] from its end. Neither holds the
//! whole file.

mod pager;
mod tail;

pub use self::{
    pager::Pager,
    tail::{MAX_TAIL_BYTES, Tail},
};
pub use super::encoding::Encoding;

/// Number of lines of a page at most.
pub const MAX_LINES: usize = 2_000;
/// Number of characters of a page at most.
pub const MAX_CHARACTERS: usize = 36_000;
/// Number of characters of a line at most.
pub const MAX_LINE_CHARACTERS: usize = 2_000;

/// First line of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Number of the line, from 1. Read by a [`Pager`].
    Line(u64),
    /// Number of lines before the end of the file, from 1. Read by a [`Tail`].
    FromEnd(u64),
}

impl Start {
    /// Returns the start for an `offset`. Negative numbers count from the end, 0 means line 1.
    #[must_use]
    pub fn at(offset: i64) -> Self {
        if offset < 0 {
            Self::FromEnd(offset.unsigned_abs())
        } else {
            Self::Line(offset.unsigned_abs().max(1))
        }
    }
}

/// Need of a reader for further chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The page is not complete yet.
    More,
    /// The page is complete. A [`Pager`] may get further chunks, which it only counts.
    Enough,
}

/// Numbered lines of a file, made by [`Pager::finish`] or [`Tail::finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Lines as `N<tab>text`, each with LF. Control characters and bytes that are no text are
    /// escaped.
    pub text: String,
    /// Number of the first line of the page, also if there is no such line. Negative numbers count
    /// from the end, and stand where the number from the beginning is not known.
    pub first: i64,
    /// Number of lines on the page.
    pub shown: usize,
    /// Number of lines of the file, if known.
    pub total: Option<u64>,
    /// Encoding, judged by the byte order mark.
    pub encoding: Encoding,
    /// True if the page has bytes that are not valid in the encoding. The page shows them escaped.
    pub has_invalid_bytes: bool,
    /// Number of lines on the page that end in LF.
    pub lf: usize,
    /// Number of lines on the page that end in CRLF.
    pub crlf: usize,
    /// True if the page has the last line of the file, and that has no line end.
    pub lacks_newline_at_end: bool,
    /// True if the first line of the page lacks its beginning, because the line is too long.
    pub begins_inside_line: bool,
}

impl Page {
    /// Returns the number of the last line of the page, in the count of [`first`](Self::first).
    #[must_use]
    pub fn last(&self) -> i64 {
        let shown = i64::try_from(self.shown).unwrap_or(i64::MAX);
        self.first.saturating_add(shown).saturating_sub(1)
    }

    /// Returns the `offset` of the next page, unless the file certainly ends with this one.
    #[must_use]
    pub fn next_offset(&self) -> Option<i64> {
        let last = self.last();
        let end = match self.total {
            Some(total) => i64::try_from(total).unwrap_or(i64::MAX),
            // Numbers from the end are negative, and the last line is -1.
            None if self.first < 0 => -1,
            None => i64::MAX,
        };

        (last < end).then(|| last.saturating_add(1))
    }

    /// Describes which lines are shown, as in `lines 1–240 of 240`.
    #[must_use]
    pub fn range(&self) -> String {
        if self.total == Some(0) {
            return "empty".to_owned();
        }

        if self.shown == 0 {
            let total = self
                .total
                .map_or_else(|| "fewer".to_owned(), |total| total.to_string());
            return format!("no line {}, the file has {total}", self.first);
        }

        let (first, last) = (self.first, self.last());
        let lines = match (first < 0, first == last) {
            (true, true) => format!("line {first} from the end"),
            (true, false) => format!("lines {first} to {last} from the end"),
            (false, true) => format!("line {first}"),
            (false, false) => format!("lines {first}–{last}"),
        };

        match self.total {
            Some(total) => format!("{lines} of {total}"),
            None => lines,
        }
    }

    /// Returns what a reader must know to edit the file, such as `CRLF` or `no newline at end`.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.encoding != Encoding::Utf8 {
            notes.push(self.encoding.name().to_owned());
        }

        if self.has_invalid_bytes {
            notes.push(format!(
                "bytes that are not {} are escaped",
                self.encoding.charset()
            ));
        }

        match (self.lf, self.crlf) {
            (_, 0) => {}
            (0, _) => notes.push("CRLF".to_owned()),
            (lf, crlf) => notes.push(format!("mixed line ends: {crlf} CRLF, {lf} LF")),
        }

        if self.lacks_newline_at_end {
            notes.push("no newline at end".to_owned());
        }

        if self.begins_inside_line {
            notes.push("begins inside a line".to_owned());
        }

        notes
    }
}
