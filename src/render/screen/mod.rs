//! Screen of a terminal, which finds the final state of text drawn with control sequences.

mod selection;
mod sequences;

use std::collections::VecDeque;

use vte::Parser;

use self::selection::Pen;
use super::{
    highlight::Shade,
    row::{Cell, ScreenRow},
};

/// Width of the screen in [`Screen::last_state`], in columns: as wide as the longest line which is
/// held back.
const WIDEST: usize = 64 * 1024;

/// Maximum number of bytes by which the last state of a line may exceed the line.
///
/// A few bytes can move the cursor far to the right, and skipped columns become blanks.
const MAX_ADDED: usize = 512;

/// Screen of a terminal, and the lines passed on from the screen.
///
/// A line is passed on as soon as a new line begins below, and again only if the line changes
/// later.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "modes of a terminal, each by itself"
)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Rows used so far, from the top: between 1 and `height`.
    rows: VecDeque<ScreenRow>,
    /// Row of the cursor.
    row: usize,
    /// Column of the cursor. Equal to `width` after a character in the last column: the next
    /// character wraps.
    column: usize,
    /// First and last row of the scrolling region.
    margins: (usize, usize),
    /// Saved row and column of the cursor.
    saved: (usize, usize),
    /// Character to repeat for REP (ECMA-48 section 8.3.103).
    last_letter: char,
    /// Replacements for lower-case letters (line drawing); empty if there are none.
    letters: &'static str,
    /// True if the next character belongs to a single shift, as in the echo of an arrow key.
    shifted: bool,
    /// True if the topmost row continues a line whose first part has been passed on.
    open: bool,
    /// Attributes of the next character.
    pen: Pen,
    /// True if highlighted text is marked.
    marks: bool,
    /// True if the cursor was addressed: the program draws, and does not write line by line.
    addressed: bool,
    /// Shade of rows in which nothing was drawn yet.
    fill: Shade,
    /// True if the program uses the alternate screen (`smcup` of terminfo(5)).
    alternate: bool,
    /// Lines passed on, waiting to be taken by the caller.
    pub(super) settled: Vec<u8>,
    /// Replies to queries of the program, waiting to be taken by the caller.
    pub(super) replies: Vec<u8>,
    /// True if some printable text is shown differently.
    pub(super) lossy: bool,
}

impl Screen {
    /// Creates an empty screen.
    pub(super) fn new(width: usize, height: usize, marks: bool) -> Self {
        Self {
            width,
            height,
            marks,
            pen: Pen::default(),
            addressed: false,
            fill: 0,
            alternate: false,
            rows: VecDeque::from([ScreenRow::default()]),
            row: 0,
            column: 0,
            margins: (0, height - 1),
            saved: (0, 0),
            last_letter: ' ',
            letters: "",
            shifted: false,
            open: false,
            settled: Vec::new(),
            replies: Vec::new(),
            lossy: false,
        }
    }

    /// Returns the last state of a line. Bytes that are not UTF-8 stay.
    ///
    /// Trailing spaces are removed if the line is `complete`, else only those right of the cursor.
    /// A line that would grow by more than [`MAX_ADDED`] bytes is returned unchanged.
    pub(super) fn last_state(line: &[u8], complete: bool) -> Vec<u8> {
        let (mut parser, mut screen): (Parser, _) = (Parser::new(), Self::new(WIDEST, 1, false));
        let most = line.len() + MAX_ADDED;

        for part in line.utf8_chunks() {
            // Cut at each control character, so that growth is noticed before it becomes expensive.
            for piece in part.valid().split_inclusive(char::is_control) {
                parser.advance(&mut screen, piece.as_bytes());
                if screen.settled.len() > most {
                    return line.to_vec();
                }
            }

            for byte in part.invalid() {
                screen.draw(Cell::Byte(*byte), 1);
            }
        }

        if complete {
            // Spaces left of the cursor are kept, so at column 0 all trailing spaces go.
            screen.column = 0;
        }

        let pending = screen.pending();
        screen.settled.extend_from_slice(&pending);

        if screen.settled.len() > most {
            line.to_vec()
        } else {
            screen.settled
        }
    }

    /// Returns the lines which were not passed on yet, separated by LF.
    pub(super) fn pending(&self) -> Vec<u8> {
        let lines = self
            .lines(0, self.rows.len())
            .filter_map(|(first, last)| self.unseen(first, last, false));
        lines.collect::<Vec<_>>().join(&b'\n')
    }

    /// Returns the first and last row of each line beginning in the rows from `start` to before
    /// `end`.
    fn lines(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut next = start;
        std::iter::from_fn(move || {
            let first = next;

            let more = self
                .rows
                .iter()
                .skip(first)
                .take_while(|row| row.wrapped)
                .count();

            let last = (first + more).min(self.rows.len() - 1);
            next = last + 1;

            (first < end).then_some((first, last))
        })
    }

    /// Returns the text of the line in these rows, or `None` if the line has no news.
    ///
    /// `passing` means that a new line begins below.
    fn unseen(&self, first: usize, last: usize, passing: bool) -> Option<Vec<u8>> {
        let goes_on = self.open && first == 0;
        let rows = || self.rows.iter().enumerate().take(last + 1).skip(first);
        if !goes_on && !rows().any(|(_, row)| row.changed) {
            return None;
        }

        let mut text = Vec::new();

        for (at, row) in rows() {
            // Spaces before a wrap or the cursor belong to the line; others are only padding.
            let keep = if row.wrapped {
                self.width
            } else if at == self.row {
                self.column
            } else {
                0
            };

            let highlight = if first == last {
                self.highlight(at, passing)
            } else {
                None
            };

            row.text(keep, highlight.as_ref(), &mut text);
        }

        let shown = self.rows.get(first).and_then(|row| row.shown.as_ref());
        let ended = self.rows.get(last).is_some_and(|row| row.ended);

        // Erasing text is not reported as a new line.
        let known = if text.is_empty() {
            shown.is_some() || !ended
        } else {
            shown == Some(&text)
        };

        (goes_on || !known).then_some(text)
    }

    /// Passes on the new text of lines beginning in the first `end` rows.
    ///
    /// `passing` means that a new line begins below them.
    fn settle(&mut self, end: usize, passing: bool) {
        // Rows before the first change have no news, which keeps long output fast.
        let changed = self
            .rows
            .iter()
            .position(|row| row.changed)
            .filter(|_| !self.open)
            .unwrap_or_default();

        let above = self
            .rows
            .iter()
            .take(changed)
            .rev()
            .take_while(|row| row.wrapped)
            .count();

        let lines: Vec<_> = self.lines(changed - above, end).collect();

        for (first, last) in lines {
            let text = self.unseen(first, last, passing);
            for row in self.rows.iter_mut().take(last + 1).skip(first) {
                row.changed = false;
            }

            let (Some(text), Some(row)) = (text, self.rows.get_mut(first)) else {
                continue;
            };
            self.settled.extend_from_slice(&text);
            self.settled.push(b'\n');
            row.shown = Some(text);
            self.open &= first > 0;
        }
    }
}

/// Writing and cursor movement.
impl Screen {
    /// Returns the row of the cursor.
    fn current(&mut self) -> Option<&mut ScreenRow> {
        self.rows.get_mut(self.row)
    }

    /// Applies a change to the row of the cursor.
    fn edit(&mut self, change: impl FnOnce(&mut ScreenRow)) {
        if let Some(row) = self.current() {
            change(row);
        }
    }

    /// Writes a character of so many columns at the cursor, wrapping at the right edge.
    fn draw(&mut self, cell: Cell, columns: usize) {
        if self.column + columns > self.width {
            if let Some(row) = self.current() {
                row.wrapped = true;
            }

            self.down(false);
            self.column = 0;
        }

        let (column, shade) = (self.column, self.pen.shade());

        if let Some(row) = self.current() {
            row.set(column, cell, shade);
            for covered in 1..columns {
                row.set(column + covered, Cell::Covered, shade);
            }
        }

        self.column += columns;
    }

    /// Moves the cursor to the next tab stop.
    fn tab(&mut self) {
        let stop = ((self.column / 8 + 1) * 8).min(self.width - 1);
        let used = self.current().map_or(0, |row| row.len());
        if self.column >= used && self.column < stop {
            self.draw(Cell::Letter('\t'), stop - self.column);
        } else {
            // Over existing text, a tab only moves the cursor.
            self.column = self.column.max(stop);
        }
    }

    /// Ends the line and moves the cursor down.
    fn line_feed(&mut self) {
        let below = self.row + 1;
        let untouched =
            below <= self.margins.1 && self.rows.iter().skip(below).all(ScreenRow::is_untouched);

        if let Some(row) = self.current() {
            row.changed |= row.shown.is_none();
            if !std::mem::replace(&mut row.ended, true) && untouched {
                // Rows below were only passed over, so this line is the last and need not wait for
                // them.
                self.rows.truncate(below);
            }
        }

        if self.down(true) {
            // A new line starts at the left: programs without terminal settings print only LF.
            self.column = 0;
        }
    }

    /// Moves the cursor to the next row. Returns true if the row is new.
    ///
    /// `complete` means that the line ends here and does not wrap.
    fn down(&mut self, complete: bool) -> bool {
        if self.row == self.margins.1 {
            self.scroll(complete);
            return true;
        }

        if self.row + 1 >= self.height {
            return false;
        }

        self.row += 1;
        let new = self.row >= self.rows.len();
        self.reach();

        // On an alternate screen, a program may draw the next line before this one.
        if new && complete && !self.alternate {
            self.settle(self.row, true);
        }

        new
    }

    /// Scrolls the region up by a row.
    fn scroll(&mut self, complete: bool) {
        let (top, bottom) = self.margins;

        let above = self
            .rows
            .iter()
            .take(self.row)
            .rev()
            .take_while(|row| row.wrapped)
            .count();

        let start = self.row - above;

        // A line longer than the screen is passed on in parts, because nothing bounds its length.
        if !complete && start == 0 && top == 0 {
            if let Some(row) = self.rows.front() {
                row.text(self.width, None, &mut self.settled);
            }
            self.open = true;
        } else {
            self.settle(
                if complete || start <= top {
                    self.row + 1
                } else {
                    start
                },
                true,
            );
        }

        if let Some(row) = self.rows.remove(top) {
            self.rows.insert(bottom.min(self.rows.len()), row.renew());
        }
    }

    /// Adds rows down to the cursor.
    fn reach(&mut self) {
        while self.rows.len() <= self.row {
            self.rows.push_back(ScreenRow::blank(self.fill));
        }
    }

    /// Moves the cursor to a position, limited to the screen.
    fn go(&mut self, row: usize, column: usize) {
        self.row = row.min(self.height - 1);
        self.column = column.min(self.width - 1);
        self.reach();
    }

    /// Moves `count` rows from row `from` of the scrolling region to row `to`, emptied.
    fn shift(&mut self, from: usize, to: usize, count: usize) {
        let (_, bottom) = self.margins;
        if from > bottom || to > bottom {
            return;
        }

        // The rows are about to disappear, so their text is passed on first.
        self.settle(self.rows.len(), false);

        for _ in 0..count.min(self.height) {
            while self.rows.len() <= from.max(to) {
                self.rows.push_back(ScreenRow::default());
            }
            if let Some(row) = self.rows.remove(from) {
                self.rows.insert(to, row.renew());
            }
        }
    }

    /// Clears the screen after passing on the text.
    fn clear(&mut self) {
        self.settle(self.rows.len(), false);
        self.rows.clear();
        self.fill = self.pen.erased();
        self.reach();
    }

    /// Erases a part of the display (ED, ECMA-48 section 8.3.39).
    fn erase_display(&mut self, part: u16) {
        match part {
            2 => self.clear(),
            // Nothing is passed on, also for the whole screen: some programs redraw the same lines
            // this way.
            0 => {
                self.erase_line(0);
                let shade = self.pen.erased();
                for row in self.rows.iter_mut().skip(self.row + 1) {
                    row.erase(0, usize::MAX, shade);
                }

                self.fill = shade;
            }
            1 => {
                self.erase_line(1);
                let shade = self.pen.erased();
                for row in self.rows.iter_mut().take(self.row) {
                    row.erase(0, usize::MAX, shade);
                }
            }
            _ => {}
        }
    }

    /// Erases a part of the row of the cursor (EL, ECMA-48 section 8.3.41).
    fn erase_line(&mut self, part: u16) {
        let (column, shade) = (self.column.min(self.width - 1), self.pen.erased());
        if part == 2 || (part == 0 && column == 0) {
            self.part_from_above();
        }

        if let Some(row) = self.current() {
            match part {
                0 => row.erase(column, usize::MAX, shade),
                1 => row.erase(0, column + 1, shade),
                2 => row.erase(0, usize::MAX, shade),
                _ => {}
            }
        }
    }

    /// Separates the current row from the row above. New text then does not continue the old line.
    fn part_from_above(&mut self) {
        if let Some(above) = self
            .row
            .checked_sub(1)
            .and_then(|above| self.rows.get_mut(above))
        {
            above.wrapped = false;
        } else if self.open {
            self.open = false;
            self.settled.push(b'\n');
        }
    }
}
