//! Conversion of output for a pipe or a file: exact, except for lines drawn over.

use memchr::{memchr, memchr2, memrchr};

use super::{screen::Screen, sequence};

/// Maximum number of bytes of an unfinished line to hold back.
const MAX_HELD_LINE_BYTES: usize = 64 * 1024;

/// Converter for [`Style::Plain`](super::Style::Plain).
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Unfinished line. A line drawn over many times is kept as its last state and the bytes since.
    held: Vec<u8>,
    /// True if the line was too long to hold back, and the rest is passed on.
    passing: bool,
    /// True after a NUL: the rest of the output is binary.
    binary: bool,
    was_rewritten: bool,
}

impl Plain {
    /// Converts the next bytes and appends complete lines to `output`.
    pub(super) fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        let text = if self.binary {
            0
        } else {
            memchr(0, bytes).unwrap_or(bytes.len())
        };

        let (text, binary) = bytes.split_at(text);
        self.push_text(text, output);

        if !binary.is_empty() {
            self.binary = true;
            // The line may belong to the binary data, so it is passed on unchanged.
            output.append(&mut self.held);
            output.extend_from_slice(binary);
        }
    }

    /// Appends the unfinished line to `output` and starts a new line.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        self.was_rewritten = self.was_rewritten();
        output.append(&mut self.unfinished());
        self.held.clear();
        self.passing = false;
    }

    /// Returns the current state of the unfinished line.
    pub(super) fn unfinished(&self) -> Vec<u8> {
        if memchr(b'\r', &self.held).is_some() {
            Screen::last_state(&self.held, false)
        } else {
            without_sequences(&self.held).unwrap_or_else(|| self.held.clone())
        }
    }

    /// Returns true if the converted text differs from the bytes.
    pub(super) fn was_rewritten(&self) -> bool {
        self.was_rewritten
            || memchr(b'\r', &self.held).is_some()
            || without_sequences(&self.held).is_some()
    }

    /// Converts bytes without a NUL.
    fn push_text(&mut self, mut bytes: &[u8], output: &mut Vec<u8>) {
        while !bytes.is_empty() {
            // Most output has no carriage return or control sequence, and is copied without a look
            // at single lines.
            if self.held.is_empty() && !self.passing {
                let plain = memchr2(b'\r', 0x1b, bytes)
                    .and_then(|at| bytes.get(..at))
                    .unwrap_or(bytes);
                let lines = memrchr(b'\n', plain).map_or(0, |end| end + 1);
                let (lines, rest) = bytes.split_at(lines);
                output.extend_from_slice(lines);
                bytes = rest;
            }

            let (part, rest) =
                bytes.split_at(memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1));
            self.push_part(part, output);
            bytes = rest;
        }
    }

    /// Appends bytes of a single line, possibly including the line end.
    fn push_part(&mut self, mut part: &[u8], output: &mut Vec<u8>) {
        while !part.is_empty() && !self.passing {
            let (first, rest) =
                part.split_at(part.len().min(MAX_HELD_LINE_BYTES - self.held.len()));
            self.held.extend_from_slice(first);
            part = rest;

            if self.held.ends_with(b"\n") {
                self.settle(output);
            } else if self.held.len() == MAX_HELD_LINE_BYTES {
                self.shorten(output);
            }
        }

        output.extend_from_slice(part);
        self.passing &= !part.ends_with(b"\n");
    }

    /// Appends the held line, which is complete, to `output`.
    fn settle(&mut self, output: &mut Vec<u8>) {
        // The CR of a line end is not a carriage return within the line.
        let end = if self.held.ends_with(b"\r\n") { 2 } else { 1 };
        let (line, end) = self.held.split_at(self.held.len() - end);

        if memchr(b'\r', line).is_some() {
            self.was_rewritten = true;
            output.append(&mut Screen::last_state(line, true));
        } else if let Some(mut text) = without_sequences(line) {
            self.was_rewritten = true;
            output.append(&mut text);
        } else {
            output.extend_from_slice(line);
        }

        output.extend_from_slice(end);
        self.held.clear();
    }

    /// Makes room in the held line.
    ///
    /// Of a line drawn over, only the state at the last carriage return is kept. Any other line is
    /// passed on. A carriage return at the very end may be half of a line end, and is left alone.
    fn shorten(&mut self, output: &mut Vec<u8>) {
        let undecided = self.held.len().saturating_sub(1);

        if let Some(at) = self
            .held
            .get(..undecided)
            .and_then(|line| memrchr(b'\r', line))
        {
            let (before, after) = self.held.split_at(at);
            let short = [&Screen::last_state(before, true), after].concat();
            // A state that fills more than half would soon have to be shortened again.
            if short.len() <= MAX_HELD_LINE_BYTES / 2 {
                self.was_rewritten = true;
                self.held = short;
                return;
            }
        }

        self.passing = true;

        if let Some(text) = without_sequences(&self.held) {
            self.was_rewritten = true;
            self.held = text;
        }

        output.append(&mut self.held);
    }
}

/// Returns a line without control sequences, or `None` if there are none. An incomplete sequence
/// stays.
fn without_sequences(line: &[u8]) -> Option<Vec<u8>> {
    memchr(0x1b, line)?;
    let (mut text, mut rest) = (Vec::with_capacity(line.len()), line);

    while let Some(escape) = memchr(0x1b, rest) {
        let (before, from) = rest.split_at(escape);
        text.extend_from_slice(before);

        // An ESC without a valid sequence is kept.
        let length = sequence(from.get(1..).unwrap_or_default()).map_or(0, |length| length + 1);
        text.extend_from_slice(if length == 0 { b"\x1b" } else { b"" });
        rest = from.get(length.max(1)..).unwrap_or_default();
    }

    text.extend_from_slice(rest);

    (text.len() < line.len()).then_some(text)
}
