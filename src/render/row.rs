//! Rows of a terminal screen.

use std::ops::Range;

use super::highlight::{Highlight, Shade};

/// Content of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// A character.
    Letter(char),
    /// A byte which is part of no character.
    Byte(u8),
    /// A further column of the wide character or tab to the left.
    Covered,
    /// An empty or erased column.
    Blank,
}

impl Cell {
    /// Returns true if the column looks empty.
    pub(super) fn is_blank(self) -> bool {
        matches!(self, Self::Blank | Self::Letter(' '))
    }

    /// Returns true for box-drawing characters.
    pub(super) fn is_line(self) -> bool {
        matches!(self, Self::Letter('\u{2500}'..='\u{257f}'))
    }
}

/// Row of a screen: the written columns from the left, with flags for passing the row on.
///
/// A [`Cell::Covered`] column always follows the character or tab which covers it.
#[derive(Debug, Default)]
pub(super) struct ScreenRow {
    cells: Vec<Cell>,
    /// Shades of the same columns.
    shades: Vec<Shade>,
    /// Shade of the columns to the right.
    rest: Shade,
    /// True if the line was too long and continues in the next row.
    pub(super) wrapped: bool,
    /// True if the row may contain text which was not passed on yet.
    pub(super) changed: bool,
    /// True if a line feed ended the row, which makes even an empty row a line.
    pub(super) ended: bool,
    /// Whole line beginning in this row, as last passed on. `None` if the line was not passed on
    /// yet.
    pub(super) shown: Option<Vec<u8>>,
}

impl ScreenRow {
    /// Creates an empty row with this shade.
    pub(super) fn blank(rest: Shade) -> Self {
        Self {
            rest,
            ..Self::default()
        }
    }

    /// Returns true if nothing was ever written to the row.
    pub(super) fn is_untouched(&self) -> bool {
        self.cells.is_empty() && !self.ended && !self.changed && self.shown.is_none()
    }

    /// Returns the number of columns in use.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Empties the row for a new line, and reuses the buffers.
    pub(super) fn renew(mut self) -> Self {
        self.cells.clear();
        self.shades.clear();
        Self {
            cells: self.cells,
            shades: self.shades,
            ..Self::default()
        }
    }

    /// Writes a column, replacing the old content.
    pub(super) fn set(&mut self, column: usize, cell: Cell, shade: Shade) {
        self.changed = true;

        if column >= self.cells.len() {
            self.resize(column);
            self.cells.push(cell);
            self.shades.push(shade);
            return;
        }

        // A wide character or tab cannot remain in half of its columns.
        self.split(column);
        self.split(column + 1);

        if let (Some(old), Some(old_shade)) =
            (self.cells.get_mut(column), self.shades.get_mut(column))
        {
            (*old, *old_shade) = (cell, shade);
        }
    }

    /// Erases the columns from `from` to before `to`; `usize::MAX` means the end of the row.
    pub(super) fn erase(&mut self, from: usize, to: usize, shade: Shade) {
        let used = self.cells.len();
        let to_end = to == usize::MAX || (to >= used && shade == self.rest);
        self.changed |= from < used;

        // Columns to the right stay, so these must exist as blanks with their own shade.
        if !to_end {
            if to > used {
                self.resize(to);
            }

            self.split(from);
            self.split(to);
            self.cells
                .iter_mut()
                .take(to)
                .skip(from)
                .for_each(|cell| *cell = Cell::Blank);

            self.shades
                .iter_mut()
                .take(to)
                .skip(from)
                .for_each(|old| *old = shade);

            return;
        }

        if from < used {
            self.split(from);
            self.cells.truncate(from);
            self.shades.truncate(from);
            self.wrapped = false;
        } else if shade != self.rest {
            self.resize(from);
        }

        self.rest = shade;
    }

    /// Deletes columns; text to the right moves left.
    pub(super) fn delete(&mut self, from: usize, count: usize) {
        let to = from.saturating_add(count).min(self.cells.len());
        if from < to {
            self.changed = true;
            self.split(from);
            self.split(to);
            self.cells.drain(from..to);
            self.shades.drain(from..to);
        }
    }

    /// Inserts blank columns; text to the right moves right, and out of a row of `width` columns.
    pub(super) fn insert(&mut self, at: usize, count: usize, width: usize) {
        if at < self.cells.len() {
            self.changed = true;
            self.split(at);
            let count = count.min(width.saturating_sub(at));
            self.cells
                .splice(at..at, std::iter::repeat_n(Cell::Blank, count));
            self.shades
                .splice(at..at, std::iter::repeat_n(self.rest, count));
            self.cells.truncate(width);
            self.shades.truncate(width);
        }
    }

    /// Returns the shade of a column.
    pub(super) fn shade(&self, column: usize) -> Shade {
        self.shades.get(column).copied().unwrap_or(self.rest)
    }

    /// Returns the content of a column.
    pub(super) fn cell(&self, column: usize) -> Cell {
        self.cells.get(column).copied().unwrap_or(Cell::Blank)
    }

    /// Returns the range from the first to the last column with text, or `None` if the row has no
    /// text. Drawn lines do not count as text.
    pub(super) fn extent(&self) -> Option<Range<usize>> {
        self.within(0..self.cells.len())
    }

    /// Returns the range of columns with text within a part of the row.
    pub(super) fn within(&self, part: Range<usize>) -> Option<Range<usize>> {
        let has_text = |column: &usize| {
            let cell = self.cell(*column);
            !cell.is_blank() && !cell.is_line()
        };
        let (mut columns, mut back) = (part.clone(), part.rev());
        Some(columns.find(has_text)?..back.find(has_text)? + 1)
    }

    /// Appends the text of the row to `output`, with marks around highlighted parts.
    ///
    /// Trailing spaces are left out, except in the first `keep` columns.
    pub(super) fn text(&self, keep: usize, highlight: Option<&Highlight>, output: &mut Vec<u8>) {
        let marked = highlight.map(|highlight| self.marked(highlight));
        let cells = marked.as_ref().unwrap_or(&self.cells);

        // Trailing blanks are mostly what a program erased by writing spaces.
        let behind = cells
            .iter()
            .skip(keep)
            .rev()
            .take_while(|cell| cell.is_blank())
            .count();

        for cell in cells.iter().take(cells.len() - behind) {
            match cell {
                Cell::Letter(letter) => {
                    output.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Cell::Byte(byte) => output.push(*byte),
                Cell::Covered => {}
                Cell::Blank => output.push(b' '),
            }
        }
    }

    /// Returns the columns with marks. Marks replace blanks where possible, so that the text keeps
    /// its place.
    fn marked(&self, highlight: &Highlight) -> Vec<Cell> {
        let mut cells = self.cells.clone();

        let mut mark = |at: usize, letter: char, into_blank: bool| {
            let cell = Cell::Letter(letter);
            match cells.get_mut(at).filter(|old| into_blank && old.is_blank()) {
                Some(blank) => *blank = cell,
                None => cells.insert(at.min(cells.len()), cell),
            }
        };

        match highlight {
            Highlight::Row => {
                let start = self.extent().map_or(0, |text| text.start);
                if let Some(at) = start.checked_sub(2) {
                    mark(at, '>', true);
                } else {
                    mark(0, ' ', false);
                    mark(0, '>', false);
                }
            }
            Highlight::Parts(parts) => {
                // From right to left, so that an inserted mark does not move the parts still to
                // come.
                for part in parts {
                    mark(part.end, ']', true);

                    match part
                        .start
                        .checked_sub(1)
                        .filter(|before| self.cell(*before).is_blank())
                    {
                        Some(before) => mark(before, '[', true),
                        None => mark(part.start, '[', false),
                    }
                }
            }
        }

        cells
    }

    /// Extends the columns in use to at least `columns`.
    fn resize(&mut self, columns: usize) {
        if columns > self.cells.len() {
            self.cells.resize(columns, Cell::Blank);
            self.shades.resize(columns, self.rest);
        }
    }

    /// Replaces a wide character or tab across the left edge of `column` by blanks.
    fn split(&mut self, column: usize) {
        let is_covered = |cell: &&Cell| **cell == Cell::Covered;

        let before = self
            .cells
            .iter()
            .take(column)
            .rev()
            .take_while(is_covered)
            .count();

        let after = self
            .cells
            .iter()
            .skip(column)
            .take_while(is_covered)
            .count();

        if after > 0 {
            let start = column.saturating_sub(before + 1);
            for cell in self.cells.iter_mut().take(column + after).skip(start) {
                *cell = Cell::Blank;
            }
        }
    }
}
