//! The words of a shell command line, as far as they can be known without running it (pure).
//!
//! This is a reader for the hook and no shell. It finds commands that are written out. What a
//! variable, an alias or a script hides stays hidden.

mod reader;

use self::reader::Reader;

/// Limit of the depth of commands within commands, as in `$(…)` and `sh -c`.
const MAX_DEPTH: usize = 8;

/// Stands in a word for text that only the shell knows, such as the value of `$HOST`. No command
/// line can hold it.
pub(super) const UNKNOWN: char = '\0';

/// Returns the simple commands of a command line, each as its words without quotes. Assignments,
/// redirections and reserved words are left out. Commands in substitutions and subshells count as
/// well, and so do those of `sh -c` and `eval`.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    read(line, 0, &mut found);

    found
}

/// Adds the commands of `line`.
fn read(line: &str, depth: usize, found: &mut Vec<Vec<String>>) {
    if depth > MAX_DEPTH {
        return;
    }

    let (commands, inner) = Reader::read(line);

    for words in commands {
        for script in scripts(&words) {
            read(&script, depth + 1, found);
        }

        found.push(words);
    }

    for line in inner {
        read(&line, depth + 1, found);
    }
}

/// Returns the command lines that a command gives to another shell: `sh -c LINE` and `eval LINE`.
fn scripts(words: &[String]) -> Vec<String> {
    let is_shell = |word: &String| {
        let shells = ["sh", "bash", "dash", "zsh", "ksh"];
        shells.contains(&program_name(word))
    };

    if let Some((first, rest)) = words.split_first()
        && first == "eval"
    {
        return vec![rest.join(" ")];
    }

    // A wrapper such as `sudo` may stand before the shell.
    let Some(shell) = words.iter().position(is_shell) else {
        return Vec::new();
    };

    let mut arguments = words.iter().skip(shell + 1);
    let takes_line = |word: &String| {
        let letters = word.strip_prefix('-').unwrap_or_default();
        letters.ends_with('c') && letters.chars().all(char::is_alphanumeric)
    };

    if !arguments.any(takes_line) {
        return Vec::new();
    }

    arguments.next().cloned().into_iter().collect()
}

/// Returns the last part of a program's path.
pub(super) fn program_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};

    use super::*;

    /// The commands in short, one after the other, with `~` for what is unknown.
    fn short(line: &str) -> String {
        let commands: Vec<_> = commands(line)
            .into_iter()
            .map(|words| words.join("·"))
            .collect();

        commands.join(" | ").replace(UNKNOWN, "~")
    }

    #[test]
    fn commands_are_read_as_a_shell_reads_them() {
        for (line, expected) in [
            ("", ""),
            ("ssh web uptime", "ssh·web·uptime"),
            ("  ssh\tweb  ", "ssh·web"),
            ("ssh 'a b' \"c d\" e\\ f", "ssh·a b·c d·e f"),
            ("s's'\"h\" web", "ssh·web"),
            ("a; b && c || d & e | f\ng", "a | b | c | d | e | f | g"),
            ("(a); { b; }", "a | b"),
            ("X=1 Y=$Z ssh web", "ssh·web"),
            ("if a; then b; else c; fi", "a | b | c | fi"),
            ("a # ssh web\nb", "a | b"),
            ("a#b", "a#b"),
            ("a \\\n b", "a·b"),
            ("a >f 2>&1 <g b", "a·b"),
            ("a &>f b", "a·b"),
            ("a 3 >f", "a·3"),
            ("ssh $HOST", "ssh·~"),
            ("ssh a${HOST}x", "ssh·a~x"),
            ("ssh \"$H\" '$H'", "ssh·~·$H"),
            ("ssh web* [::1] {a,b}", "ssh·web*·[::1]·~a,b}"),
            ("echo $(ssh web) `ssh db`", "echo·~·~ | ssh·web | ssh·db"),
            ("echo \"$(ssh web \")\" x)\"", "echo·~ | ssh·web·)·x"),
            ("cat <(ssh web)", "cat·~ | ssh·web"),
            ("sh -c 'ssh web'", "ssh·web | sh·-c·ssh web"),
            (
                "sudo bash -lc \"ssh web\"",
                "ssh·web | sudo·bash·-lc·ssh web",
            ),
            ("eval ssh web", "ssh·web | eval·ssh·web"),
            ("bash script.sh", "bash·script.sh"),
            ("cat <<E\nssh web\nE\nb", "cat | b"),
            ("cat <<-'E' >f\nssh web\n\tE\nb", "cat | b"),
            ("cat <<<\"ssh web\" x", "cat·x"),
            ("a <<E", "a"),
            ("'unclosed", "unclosed"),
            ("echo $(unclosed", "echo·~ | unclosed"),
            ("a $", "a·$"),
            ("ä 'ö' ü", "ä·ö·ü"),
        ] {
            assert_eq!(short(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_to_its_end(line in "[ a$(){}`'\"\\\\<>&|;#=\n\t-]{0,60}", last in "x[a-z]{1,8}") {
            // No quote or substitution of the first line hides the next one from a new reader.
            let found = commands(&format!("{line}\n"));
            prop_assert!(found.iter().all(|words| !words.is_empty()));

            // Nothing that is complete hides what follows.
            let line = line.replace(['\'', '"', '`', '\\', '(', '<', '{'], "");
            let found = commands(&format!("{line}\n{last}"));
            prop_assert!(found.contains(&vec![last]));
        }
    }

    #[test]
    fn commands_within_commands_end_at_a_depth() {
        let line = "$(".repeat(100) + "ssh web";
        assert!(commands(&line).len() <= MAX_DEPTH + 1);
    }
}
