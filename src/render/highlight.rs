//! Highlighting of rows.

use std::ops::Range;

/// Background of a column, as a small number: 0 is the default. Reverse video uses the upper half.
pub(super) type Shade = u8;

/// Highlighted part of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Highlight {
    /// The whole text of the row.
    Row,
    /// Ranges of columns, from right to left.
    Parts(Vec<Range<usize>>),
}
