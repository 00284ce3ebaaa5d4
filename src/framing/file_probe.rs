//! A script that tells what SFTP does not tell of a file: its links, its access control list and
//! its extended attributes.

use super::read_file::quoted;

/// Words before the facts, because a startup file may print as well.
const MARK: &[u8] = b"mcp-ssh-sessions:probe:\0";

/// Facts about a file, as the programs of the host tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbedFile {
    /// Number of names (hard links).
    pub links: u64,
    /// User and group by number.
    pub owner: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// True if the file surely has neither an access control list nor extended attributes, and a
    /// new file in its directory would have none either.
    pub is_plain: bool,
}

/// Writes the script for a file with this absolute path, in which all links are resolved.
#[must_use]
pub fn script(path: &[u8]) -> Vec<u8> {
    // GNU tar lists the attributes before the content of a file. The tar of other systems fails,
    // and prints nothing.
    let rest = r#"
attributes=$(tar --xattrs -cPf - -- "$path" 2>/dev/null | head -c 4096 | tr -cd 'A-Za-z.')
printf 'mcp-ssh-sessions:probe:\0%s\0' "$(ls -ldn "$path" 2>/dev/null)"
printf '%s\0%s\0' "$(ls -ldn "${path%/*}/." 2>/dev/null)" "$attributes"
"#;

    [b"path=", quoted(path).as_slice(), rest.as_bytes()].concat()
}

/// Returns true if an answer is one to [`script`]: the host has a shell.
#[must_use]
pub fn has_run(answer: &[u8]) -> bool {
    memchr::memmem::find(answer, MARK).is_some()
}

/// Reads the answer to [`script`]. `None` if there is no such file, or the host has no shell.
#[must_use]
pub fn parse(answer: &[u8]) -> Option<ProbedFile> {
    let start = memchr::memmem::find(answer, MARK)? + MARK.len();
    let mut fields = answer.get(start..)?.splitn(4, |byte| *byte == 0);
    let listed = String::from_utf8_lossy(fields.next()?);
    let directory = fields.next()?;
    let attributes = fields.next()?;
    // Without the end, the answer was cut off.
    fields.next()?;

    // POSIX defines the line: mode with an optional mark, links, owner, group, size.
    let mut words = listed.split_whitespace();
    let mode = words.next()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let (links, user, group, size) = (number()?, number()?, number()?, number()?);
    let owner = (u32::try_from(user).ok()?, u32::try_from(group).ok()?);

    // The list of a directory is that of later files as well.
    let has_mark = [mode.as_bytes(), directory].iter().any(|line| {
        line.get("-rw-r--r--".len())
            .is_some_and(|mark| *mark != b' ')
    });
    let has_attributes = memchr::memmem::find(attributes, b"SCHILY.").is_some();

    Some(ProbedFile {
        links,
        owner,
        size,
        is_plain: !has_mark && !has_attributes && !attributes.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_without_attributes_is_plain() {
        for (answer, facts) in [
            (
                "-rw-r--r-- 1 0 5 42 Nov 1 1:00 /a b\0drwxr-xr-x 2 0 0\0ustar\0",
                Some((1, true)),
            ),
            (
                "-rw-r--r-- 2 0 5 42 Nov 1 1:00 /a\0drwxr-xr-x 2 0 0\0ustar\0",
                Some((2, true)),
            ),
            (
                "-rw-r--r--+ 1 0 5 42 Nov 1 1:00 /a\0drwxr-xr-x 2 0 0\0ustar\0",
                Some((1, false)),
            ),
            (
                "-rw-r--r--. 1 0 5 42 Nov 1 1:00 /a\0drwxr-xr-x 2 0 0\0ustar\0",
                Some((1, false)),
            ),
            (
                "-rw-r--r-- 1 0 5 42 /a\0drwxr-xr-x 2 0 0\0PaxHeaders.SCHILY.xattr.user.a\0",
                Some((1, false)),
            ),
            (
                "-rw-r--r-- 1 0 5 42 /a\0drwxr-xr-x 2 0 0\0\0",
                Some((1, false)),
            ),
            ("-rw-r--r-- 1 0 5 42 /a\0drwxr-xr-x 2 0 0\0ustar", None),
            (
                "-rw-r--r-- 1 0 5 42 /a\0drwxr-xr-x+ 2 0 0\0ustar\0",
                Some((1, false)),
            ),
            (
                "-rw-r--r-- 1 root root 42 /a\0drwxr-xr-x 2 0 0\0ustar\0",
                None,
            ),
            ("\0\0\0", None),
        ] {
            let answer = ["motd\nmcp-ssh-sessions:probe:\0", answer].concat();
            let probed = parse(answer.as_bytes());
            assert_eq!(
                probed.map(|file| (file.links, file.is_plain)),
                facts,
                "{answer:?}"
            );
            assert!(probed.is_none_or(|file| file.owner == (0, 5) && file.size == 42));
        }
        assert_eq!(parse(b"This service allows sftp connections only.\n"), None);
    }
}
