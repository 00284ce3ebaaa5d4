//! A script that tells what SFTP does not tell of a file: its links, its access control list and
//! its extended attributes.

use super::quoting::quoted;

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
    // and prints nothing. With -q, each file has one line.
    let rest = r#"
{
listed=$(ls -ldnq "$path" "${path%/*}/.")
attributes=$(tar --xattrs -cPf - -- "$path" | head -c 4096)
} 2>/dev/null
printf 'mcp-ssh-sessions:probe:\0%s\0%s\0' "$listed" "$attributes"
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
    let mut fields = answer.get(start..)?.splitn(3, |byte| *byte == 0);
    let listed = String::from_utf8_lossy(fields.next()?);
    let attributes = fields.next()?;
    // Without the end, the answer was cut off.
    fields.next()?;

    // POSIX defines a line: mode with an optional mark, links, owner, group, size.
    let [directory, file] = ["d", "-"].map(|kind| {
        let mut lines = listed.lines();
        lines.find(|line| line.starts_with(kind))
    });
    let mut words = file?.split_whitespace().skip(1);
    let mut number = || words.next()?.parse::<u64>().ok();
    let (links, user, group, size) = (number()?, number()?, number()?, number()?);
    let owner = (u32::try_from(user).ok()?, u32::try_from(group).ok()?);

    // The list of a directory is that of later files as well.
    let has_mark = |line: Option<&str>| {
        line.and_then(|line| line.as_bytes().get("-rw-r--r--".len()))
            .is_none_or(|mark| *mark != b' ')
    };
    let has = |word: &[u8]| memchr::memmem::find(attributes, word).is_some();

    Some(ProbedFile {
        links,
        owner,
        size,
        is_plain: !has_mark(file)
            && !has_mark(directory)
            && has(b"ustar")
            && !has(b"SCHILY.")
            && !has(b"LIBARCHIVE."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_without_attributes_is_plain() {
        let directory = "drwxr-xr-x 2 0 0 9 Nov 1 1:00 /.";
        for (lines, attributes, facts) in [
            (
                "-rw-r--r-- 1 0 5 42 Nov 1 1:00 /a b",
                "ustar",
                Some((1, true)),
            ),
            (
                "-rw-r--r-- 2 0 5 42 Nov 1 1:00 /a",
                "ustar",
                Some((2, true)),
            ),
            (
                "-rw-r--r--+ 1 0 5 42 Nov 1 1:00 /a",
                "ustar",
                Some((1, false)),
            ),
            (
                "-rw-r--r--. 1 0 5 42 Nov 1 1:00 /a",
                "ustar",
                Some((1, false)),
            ),
            (
                "-rw-r--r-- 1 0 5 42 /a",
                "ustarSCHILY.xattr.user.a",
                Some((1, false)),
            ),
            (
                "-rw-r--r-- 1 0 5 42 /a",
                "ustarLIBARCHIVE.xattr.user.a",
                Some((1, false)),
            ),
            ("-rw-r--r-- 1 0 5 42 /a", "/a", Some((1, false))),
            ("-rw-r--r-- 1 0 5 42 /a", "", Some((1, false))),
            ("-rw-r--r-- 1 root root 42 /a", "ustar", None),
            ("", "ustar", None),
        ] {
            for (directory, is_known) in [
                (directory, true),
                ("drwxr-xr-x+ 2 0 0 9 /.", false),
                ("", false),
            ] {
                let answer =
                    format!("motd\nmcp-ssh-sessions:probe:\0{directory}\n{lines}\0{attributes}\0");
                let probed = parse(answer.as_bytes());
                assert_eq!(
                    probed.map(|file| (file.links, file.is_plain)),
                    facts.map(|(links, is_plain)| (links, is_plain && is_known)),
                    "{answer:?}"
                );
                assert!(probed.is_none_or(|file| file.owner == (0, 5) && file.size == 42));
                assert!(has_run(answer.as_bytes()));
                assert_eq!(parse(&answer.as_bytes()[..answer.len() - 1]), None);
            }
        }

        assert!(!has_run(b"This service allows sftp connections only.\n"));
    }
}
