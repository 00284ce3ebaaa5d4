//! Paths of Windows as people and programs write them: `C:\x`, `C:/x`, and `/C:/x` over SFTP.

/// Returns a typed path in the form that an SFTP server of Windows takes, such as `/C:/Users/me`.
/// A relative path stays relative. No file name of Windows contains a backslash.
#[must_use]
pub fn sftp_path(typed: &str) -> String {
    let path = typed.replace('\\', "/");
    match drive(&path) {
        Some((drive, "")) => format!("/{drive}/"),
        Some((drive, rest)) if rest.starts_with('/') => format!("/{drive}{rest}"),
        _ => path,
    }
}

/// Returns true if a typed path may be one of Windows that SFTP does not take as it is.
#[must_use]
pub fn may_be_windows_path(typed: &str) -> bool {
    typed.contains('\\') || (!typed.starts_with('/') && drive(typed).is_some())
}

/// Returns a typed path in the form that every program of Windows takes, such as `C:\Users\me`.
/// `~` is the home directory, in which each command starts.
#[must_use]
pub(super) fn native_path(typed: &str) -> String {
    let path = typed.replace('\\', "/");
    let path = match (drive(&path), path.strip_prefix('~')) {
        (Some((drive, "")), _) => format!("{drive}/"),
        (Some((drive, rest)), _) => format!("{drive}{rest}"),
        (None, Some("" | "/")) => ".".to_owned(),
        (None, Some(rest)) if rest.starts_with('/') => format!(".{rest}"),
        _ => path,
    };

    path.replace('/', "\\")
}

/// Splits a path such as `C:/x` or `/C:/x` after the drive.
fn drive(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (drive, rest) = path.split_at_checked(2)?;
    let letter = drive.strip_suffix(':')?;

    letter
        .starts_with(|letter: char| letter.is_ascii_alphabetic())
        .then_some((drive, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_windows_are_known_in_each_spelling() {
        for (typed, sftp, native) in [
            (r"C:\Users\me", "/C:/Users/me", r"C:\Users\me"),
            ("C:/Users/me", "/C:/Users/me", r"C:\Users\me"),
            ("/C:/Users/me", "/C:/Users/me", r"C:\Users\me"),
            (r"/c:\a/b\", "/c:/a/b/", r"c:\a\b\"),
            ("D:", "/D:/", r"D:\"),
            (r"D:\", "/D:/", r"D:\"),
            ("/D:", "/D:/", r"D:\"),
            (r"D:x", "D:x", r"D:x"),
            (r"logs\a.txt", "logs/a.txt", r"logs\a.txt"),
            (r"..\x", "../x", r"..\x"),
            ("~", "~", "."),
            ("~/", "~/", "."),
            (r"~\x", "~/x", r".\x"),
            ("~other", "~other", "~other"),
            (r"\Windows", "/Windows", r"\Windows"),
            (r"\\server\share\x", "//server/share/x", r"\\server\share\x"),
            ("é:/x", "é:/x", r"é:\x"),
            ("1:/x", "1:/x", r"1:\x"),
            ("", "", ""),
        ] {
            assert_eq!(sftp_path(typed), sftp, "{typed}");
            assert_eq!(native_path(typed), native, "{typed}");
            // No other path changes.
            assert!(
                sftp == typed || typed == "/D:" || may_be_windows_path(typed),
                "{typed}"
            );
        }
    }
}
