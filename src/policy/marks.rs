//! Recognises private keys by the beginning of their content.

use memchr::memmem;

/// Number of bytes at the beginning of a file which are searched for a private key. Other text may
/// precede a key in the PEM form (RFC 7468, section 2), such as the certificates of a bundle.
pub(crate) const LOOKED_AT: usize = 16 * 1024;

/// Returns the format of the private key at the beginning of a file, such as `OpenSSH` or `PKCS#8`.
/// Only the first [`LOOKED_AT`] bytes count; `None` if they hold no private key.
#[must_use]
pub(crate) fn private_key(beginning: &[u8]) -> Option<&'static str> {
    let beginning = beginning.get(..LOOKED_AT).unwrap_or(beginning);
    at_once(beginning)
        .or_else(|| marked_line(beginning))
        .or_else(|| der(beginning))
}

/// Recognises formats whose mark is the very beginning of the file.
fn at_once(beginning: &[u8]) -> Option<&'static str> {
    // Editors on Windows write a byte order mark, and a pasted key may follow blank lines.
    let text = beginning
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(beginning)
        .trim_ascii_start();

    [
        // PuTTY, of any version.
        (&b"PuTTY-User-Key-File-"[..], "PuTTY"),
        (b"openssh-key-v1\0", "OpenSSH"),
        (b"SSH PRIVATE KEY FILE FORMAT 1.1", "SSH 1"),
    ]
    .into_iter()
    .find_map(|(mark, kind)| text.starts_with(mark).then_some(kind))
}

/// Recognises formats whose mark begins any line: PEM-like armour, age and service accounts.
fn marked_line(text: &[u8]) -> Option<&'static str> {
    // Armour counts only with a private label: a bundle may begin with certificates.
    let marks = memmem::find_iter(text, "BEGIN ").filter_map(|at| label(text, at));
    let armor = marks.filter(|label| is_private(label)).map(kind).next();
    armor
        .or_else(|| {
            memmem::find_iter(text, "AGE-SECRET-KEY-")
                .any(|at| begins_line(text, at))
                .then_some("age")
        })
        .or_else(|| account_key(text).then_some("service account"))
}

/// Returns the label of the armour line which holds `BEGIN ` at byte `at`. `None` if the line is
/// not armour.
fn label(text: &[u8], at: usize) -> Option<&[u8]> {
    let (before, rest) = (text.get(..at)?, text.get(at + b"BEGIN ".len()..)?);

    // Five dashes (RFC 7468), or four and a blank (RFC 4716).
    let dashes = if before.ends_with(b"-----") {
        &b"-----"[..]
    } else {
        b"---- "
    };

    // A mark inside a line belongs to text or source code about keys.
    if !begins_line(
        text,
        at - before.strip_suffix(dashes).map(|_| dashes.len())?,
    ) {
        return None;
    }

    let line = rest
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .next()?
        .trim_ascii_end();

    line.strip_suffix(b"-----")
        .or_else(|| line.strip_suffix(b" ----"))
}

/// Returns true if only blanks, or a byte order mark, precede byte `at` on the line.
fn begins_line(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    // Lax readers ignore blanks before the dashes (RFC 7468, section 3), so an indented key is a
    // key.
    let blank = before
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();

    let before = before.get(..before.len() - blank).unwrap_or_default();

    before.is_empty()
        || before.ends_with(b"\n")
        || before.ends_with(b"\r")
        || before == b"\xef\xbb\xbf"
}

/// Returns true if an armour label names a private key (`SECRET KEY` is the word of some formats).
fn is_private(label: &[u8]) -> bool {
    [&b"PRIVATE KEY"[..], b"SECRET KEY"]
        .iter()
        .any(|words| memmem::find(label, words).is_some())
}

/// Returns the family of an armour label, for the message to the user.
fn kind(label: &[u8]) -> &'static str {
    // All other labels count as PEM, because the algorithm in front of the key varies (`RSA`, `EC`,
    // `ENCRYPTED`).
    let has = |word: &str| memmem::find(label, word.as_bytes()).is_some();
    if has("OPENSSH") {
        "OpenSSH"
    } else if has("PGP") {
        "PGP"
    } else if has("SSH2") {
        "SSH2"
    } else {
        "PEM"
    }
}

/// Returns true for the JSON file of a cloud service account which holds a PEM private key.
fn account_key(text: &[u8]) -> bool {
    // The name of the field is not enough: its value may be null or a placeholder.
    text.trim_ascii_start().starts_with(b"{")
        && memmem::find(text, b"\"private_key\"").is_some_and(|at| {
            let rest = text.get(at..).unwrap_or_default();
            rest.get(..100)
                .is_some_and(|near| memmem::find(near, b"PRIVATE KEY-----").is_some())
        })
}

/// Recognises DER files by the first fields of the outermost sequence: PKCS#1, SEC 1, PKCS#8 (RFC
/// 5208 and 5958) and PKCS#12.
fn der(bytes: &[u8]) -> Option<&'static str> {
    // All of these formats begin with a version, except encrypted PKCS#8. PKCS#1 has version 0 and
    // goes on with a modulus of more than 127 bytes.
    let content = sequence(bytes)?;
    let version = |number: u8| content.strip_prefix(&[2, 1, number][..]);
    if let Some([2, 0x81 | 0x82, ..]) = version(0) {
        return Some("PKCS#1");
    }

    // PKCS#8 goes on with the object identifier of the algorithm.
    if [0, 1]
        .into_iter()
        .filter_map(version)
        .filter_map(sequence)
        .any(|inner| inner.starts_with(&[6]))
    {
        return Some("PKCS#8");
    }

    // The key of SEC 1 is an octet string of the curve's size: up to 66 bytes for P-521.
    if let Some([4, length, ..]) = version(1)
        && matches!(length, 20..=66)
    {
        return Some("SEC 1");
    }

    // Encrypted PKCS#8 has no version; it begins with an identifier of PKCS#5 or PKCS#12.
    let encrypted = |inner: &[u8]| {
        inner
            .strip_prefix(&[6][..])
            .and_then(|rest| rest.get(1..))
            .is_some_and(|identifier| {
                identifier.starts_with(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5])
                    || identifier.starts_with(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1])
            })
    };

    if sequence(content).is_some_and(encrypted) {
        return Some("PKCS#8");
    }

    // The content of PKCS#12 has a type of PKCS#7.
    let contents = version(3).and_then(sequence)?;

    contents
        .starts_with(&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7])
        .then_some("PKCS#12")
}

/// Returns the content of a DER sequence, which may be cut off. `None` if the bytes do not begin
/// with a sequence.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.strip_prefix(&[0x30][..])?.split_first()?;
    match length {
        // 0x80 stands for an indefinite length (BER).
        0x80 | ..0x80 => Some(rest),
        0x81..=0x84 => rest.get(usize::from(length & 0x7f)..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_are_recognised_by_what_they_begin_with() {
        for (text, kind) in [
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "OpenSSH"),
            ("\r\n  -----BEGIN RSA PRIVATE KEY-----\r\nMII", "PEM"),
            ("\u{feff}-----BEGIN PRIVATE KEY-----\n", "PEM"),
            (
                "Bag Attributes\n    localKeyID: 01\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
                "PEM",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n",
                "PEM",
            ),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ", "PGP"),
            (
                "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment",
                "SSH2",
            ),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", "PuTTY"),
            ("PuTTY-User-Key-File-2: ssh-rsa\r\n", "PuTTY"),
            ("SSH PRIVATE KEY FILE FORMAT 1.1\n\0", "SSH 1"),
            (
                "# created: 2026-01-01\n# public key: age1x\nAGE-SECRET-KEY-1QQ",
                "age",
            ),
            ("AGE-SECRET-KEY-PQ-1QQ", "age"),
            (
                "{\n \"type\": \"service_account\",\n \"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMII",
                "service account",
            ),
        ] {
            let text = text.to_owned() + &" ".repeat(100);
            assert_eq!(private_key(text.as_bytes()), Some(kind), "{text}");
        }
    }

    #[test]
    fn the_binary_forms_are_recognised_too() {
        for (bytes, kind) in [
            (
                &[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4][..],
                "PKCS#8",
            ),
            (
                &[0x30, 0x82, 4, 0xbe, 2, 1, 0, 0x30, 13, 6, 9, 0x2a],
                "PKCS#8",
            ),
            (&[0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82, 1, 1, 0], "PKCS#1"),
            (&[0x30, 0x77, 2, 1, 1, 4, 0x20, 1], "SEC 1"),
            (
                &[
                    0x30, 0x81, 0x9b, 0x30, 0x57, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5,
                    13,
                ],
                "PKCS#8",
            ),
            (
                &[
                    0x30, 0x82, 9, 9, 2, 1, 3, 0x30, 0x82, 9, 0, 6, 9, 0x2a, 0x86, 0x48, 0x86,
                    0xf7, 0x0d, 1, 7, 1,
                ],
                "PKCS#12",
            ),
        ] {
            assert_eq!(private_key(bytes), Some(kind), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_only_speaks_of_keys_is_none() {
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----\nMII",
            "-----BEGIN PUBLIC KEY-----\n",
            "ssh-ed25519 AAAA me@here",
            "if text.starts_with(\"-----BEGIN OPENSSH PRIVATE KEY-----\") {",
            "the line -----BEGIN PRIVATE KEY----- begins a key",
            "-----BEGIN PRIVATE KEY and so on",
            "PRIVATE KEY",
            "age1qqq AGE-SECRET-KEY-1 is how one begins",
            "{\"private_key\": null}",
            "about PuTTY-User-Key-File-3",
            "0",
            "0\u{82}",
        ] {
            assert_eq!(private_key(text.as_bytes()), None, "{text}");
        }

        // A certificate, and a public key.
        assert_eq!(
            private_key(&[0x30, 0x82, 3, 0x10, 0x30, 0x82, 1, 0xf8, 0xa0, 3, 2, 1, 2]),
            None
        );

        assert_eq!(
            private_key(&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21]),
            None
        );
    }

    #[test]
    fn a_long_file_is_looked_at_from_its_beginning_only() {
        let key = "\n-----BEGIN PRIVATE KEY-----\n";
        assert_eq!(
            private_key(("x".repeat(LOOKED_AT - 100) + key).as_bytes()),
            Some("PEM")
        );
        assert_eq!(private_key(("x".repeat(LOOKED_AT) + key).as_bytes()), None);
    }
}
