//! Names that somebody else gives: which of them can name a file here, in the directory they are said to be in.

/// The systems that differ in what a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRules {
    /// Everything but `/` and NUL.
    Unix,
    /// The same, but `a` and `A` are one name.
    Mac,
    /// Neither what separates, nor what Win32 reads as a device, a stream or another name. `a` and `A` are one name.
    Windows,
}

/// The rules of the system that this program runs on.
pub const HERE: NameRules = if cfg!(windows) {
    NameRules::Windows
} else if cfg!(target_vendor = "apple") {
    NameRules::Mac
} else {
    NameRules::Unix
};

/// The longest name, in bytes: 255 characters of UTF-16 are what NTFS takes, and other systems take less.
const MAX_NAME_BYTES: usize = 255 * 3;

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryNameError {
    /// Nothing, `.` or `..`.
    #[error("this names no file of its directory")]
    NoName,
    /// `/`, on Windows `\` too.
    #[error("a name that is a path leads elsewhere")]
    Path,
    /// A NUL byte.
    #[error("a name cannot hold a NUL byte")]
    Nul,
    /// More than any system takes.
    #[error("the name is too long")]
    TooLong,
    /// Windows reads something else in it, or nothing.
    #[error("Windows has no such name")]
    Windows,
}

/// Refuses a name that would lead out of its directory, or that this system would read as another.
///
/// # Errors
/// Says why.
pub fn check(name: &[u8], rules: NameRules) -> Result<(), EntryNameError> {
    if name.is_empty() || name == b"." || name == b".." {
        return Err(EntryNameError::NoName);
    }

    if name.contains(&0) {
        return Err(EntryNameError::Nul);
    }

    if name.contains(&b'/') || (rules == NameRules::Windows && name.contains(&b'\\')) {
        return Err(EntryNameError::Path);
    }

    if name.len() > MAX_NAME_BYTES {
        return Err(EntryNameError::TooLong);
    }

    if rules == NameRules::Windows && !is_plain_on_windows(name) {
        return Err(EntryNameError::Windows);
    }

    Ok(())
}

/// What two names have in common that are one to the system.
#[must_use]
pub fn folded(name: &[u8], rules: NameRules) -> Vec<u8> {
    match rules {
        NameRules::Unix => name.to_vec(),
        NameRules::Mac | NameRules::Windows => {
            String::from_utf8_lossy(name).to_lowercase().into_bytes()
        }
    }
}

/// ("Naming Files, Paths, and Namespaces" in the documentation of Win32.)
fn is_plain_on_windows(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else {
        return false;
    };
    let special = |letter: char| letter < ' ' || "<>:\"|?*".contains(letter);
    if name.contains(special) || name.ends_with(['.', ' ']) {
        return false;
    }

    // A device is one with any extension: `nul.txt` is NUL, and so is `nul .txt`.
    let stem = name
        .split('.')
        .next()
        .unwrap_or(name)
        .trim_end_matches(' ')
        .to_ascii_uppercase();

    let numbered = ["COM", "LPT"]
        .iter()
        .find_map(|device| stem.strip_prefix(device));

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
