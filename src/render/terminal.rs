//! Conversion of output for a terminal.

use std::fmt;

use vte::Parser;

use super::screen::Screen;

/// Converter for [`Style::Terminal`](super::Style::Terminal).
pub(super) struct Terminal {
    /// Parser of control sequences. Bounded: of a sequence, the parser keeps 32 numbers and 1 KiB
    /// of text.
    parser: Parser,
    /// Incomplete character. The parser (vte 0.15) would keep it, but at times loses the bytes
    /// after it.
    partial: Vec<u8>,
    screen: Screen,
    was_rewritten: bool,
}

impl Terminal {
    /// Creates a converter with an empty screen.
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let screen = Screen::new(columns.into(), rows.into(), true);
        Self {
            parser: Parser::new(),
            partial: Vec::new(),
            screen,
            was_rewritten: false,
        }
    }

    /// Converts the next bytes and appends complete lines to `output`.
    pub(super) fn push(&mut self, mut bytes: &[u8], output: &mut Vec<u8>) {
        let control = |byte: &u8| matches!(byte, 0..=8 | 11..=31 | 127);
        self.was_rewritten = self.was_rewritten || bytes.iter().any(control);

        // The parser gets only complete characters, as it may lose bytes after an incomplete one.
        while !self.partial.is_empty()
            && let Some((byte, rest)) = bytes.split_first()
        {
            bytes = rest;
            self.partial.push(*byte);
            let partial = self
                .partial
                .split_off(self.partial.len() - incomplete(&self.partial));
            self.parser.advance(&mut self.screen, &self.partial);
            self.partial = partial;
        }

        let (whole, partial) = bytes.split_at(bytes.len() - incomplete(bytes));
        self.parser.advance(&mut self.screen, whole);
        self.partial.extend_from_slice(partial);
        output.append(&mut self.screen.settled);
    }

    /// Appends the rest of the screen to `output` and starts with an empty screen.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        // CAN ends whatever sequence or character was left incomplete.
        self.partial.push(0x18);
        self.parser
            .advance(&mut self.screen, &std::mem::take(&mut self.partial));
        self.was_rewritten = self.was_rewritten();
        output.append(&mut self.screen.pending());
        self.screen = Screen::new(self.screen.width, self.screen.height, true);
    }

    /// Returns the lines on the screen which were not passed on yet.
    pub(super) fn unfinished(&self) -> Vec<u8> {
        self.screen.pending()
    }

    /// Returns and clears the replies to queries of the program.
    pub(super) fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.screen.replies)
    }

    /// Returns true if the converted text differs from the bytes.
    pub(super) fn was_rewritten(&self) -> bool {
        self.was_rewritten || self.screen.lossy
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Terminal")
            .field("screen", &self.screen)
            .finish_non_exhaustive()
    }
}

/// Returns the length of an incomplete character at the end of `bytes`.
pub(super) fn incomplete(bytes: &[u8]) -> usize {
    let continued = bytes
        .iter()
        .rev()
        .take(3)
        .take_while(|byte| matches!(byte, 0x80..=0xbf))
        .count();

    let last = bytes
        .get(bytes.len().saturating_sub(continued + 1)..)
        .unwrap_or_default();

    if std::str::from_utf8(last)
        .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    {
        last.len()
    } else {
        0
    }
}
