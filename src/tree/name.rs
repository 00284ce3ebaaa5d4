//! Checks names that a remote host has given. A safe name stays a file of its own directory on this
//! system.

/// Rules of an operating system for file names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRules {
    /// All bytes except `/` and NUL.
    Unix,
    /// All bytes except `/` and NUL, without distinction of case.
    Mac,
    /// Names without separators and without a special meaning for Win32 (devices, streams), without
    /// distinction of case.
    Windows,
}

/// Rules of the operating system on which this program runs.
pub const HERE: NameRules = if cfg!(windows) {
    NameRules::Windows
} else if cfg!(target_vendor = "apple") {
    NameRules::Mac
} else {
    NameRules::Unix
};

/// Limit for the length of a name in bytes. NTFS takes 255 UTF-16 units, which are up to three
/// bytes each; other systems take less.
const MAX_NAME_BYTES: usize = 255 * 3;

/// Reason for which a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryNameError {
    /// The name is empty, `.` or `..`.
    #[error("the name does not stand for a file in the directory")]
    NoName,
    /// The name holds `/`, or `\` on Windows.
    #[error("the name is a path and leads elsewhere")]
    Path,
    /// The name holds a NUL byte.
    #[error("a name cannot hold a NUL byte")]
    Nul,
    /// The name is longer than on any system.
    #[error("the name is too long")]
    TooLong,
    /// Windows gives the name another meaning or none.
    #[error("the name is not valid on Windows")]
    Windows,
}

/// Refuses a name which leads out of the directory, or has another meaning on this system.
///
/// # Errors
/// Returns [`EntryNameError`] with the reason.
pub fn check(name: &[u8], rules: NameRules) -> Result<(), EntryNameError> {
    // The order decides the message only; a name with any of these faults is refused.
    if name.is_empty() || name == b"." || name == b".." {
        return Err(EntryNameError::NoName);
    }

    // The system would end the name at the NUL, so another file would be written.
    if name.contains(&0) {
        return Err(EntryNameError::Nul);
    }

    if name.contains(&b'/') || (rules == NameRules::Windows && name.contains(&b'\\')) {
        return Err(EntryNameError::Path);
    }

    // The limit is coarse on purpose: the system itself refuses what is a little too long.
    if name.len() > MAX_NAME_BYTES {
        return Err(EntryNameError::TooLong);
    }

    if rules == NameRules::Windows && !is_plain_on_windows(name) {
        return Err(EntryNameError::Windows);
    }

    Ok(())
}

/// Returns a form which is equal for two names of the same file under these rules.
#[must_use]
pub fn folded(name: &[u8], rules: NameRules) -> Vec<u8> {
    match rules {
        NameRules::Unix => name.to_vec(),
        NameRules::Mac | NameRules::Windows => {
            String::from_utf8_lossy(name).to_lowercase().into_bytes()
        }
    }
}

/// Returns true for names without a special meaning ("Naming Files, Paths, and Namespaces" in the
/// documentation of Win32).
fn is_plain_on_windows(name: &[u8]) -> bool {
    // Names on Windows are Unicode, so a name in another encoding cannot be kept as it is.
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    // Windows drops dots and blanks from the end, so the name would be another file's.
    let special = |letter: char| letter < ' ' || "<>:\"|?*".contains(letter);
    if name.contains(special) || name.ends_with(['.', ' ']) {
        return false;
    }

    // A device keeps its meaning with any extension: `nul.txt` is NUL, and so is `nul .txt`.
    let stem = name
        .split('.')
        .next()
        .unwrap_or(name)
        .trim_end_matches(' ')
        .to_ascii_uppercase();

    let numbered = ["COM", "LPT"]
        .iter()
        .find_map(|device| stem.strip_prefix(device));

    // Windows also takes the superscript digits of Latin-1 for the number of a port.
    let device = numbered.is_some_and(|rest| {
        let mut digits = rest.chars();
        matches!(
            (digits.next(), digits.next()),
            (Some('0'..='9' | '¹' | '²' | '³'), None)
        )
    });

    !device && !["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_refused_on_every_system() {
        for (name, why) in [
            (&b""[..], EntryNameError::NoName),
            (b".", EntryNameError::NoName),
            (b"..", EntryNameError::NoName),
            (b"/", EntryNameError::Path),
            (b"../x", EntryNameError::Path),
            (b"/etc/passwd", EntryNameError::Path),
            (b"a/b", EntryNameError::Path),
            (b"a\0", EntryNameError::Nul),
            (&[b'n'; MAX_NAME_BYTES + 1], EntryNameError::TooLong),
        ] {
            assert_eq!(check(name, NameRules::Unix), Err(why), "{name:?}");
            assert_eq!(check(name, NameRules::Windows), Err(why), "{name:?}");
        }
    }

    #[test]
    fn unix_takes_all_other_bytes() {
        for name in [
            &b"..."[..],
            b".x",
            b"-rf",
            b"a\\b",
            b"\xff\xfe",
            b"a:b",
            b"new\nline",
            b"nul",
            &[b'n'; 255],
        ] {
            assert_eq!(check(name, NameRules::Unix), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn windows_takes_what_means_itself_there() {
        for name in [
            "a",
            ".hidden",
            "a b",
            "com",
            "com10",
            "comx",
            "nulx",
            "é日本🚀",
            "lpt.d",
            "console",
            "a.nul",
        ] {
            assert_eq!(check(name.as_bytes(), NameRules::Windows), Ok(()), "{name}");
        }

        for name in [
            "a:b", "a<", "a?", "*", "\"", "tab\t", "a.", "a ", "...", "con", "NUL", "nul.txt",
            "Nul .x.y", "aux.c", "com1", "COM9.log", "lpt0", "com¹", "conin$",
        ] {
            assert_eq!(
                check(name.as_bytes(), NameRules::Windows),
                Err(EntryNameError::Windows),
                "{name}"
            );
        }

        assert_eq!(
            check(b"a\\b", NameRules::Windows),
            Err(EntryNameError::Path)
        );

        assert_eq!(
            check(b"\xff", NameRules::Windows),
            Err(EntryNameError::Windows)
        );
    }

    proptest! {
        #[test]
        fn what_passes_is_one_plain_component(name in proptest::collection::vec(any::<u8>(), 0..12)) {
            if check(&name, NameRules::Windows).is_ok() {
                prop_assert!(check(&name, NameRules::Unix).is_ok());
            }
            if check(&name, NameRules::Unix).is_ok() {
                let text = String::from_utf8_lossy(&name).into_owned();
                let mut parts = std::path::Path::new(&text).components();
                prop_assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(parts.next().is_none());
            }
        }
    }
}
