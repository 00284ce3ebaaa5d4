//! Detection of text and binary data.

use super::Captured;

/// Kind of content of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Text in UTF-8.
    Text,
    /// Text with bytes which are not UTF-8. Those bytes are shown as U+FFFD.
    NotUtf8,
    /// Binary data, with the name of the format as far as the first bytes tell.
    Binary(&'static str),
}

/// Number of bytes kept from the beginning of the original stream to detect formats.
pub const BEGINNING: usize = 512;
/// Number of first bytes shown for binary data.
const SHOWN: usize = 16;
/// Minimum number of bytes to judge content by statistics. Shorter content is only compared with
/// known formats.
const LEAST: usize = 64;

/// Signatures of file formats: offset, bytes and name.
const FORMATS: [(usize, &[u8], &str); 18] = [
    (0, b"\x7fELF", "ELF program"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"BZh", "bzip2 data"),
    (0, b"\xfd7zXZ\0", "xz data"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (0, b"PK\x03\x04", "zip archive"),
    (257, b"ustar", "tar archive"),
    (0, b"\x89PNG\r\n", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"GIF8", "GIF image"),
    (0, b"%PDF-", "PDF document"),
    (0, b"SQLite format 3\0", "SQLite database"),
    (0, b"\xca\xfe\xba\xbe", "Java class or Mach-O program"),
    (0, b"\xcf\xfa\xed\xfe", "Mach-O program"),
    (0, b"MZ", "Windows program"),
    (0, b"\xff\xfe", "text in UTF-16"),
    (0, b"\xfe\xff", "text in UTF-16"),
];

/// Counts of bytes by kind in a part of a stream.
#[derive(Debug, Default)]
struct ByteCounts {
    all: usize,
    nul: usize,
    control: usize,
    /// Bytes of invalid UTF-8, or of U+FFFD in place of invalid bytes.
    invalid: usize,
}

/// Returns the name of the file format whose signature the bytes have, if any.
///
/// A text may begin like a format, so the name counts only for bytes that are not all text.
#[must_use]
pub fn format_of(beginning: &[u8]) -> Option<&'static str> {
    let is_here = |(offset, bytes, _): &&(usize, &[u8], _)| {
        beginning
            .get(*offset..)
            .is_some_and(|rest| rest.starts_with(bytes))
    };

    FORMATS.iter().find(is_here).map(|(.., name)| *name)
}

impl Captured {
    /// Returns the kind of content, judged by the beginning and end of the stream.
    #[must_use]
    pub fn nature(&self) -> Nature {
        let parts = [self.beginning.as_slice(), &self.head, &self.tail];
        // Each part by itself: a long text must not outweigh binary data at the other end.
        let counts = parts.map(ByteCounts::count);
        let format = format_of(&self.beginning);

        // A text may begin like a format ("MZ"), so at least one byte must not be text.
        let is_of_format =
            counts.iter().any(|counts| counts.invalid + counts.nul > 0) && self.total > 2;
        let looks_binary = counts.iter().any(ByteCounts::is_binary);

        match format {
            Some(name) if looks_binary || (is_of_format && !name.starts_with("text")) => {
                Nature::Binary(name)
            }
            // Formats come first, because their name says more than "data".
            _ if looks_binary => Nature::Binary("data"),
            _ if counts.iter().any(|counts| counts.invalid > 0) => Nature::NotUtf8,
            _ => Nature::Text,
        }
    }

    /// Describes binary data: preceding lines of text, then the kind and first bytes of the data.
    pub(super) fn in_place_of_bytes(&self, kind: &str) -> String {
        let bad = first_bad(&self.head);
        // Text before the data, such as the header of an HTTP response, explains the data.
        let lines = self
            .head
            .get(..bad)
            .and_then(|text| text.iter().rposition(|byte| *byte == b'\n'));

        let lines = lines
            .and_then(|end| self.head.get(..=end))
            .unwrap_or_default();

        // Without text before it, the data begins the stream, whose first bytes are kept unchanged.
        let from = if lines.is_empty() && !self.beginning.is_empty() {
            &self.beginning
        } else {
            &self.head
        };

        let first = from
            .iter()
            .skip(lines.len())
            .take(SHOWN)
            .map(|byte| format!(" {byte:02x}"));

        let first: String = first.collect();

        format!(
            "{}[… binary {kind}, {} bytes in all, not shown; begins{first} …]\n",
            String::from_utf8_lossy(lines),
            self.total
        )
    }
}

impl ByteCounts {
    /// Counts the bytes of a part by kind.
    fn count(bytes: &[u8]) -> Self {
        let mut counts = Self {
            all: bytes.len(),
            ..Self::default()
        };

        for chunk in bytes.utf8_chunks() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\0' => counts.nul += 1,
                    char::REPLACEMENT_CHARACTER => counts.invalid += letter.len_utf8(),
                    // BEL to CR and ESC occur in text for terminals.
                    '\u{1}'..='\u{6}' | '\u{e}'..='\u{1a}' | '\u{1c}'..='\u{1f}' | '\u{7f}' => {
                        counts.control += 1;
                    }
                    _ => {}
                }
            }

            counts.invalid += chunk.invalid().len();
        }

        counts
    }

    /// Returns true if too many bytes are not text. Fewer than [`LEAST`] bytes are never binary.
    fn is_binary(&self) -> bool {
        // Names separated by NUL are still text (find -print0, /proc/PID/environ), as is another
        // encoding.
        let unreadable = self.control + self.nul;
        self.all >= LEAST
            && ((self.invalid > 0 && unreadable * 50 > self.all)
                || (self.invalid + self.control) * 10 > self.all * 3
                || self.nul * 10 > self.all * 3)
    }
}

/// Returns the position of the first byte not belonging to text, or the length if there is none.
fn first_bad(bytes: &[u8]) -> usize {
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        // The terminal renderer writes U+FFFD for bytes that are not UTF-8.
        let bad = |letter: char| {
            letter == char::REPLACEMENT_CHARACTER
                || (letter.is_control() && !matches!(letter, '\u{7}'..='\r' | '\u{1b}'))
        };

        if let Some((found, _)) = chunk
            .valid()
            .char_indices()
            .find(|(_, letter)| bad(*letter))
        {
            return at + found;
        }

        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            return at;
        }
    }

    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Capture;

    fn captured(bytes: &[u8]) -> Captured {
        let mut capture = Capture::new(12_000, 12_000);
        capture.push(bytes);
        let beginning = bytes.iter().copied().take(BEGINNING).collect();
        capture
            .finish()
            .with_original(bytes.len() as u64, beginning)
    }

    #[test]
    fn text_differs_from_other_content() {
        let random_bytes: Vec<u8> = (0..2000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();

        let environ =
            b"PATH=/usr/bin:/bin\0HOME=/root\0LANG=C.UTF-8\0TERM=xterm-256color\0SHELL=/bin/bash\0"
                .to_vec();

        let wide: Vec<u8> = "hello, this is wide text over many bytes"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();

        let latin: Vec<u8> =
            "Gr\u{fc}\u{df}e aus K\u{f6}ln, wie immer sehr herzlich, und noch mehr Text"
                .chars()
                .map(|c| c as u8)
                .collect();

        for (bytes, nature) in [
            (b"plain\n".to_vec(), Nature::Text),
            (b"\x1b[31mred\x1b[0m \x07\x08\t\r\n".repeat(9), Nature::Text),
            (environ, Nature::Text),
            ("日本語のテキスト\n".repeat(20).into_bytes(), Nature::Text),
            (b"\xffa\xc3".to_vec(), Nature::NotUtf8),
            (latin, Nature::NotUtf8),
            (random_bytes.clone(), Nature::Binary("data")),
            (wide.clone(), Nature::Binary("data")),
            (
                [&b"\xff\xfe"[..], &wide].concat(),
                Nature::Binary("text in UTF-16"),
            ),
            (
                [&b"\x7fELF\x02\x01\x01\0\0\0\0"[..], &random_bytes].concat(),
                Nature::Binary("ELF program"),
            ),
            (
                b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\xcb\xcf".to_vec(),
                Nature::Binary("gzip data"),
            ),
            (
                [&b"HTTP/1.1 200 OK\n\n"[..], &random_bytes].concat(),
                Nature::Binary("data"),
            ),
            (
                [&b"line\n".repeat(9000)[..], &random_bytes.repeat(9)].concat(),
                Nature::Binary("data"),
            ),
            (b"MZ is how this text begins".to_vec(), Nature::Text),
        ] {
            let shown = captured(&bytes);
            assert_eq!(
                shown.nature(),
                nature,
                "{:?}",
                String::from_utf8_lossy(&bytes)
                    .chars()
                    .take(40)
                    .collect::<String>()
            );

            if matches!(nature, Nature::Binary(_)) {
                assert!(shown.text().len() < 12_500, "{}", shown.text());
            }
        }
    }

    #[test]
    fn binary_output_is_described_after_the_text_before_it() {
        let random_bytes = b"\x01\xff\x02\xfe".repeat(50);
        assert_eq!(
            captured(&[&b"\x1f\x8b"[..], &random_bytes].concat()).text(),
            "[… binary gzip data, 202 bytes in all, not shown; begins 1f 8b 01 ff 02 fe 01 ff 02 fe 01 ff 02 fe 01 ff …]\n"
        );

        let text = captured(&[&b"HTTP/1.1 200 OK\nA: b\n\n"[..], &random_bytes].concat()).text();

        assert!(
            text.starts_with(
                "HTTP/1.1 200 OK\nA: b\n\n[… binary data, 222 bytes in all, not shown; begins 01 ff"
            ),
            "{text}"
        );
    }
}
