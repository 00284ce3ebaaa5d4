//! `IPQoS`, which marks packets for routers.

/// Returns the class for connections which are not interactive, as a byte of the IP header. The
/// value names one class for all connections, or two, of which the second applies here. The outer
/// `None` stands for an invalid value, and the inner `None` for `none`.
#[expect(
    clippy::option_option,
    reason = "not understood and not wanted are two things"
)]
pub(super) fn bulk(value: &str) -> Option<Option<u8>> {
    class(value.split_whitespace().next_back()?)
}

/// Parses the name or number of a class.
#[expect(clippy::option_option, reason = "as above")]
fn class(name: &str) -> Option<Option<u8>> {
    // Other characters than digits wrap to numbers outside the ranges below.
    let name = name.to_ascii_lowercase();
    let digit = |at: usize| {
        name.as_bytes()
            .get(at)
            .map(|digit| digit.wrapping_sub(b'0'))
    };

    // The first three names are service types of RFC 791; the others are code points of RFC 2474,
    // shifted past the two bits for congestion.
    Some(Some(match name.as_str() {
        "none" => return Some(None),
        "lowdelay" => 0x10,
        "throughput" => 0x08,
        "reliability" | "le" => 0x04,
        "ef" => 0xb8,
        "va" => 0xb0,
        // RFC 2597 and RFC 2474: the class is in the upper three bits, the drop precedence in the
        // next two.
        _ if name.len() == 4 && name.starts_with("af") => match (digit(2)?, digit(3)?) {
            (class @ 1..=4, drop @ 1..=3) => class << 5 | drop << 3,
            _ => return None,
        },
        _ if name.len() == 3 && name.starts_with("cs") => match digit(2)? {
            class @ 0..=7 => class << 5,
            _ => return None,
        },
        number => match number.strip_prefix("0x") {
            Some(hexadecimal) => u8::from_str_radix(hexadecimal, 16).ok()?,
            None => number.parse().ok()?,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_that_ssh_knows_has_its_number() {
        for (value, expected) in [
            ("lowdelay throughput", Some(Some(0x08))),
            ("af21 cs1", Some(Some(0x20))),
            ("ef", Some(Some(0xb8))),
            ("none none", Some(None)),
            ("ef none", Some(None)),
            ("AF11", Some(Some(0x28))),
            ("af43", Some(Some(0x98))),
            ("cs0", Some(Some(0))),
            ("cs7", Some(Some(0xe0))),
            ("le", Some(Some(0x04))),
            ("0x1c", Some(Some(0x1c))),
            ("184", Some(Some(184))),
            ("af51", None),
            ("cs8", None),
            ("af2", None),
            ("256", None),
            ("fast", None),
            ("", None),
        ] {
            assert_eq!(bulk(value), expected, "{value}");
        }
    }
}
