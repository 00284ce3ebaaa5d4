//! The facts of a path, as stat(1) or ls(1) prints them.

/// Facts of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFacts {
    /// Type and permission bits (`st_mode` of stat(2)).
    pub mode: u32,
    /// User id and group id.
    pub owner: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// Times of the last access and the last modification, in seconds since 1970. `None` without
    /// `stat` on the host.
    pub times: Option<(u32, u32)>,
}

/// Reads the facts of a path. `None` if they have another form.
#[must_use]
pub fn facts(answer: &[u8]) -> Option<PathFacts> {
    let text = std::str::from_utf8(answer.trim_ascii()).ok()?;
    let mut words = text.split(' ');
    let mode = words.next()?;
    let mode = match mode.strip_prefix('L') {
        Some(letters) => mode_of_letters(letters.as_bytes())?,
        None => u32::from_str_radix(mode, 16).ok()?,
    };

    let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // A device has two numbers there, with a comma.
    let size = words.next()?.parse().unwrap_or(0);
    let mut time = || -> Option<u32> {
        let seconds: i64 = words.next()?.parse().ok()?;
        Some(u32::try_from(seconds.max(0)).unwrap_or(u32::MAX))
    };
    let times = time().zip(time());

    Some(PathFacts {
        mode,
        owner,
        size,
        times,
    })
}

/// Reads the entries of a directory, as names with facts. `None` if they have another form.
#[must_use]
pub fn entries(answer: &[u8]) -> Option<Vec<(&[u8], PathFacts)>> {
    let mut entries = Vec::new();
    let mut rest = answer;
    while !rest.is_empty() {
        // No name contains a slash.
        let end = memchr::memmem::find(rest, b"/\n").filter(|end| *end > 0)?;
        let (entry, after) = rest.split_at_checked(end)?;
        let name = memchr::memmem::find(entry, b" ./")?;
        entries.push((entry.get(name + 3..)?, facts(entry.get(..name)?)?));
        rest = after.get(2..)?;
    }

    Some(entries)
}

/// Returns the mode for the first word of a line of `ls -l`, such as `drwxr-xr-t`.
fn mode_of_letters(letters: &[u8]) -> Option<u32> {
    let (kind, permissions) = letters.split_first()?;
    let mut mode = match kind {
        b'-' => 0o100_000,
        b'd' => 0o040_000,
        b'l' => 0o120_000,
        b'c' => 0o020_000,
        b'b' => 0o060_000,
        b'p' => 0o010_000,
        b's' => 0o140_000,
        _ => return None,
    };

    for (place, letter) in permissions.first_chunk::<9>()?.iter().enumerate() {
        let bit = 0o400 >> place;
        let special = 0o4000 >> (place / 3);
        mode |= match letter {
            b'-' => 0,
            b'r' | b'w' | b'x' => bit,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => return None,
        };
    }

    Some(mode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn facts_are_read_in_either_form() {
        for (answer, mode, size, times) in [
            ("81a4 1 2 10 3 4\n", 0o100_644, 10, Some((3, 4))),
            (
                "a1ff 1 2 7 -5 9999999999\n",
                0o120_777,
                7,
                Some((0, u32::MAX)),
            ),
            ("L-rw-r--r-- 1 2 10\n", 0o100_644, 10, None),
            ("Ldrwxrwsr-t. 1 2 4096", 0o043_775, 4096, None),
            ("L-rwSr-xr-T+ 1 2 0", 0o105_654, 0, None),
            ("Lcrw-rw-rw- 1 2 1,", 0o020_666, 0, None),
        ] {
            let expected = PathFacts {
                mode,
                owner: (1, 2),
                size,
                times,
            };
            assert_eq!(facts(answer.as_bytes()), Some(expected), "{answer}");
        }

        for other in ["", "x", "81a4 1", "81a4 a 2 3", "L? 1 2 3", "L-rw 1 2 3"] {
            assert_eq!(facts(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_entry_ends_with_a_slash() {
        let answer = b"81a4 1 2 3 4 5 ./a\n81a4 1 2 3 4 5 .b/\nL-rw-r--r-- 1 2 3 ./ ./\n41ed 1 2 3 4 5 ./-\xff/\n";
        let entries = entries(answer).unwrap();
        let names: Vec<_> = entries.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, [&b"a\n81a4 1 2 3 4 5 .b"[..], b" .", b"-\xff"]);
        for other in [
            &b"x"[..],
            b"/\n",
            b"81a4 1 2 3 4 5 x/\n",
            b"81a4 1 2 3 4 5 ./x",
        ] {
            assert_eq!(super::entries(other), None);
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(answer in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (facts(&answer), entries(&answer));
        }
    }
}
