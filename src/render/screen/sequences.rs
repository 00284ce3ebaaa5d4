//! Effect of characters and control sequences on a screen (ECMA-48; xterm's ctlseqs).

use unicode_width::UnicodeWidthChar;
use vte::{Params, Perform};

use super::{Cell, Pen, Screen};
use crate::render::COLUMNS;

/// Line-drawing characters from the grave accent on, selected by `ESC ( 0` (VT100 User Guide, table
/// 3-9).
const LINE_DRAWING: &str = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";

/// Maximum number of bytes of replies waiting to be taken.
const MAX_REPLIES_BYTES: usize = 1024;

impl Screen {
    /// Answers queries for the cursor position and the kind of terminal. Some programs do not start
    /// without an answer.
    fn reply(&mut self, query: char, parameter: u16) {
        let reply = match (query, parameter) {
            ('n', 5) => "\x1b[0n".to_owned(),
            ('n', 6) => format!(
                "\x1b[{};{}R",
                self.row + 1,
                self.column.min(self.width - 1) + 1
            ),
            // A VT100 with the advanced video option, xterm's default reply.
            ('c', 0) => "\x1b[?1;2c".to_owned(),
            _ => return,
        };

        // Output full of queries must not fill memory if nobody takes the replies.
        if self.replies.len() + reply.len() <= MAX_REPLIES_BYTES {
            self.replies.extend_from_slice(reply.as_bytes());
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, letter: char) {
        if letter == '\x7f' || std::mem::take(&mut self.shifted) {
            return;
        }

        self.lossy |= letter == char::REPLACEMENT_CHARACTER;
        let at = u32::from(letter)
            .checked_sub(u32::from('`'))
            .and_then(|at| usize::try_from(at).ok());

        let letter = at
            .and_then(|at| self.letters.chars().nth(at))
            .unwrap_or(letter);
        self.last_letter = letter;

        // A combining character gets its own column: keeping it matters more than the exact place
        // of later text.
        self.draw(Cell::Letter(letter), letter.width().unwrap_or(1).max(1));
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' | 0x0b | 0x0c => self.line_feed(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.min(self.width - 1).saturating_sub(1),
            b'\t' => self.tab(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'7') => self.saved = (self.row, self.column),
            ([], b'8') => self.go(self.saved.0, self.saved.1),
            ([], b'D') => self.line_feed(),
            ([], b'E') => {
                self.column = 0;
                self.line_feed();
            }
            ([], b'M') if self.row == self.margins.0 => self.shift(self.margins.1, self.row, 1),
            ([], b'M') => self.go(self.row.saturating_sub(1), self.column),
            ([], b'N' | b'O') => self.shifted = true,
            ([], b'c') => {
                self.clear();
                self.margins = (0, self.height - 1);
                self.letters = "";
                (self.pen, self.addressed, self.alternate) = (Pen::default(), false, false);
                self.go(0, 0);
            }
            (b"(", set) => self.letters = if set == b'0' { LINE_DRAWING } else { "" },
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, parameters: &Params, intermediates: &[u8], _: bool, action: char) {
        let parameter = |at: usize| {
            parameters
                .iter()
                .nth(at)
                .and_then(|values| values.first())
                .copied()
                .unwrap_or(0)
        };

        let first = parameter(0);

        // Most sequences treat 0 as their default, 1.
        let (count, second) = (usize::from(first.max(1)), usize::from(parameter(1).max(1)));

        if !intermediates.is_empty() {
            let screens = parameters
                .iter()
                .flatten()
                .any(|mode| matches!(mode, 47 | 1047 | 1049));

            if intermediates == b"?" && matches!(action, 'h' | 'l') && screens {
                // Switches to the alternate screen or back.
                self.clear();
                self.go(0, 0);
                (self.alternate, self.addressed) = (action == 'h', false);
            }

            return;
        }

        let (row, column, width) = (self.row, self.column, self.width);
        let erased = self.pen.erased();
        // Movements within a line and down also occur in output written line by line.
        self.addressed |= matches!(action, 'A' | 'H' | 'f' | 'd');

        match action {
            'm' if self.marks => self.pen.select(parameters),
            'A' => self.go(row.saturating_sub(count), column),
            'B' | 'e' => self.go(row + count, column),
            'C' | 'a' => self.go(row, column + count),
            'D' => self.go(row, column.min(width - 1).saturating_sub(count)),
            'E' => self.go(row + count, 0),
            'F' => self.go(row.saturating_sub(count), 0),
            'G' | '`' => self.go(row, count - 1),
            'H' | 'f' => self.go(count - 1, second - 1),
            'd' => self.go(count - 1, column),
            'J' => self.erase_display(first),
            'K' => self.erase_line(first),
            'L' => self.shift(self.margins.1, row, count),
            'M' => self.shift(row, self.margins.1, count),
            'S' => self.shift(self.margins.0, self.margins.1, count),
            'T' => self.shift(self.margins.1, self.margins.0, count),
            'X' => self.edit(|row| row.erase(column, (column + count).min(width), erased)),
            'P' => self.edit(|row| row.delete(column, count)),
            '@' => self.edit(|row| row.insert(column, count, width)),
            'b' => {
                // Limited to one row, as ncurses uses it: a huge count must not cost much time.
                for _ in 0..count.min(width - column.min(width)).min(COLUMNS.into()) {
                    self.print(self.last_letter);
                }
            }
            'r' => {
                let bottom = if parameter(1) == 0 {
                    self.height
                } else {
                    second.min(self.height)
                } - 1;

                // A scrolling region has at least two rows (DECSTBM of the VT100).
                if count - 1 < bottom {
                    self.margins = (count - 1, bottom);
                    self.go(0, 0);
                }
            }
            's' => self.saved = (row, column),
            'n' | 'c' => self.reply(action, first),
            'u' => self.go(self.saved.0, self.saved.1),
            _ => {}
        }
    }
}
