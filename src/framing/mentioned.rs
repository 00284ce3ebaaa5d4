//! Words of commands that may end the shell, or their own call, too early. A frame has more to do
//! after such words. That would cost every other frame a millisecond.

/// Features mentioned so far by the commands of a shell. Features are only ever added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mentioned {
    /// True after an option of `set`, or `errexit` by name: commands may run under `set -e`.
    pub options: bool,
    /// True after `set -E`, or `errtrace` by name.
    pub errtrace: bool,
    /// True after `trap`.
    pub traps: bool,
}

/// Words of commands which end a shell, or take away something essential.
const ENDS: [&str; 8] = [
    "enable", "exec", "exit", "kill", "logout", "pkill", "return", "ulimit",
];

impl Mentioned {
    /// Adds the features mentioned by this command.
    pub fn scan(&mut self, command: &[u8]) {
        // Words are looked at without a shell's grammar: a word inside quotes or a comment costs a
        // little time, and nothing else.
        let (mut flags, mut words) = (false, words(command));
        while let Some(word) = words.next() {
            self.errtrace |= word == b"errtrace" || (flags && word.contains(&b'E'));
            self.options |= flags || word == b"errexit";
            self.traps |= word == b"trap";
            flags = word == b"set"
                && words
                    .clone()
                    .next()
                    .is_some_and(|next| [Some(&b'-'), Some(&b'+')].contains(&next.first()));
        }
    }

    /// Returns true if the shell may not survive this command, which must have been noted before.
    #[must_use]
    pub fn may_end(self, command: &[u8]) -> bool {
        self.options || words(command).any(|word| ENDS.iter().any(|end| word == end.as_bytes()))
    }
}

/// Splits a command into words of letters, digits and the characters of options.
fn words(command: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-+_".contains(byte);
    command
        .split(move |byte| !part(byte))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentioned(command: &str) -> Mentioned {
        let mut mentioned = Mentioned::default();
        mentioned.scan(command.as_bytes());
        mentioned
    }

    #[test]
    fn options_and_traps_are_found_wherever_they_stand() {
        for command in [
            "set -e",
            "true;set  -euo pipefail",
            "f() {\n\tset\t+u; }",
            "set -o errexit",
            "shopt -so errexit",
        ] {
            assert!(mentioned(command).options, "{command}");
        }

        for command in [
            "",
            "unset -v x",
            "set",
            "set a b",
            "reset -x",
            "setfacl -m x",
            "echo errexits",
        ] {
            assert_eq!(mentioned(command), Mentioned::default(), "{command}");
        }

        assert!(
            mentioned("set -Eeu").errtrace
                && mentioned("set -o errtrace").errtrace
                && !mentioned("set -e; E=1").errtrace
        );

        assert!(mentioned("trap 'rm x' EXIT").traps && !mentioned("strap").traps);
    }

    #[test]
    fn what_may_end_a_shell_is_told_from_what_does_not() {
        for command in [
            "exit",
            "true && exit 3",
            "exec sh",
            "/bin/kill -9 $$",
            "builtin exit",
            "set -e; false",
            "(exit)",
        ] {
            assert!(mentioned(command).may_end(command.as_bytes()), "{command}");
        }

        for command in ["echo exits", "cargo test", "cd /tmp && ls"] {
            assert!(!mentioned(command).may_end(command.as_bytes()), "{command}");
        }

        assert!(
            mentioned("set -e").may_end(b"cargo test"),
            "an option stays"
        );
    }
}
