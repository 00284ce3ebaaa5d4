//! The mark that ends a frame.

use std::fmt;

/// Random 128-bit name of a frame, as 32 hexadecimal digits. A program that imitates the end of a
/// frame would have to guess the name.
#[derive(Clone, PartialEq, Eq)]
pub struct Sentinel(String);

impl Sentinel {
    /// Makes a sentinel of 16 random bytes. The caller brings the bytes, so that this module reads
    /// no entropy.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Returns the 32 digits, as written in the script.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the opening mark of the trailer on each stream: `RS digits :`.
    #[must_use]
    pub fn opening(&self) -> Vec<u8> {
        format!("\u{1e}{}:", self.0).into_bytes()
    }

    /// Returns the closing mark of the trailer on each stream: `RS digits ;`.
    #[must_use]
    pub fn closing(&self) -> Vec<u8> {
        format!("\u{1e}{};", self.0).into_bytes()
    }
}

impl fmt::Debug for Sentinel {
    /// Hides the digits: a log line must not help to forge a frame.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sentinel(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_is_thirty_two_digits_between_fixed_marks() {
        let sentinel = Sentinel::from_random([0xab; 16]);
        assert_eq!(sentinel.as_str(), "ab".repeat(16));
        assert_eq!(
            sentinel.opening(),
            [b"\x1e", "ab".repeat(16).as_bytes(), b":"].concat()
        );

        assert_eq!(
            sentinel.closing(),
            [b"\x1e", "ab".repeat(16).as_bytes(), b";"].concat()
        );
    }

    #[test]
    fn a_sentinel_never_shows_itself_in_a_log() {
        assert!(!format!("{:?}", Sentinel::from_random([0xab; 16])).contains("ab"));
    }
}
