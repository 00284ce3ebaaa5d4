//! Detection of the highlighted part of a screen: the selected row of a menu, the button that Enter
//! would press.
//!
//! Programs highlight with reverse video and backgrounds, which plain text lacks. A row that stands
//! out from the rows around it is marked by `>`, a part of a row by brackets.
//!
//! Some highlights are ignored. These are bars of the whole width at the top and bottom, and the
//! last row. Rows with many highlighted parts (the keys of an editor) and parts of words (matches
//! in a pager) are ignored, too.

use vte::Params;

use std::ops::Range;

use super::{Cell, Screen, ScreenRow};
use crate::render::highlight::{Highlight, Shade};

/// Maximum number of highlighted parts in a selected row. More parts are not a selection.
const MAX_PARTS: usize = 2;
/// Number of rows at the bottom where a bar of the whole width is a status bar.
const BOTTOM_ROWS: usize = 2;

/// Number of rows above and below which show the usual shade.
const AROUND: usize = 4;

/// Flag for reverse video.
const REVERSE: Shade = 0x80;
/// First number for other colours. The colours of ECMA-48 and their bright variants have the
/// numbers below; others are told apart only roughly.
const OTHERS: u16 = 17;
const MAX_OTHER_COLOURS: u16 = 100;

/// Attributes of the next character which matter for highlighting.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pen {
    foreground: Shade,
    background: Shade,
    reverse: bool,
}

impl Pen {
    /// Returns the shade of characters drawn with these attributes.
    pub(super) fn shade(self) -> Shade {
        if self.reverse {
            REVERSE | self.foreground
        } else {
            self.background
        }
    }

    /// Returns the shade of erased columns: `bce` of terminfo(5).
    pub(super) fn erased(self) -> Shade {
        self.background
    }

    /// Applies Select Graphic Rendition (ECMA-48 section 8.3.117), with the colours of ISO 8613-6.
    pub(super) fn select(&mut self, parameters: &Params) {
        let mut all = parameters.iter();
        while let Some(parameter) = all.next() {
            let Some(&code) = parameter.first() else {
                continue;
            };

            match code {
                0 => *self = Self::default(),
                7 => self.reverse = true,
                27 => self.reverse = false,
                30..=37 => self.foreground = colour(code - 30 + 1),
                90..=97 => self.foreground = colour(code - 90 + 9),
                39 => self.foreground = 0,
                40..=47 => self.background = colour(code - 40 + 1),
                100..=107 => self.background = colour(code - 100 + 9),
                49 => self.background = 0,
                // 58 is the colour of underlines, whose values have to be skipped as well.
                38 | 48 | 58 => {
                    let mut values: Vec<u16> = parameter.iter().skip(1).copied().collect();

                    // xterm also takes the parts of a colour as parameters of their own, separated
                    // by semicolons.
                    if values.is_empty() {
                        let mut next = || {
                            all.next()
                                .and_then(|values| values.first())
                                .copied()
                                .unwrap_or_default()
                        };

                        let kind = next();
                        values.push(kind);

                        values.extend(
                            (0..match kind {
                                5 => 1,
                                2 => 3,
                                _ => 0,
                            })
                                .map(|_| next()),
                        );
                    }

                    let sum = values.iter().fold(0, |sum: u16, value| {
                        sum.wrapping_mul(31).wrapping_add(*value)
                    });
                    let other = colour(OTHERS + sum % MAX_OTHER_COLOURS);
                    match code {
                        38 => self.foreground = other,
                        48 => self.background = other,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns a shade for the number of a colour, without the flag for reverse video.
fn colour(number: u16) -> Shade {
    Shade::try_from(number).unwrap_or_default() & !REVERSE
}

impl Screen {
    /// Returns the highlighted part of a row, or `None` if nothing is highlighted.
    ///
    /// `passing` means that a new line has begun below, and the program may not have drawn more.
    pub(super) fn highlight(&self, at: usize, passing: bool) -> Option<Highlight> {
        let row = self.rows.get(at).filter(|row| self.marks && !row.wrapped)?;

        // A cursor after a line of its own is a prompt, not a selection.
        if !self.addressed && !passing && at == self.row {
            return None;
        }

        // In output written line by line, the rows around say nothing about the usual shade.
        let is_drawn = self.alternate || (self.addressed && !passing);
        if is_drawn && at + 1 == self.height {
            return None;
        }

        let text = row.extent()?;

        let first = at.saturating_sub(AROUND);
        let around: Vec<_> = (first..=(at + AROUND).min(self.height - 1))
            .filter(|other| *other != at)
            .map(|other| (other.abs_diff(at) == 1, self.rows.get(other)))
            .collect();

        let stands_out = |column: usize| {
            let shade = row.shade(column);
            if !is_drawn {
                return shade & REVERSE != 0;
            }

            let same =
                |row: Option<&ScreenRow>| row.map_or(self.fill, |row| row.shade(column)) == shade;
            let adjoins = around.iter().any(|(is_next, row)| *is_next && same(*row));

            // A neighbour of the selected row has another neighbour with the usual shade.
            let alike = around.iter().filter(|(_, row)| same(*row)).count();
            !adjoins && alike * 2 <= around.len()
        };

        let mut parts: Vec<Range<usize>> = Vec::new();

        for column in (0..self.width).filter(|column| stands_out(*column)) {
            match parts.last_mut() {
                Some(part) if part.end == column => part.end += 1,
                _ => parts.push(column..column + 1),
            }
        }

        let is_bar = |part: &Range<usize>| {
            let whole = part.start == 0 && part.end + 1 >= self.width;
            whole && (at == 0 || at + BOTTOM_ROWS >= self.height)
        };

        parts.retain(|part| !is_bar(part));
        let parts: Vec<Range<usize>> = parts
            .into_iter()
            .filter_map(|part| row.within(part))
            .collect();

        // The frame of a box does not count as text, so the whole text may still be only a button.
        let is_in_a_box = (0..row.len()).any(|column| row.cell(column).is_line());
        if parts == [text] && !is_in_a_box {
            return Some(Highlight::Row);
        }

        let is_apart = |part: &Range<usize>| {
            let before = part
                .start
                .checked_sub(1)
                .is_none_or(|before| is_edge(row.cell(before)));
            before && is_edge(row.cell(part.end))
        };

        let is_selection = (1..=MAX_PARTS).contains(&parts.len()) && (is_drawn || self.addressed);
        let parts = if is_selection {
            parts.into_iter().rev().filter(is_apart).collect()
        } else {
            Vec::new()
        };

        (!parts.is_empty()).then_some(Highlight::Parts(parts))
    }
}

/// Returns true if a part of a row may end here: at a blank or a drawn line.
fn is_edge(cell: Cell) -> bool {
    cell.is_blank() || cell.is_line() || cell == Cell::Letter('|')
}
