//! Names that somebody else gives: which of them can name a file here, in the directory they are said to be in.

/// The systems that differ in what a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Everything but `/` and NUL.
    Unix,
    /// The same, but `a` and `A` are one name.
    Mac,
    /// Neither what separates, nor what Win32 reads as a device, a stream or another name. `a` and `A` are one name.
    Windows,
}

/// The rules of the system that this program runs on.
pub const HERE: Rules = if cfg!(windows) {
    Rules::Windows
} else if cfg!(target_vendor = "apple") {
    Rules::Mac
} else {
    Rules::Unix
};

/// The longest name, in bytes: 255 characters of UTF-16 are what NTFS takes, and other systems take less.
const LONGEST: usize = 255 * 3;

/// Why a name cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
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
pub fn check(name: &[u8], rules: Rules) -> Result<(), NameError> {
    if name.is_empty() || name == b"." || name == b".." {
        return Err(NameError::NoName);
    }
    if name.contains(&0) {
        return Err(NameError::Nul);
    }
    if name.contains(&b'/') || (rules == Rules::Windows && name.contains(&b'\\')) {
        return Err(NameError::Path);
    }
    if name.len() > LONGEST {
        return Err(NameError::TooLong);
    }
    if rules == Rules::Windows && !is_plain_on_windows(name) {
        return Err(NameError::Windows);
    }
    Ok(())
}

/// What two names have in common that are one to the system.
#[must_use]
pub fn folded(name: &[u8], rules: Rules) -> Vec<u8> {
    match rules {
        Rules::Unix => name.to_vec(),
        Rules::Mac | Rules::Windows => String::from_utf8_lossy(name).to_lowercase().into_bytes(),
    }
}

/// ("Naming Files, Paths, and Namespaces" in the documentation of Win32.)
fn is_plain_on_windows(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let special = |letter: char| letter < ' ' || "<>:\"|?*".contains(letter);
    if name.contains(special) || name.ends_with(['.', ' ']) {
        return false;
    }
    // A device is one with any extension: `nul.txt` is NUL, and so is `nul .txt`.
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_ascii_uppercase();
    let numbered = ["COM", "LPT"].iter().find_map(|device| stem.strip_prefix(device));
    let device = numbered.is_some_and(|rest| {
        let mut digits = rest.chars();
        matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
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
            (&b""[..], NameError::NoName),
            (b".", NameError::NoName),
            (b"..", NameError::NoName),
            (b"/", NameError::Path),
            (b"../x", NameError::Path),
            (b"/etc/passwd", NameError::Path),
            (b"a/b", NameError::Path),
            (b"a\0", NameError::Nul),
            (&[b'n'; LONGEST + 1], NameError::TooLong),
        ] {
            assert_eq!(check(name, Rules::Unix), Err(why), "{name:?}");
            assert_eq!(check(name, Rules::Windows), Err(why), "{name:?}");
        }
    }

    #[test]
    fn unix_takes_all_other_bytes() {
        for name in [&b"..."[..], b".x", b"-rf", b"a\\b", b"\xff\xfe", b"a:b", b"new\nline", b"nul", &[b'n'; 255]] {
            assert_eq!(check(name, Rules::Unix), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn windows_takes_what_means_itself_there() {
        for name in ["a", ".hidden", "a b", "com", "com10", "comx", "nulx", "é日本🚀", "lpt.d", "console", "a.nul"]
        {
            assert_eq!(check(name.as_bytes(), Rules::Windows), Ok(()), "{name}");
        }
        for name in [
            "a:b", "a<", "a?", "*", "\"", "tab\t", "a.", "a ", "...", "con", "NUL", "nul.txt", "Nul .x.y", "aux.c",
            "com1", "COM9.log", "lpt0", "com¹", "conin$",
        ] {
            assert_eq!(check(name.as_bytes(), Rules::Windows), Err(NameError::Windows), "{name}");
        }
        assert_eq!(check(b"a\\b", Rules::Windows), Err(NameError::Path));
        assert_eq!(check(b"\xff", Rules::Windows), Err(NameError::Windows));
    }

    proptest! {
        #[test]
        fn what_passes_is_one_plain_component(name in proptest::collection::vec(any::<u8>(), 0..12)) {
            if check(&name, Rules::Windows).is_ok() {
                prop_assert!(check(&name, Rules::Unix).is_ok());
            }
            if check(&name, Rules::Unix).is_ok() {
                let text = String::from_utf8_lossy(&name).into_owned();
                let mut parts = std::path::Path::new(&text).components();
                prop_assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))));
                prop_assert!(parts.next().is_none());
            }
        }
    }
}
