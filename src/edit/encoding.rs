//! Encodings that a byte order mark names, and the decoding of UTF-16.

/// Encoding of a file, judged by its byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 without a mark, or an encoding that has no mark.
    Utf8,
    /// UTF-8 with a byte order mark.
    Utf8Bom,
    /// UTF-16, little endian, with a byte order mark.
    Utf16Le,
    /// UTF-16, big endian, with a byte order mark.
    Utf16Be,
}

impl Encoding {
    /// Number of bytes of the longest byte order mark.
    pub(super) const LONGEST_MARK: usize = 3;

    /// Returns the encoding of a file that begins with these bytes.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Self {
        if beginning.starts_with(b"\xef\xbb\xbf") {
            Self::Utf8Bom
        } else if beginning.starts_with(b"\xff\xfe") {
            Self::Utf16Le
        } else if beginning.starts_with(b"\xfe\xff") {
            Self::Utf16Be
        } else {
            Self::Utf8
        }
    }

    /// Returns the name with the byte order mark, for the status line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf8Bom => "UTF-8 with BOM",
            Self::Utf16Le => "UTF-16 LE with BOM",
            Self::Utf16Be => "UTF-16 BE with BOM",
        }
    }

    /// Returns the name of the character set.
    pub(super) fn charset(self) -> &'static str {
        match self {
            Self::Utf8 | Self::Utf8Bom => "UTF-8",
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
        }
    }

    /// Returns the length of the byte order mark.
    pub(super) fn mark_length(self) -> usize {
        match self {
            Self::Utf8 => 0,
            Self::Utf8Bom => 3,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// Returns true for encodings of two bytes a unit.
    pub(super) fn is_utf16(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    /// Returns the unit of two bytes.
    pub(super) fn unit(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Utf16Be {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }
}

/// Decoder from the encoding of a file to UTF-8, fed with bytes on arrival.
///
/// Bytes in UTF-8 pass as they are. A surrogate without its other half becomes the three bytes that
/// UTF-8 forbids for it, so that it is escaped like other invalid bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    encoding: Encoding,
    /// First byte of a unit whose second byte has not come.
    half: Option<u8>,
    /// First half of a surrogate pair.
    high: Option<u16>,
}

impl Decoder {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            half: None,
            high: None,
        }
    }

    /// Decodes the next bytes of UTF-16.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            match self.half.take() {
                None => self.half = Some(byte),
                Some(first) => self.unit(self.encoding.unit([first, byte]), &mut text),
            }
        }

        text
    }

    /// Returns the bytes of an incomplete character at the end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Some(high) = self.high.take() {
            text.extend(surrogate(high));
        }
        // Half a unit has no character. A byte that UTF-8 never uses stands for it.
        if self.half.take().is_some() {
            text.push(0xff);
        }

        text
    }

    fn unit(&mut self, unit: u16, text: &mut Vec<u8>) {
        let is_low = (0xdc00..0xe000).contains(&unit);
        // A first half needs a second half to be a character.
        if !is_low && let Some(high) = self.high.take() {
            text.extend(surrogate(high));
        }

        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }

        for letter in char::decode_utf16(self.high.take().into_iter().chain([unit])) {
            match letter {
                Ok(letter) => text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(error) => text.extend(surrogate(error.unpaired_surrogate())),
            }
        }
    }
}

/// Returns a surrogate in the form that UTF-8 forbids.
fn surrogate(unit: u16) -> [u8; 3] {
    let [high, low] = unit.to_be_bytes();
    [
        0xed,
        0x80 | (high & 0x0f) << 2 | low >> 6,
        0x80 | (low & 0x3f),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_decoded_whatever_the_cuts() {
        let text = "aé€😀\n";
        for encoding in [Encoding::Utf16Le, Encoding::Utf16Be] {
            let bytes = text.encode_utf16().flat_map(|unit| match encoding {
                Encoding::Utf16Be => unit.to_be_bytes(),
                _ => unit.to_le_bytes(),
            });
            let bytes: Vec<u8> = bytes.collect();
            for size in 1..=bytes.len() {
                let mut decoder = Decoder::new(encoding);
                let read: Vec<u8> = bytes
                    .chunks(size)
                    .flat_map(|chunk| decoder.push(chunk))
                    .collect();
                assert_eq!(String::from_utf8(read).as_deref(), Ok(text));
                assert!(decoder.finish().is_empty());
            }
        }
    }

    #[test]
    fn what_is_not_utf16_stays_visible() {
        for (bytes, text) in [
            (&b"\x00\xd8a\0"[..], &b"\xed\xa0\x80a"[..]),
            (b"\x00\xdc", b"\xed\xb0\x80"),
            (b"\x00\xd8\x00\xd8\x00\xdc", b"\xed\xa0\x80\xf0\x90\x80\x80"),
            (b"\x01\xd8\x00\xd8a\0", b"\xed\xa0\x81\xed\xa0\x80a"),
            (b"\x00\xd8", b"\xed\xa0\x80"),
            (b"a\0b", b"a\xff"),
        ] {
            let mut decoder = Decoder::new(Encoding::Utf16Le);
            let mut read = decoder.push(bytes);
            read.extend(decoder.finish());
            assert_eq!(read, text, "{}", bytes.escape_ascii());
        }
    }
}
