//! Recognises text, images and other binary files by their first bytes.

use std::fmt::Write as _;

use crate::capture::format_of;

/// Number of first bytes of a file that [`Kind::of`] needs at most.
pub const SNIFFED_BYTES: usize = 8 * 1024;
/// Number of bytes in a line of a dump.
const DUMP_LINE: usize = 16;
/// Number of bytes in a dump.
const DUMPED_BYTES: usize = 64;

/// Kind of a file, judged by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text in UTF-8, in UTF-16 with a byte order mark, or in another encoding without NUL bytes.
    Text,
    /// Image in a format that clients show.
    Image(ImageFormat),
    /// Other file, with the name of the format or `data`.
    Binary(&'static str),
}

/// Format of an image that clients show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// PNG, by the eight bytes of its signature.
    Png,
    /// JPEG.
    Jpeg,
    /// GIF, versions 87a and 89a.
    Gif,
    /// WebP, in a RIFF container.
    Webp,
}

impl ImageFormat {
    /// Returns the media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
        }
    }
}

impl Kind {
    /// Returns the kind of a file that begins with `beginning`, its first 8 KiB or the whole file.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Self {
        let beginning = beginning.get(..SNIFFED_BYTES).unwrap_or(beginning);
        if let Some(format) = image_format(beginning) {
            return Self::Image(format);
        }

        // UTF-32 begins like UTF-16, but no text has a NUL character.
        if beginning.starts_with(b"\xff\xfe\0\0") {
            return Self::Binary("text in UTF-32");
        }

        if beginning.starts_with(b"\xff\xfe") || beginning.starts_with(b"\xfe\xff") {
            return Self::Text;
        }

        let has_nul = beginning.contains(&0);
        let is_utf8 = is_utf8(beginning);
        match format_of(beginning) {
            // A text may begin like a format ("MZ").
            Some(name) if has_nul || !is_utf8 => Self::Binary(name),
            _ if has_nul || (!is_utf8 && has_many_controls(beginning)) => Self::Binary("data"),
            _ => Self::Text,
        }
    }
}

/// Returns the first 64 bytes in hexadecimal digits and as ASCII, 16 bytes a line.
#[must_use]
pub fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    let shown = bytes.get(..DUMPED_BYTES).unwrap_or(bytes);
    for (line, bytes) in shown.chunks(DUMP_LINE).enumerate() {
        let _ = write!(dump, "{:04x} ", line * DUMP_LINE);
        for byte in bytes {
            let _ = write!(dump, " {byte:02x}");
        }

        dump.push_str(&"   ".repeat(DUMP_LINE - bytes.len()));
        let readable = |byte: &u8| {
            if matches!(byte, 0x20..=0x7e) {
                char::from(*byte)
            } else {
                '.'
            }
        };
        let _ = writeln!(dump, "  {}", bytes.iter().map(readable).collect::<String>());
    }

    dump
}

fn image_format(beginning: &[u8]) -> Option<ImageFormat> {
    let has_nul = beginning.contains(&0);
    if beginning.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(ImageFormat::Png)
    } else if beginning.starts_with(b"\xff\xd8\xff") {
        Some(ImageFormat::Jpeg)
    } else if has_nul && (beginning.starts_with(b"GIF87a") || beginning.starts_with(b"GIF89a")) {
        Some(ImageFormat::Gif)
    } else if has_nul && beginning.starts_with(b"RIFF") && beginning.get(8..12) == Some(b"WEBP") {
        Some(ImageFormat::Webp)
    } else {
        None
    }
}

/// Returns true for UTF-8 whose last character may be cut.
fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Returns true if more than a tenth of the bytes are control characters that no text has.
fn has_many_controls(bytes: &[u8]) -> bool {
    let is_control = |byte: &&u8| matches!(byte, 0x01..=0x06 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f);
    bytes.iter().filter(is_control).count() * 10 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_recognised_by_the_first_bytes() {
        let mut tar = vec![b'a'; 257];
        tar.extend_from_slice(b"ustar\x0000");
        let nul_inside = [vec![b'a'; 8191], vec![0]].concat();
        let nul_after = [vec![b'a'; 8192], vec![0]].concat();
        let cut = [vec![b'a'; 8191], "é".as_bytes().to_vec()].concat();

        for (bytes, kind) in [
            (&b""[..], Kind::Text),
            (b"plain\n", Kind::Text),
            (b"caf\xe9 au lait\n", Kind::Text),
            (b"\xef\xbb\xbfa", Kind::Text),
            (b"\xff\xfea\0\n\0", Kind::Text),
            (b"\xfe\xff\0a", Kind::Text),
            (b"\xff\xfe\0\0a\0\0\0", Kind::Binary("text in UTF-32")),
            (b"MZ is how this text begins", Kind::Text),
            (b"GIF89a is a format", Kind::Text),
            (b"\x1b[31mred\x1b[0m\n", Kind::Text),
            (
                b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
                Kind::Image(ImageFormat::Png),
            ),
            (
                b"\xff\xd8\xff\xe0\0\x10JFIF",
                Kind::Image(ImageFormat::Jpeg),
            ),
            (b"GIF89a\x01\0\x01\0", Kind::Image(ImageFormat::Gif)),
            (b"RIFF\x1a\0\0\0WEBPVP8L", Kind::Image(ImageFormat::Webp)),
            (b"RIFF\x1a\0\0\0WAVEfmt ", Kind::Binary("data")),
            (b"\x7fELF\x02\x01\x01\0", Kind::Binary("ELF program")),
            (b"\x1f\x8b\x08\0\0", Kind::Binary("gzip data")),
            (b"PK\x03\x04\x14\0", Kind::Binary("zip archive")),
            (b"\xfd7zXZ\0", Kind::Binary("xz data")),
            (b"\x28\xb5\x2f\xfd\x04", Kind::Binary("zstd data")),
            (b"BZh91AY&SY\xd9\xd7", Kind::Binary("bzip2 data")),
            (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", Kind::Binary("PDF document")),
            (b"SQLite format 3\0\x10", Kind::Binary("SQLite database")),
            (&tar, Kind::Binary("tar archive")),
            (&nul_inside, Kind::Binary("data")),
            (&nul_after, Kind::Text),
            (&cut, Kind::Text),
            (b"\x01\x02\xff\x03\x04", Kind::Binary("data")),
        ] {
            assert_eq!(Kind::of(bytes), kind, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_first_bytes_are_dumped() {
        assert_eq!(
            hex_dump(b"\x7fELF\x02\x01\x01\0 and many"),
            "0000  7f 45 4c 46 02 01 01 00 20 61 6e 64 20 6d 61 6e  .ELF.... and man\n\
             0010  79                                               y\n"
        );
        assert_eq!(hex_dump(&[0; 100]).lines().count(), 4);
        assert_eq!(hex_dump(b""), "");
    }
}
