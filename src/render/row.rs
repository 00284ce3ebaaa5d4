//! One row of a terminal.

use std::ops::Range;

use super::highlight::{Highlight, Shade};

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// A character.
    Letter(char),
    /// A byte that is no part of a character.
    Byte(u8),
    /// A column that belongs to the wide character or the tab before it.
    Covered,
    /// Nothing was written here, or it was erased.
    Blank,
}

impl Cell {
    pub(super) fn is_blank(self) -> bool {
        matches!(self, Self::Blank | Self::Letter(' '))
    }

    /// Whether it is a piece of a line that is drawn around something.
    pub(super) fn is_line(self) -> bool {
        matches!(self, Self::Letter('\u{2500}'..='\u{257f}'))
    }
}

/// The columns of a row, from the left, as far as anything stands in them.
#[derive(Debug, Default)]
pub(super) struct ScreenRow {
    cells: Vec<Cell>,
    /// What the same columns look like behind their characters.
    shades: Vec<Shade>,
    /// What the columns look like in which nothing stands.
    rest: Shade,
    /// The text goes on in the next row: the line was too long for one.
    pub(super) wrapped: bool,
    /// Something may stand here that was not passed on.
    pub(super) changed: bool,
    /// A line feed came here: this is a line, even if it is empty.
    pub(super) ended: bool,
    /// The whole line that begins here, as it was passed on.
    pub(super) shown: Option<Vec<u8>>,
}

impl ScreenRow {
    /// An empty row that looks like this.
    pub(super) fn blank(rest: Shade) -> Self {
        Self {
            rest,
            ..Self::default()
        }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.cells.is_empty() && !self.ended && !self.changed && self.shown.is_none()
    }

    /// How many columns are in use.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Empties the row for another line, and keeps its memory.
    pub(super) fn renew(mut self) -> Self {
        self.cells.clear();
        self.shades.clear();
        Self {
            cells: self.cells,
            shades: self.shades,
            ..Self::default()
        }
    }

    /// Writes over what stands in the column.
    pub(super) fn set(&mut self, column: usize, cell: Cell, shade: Shade) {
        self.changed = true;

        if column >= self.cells.len() {
            self.resize(column);
            self.cells.push(cell);
            self.shades.push(shade);
            return;
        }

        self.split(column);
        self.split(column + 1);

        if let (Some(old), Some(old_shade)) =
            (self.cells.get_mut(column), self.shades.get_mut(column))
        {
            (*old, *old_shade) = (cell, shade);
        }
    }

    /// Erases the columns from `from` to before `to`, or to the end of the row where that is `usize::MAX`.
    pub(super) fn erase(&mut self, from: usize, to: usize, shade: Shade) {
        let used = self.cells.len();
        let to_end = to == usize::MAX || (to >= used && shade == self.rest);
        self.changed |= from < used;

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

    /// Takes columns out; what stands behind them moves up.
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

    /// Puts empty columns in; what stands behind them moves away, and out of a row of `width`.
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

    /// What a column looks like behind its character.
    pub(super) fn shade(&self, column: usize) -> Shade {
        self.shades.get(column).copied().unwrap_or(self.rest)
    }

    /// What stands in a column.
    pub(super) fn cell(&self, column: usize) -> Cell {
        self.cells.get(column).copied().unwrap_or(Cell::Blank)
    }

    /// The columns from the first to the last in which there is text, if there is any: not lines that are drawn.
    pub(super) fn extent(&self) -> Option<Range<usize>> {
        self.within(0..self.cells.len())
    }

    /// The same of a part of the row.
    pub(super) fn within(&self, part: Range<usize>) -> Option<Range<usize>> {
        let seen = |column: &usize| {
            let cell = self.cell(*column);
            !cell.is_blank() && !cell.is_line()
        };
        let (mut columns, mut back) = (part.clone(), part.rev());
        Some(columns.find(seen)?..back.find(seen)? + 1)
    }

    /// Appends the text to `output`, with marks around what is highlighted. Spaces at its end are left out as far as `keep`.
    pub(super) fn text(&self, keep: usize, highlight: Option<&Highlight>, output: &mut Vec<u8>) {
        let marked = highlight.map(|highlight| self.marked(highlight));
        let cells = marked.as_ref().unwrap_or(&self.cells);

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

    /// The columns with marks: in blanks where there are some, so that nothing moves.
    fn marked(&self, highlight: &Highlight) -> Vec<Cell> {
        let mut cells = self.cells.clone();

        let mut put = |at: usize, letter: char, into_blank: bool| {
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
                    put(at, '>', true);
                } else {
                    put(0, ' ', false);
                    put(0, '>', false);
                }
            }
            Highlight::Parts(parts) => {
                for part in parts {
                    put(part.end, ']', true);

                    match part
                        .start
                        .checked_sub(1)
                        .filter(|before| self.cell(*before).is_blank())
                    {
                        Some(before) => put(before, '[', true),
                        None => put(part.start, '[', false),
                    }
                }
            }
        }

        cells
    }

    /// Has so many columns in use, if there were fewer.
    fn resize(&mut self, columns: usize) {
        if columns > self.cells.len() {
            self.cells.resize(columns, Cell::Blank);
            self.shades.resize(columns, self.rest);
        }
    }

    /// Where a wide character or a tab lies across the left edge of `column`, makes blanks of all its columns.
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
