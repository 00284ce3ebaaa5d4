//! Scripts that compute the SHA-256 of a file, and look at it, with the programs of the remote
//! host.

use std::fmt::Write as _;

/// Words before the digest, because a startup file may print as well.
const MARK: &[u8] = b"mcp-ssh-sessions:sha256:";
/// Words before the facts of a file.
const LOOK: &[u8] = b"mcp-ssh-sessions:look:";

/// Line sent to a shell at once, to find out if there is a shell.
pub const BEGIN: &str = "echo mcp-ssh-sessions:ready\n";
/// Answer to [`BEGIN`].
pub const READY: &[u8] = b"mcp-ssh-sessions:ready";

/// Bytes of a growing file that are hashed at once, so that few programs are started, and flushed at
/// once.
pub const STEP_BYTES: u64 = 8 * 1024 * 1024;
/// Answer to [`growing_script`] once the script takes steps.
pub const READS_STEPS: &[u8] = b"mcp-ssh-sessions:steps";
/// Line for a script of [`growing_script`]: [`STEP_BYTES`] more of the file are complete.
pub const STEP: &[u8] = b"step\n";
/// Line for a script of [`growing_script`]: the file is complete.
pub const REST: &[u8] = b"rest\n";

/// Facts of a file, as reported by a program on the remote host. A caller compares them with the
/// facts that SFTP reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Type and permissions: `st_mode` of stat(2).
    pub mode: u32,
    /// Length in bytes.
    pub size: u64,
    /// Time of the last modification, in seconds since 1970.
    pub modified: u64,
    /// User id and group id.
    pub owner: (u32, u32),
}

/// Writes a script for `/bin/sh`, read from stdin, for the digest of the first `length` bytes of a
/// file. The script prints nothing if the file is shorter or no program can compute the digest.
/// openssl comes first, because it is the fastest by far where the hardware helps.
#[must_use]
pub fn script(path: &[u8], length: u64) -> String {
    format!("{}length={length}\n{COMPUTE}", with_path(path))
}

/// Writes a script for `/bin/sh`, read from stdin, for the digest of a file that is still being
/// written. Once it has printed [`READS_STEPS`], it takes the lines [`STEP`] and then [`REST`] from
/// stdin: a shell may read a block of the script ahead. It prints nothing more if a part cannot be
/// read, or no program can compute the digest.
#[must_use]
pub fn growing_script(path: &[u8]) -> String {
    let blocks = STEP_BYTES / GROWING_BLOCK_BYTES;
    format!(
        "{}blocks={blocks}; block={GROWING_BLOCK_BYTES}\n{COMPUTE_GROWING}",
        with_path(path)
    )
}

/// Writes a script for `/bin/sh`, for printing the facts of a file and of the root directory. Links
/// are followed. The first `stat` is that of GNU and busybox, the second that of the BSDs and
/// macOS.
#[must_use]
pub fn looks(path: &[u8]) -> String {
    format!(
        "{}{{ stat -L -c 'mcp-ssh-sessions:look:%f %s %Y %u %g' \"$path\" / || \
         stat -L -f 'mcp-ssh-sessions:look:%Xp %z %m %u %g' \"$path\" /; }} 2>/dev/null\n",
        with_path(path)
    )
}

/// Writes the line for setting `path`. Every byte is an octal escape, so no name can become a
/// command.
fn with_path(path: &[u8]) -> String {
    let mut quoted = String::new();
    for byte in path {
        let _ = write!(quoted, "\\{byte:03o}");
    }
    // `$(…)` would take newlines off the end of the name.
    format!("path=$(printf '{quoted}.'); path=${{path%.}}; ")
}

/// Programs that compute a digest, as words for the shell. The digest is the first word of their
/// output.
macro_rules! programs {
    () => {
        "'openssl dgst -sha256 -r' sha256sum 'shasum -a 256' 'sha256 -q' 'busybox sha256sum'"
    };
}

/// Bytes that `dd` reads at once.
const GROWING_BLOCK_BYTES: u64 = 1024 * 1024;

/// A failure of `dd` becomes part of the line, whose length is then wrong. The group is read as a whole
/// before it runs, and `exit` keeps the shell from reading the steps as a script.
const COMPUTE_GROWING: &str = concat!(
    r#"{
tool=
for sum in "#,
    programs!(),
    r#"; do
  command -v "${sum%% *}" >/dev/null 2>&1 && tool=$sum && break
done
[ -n "$tool" ] && [ -f "$path" ] || exit 0
echo mcp-ssh-sessions:steps
feed() {
  from=0
  while read -r step; do
    case $step in
      rest) dd if="$path" bs="$block" skip="$from" 2>/dev/null || echo failed >&3; return;;
    esac
    dd if="$path" bs="$block" skip="$from" count="$blocks" 2>/dev/null || { echo failed >&3; return; }
    from=$((from + blocks))
  done
  echo failed >&3
}
line=$({ feed | $tool; } 3>&1)
line=${line%% *}
[ "${#line}" -eq 64 ] && echo "mcp-ssh-sessions:sha256:$line"
exit 0
}
"#
);

const COMPUTE: &str = concat!(
    r#"
[ -f "$path" ] || exit 0
size=$(wc -c <"$path") || exit 0
[ "$size" -ge "$length" ] || exit 0
for sum in "#,
    programs!(),
    r#"; do
  command -v "${sum%% *}" >/dev/null 2>&1 || continue
  if [ "$size" -eq "$length" ]; then line=$($sum <"$path"); else line=$(head -c "$length" "$path" | $sum); fi
  line=${line%% *}
  [ "${#line}" -eq 64 ] || continue
  echo "mcp-ssh-sessions:sha256:$line"
  exit 0
done
"#
);

/// Reads the digest in the output of [`script`]; `None` if there is none.
#[must_use]
pub fn parse(answer: &[u8]) -> Option<[u8; 32]> {
    let line = answer
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(MARK))?;
    let mut digest = [0; 32];
    // A line of another length cannot be a digest.
    let (pairs, []) = line.trim_ascii_end().as_chunks::<2>() else {
        return None;
    };

    if pairs.len() != digest.len() {
        return None;
    }

    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }

    Some(digest)
}

/// Reads the facts of the file and of the root directory in the output of [`looks`]. `None` unless
/// there are exactly two.
#[must_use]
pub fn parse_looks(answer: &[u8]) -> Option<[FileFacts; 2]> {
    let mut looks = answer
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(LOOK))
        .map(parse_look);
    let pair = [looks.next()??, looks.next()??];
    looks.next().is_none().then_some(pair)
}

/// Reads a line of facts.
fn parse_look(line: &[u8]) -> Option<FileFacts> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let mode = u32::from_str_radix(words.next()?, 16).ok()?;
    let (size, modified) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let owner = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);

    Some(FileFacts {
        mode,
        size,
        modified,
        owner,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_so_that_any_byte_survives() {
        let script = script(b"/a 'b\n\xff%\\", 5);
        assert!(script.starts_with(
            "path=$(printf '\\057\\141\\040\\047\\142\\012\\377\\045\\134.'); path=${path%.}; length=5\n"
        ));
    }

    #[test]
    fn only_a_digest_behind_the_mark_is_one() {
        let hex = "0123456789abcdef".repeat(4);
        let digest = [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(4);
        for (answer, expected) in [
            (format!("mcp-ssh-sessions:sha256:{hex}\n"), Some(&digest)),
            (
                format!("Welcome\nmcp-ssh-sessions:sha256:{hex}\r\nBye"),
                Some(&digest),
            ),
            (format!("{hex}\n"), None),
            (format!("mcp-ssh-sessions:sha256:{hex}0\n"), None),
            (
                format!("mcp-ssh-sessions:sha256:{}\n", hex.trim_start_matches("01")),
                None,
            ),
            (
                format!("mcp-ssh-sessions:sha256:{}\n", hex.replace('f', "g")),
                None,
            ),
            (String::new(), None),
        ] {
            assert_eq!(
                parse(answer.as_bytes()).as_ref().map(<[u8; 32]>::as_slice),
                expected.map(Vec::as_slice)
            );
        }
    }

    #[test]
    fn only_a_look_at_both_is_one() {
        let file = FileFacts {
            mode: 0o100_644,
            size: 1 << 40,
            modified: 1_700_000_000,
            owner: (0, 1000),
        };

        let root = FileFacts {
            mode: 0o040_755,
            size: 4096,
            modified: 1,
            owner: (0, 0),
        };

        let (one, other) = (
            "mcp-ssh-sessions:look:81a4 1099511627776 1700000000 0 1000\n",
            "mcp-ssh-sessions:look:41ed 4096 1 0 0\r\n",
        );

        for (answer, expected) in [
            (format!("Welcome\n{one}{other}"), Some([file, root])),
            (one.to_owned(), None),
            (format!("{one}{other}{one}"), None),
            (format!("{one}mcp-ssh-sessions:look:41ed 4096 -1 0 0"), None),
            (format!("{one}mcp-ssh-sessions:look:"), None),
            (String::new(), None),
        ] {
            assert_eq!(parse_looks(answer.as_bytes()), expected, "{answer}");
        }
    }
}
