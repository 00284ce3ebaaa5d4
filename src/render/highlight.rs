//! Which part of a row is highlighted.

use std::ops::Range;

/// What a column looks like behind its character: 0 is as nothing was said. Reverse video has the upper half.
pub(super) type Shade = u8;

/// What is highlighted in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Highlight {
    /// All that stands in it.
    Row,
    /// These columns, from the right to the left.
    Parts(Vec<Range<usize>>),
}
