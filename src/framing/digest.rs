//! A script that computes the SHA-256 of a file, with whatever the remote host has for that.

use std::fmt::Write as _;

/// What stands before the digest: a startup file may print as well.
const MARK: &[u8] = b"mcp-ssh-sessions:sha256:";

/// A script for `/bin/sh`, to be read from stdin, for the first `length` bytes of a file. It prints nothing if there are
/// fewer, or no program that can do it. openssl is the fastest by far where there is hardware for it.
#[must_use]
pub fn script(path: &[u8], length: u64) -> String {
    let mut quoted = String::new();
    for byte in path {
        let _ = write!(quoted, "\\{byte:03o}");
    }
    // `$(…)` would take newlines off the end.
    format!("path=$(printf '{quoted}.'); path=${{path%.}}; length={length}\n{COMPUTE}")
}

const COMPUTE: &str = r#"
[ -f "$path" ] || exit 0
size=$(wc -c <"$path") || exit 0
[ "$size" -ge "$length" ] || exit 0
for sum in 'openssl dgst -sha256 -r' sha256sum 'shasum -a 256' 'sha256 -q' 'busybox sha256sum'; do
  command -v "${sum%% *}" >/dev/null 2>&1 || continue
  if [ "$size" -eq "$length" ]; then line=$($sum <"$path"); else line=$(head -c "$length" "$path" | $sum); fi
  line=${line%% *}
  [ "${#line}" -eq 64 ] || continue
  echo "mcp-ssh-sessions:sha256:$line"
  exit 0
done
"#;

/// The digest in what the script printed.
#[must_use]
pub fn parse(answer: &[u8]) -> Option<[u8; 32]> {
    let line = answer.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(MARK))?;
    let mut digest = [0; 32];
    let (pairs, []) = line.trim_ascii_end().as_chunks::<2>() else { return None };
    if pairs.len() != digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
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
            (format!("Welcome\nmcp-ssh-sessions:sha256:{hex}\r\nBye"), Some(&digest)),
            (format!("{hex}\n"), None),
            (format!("mcp-ssh-sessions:sha256:{hex}0\n"), None),
            (format!("mcp-ssh-sessions:sha256:{}\n", hex.trim_start_matches("01")), None),
            (format!("mcp-ssh-sessions:sha256:{}\n", hex.replace('f', "g")), None),
            (String::new(), None),
        ] {
            assert_eq!(parse(answer.as_bytes()).as_ref().map(<[u8; 32]>::as_slice), expected.map(Vec::as_slice));
        }
    }
}
