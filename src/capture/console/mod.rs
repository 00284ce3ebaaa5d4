//! Decoding of what programs of Windows print: a code page, or UTF-16.

mod code_pages;

use self::code_pages::{CodePage, code_page};

/// Decoder from the encoding of a Windows program to UTF-8, fed with bytes on arrival.
///
/// A stream whose first character has a second byte of zero, or that has a byte order mark, is
/// UTF-16. Every other stream is UTF-8 up to the first portion that is not, and is in the code page
/// from there on: letters of a code page may look like UTF-8 next to others that do not.
#[derive(Debug, Clone)]
pub struct ConsoleDecoder {
    page: &'static CodePage,
    encoding: StreamEncoding,
    /// Bytes of a character that is not complete.
    held: Vec<u8>,
    /// True once something was not UTF-8.
    has_decoded: bool,
}

/// Encoding of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamEncoding {
    /// Nothing has come that tells the encoding.
    Unknown,
    /// UTF-16, with the higher byte of a unit first or last.
    Utf16 { is_big_endian: bool },
    /// UTF-8 or the code page.
    Bytes,
    /// None: a zero byte has come. Such bytes stay as they are.
    Binary,
}

impl ConsoleDecoder {
    /// Creates a decoder for the streams of a host with this code page. `None` for UTF-8 (65001),
    /// and for a code page that is not known.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        Some(Self {
            page: code_page(number)?,
            encoding: StreamEncoding::Unknown,
            held: Vec::new(),
            has_decoded: false,
        })
    }

    /// Decodes another part of the same stream by itself.
    pub fn decode_part(&mut self, bytes: &[u8]) -> Vec<u8> {
        (self.held, self.has_decoded) = (Vec::new(), false);
        let mut text = self.push(bytes);
        text.extend(self.finish());

        text
    }

    /// Returns the name of the encoding from which bytes were decoded; `None` if there were none.
    #[must_use]
    pub fn decoded_from(&self) -> Option<&'static str> {
        match self.encoding {
            StreamEncoding::Utf16 { .. } => Some("UTF-16"),
            _ if self.has_decoded => Some(self.page.1),
            _ => None,
        }
    }

    /// Returns the length of a unit of the encoding, in bytes. A part of the stream must begin and end
    /// between two units.
    #[must_use]
    pub fn unit_bytes(&self) -> usize {
        match self.encoding {
            StreamEncoding::Utf16 { .. } => 2,
            _ => 1,
        }
    }

    /// Decodes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.decode(false)
    }

    /// Decodes the end of the stream, where a character may be cut off.
    pub fn finish(&mut self) -> Vec<u8> {
        self.decode(true)
    }

    fn decode(&mut self, is_end: bool) -> Vec<u8> {
        if self.encoding == StreamEncoding::Unknown {
            let is_printable = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
            self.encoding = match self.held.as_slice() {
                [] => return Vec::new(),
                [_] if !is_end => return Vec::new(),
                [0xfe, 0xff, ..] => StreamEncoding::Utf16 {
                    is_big_endian: true,
                },
                [0xff, 0xfe, ..] => StreamEncoding::Utf16 {
                    is_big_endian: false,
                },
                [first, 0, ..] if is_printable(first) => StreamEncoding::Utf16 {
                    is_big_endian: false,
                },
                _ => StreamEncoding::Bytes,
            };
        }

        let bytes = std::mem::take(&mut self.held);
        if self.encoding == StreamEncoding::Bytes && bytes.contains(&0) {
            self.encoding = StreamEncoding::Binary;
        }

        match self.encoding {
            StreamEncoding::Utf16 { is_big_endian } => self.utf16(&bytes, is_big_endian, is_end),
            StreamEncoding::Binary => bytes,
            StreamEncoding::Unknown | StreamEncoding::Bytes => self.bytes(bytes, is_end),
        }
    }

    /// Decodes UTF-16 without byte order marks. Half a character is held back.
    fn utf16(&mut self, bytes: &[u8], is_big_endian: bool, is_end: bool) -> Vec<u8> {
        let (pairs, rest) = bytes.as_chunks();
        let unit = |pair: &[u8; 2]| {
            if is_big_endian {
                u16::from_be_bytes(*pair)
            } else {
                u16::from_le_bytes(*pair)
            }
        };
        let units: Vec<u16> = pairs.iter().map(unit).collect();
        let is_cut = units
            .last()
            .is_some_and(|last| (0xd800..0xdc00).contains(last));

        let held = rest.len() + if is_cut && !is_end { 2 } else { 0 };
        self.held = bytes.get(bytes.len() - held..).unwrap_or_default().to_vec();
        let whole = units.len() - usize::from(held > 1);

        let units = units.into_iter().take(whole);
        let text: String = char::decode_utf16(units.filter(|unit| *unit != 0xfeff))
            .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();

        text.into_bytes()
    }

    /// Decodes by the code page, once something is not UTF-8. A cut character is held back before.
    fn bytes(&mut self, bytes: Vec<u8>, is_end: bool) -> Vec<u8> {
        if !self.has_decoded {
            match std::str::from_utf8(&bytes) {
                Ok(_) => return bytes,
                Err(error) if error.error_len().is_none() && !is_end => {
                    let (whole, cut) = bytes.split_at(error.valid_up_to());
                    self.held = cut.to_vec();
                    return whole.to_vec();
                }
                Err(_) => self.has_decoded = true,
            }
        }

        let text: String = bytes.iter().map(|byte| self.letter(*byte)).collect();
        text.into_bytes()
    }

    /// Returns the character of a byte.
    fn letter(&self, byte: u8) -> char {
        let (.., high) = self.page;
        match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(at) => high
                .chars()
                .nth(at.into())
                .unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text and the name of the encoding, whatever the cuts.
    fn decoded(page: u16, bytes: &[u8]) -> (String, Option<&'static str>) {
        let mut found = None;
        for size in 1..=bytes.len().max(1) {
            let mut decoder = ConsoleDecoder::new(page).unwrap();
            let mut text: Vec<u8> = bytes
                .chunks(size)
                .flat_map(|part| decoder.push(part))
                .collect();
            text.extend(decoder.finish());
            let this = (String::from_utf8(text).unwrap(), decoder.decoded_from());
            assert_eq!(
                found.get_or_insert_with(|| this.clone()),
                &this,
                "cut at {size}"
            );
        }

        found.unwrap()
    }

    #[test]
    fn a_code_page_is_decoded() {
        for (page, bytes, text, name) in [
            (
                1252,
                &b"caf\xe9 \x80\x81\n"[..],
                "café €\u{fffd}\n",
                Some("code page 1252"),
            ),
            (
                850,
                b"Gr\x94\xe1e \x9a\r\n",
                "Größe Ü\r\n",
                Some("code page 850"),
            ),
            (
                866,
                b"\x8f\xe0\xa8\xa2\xa5\xe2",
                "Привет",
                Some("code page 866"),
            ),
            (437, b"plain\n", "plain\n", None),
            (
                437,
                "UTF-8 stays: é\u{1f600}".as_bytes(),
                "UTF-8 stays: é\u{1f600}",
                None,
            ),
            (1252, b"cut \xe2\x82", "cut â‚", Some("code page 1252")),
            (1252, b"x", "x", None),
            (1252, b"", "", None),
        ] {
            assert_eq!(
                decoded(page, bytes),
                (text.to_owned(), name),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn utf16_is_decoded() {
        for (bytes, text) in [
            (
                &b"\xff\xfeN\0a\0\xe9\0\x3d\xd8\x00\xde\r\0\n\0"[..],
                "Naé\u{1f600}\r\n",
            ),
            (b"\xfe\xff\0N\0a", "Na"),
            (b"N\0a\0m\0e\0", "Name"),
            (b"a\0\x00\xd8", "a\u{fffd}"),
            (b"a\0\x00\xd8b\0", "a\u{fffd}b"),
        ] {
            assert_eq!(
                decoded(437, bytes),
                (text.to_owned(), Some("UTF-16")),
                "{}",
                bytes.escape_ascii()
            );
        }

        // A NUL elsewhere makes no UTF-16.
        assert_eq!(decoded(437, b"ab\0c\0"), ("ab\0c\0".to_owned(), None));
        let mut decoder = ConsoleDecoder::new(437).unwrap();
        assert_eq!(decoder.push(b"\x89PNG\0"), b"\x89PNG\0");
        assert_eq!(
            (decoder.push(b"\xe9"), decoder.decoded_from()),
            (b"\xe9".to_vec(), None)
        );
    }

    #[test]
    fn other_code_pages_are_left_alone() {
        for page in [0, 932, 936, 65001] {
            assert!(ConsoleDecoder::new(page).is_none(), "{page}");
        }
    }
}
