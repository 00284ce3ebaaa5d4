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

/// Returns the path with each `\xNN` as the byte for which it stands; `None` if there is none.
pub(super) fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    let mut has_escapes = false;

    while let Some((first, after)) = rest.split_first() {
        let byte = rest
            .strip_prefix(b"\\x")
            .and_then(|digits| std::str::from_utf8(digits.get(..2)?).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|byte| *byte >= 0x80);

        bytes.push(byte.unwrap_or(*first));
        has_escapes |= byte.is_some();
        rest = if byte.is_some() {
            rest.get(4..).unwrap_or_default()
        } else {
            after
        };
    }

    has_escapes.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (b"\\xg9 \\xe", None),
            (b"plain", None),
        ] {
            assert_eq!(unescaped(path).as_deref(), bytes, "{}", path.escape_ascii());
        }
    }
}
