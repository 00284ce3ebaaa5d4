//! One row of a terminal.

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

/// The columns of a row, from the left, as far as anything stands in them.
#[derive(Debug, Default)]
pub(super) struct Row {
    cells: Vec<Cell>,
    /// The text goes on in the next row: the line was too long for one.
    pub(super) wrapped: bool,
    /// Something may stand here that was not passed on.
    pub(super) changed: bool,
    /// A line feed came here: this is a line, even if it is empty.
    pub(super) ended: bool,
    /// The whole line that begins here, as it was passed on.
    pub(super) shown: Option<Vec<u8>>,
}

impl Row {
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
        Self { cells: self.cells, ..Self::default() }
    }

    /// Writes over what stands in the column.
    pub(super) fn set(&mut self, column: usize, cell: Cell) {
        self.changed = true;
        if column >= self.cells.len() {
            self.cells.resize(column, Cell::Blank);
            self.cells.push(cell);
            return;
        }
        self.split(column);
        self.split(column + 1);
        if let Some(old) = self.cells.get_mut(column) {
            *old = cell;
        }
    }

    /// Erases the columns from `from` to before `to`.
    pub(super) fn erase(&mut self, from: usize, to: usize) {
        if from >= self.cells.len() {
            return;
        }
        self.changed = true;
        self.split(from);
        if to >= self.cells.len() {
            self.cells.truncate(from);
            self.wrapped = false;
            return;
        }
        self.split(to);
        for cell in self.cells.iter_mut().take(to).skip(from) {
            *cell = Cell::Blank;
        }
    }

    /// Takes columns out; what stands behind them moves up.
    pub(super) fn delete(&mut self, from: usize, count: usize) {
        let to = from.saturating_add(count).min(self.cells.len());
        if from < to {
            self.changed = true;
            self.split(from);
            self.split(to);
            self.cells.drain(from..to);
        }
    }

    /// Puts empty columns in; what stands behind them moves away, and out of a row of `width`.
    pub(super) fn insert(&mut self, at: usize, count: usize, width: usize) {
        if at < self.cells.len() {
            self.changed = true;
            self.split(at);
            let count = count.min(width.saturating_sub(at));
            self.cells.splice(at..at, std::iter::repeat_n(Cell::Blank, count));
            self.cells.truncate(width);
        }
    }

    /// Appends the text to `output`. Spaces at its end are left out as far as `keep`.
    pub(super) fn text(&self, keep: usize, output: &mut Vec<u8>) {
        let blank = |cell: &&Cell| matches!(cell, Cell::Blank | Cell::Letter(' '));
        let behind = self.cells.iter().skip(keep).rev().take_while(blank).count();
        for cell in self.cells.iter().take(self.cells.len() - behind) {
            match cell {
                Cell::Letter(letter) => output.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                Cell::Byte(byte) => output.push(*byte),
                Cell::Covered => {}
                Cell::Blank => output.push(b' '),
            }
        }
    }

    /// Where a wide character or a tab lies across the left edge of `column`, makes blanks of all its columns.
    fn split(&mut self, column: usize) {
        let is_covered = |cell: &&Cell| **cell == Cell::Covered;
        let before = self.cells.iter().take(column).rev().take_while(is_covered).count();
        let after = self.cells.iter().skip(column).take_while(is_covered).count();
        if after > 0 {
            let start = column.saturating_sub(before + 1);
            for cell in self.cells.iter_mut().take(column + after).skip(start) {
                *cell = Cell::Blank;
            }
        }
    }
}
