//! Paths of the remote host as an agent types them.

use super::TransferError;

/// Converts a typed path for SFTP, which starts relative paths at home.
///
/// `directory` is the absolute directory in which a relative path starts; empty for home.
///
/// # Errors
/// The path is empty or contains a NUL byte, or begins with the `~` of another user.
pub(super) fn resolve(path: &str, directory: &[u8]) -> Result<Vec<u8>, TransferError> {
    if path.is_empty() || path.contains('\0') {
        let message = "path is empty or holds a NUL byte".to_owned();
        return Err(TransferError::Path(message));
    }

    if let Some(rest) = path.strip_prefix('~') {
        return match rest
            .strip_prefix('/')
            .map(|rest| rest.trim_start_matches('/'))
        {
            None if rest.is_empty() => Ok(b".".to_vec()),
            Some("") => Ok(b".".to_vec()),
            Some(rest) => Ok([b"./", rest.as_bytes()].concat()),
            None => {
                let user = rest.split('/').next().unwrap_or(rest);
                Err(TransferError::Path(format!(
                    "the home directory of {user:?} is not known; a file of that name is \"./~{rest}\""
                )))
            }
        };
    }

    if path.starts_with('/') || directory.is_empty() {
        return Ok(path.as_bytes().to_vec());
    }

    let path = path.trim_start_matches("./");
    if path.is_empty() || path == "." {
        return Ok(directory.to_vec());
    }

    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    Ok([directory, b"/", path.as_bytes()].concat())
}

/// Returns the path with each escape as what it stands for; `None` if there is none.
///
/// The escapes are those with which names are shown: `\xNN` for a byte that is not UTF-8, and `\n`,
/// `\r`, `\t` and `\u{NN}` for a character.
pub(super) fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    let mut has_escapes = false;

    while let Some((first, after)) = rest.split_first() {
        if let Some((meant, after)) = escape(rest) {
            bytes.extend(meant);
            rest = after;
            has_escapes = true;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }

    has_escapes.then_some(bytes)
}

/// Returns what the escape at the beginning of a text stands for, and the text after it.
fn escape(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let number = |digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let (kind, rest) = text.strip_prefix(b"\\")?.split_first()?;

    match kind {
        b'n' => Some((b"\n".to_vec(), rest)),
        b'r' => Some((b"\r".to_vec(), rest)),
        b't' => Some((b"\t".to_vec(), rest)),
        b'x' => {
            let (digits, rest) = rest.split_at_checked(2)?;
            let byte = u8::try_from(number(digits)?).ok()?;
            (byte >= 0x80).then_some((vec![byte], rest))
        }
        b'u' => {
            let rest = rest.strip_prefix(b"{")?;
            let (digits, rest) = rest.split_at_checked(memchr::memchr(b'}', rest)?)?;
            let letter = char::from_u32(number(digits)?).filter(|letter| *letter != '\0')?;
            Some((letter.to_string().into_bytes(), rest.get(1..)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::transfer::error::as_text;

    #[test]
    fn a_relative_path_starts_in_the_directory() {
        for (path, directory, resolved) in [
            ("/etc/x", "/srv", "/etc/x"),
            ("x", "/srv", "/srv/x"),
            ("./x", "/srv", "/srv/x"),
            ("../x", "/srv", "/srv/../x"),
            (".", "/srv", "/srv"),
            (".", "/", "/"),
            ("x", "/", "/x"),
            ("-x", "/srv", "/srv/-x"),
            ("x", "", "x"),
            (".", "", "."),
            ("~", "/srv", "."),
            ("~/", "/srv", "."),
            ("~//a~", "/srv", "./a~"),
            ("a~", "/srv", "/srv/a~"),
            ("./~a", "/srv", "/srv/~a"),
        ] {
            let found = resolve(path, directory.as_bytes()).unwrap();
            assert_eq!(found, resolved.as_bytes(), "{path} in {directory}");
        }

        for path in ["", "a\0b", "~root/x", "~root"] {
            assert!(resolve(path, b"/srv").is_err(), "{path:?}");
        }
    }

    #[test]
    fn bytes_are_given_as_they_are_shown() {
        for (path, bytes) in [
            (&b"caf\\xe9"[..], Some(&b"caf\xe9"[..])),
            (b"\\xff\\xfe", Some(b"\xff\xfe")),
            (b"\\x41", None),
            (b"\\xg9 \\xe \\x+9", None),
            (b"two\\nlines\\t\\r", Some(b"two\nlines\t\r")),
            (b"\\u{1b}[m\\u{202e}", Some("\x1b[m\u{202e}".as_bytes())),
            (b"\\u{0} \\u{d800} \\u{} \\u1b \\u{1b", None),
            (b"\\", None),
            (b"plain", None),
        ] {
            assert_eq!(unescaped(path).as_deref(), bytes, "{}", path.escape_ascii());
        }

        let path = b"/caf\xe9/\xff \xc3\xa9";
        assert_eq!(as_text(path), "/caf\\xe9/\\xff \u{e9}");
        assert_eq!(
            unescaped(as_text(path).as_bytes()).as_deref(),
            Some(&path[..])
        );
    }
}
