//! Output for a terminal.

use std::fmt;

use vte::Parser;

use super::screen::Screen;

/// See [`Style::Terminal`](super::Style::Terminal).
pub(super) struct Terminal {
    /// Bounded: of what a sequence carries, the parser keeps 32 numbers and 1 KiB of text.
    parser: Parser,
    /// A character of which more is to come. The parser (vte 0.15) would keep it, but loses what follows it at times.
    partial: Vec<u8>,
    screen: Screen,
    was_rewritten: bool,
}

impl Terminal {
    pub(super) fn new(columns: u16, rows: u16) -> Self {
        let screen = Screen::new(columns.into(), rows.into(), true);
        Self {
            parser: Parser::new(),
            partial: Vec::new(),
            screen,
            was_rewritten: false,
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], output: &mut Vec<u8>) {
        let control = |byte: &u8| matches!(byte, 0..=8 | 11..=31 | 127);
        self.was_rewritten = self.was_rewritten || bytes.iter().any(control);

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

    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        // CAN ends whatever sequence or character was left incomplete.
        self.partial.push(0x18);
        self.parser
            .advance(&mut self.screen, &std::mem::take(&mut self.partial));
        self.was_rewritten = self.was_rewritten();
        output.append(&mut self.screen.pending());
        self.screen = Screen::new(self.screen.width, self.screen.height, true);
    }

    pub(super) fn unfinished(&self) -> Vec<u8> {
        self.screen.pending()
    }

    pub(super) fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.screen.replies)
    }

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

/// The length of the character at the end of `bytes` of which more is to come.
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
