//! The screen of a terminal: what stands on it in the end.

mod selection;
mod sequences;

use std::collections::VecDeque;

use vte::Parser;

use self::selection::Pen;
use super::{
    highlight::Shade,
    row::{Cell, ScreenRow},
};

/// The widest row that [`Screen::last_state`] has: that of a line which is held until it is complete.
const WIDEST: usize = 64 * 1024;

/// By how many bytes the last state of a line may be longer than the line: a few bytes move the cursor as far as they like,
/// and what is skipped becomes blanks.
const MAX_ADDED: usize = 512;

/// A terminal's screen, and the lines that left it.
///
/// A line is passed on as soon as a new one begins below it, and again only if it is changed afterwards.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "modes of a terminal, each by itself"
)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) height: usize,
    /// As many as were in use so far, from the top: at least one, at most `height`.
    rows: VecDeque<ScreenRow>,
    row: usize,
    /// Equal to `width` after a character in the last column: the next one wraps.
    column: usize,
    /// The first and the last row of the region that scrolls.
    margins: (usize, usize),
    /// Row and column, for the sequences that save and restore them.
    saved: (usize, usize),
    last_letter: char,
    /// What lower-case letters stand for, if not for themselves.
    letters: &'static str,
    /// The next character belongs to a single shift, as in the echo of an arrow key.
    shifted: bool,
    /// The line in the topmost row began further up: its first part has been passed on.
    open: bool,
    /// How the next character is drawn.
    pen: Pen,
    /// Whether what is highlighted is marked.
    marks: bool,
    /// The cursor was sent somewhere: this is drawn, not written line by line.
    addressed: bool,
    /// What rows look like in which nothing was drawn yet.
    fill: Shade,
    /// The program has taken the screen for itself (`smcup` of terminfo(5)).
    alternate: bool,
    /// The lines passed on, until they are taken.
    pub(super) settled: Vec<u8>,
    /// What the program is to be told, because it asked.
    pub(super) replies: Vec<u8>,
    /// Something that came as no control character is not shown as it came.
    pub(super) lossy: bool,
}

impl Screen {
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

    /// What is to be seen of one line in the end. Bytes that are not UTF-8 stay. Spaces behind it go if it is
    /// `complete`, else only those right of the cursor. A line that would grow by much is shown as it came.
    pub(super) fn last_state(line: &[u8], complete: bool) -> Vec<u8> {
        let (mut parser, mut screen): (Parser, _) = (Parser::new(), Self::new(WIDEST, 1, false));
        let most = line.len() + MAX_ADDED;

        for part in line.utf8_chunks() {
            for piece in part.valid().split_inclusive(char::is_control) {
                parser.advance(&mut screen, piece.as_bytes());
                if screen.settled.len() > most {
                    return line.to_vec();
                }
            }

            for byte in part.invalid() {
                screen.put(Cell::Byte(*byte), 1);
            }
        }

        if complete {
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

    /// What was not passed on of the rows, with LF between the lines.
    pub(super) fn pending(&self) -> Vec<u8> {
        let lines = self
            .lines(0, self.rows.len())
            .filter_map(|(first, last)| self.news(first, last, false));
        lines.collect::<Vec<_>>().join(&b'\n')
    }

    /// The lines that begin in the rows from `start` to before `end`: the first and the last row of each.
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

    /// The text of the line in these rows, if there is anything new in it. `passing`: a new line begins below it.
    fn news(&self, first: usize, last: usize, passing: bool) -> Option<Vec<u8>> {
        let goes_on = self.open && first == 0;
        let rows = || self.rows.iter().enumerate().take(last + 1).skip(first);
        if !goes_on && !rows().any(|(_, row)| row.changed) {
            return None;
        }

        let mut text = Vec::new();

        for (at, row) in rows() {
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

        // That something was erased is no news.
        let known = if text.is_empty() {
            shown.is_some() || !ended
        } else {
            shown == Some(&text)
        };

        (goes_on || !known).then_some(text)
    }

    /// Passes on what is new in the lines that begin in the first `end` rows. `passing`: a new line begins below them.
    fn settle(&mut self, end: usize, passing: bool) {
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
            let text = self.news(first, last, passing);
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

/// Writing and moving.
impl Screen {
    fn current(&mut self) -> Option<&mut ScreenRow> {
        self.rows.get_mut(self.row)
    }

    fn edit(&mut self, change: impl FnOnce(&mut ScreenRow)) {
        if let Some(row) = self.current() {
            change(row);
        }
    }

    fn put(&mut self, cell: Cell, columns: usize) {
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

    fn tab(&mut self) {
        let stop = ((self.column / 8 + 1) * 8).min(self.width - 1);
        let used = self.current().map_or(0, |row| row.len());
        if self.column >= used && self.column < stop {
            self.put(Cell::Letter('\t'), stop - self.column);
        } else {
            // Over what stands there, a tab only moves.
            self.column = self.column.max(stop);
        }
    }

    fn line_feed(&mut self) {
        let below = self.row + 1;
        let untouched =
            below <= self.margins.1 && self.rows.iter().skip(below).all(ScreenRow::is_untouched);

        if let Some(row) = self.current() {
            row.changed |= row.shown.is_none();
            if !std::mem::replace(&mut row.ended, true) && untouched {
                // Rows that the cursor only passed over are no reason to wait: this line is the last one.
                self.rows.truncate(below);
            }
        }

        if self.down(true) {
            // Where a line is new, nothing stands to its left: a program without a terminal's settings means a line end.
            self.column = 0;
        }
    }

    /// Moves the cursor one row down, and says whether that row is new. `complete`: the line ends here, it does not wrap.
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

        // Of a screen that a program has for itself, the next line may be drawn before this one.
        if new && complete && !self.alternate {
            self.settle(self.row, true);
        }

        new
    }

    /// Takes the topmost row out of the region that scrolls, and puts an empty one below.
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

    /// Has rows as far as the cursor.
    fn reach(&mut self) {
        while self.rows.len() <= self.row {
            self.rows.push_back(ScreenRow::blank(self.fill));
        }
    }

    fn go(&mut self, row: usize, column: usize) {
        self.row = row.min(self.height - 1);
        self.column = column.min(self.width - 1);
        self.reach();
    }

    /// Takes rows out of the region that scrolls, and puts empty ones in: at the other end of what is below the cursor.
    fn shift(&mut self, from: usize, to: usize, count: usize) {
        let (_, bottom) = self.margins;
        if from > bottom || to > bottom {
            return;
        }

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

    /// Begins an empty screen; what stood on the old one is passed on.
    fn clear(&mut self) {
        self.settle(self.rows.len(), false);
        self.rows.clear();
        self.fill = self.pen.erased();
        self.reach();
    }

    fn erase_display(&mut self, part: u16) {
        match part {
            2 => self.clear(),
            // Also from the top on: so programs draw the same lines again and again.
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

    /// Whatever comes to stand in the current row does not continue the one above.
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
