//! Random numbers of the operating system.

use std::io;

/// Returns `N` random bytes.
///
/// # Errors
/// The system's random number generator is unavailable.
pub(crate) fn bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Returns `N` random bytes as hexadecimal digits, two for each byte.
///
/// # Errors
/// The system's random number generator is unavailable.
pub(crate) fn hex<const N: usize>() -> io::Result<String> {
    let digits = bytes::<N>()?.map(|byte| format!("{byte:02x}"));
    Ok(digits.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_long_and_differ() {
        let (one, other) = (hex::<16>().unwrap(), hex::<16>().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
