//! Text of a file as a reader sees it: on one line, without bytes that a terminal would obey.

use std::fmt::Write as _;

use crate::foreign_text::is_line_unsafe;

/// Mark for a part of a line that is left out.
const CUT: char = '…';

/// Returns a line for display. Tabs stay, other control characters are written out, and bytes that
/// are not UTF-8 become `\xNN`.
pub(super) fn escaped(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter != '\t' && is_line_unsafe(letter) {
                shown.extend(letter.escape_debug());
            } else {
                shown.push(letter);
            }
        }

        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }

    shown
}

/// Returns at most `width` bytes of the line, escaped, with the byte at `at` among them.
///
/// A third of the width stands before that byte. `…` marks each end that was cut.
pub(super) fn cut_around(line: &[u8], at: usize, width: usize) -> String {
    let (start, end) = window(line, at, width);
    let mut shown = escaped(line.get(start..end).unwrap_or_default());

    if start > 0 {
        shown.insert(0, CUT);
    }

    if end < line.len() {
        shown.push(CUT);
    }

    shown
}

/// Returns the first and last position of a part of the line that has `at` in it.
pub(super) fn window(line: &[u8], at: usize, width: usize) -> (usize, usize) {
    if line.len() <= width {
        return (0, line.len());
    }

    let start = at.saturating_sub(width / 3).min(line.len() - width);
    let start = character_start(line, start);

    (start, character_start(line, start + width))
}

/// Returns the start of the UTF-8 character that covers a position.
pub(super) fn character_start(bytes: &[u8], at: usize) -> usize {
    // A character has at most three continuation bytes; more of them are not UTF-8.
    (0..=3)
        .filter_map(|back| at.checked_sub(back))
        .find(|at| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(at)
}

/// Returns a number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }

    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes_cannot_leave_their_line() {
        for (line, shown) in [
            (&b"a\tb"[..], "a\tb"),
            (b"\x1b[31m", "\\u{1b}[31m"),
            (b"caf\xe9", "caf\\xe9"),
            ("a\u{2028}b\u{202e}".as_bytes(), "a\\u{2028}b\\u{202e}"),
        ] {
            assert_eq!(escaped(line), shown);
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = b"0123456789abcdefghij";
        for (at, shown) in [(0, "012345…"), (10, "…89abcd…"), (19, "…efghij")] {
            assert_eq!(cut_around(line, at, 6), shown);
        }

        assert_eq!(cut_around(b"short", 2, 6), "short");
        assert_eq!(cut_around("ääääää".as_bytes(), 6, 5), "…ää…");
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (2314, "2,314"),
            (1_000_000, "1,000,000"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }
}
