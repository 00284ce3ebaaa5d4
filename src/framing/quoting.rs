//! Quoting for POSIX shells, and reading bash's `printf %q`: `$'…'` (ANSI-C quoting) where there is
//! a line end.

/// Appends the text in single quotes, in which a POSIX shell leaves every byte but the quote itself
/// alone.
pub fn quote(line: &mut Vec<u8>, text: &[u8]) {
    line.push(b'\'');

    // A quote cannot stand in single quotes: they are closed, the quote is escaped, and they are
    // opened again.
    for &byte in text {
        if byte == b'\'' {
            line.extend_from_slice(b"'\\''");
        } else {
            line.push(byte);
        }
    }

    line.push(b'\'');
}

/// Returns the text in single quotes; see [`quote`].
#[must_use]
pub fn quoted(text: &[u8]) -> Vec<u8> {
    let mut word = Vec::with_capacity(text.len() + 2);
    quote(&mut word, text);

    word
}

/// Returns the bytes meant by `$'…'`, as written by bash's `printf %q`; `None` for any other text.
pub(super) fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"$'")?.strip_suffix(b"'")?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied();

    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }

        bytes.push(match rest.next()? {
            b'a' => 0x07,
            b'b' => 0x08,
            b'e' | b'E' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            // bash writes three octal digits for a byte, so the first is at most 3.
            first @ b'0'..=b'3' => {
                let digits = [first, rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?
            }
            literal @ (b'\\' | b'\'' | b'"' | b'?') => literal,
            _ => return None,
        });
    }

    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_printf_writes_is_unquoted() {
        assert_eq!(
            unquote(b"$'a\\n\\t\\303\\251\\036\\\\\\'\\E\"'"),
            Some("a\n\té\u{1e}\\'\u{1b}\"".into())
        );
        for other in [&b"a"[..], b"$'a", b"$'\\x41'", b"$'\\9'", b"$'a\\'", b"'a'"] {
            assert_eq!(unquote(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = unquote(&[b"$'", text.as_slice(), b"'"].concat());
        }
    }
}
