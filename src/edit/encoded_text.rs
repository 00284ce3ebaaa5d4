//! The text of a file, and the file of a text: UTF-16 with a byte order mark is edited as UTF-8.

use std::borrow::Cow;

use super::encoding::{Decoder, Encoding};

/// Text of a file in a form in which texts of a caller can be found, made by [`of`](Self::of).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedText<'a> {
    /// Encoding of the file.
    encoding: Encoding,
    /// UTF-8 for a file in UTF-16. Otherwise the bytes of the file, whatever their encoding.
    pub text: Cow<'a, [u8]>,
}

impl<'a> EncodedText<'a> {
    /// Decodes the content of a file.
    #[must_use]
    pub fn of(content: &'a [u8]) -> Self {
        let encoding = Encoding::of(content);
        let as_it_is = Self {
            encoding: Encoding::Utf8,
            text: content.into(),
        };
        if !encoding.is_utf16() {
            return as_it_is;
        }

        let mut decoder = Decoder::new(encoding);
        let mut text = decoder.push(content.get(encoding.mark_length()..).unwrap_or_default());
        text.extend(decoder.finish());
        let text = Self {
            encoding,
            text: text.into(),
        };

        // An edit must not change other bytes, even invalid ones.
        if text.encode(&text.text).as_deref() == Some(content) {
            text
        } else {
            as_it_is
        }
    }

    /// Encodes a text as the file was encoded. `None` if the text cannot be encoded so, because it
    /// is not UTF-8.
    #[must_use]
    pub fn encode(&self, text: &[u8]) -> Option<Vec<u8>> {
        let to_bytes = match self.encoding {
            Encoding::Utf8 | Encoding::Utf8Bom => return Some(text.to_vec()),
            Encoding::Utf16Le => u16::to_le_bytes,
            Encoding::Utf16Be => u16::to_be_bytes,
        };

        let text = std::str::from_utf8(text).ok()?;
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());

        Some(units.flat_map(to_bytes).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_edited_as_utf8() {
        for content in [&b"\xff\xfea\0\xe9\0\n\0"[..], b"\xfe\xff\0a\0\xe9\0\n"] {
            let text = EncodedText::of(content);
            assert_eq!(&*text.text, "aé\n".as_bytes());
            assert_eq!(text.encode(&text.text).as_deref(), Some(content));
            assert_eq!(text.encode("é".as_bytes()).map(|file| file.len()), Some(4));
            assert_eq!(text.encode(b"\xff"), None);
        }
    }

    #[test]
    fn other_files_stay_bytes() {
        for content in [
            &b"caf\xe9\n"[..],
            b"\xef\xbb\xbfa\r\n",
            b"\xff\xfea\0\x00\xd8",
            b"\xff\xfea",
            b"",
        ] {
            let text = EncodedText::of(content);
            assert_eq!(&*text.text, content);
            assert_eq!(text.encode(b"\xff").as_deref(), Some(&b"\xff"[..]));
        }
    }
}
