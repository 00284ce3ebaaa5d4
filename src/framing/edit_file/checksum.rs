//! The checksum of the program `cksum` (POSIX), for hosts without a program for SHA-256.

/// Generator polynomial without its highest term, the highest power first.
const POLYNOMIAL: u32 = 0x04c1_1db7;

/// Remainders of all bytes.
const REMAINDERS: [u32; 256] = remainders();

/// Returns the line that `cksum` prints for its stdin: the checksum and the length.
pub(super) fn cksum(content: &[u8]) -> String {
    // The length follows the content, lowest byte first and without zeros at the end.
    let mut length = content.len();
    let length_bytes = std::iter::from_fn(|| {
        let byte = (length > 0).then_some(length.to_le_bytes()[0]);
        length >>= 8;
        byte
    });

    let crc = content
        .iter()
        .copied()
        .chain(length_bytes)
        .fold(0_u32, |crc, byte| {
            let [highest, ..] = crc.to_be_bytes();
            let remainder = REMAINDERS.get(usize::from(highest ^ byte));
            (crc << 8) ^ remainder.copied().unwrap_or_default()
        });

    format!("{} {}", !crc, content.len())
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, with a byte as the index"
)]
const fn remainders() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }

    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_program() {
        for (content, line) in [
            (&b""[..], "4294967295 0"),
            (b"123456789", "930766865 9"),
            (&b"x".repeat(70_000), "4215398528 70000"),
        ] {
            assert_eq!(cksum(content), line);
        }
    }
}
