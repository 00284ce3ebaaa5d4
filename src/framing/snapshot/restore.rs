//! The script that gives a new shell the state of another, and the report on what was restored.

use std::fmt::{self, Write as _};

use super::{KEPT_IF_ABSENT, NOT_KEPT, Snapshot, Statement};
use crate::{
    foreign_text::ForeignText,
    framing::{quoting::quote, shell_kind::ShellKind},
};

/// Most names of unrestored things in the report.
const NAMES_TOLD: usize = 8;

/// Script to give a new shell the state of another, with the data for reading the output. Neither
/// the script nor the snapshot is ever shown or logged, since variables may hold secrets.
pub struct Restore {
    /// Command for the new shell. [`report`](Self::report) reads its output.
    pub command: Vec<u8>,
    /// Steps of the command; the output names failed steps by their index.
    steps: Vec<RestoreStep>,
    /// Word before a builtin, so as not to call a function instead.
    word: &'static str,
    /// True if the functions could not be taken over.
    functions_lost: bool,
    /// True if the traps could not be taken over.
    traps_lost: bool,
}

/// Single thing to restore. Each is restored by itself, so that its failure costs nothing else.
struct RestoreStep {
    /// Kind of thing.
    what: RestoredKind,
    /// Name of the thing; empty for kinds without names.
    name: String,
}

/// Part of a shell's state that a new shell takes over after a reconnect. The report to the agent
/// names the parts in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestoredKind {
    Directory,
    Variable,
    Function,
    Alias,
    Options,
    Umask,
    Trap,
    Positional,
    DirectoryStack,
    /// A step left out of the report.
    Unreported,
}

/// Traps which would run during later steps, and are therefore set last.
const LAST_TRAPS: [&str; 3] = ["RETURN", "ERR", "DEBUG"];
impl Snapshot {
    /// Writes the script for a shell of the same kind. `directory` is the last directory of the old
    /// shell.
    #[must_use]
    pub fn restore(&self, directory: &[u8]) -> Restore {
        let bash = self.kind == ShellKind::Bash;

        let mut restore = Restore {
            command: Vec::new(),
            steps: Vec::new(),
            word: if bash { "\\builtin" } else { "\\command" },
            functions_lost: !bash,
            traps_lost: !self.tells_traps,
        };

        if !directory.is_empty() {
            let mut change = b"cd -- ".to_vec();
            quote(&mut change, directory);
            restore.step(
                RestoredKind::Directory,
                &String::from_utf8_lossy(directory),
                &change,
            );
        }

        if bash {
            restore.step(RestoredKind::Unreported, "", &self.unset_others());
        }

        // `POSIXLY_CORRECT` is set after everything else: it switches bash to its POSIX mode.
        let (late, early): (Vec<_>, Vec<_>) = self
            .variables
            .iter()
            .partition(|variable| variable.name == "POSIXLY_CORRECT");

        for variable in early {
            // Bash before 4.4 uses these two bytes itself, and writes them in a way that it cannot
            // read.
            let garbled = bash
                && !self.tells_traps
                && variable.text.iter().any(|byte| [0x01, 0x7f].contains(byte));

            if garbled {
                restore.step(RestoredKind::Variable, &variable.name, b"((0))");
            } else {
                restore.statements(RestoredKind::Variable, std::iter::once(variable));
            }
        }

        // Attributes follow the values, because a read-only variable cannot be assigned any more.
        restore.statements(RestoredKind::Unreported, self.exported.iter());
        restore.statements(RestoredKind::Unreported, self.read_only.iter());
        if let Some(positional) = &self.positional {
            restore.step(RestoredKind::Positional, "", positional);
        }

        if bash {
            // The patterns in functions may need it. The options restore the earlier value.
            restore.step(RestoredKind::Unreported, "", b"shopt -s extglob");
        }

        restore.statements(RestoredKind::Function, self.functions.iter());
        restore.statements(RestoredKind::Unreported, self.attributes.iter());
        restore.step(
            RestoredKind::Umask,
            "",
            &[b"umask ", self.umask.as_slice()].concat(),
        );

        // `-n` adds to the stack without a change of the directory.
        for directory in &self.directories {
            let mut push = b"pushd -n -- ".to_vec();
            quote(&mut push, directory);
            restore.step(RestoredKind::DirectoryStack, "", &push);
        }

        for alias in &self.aliases {
            let word: &[u8] = if bash { b"alias -- " } else { b"alias " };
            restore.step(
                RestoredKind::Alias,
                &alias.name,
                &[word, alias.text.as_slice()].concat(),
            );
        }

        // Options come late: one like `errexit` or `nounset` would disturb the steps before.
        restore.step(RestoredKind::Options, "", &self.options(bash));
        restore.statements(RestoredKind::Unreported, late.into_iter());
        // Only traps follow this mark: they are set last, because they would run during the other
        // steps.
        let word = restore.word;
        restore
            .command
            .extend_from_slice(format!("{word} printf 'end '\n").as_bytes());

        let rank = |trap: &&Statement| {
            LAST_TRAPS
                .iter()
                .position(|name| *name == trap.name)
                .map_or(0, |at| at + 1)
        };

        let mut traps: Vec<&Statement> = self.traps.iter().collect();
        traps.sort_by_key(rank);
        restore.statements(RestoredKind::Trap, traps.into_iter());

        restore
    }

    /// Writes a statement for removing environment variables which the old shell did not have.
    fn unset_others(&self) -> Vec<u8> {
        // A socket of the new connection's forwarded agent stays: the old shell's is not kept,
        // unless it has started an agent.
        let mut names = String::from(" SSH_AUTH_SOCK ");
        let restored = self.variables.iter().map(|variable| variable.name.as_str());
        for name in restored.chain(NOT_KEPT).chain(KEPT_IF_ABSENT) {
            let _ = write!(names, "{name} ");
        }

        format!(
            "eval 'for __mcp_v in $(builtin compgen -e); do case \"{names}\" in *\" $__mcp_v \"*) ;; \
             *) builtin unset \"$__mcp_v\";; esac; done; builtin unset __mcp_v'"
        )
        .into_bytes()
    }
}

impl Restore {
    /// Reports on the output of the command: first the restored things, then the missing things.
    #[must_use]
    pub fn report(&self, output: &[u8]) -> (String, Option<String>) {
        let output = String::from_utf8_lossy(output);
        let mut failed: Vec<usize> = output
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();

        if !output.split_whitespace().any(|word| word == "end") {
            // The command was aborted. The output does not tell the steps before the end from those
            // after it.
            failed = (0..self.steps.len()).collect();
        }

        let count = |what| {
            self.steps
                .iter()
                .enumerate()
                .filter(|(at, step)| step.what == what && !failed.contains(at))
                .count()
        };

        let counted = |what, name: &str| match count(what) {
            0 => None,
            count => Some(format!("{name} ({count})")),
        };

        let named = |what, name: &str| (count(what) > 0).then(|| name.to_owned());

        let restored: Vec<String> = [
            named(RestoredKind::Directory, "directory"),
            counted(RestoredKind::Variable, "variables"),
            counted(RestoredKind::Function, "functions"),
            counted(RestoredKind::Alias, "aliases"),
            named(RestoredKind::Options, "options"),
            named(RestoredKind::Umask, "umask"),
            counted(RestoredKind::Trap, "traps"),
            named(RestoredKind::Positional, "positional parameters"),
            named(RestoredKind::DirectoryStack, "directory stack"),
        ]
        .into_iter()
        .flatten()
        .collect();

        let missing = failed
            .iter()
            .filter_map(|at| self.steps.get(*at))
            .filter_map(RestoreStep::report_name);

        // The notice is read by an agent: a few names are enough, and the number says how many more
        // there are.
        let mut missing: Vec<String> = missing.collect();
        if missing.len() > NAMES_TOLD {
            let more = missing.len() - NAMES_TOLD;
            missing.truncate(NAMES_TOLD);
            missing.push(format!("{more} more"));
        }

        missing.extend(self.functions_lost.then(|| "functions".to_owned()));
        missing.extend(self.traps_lost.then(|| "traps".to_owned()));

        (
            restored.join(", "),
            (!missing.is_empty()).then(|| missing.join(", ")),
        )
    }

    /// Adds statements as steps of the same kind.
    fn statements<'a>(
        &mut self,
        what: RestoredKind,
        statements: impl Iterator<Item = &'a Statement>,
    ) {
        for statement in statements {
            // Such a variable of the new connection is valid, and the old one may not be any more.
            if KEPT_IF_ABSENT.contains(&statement.name.as_str()) {
                self.command
                    .extend_from_slice(format!("[ \"${{{}+y}}\" ] || ", statement.name).as_bytes());
            }
            self.step(what, &statement.name, &statement.text);
        }
    }

    /// Adds a statement, which prints the number of the step on failure. The shell's own words are
    /// called, and not functions or aliases that were restored before under their names. `declare`
    /// takes a list only as the first word, and comes first.
    fn step(&mut self, what: RestoredKind, name: &str, statement: &[u8]) {
        let number = self.steps.len();
        self.steps.push(RestoreStep {
            what,
            name: name.to_owned(),
        });

        let direct = matches!(what, RestoredKind::Variable | RestoredKind::Function);
        let word = self.word;
        self.command
            .extend_from_slice(format!("{word} eval ").as_bytes());
        let prefix = if direct {
            String::new()
        } else {
            format!("{word} ")
        };

        quote(&mut self.command, &[prefix.as_bytes(), statement].concat());
        self.command.extend_from_slice(
            format!(" >/dev/null 2>&1 || {word} printf '{number} '\n").as_bytes(),
        );
    }
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restore(..)")
    }
}

impl RestoreStep {
    /// Returns the name of the step for the report; `None` for a silent step.
    fn report_name(&self) -> Option<String> {
        let name = ForeignText::from(&self.name);

        Some(match self.what {
            RestoredKind::Directory => format!("the directory {name}"),
            RestoredKind::Variable => format!("variable {name}"),
            RestoredKind::Function => format!("function {name}"),
            RestoredKind::Alias => format!("alias {name}"),
            RestoredKind::Trap => format!("trap {name}"),
            RestoredKind::Options => "options".to_owned(),
            RestoredKind::Umask => "umask".to_owned(),
            RestoredKind::Positional => "positional parameters".to_owned(),
            RestoredKind::DirectoryStack => "directory stack".to_owned(),
            RestoredKind::Unreported => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::sentinel::Sentinel;

    /// A snapshot with these sections of text; RS stands before each letter, with the id.
    fn snapshot(kind: ShellKind, sections: &[(&str, &str)]) -> Option<Snapshot> {
        let id = Sentinel::from_random([3; 16]);
        let mut text = String::new();
        for (letter, section) in sections {
            let _ = write!(text, "\u{1e}{} {letter}\n{section}\n", id.as_str());
        }
        Snapshot::parse(kind, &id, text.as_bytes())
    }

    fn bash(sections: &[(&str, &str)]) -> Option<Snapshot> {
        let always = [
            (
                "o",
                "braceexpand:errexit\nextglob\nset +o errexit\nset +o braceexpand\nshopt -u extglob",
            ),
            ("u", "0022"),
        ];

        snapshot(ShellKind::Bash, &[&always[..], sections].concat())
    }

    fn at(restore: &Restore, text: &str) -> usize {
        let command = String::from_utf8_lossy(&restore.command).into_owned();
        command
            .find(text)
            .unwrap_or_else(|| panic!("{text} in {command}"))
    }

    #[test]
    fn what_could_disturb_the_rest_comes_last() {
        let snapshot = bash(&[
            (
                "t",
                "trap -- 'd' DEBUG\ntrap -- 'u' USR1\ntrap -- 'g' SIGURG",
            ),
            ("a", "alias builtin='false'"),
            ("f", "printf () \n{ \n    :\n}"),
            ("v", "declare -- V=\"1\"\ndeclare -- POSIXLY_CORRECT=\"y\""),
        ]);

        let restore = snapshot.unwrap().restore(b"/tmp");

        let expected = [
            "cd -- ",
            "declare -- V",
            "printf ()",
            "alias -- builtin",
            "set -o braceexpand",
            "set -o errexit",
            "POSIXLY_CORRECT=",
            "'u'\\'' USR1",
            "'d'\\'' DEBUG",
        ];

        let places: Vec<usize> = expected.iter().map(|text| at(&restore, text)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(!String::from_utf8_lossy(&restore.command).contains("URG"));
    }

    #[test]
    fn what_is_not_of_the_form_that_was_asked_for_is_no_snapshot() {
        for section in [
            ("v", "touch /tmp/evil"),
            ("v", "declare -- V=\"1\"\ntouch /tmp/evil"),
            ("v", "declare -- V=\"1"),
            ("v", "declare -- V W=1"),
            ("v", "declare -- A;touch=1"),
            ("a", "touch /tmp/evil"),
            ("a", "alias a;touch=b"),
            ("t", "touch /tmp/evil"),
            ("F", "touch /tmp/evil"),
            ("f", "touch /tmp/evil"),
            ("p", "touch /tmp/evil"),
            ("p", "set -- a\ntouch /tmp/evil"),
            ("u", "0022; touch /tmp/evil"),
            ("z", ""),
        ] {
            assert!(bash(&[section]).is_none(), "{section:?}");
        }

        assert!(bash(&[]).is_some());

        assert!(
            snapshot(
                ShellKind::Posix,
                &[("o", "e"), ("u", "0022"), ("v", "A='1\n2'\ntouch x")]
            )
            .is_none()
        );

        assert!(
            snapshot(ShellKind::Posix, &[("o", "e"), ("v", "A='1'")]).is_none(),
            "it was cut off"
        );
    }

    #[test]
    fn variables_of_the_connection_and_the_shell_are_not_restored() {
        let names = |text: &str| -> Vec<String> {
            let snapshot = bash(&[("v", text)]).unwrap();
            snapshot
                .variables
                .iter()
                .map(|variable| variable.name.clone())
                .collect()
        };

        let text = "declare -x SSH_CONNECTION=\"1\"\ndeclare -ir PPID=\"1\"\ndeclare -- __mcp_q=\"1\"\ndeclare -x V=\"1\"";
        assert_eq!(names(text), ["V"]);
        assert_eq!(
            names("declare -x SSH_AUTH_SOCK=\"/a\"\ndeclare -x B"),
            ["B"]
        );

        assert_eq!(
            names("declare -x SSH_AGENT_PID=\"1\"\ndeclare -x SSH_AUTH_SOCK=\"/a\""),
            ["SSH_AGENT_PID", "SSH_AUTH_SOCK"]
        );
    }

    #[test]
    fn the_report_names_what_failed_and_counts_the_rest() {
        let snapshot = bash(&[
            ("v", "declare -- A=\"1\"\ndeclare -r B=\"1\""),
            ("f", "f () \n{ \n    :\n}"),
            ("t", ""),
        ]);

        let restore = snapshot.unwrap().restore(b"/gone");

        assert_eq!(
            restore.report(b"0 3 end "),
            (
                "variables (1), functions (1), options, umask".to_owned(),
                Some("the directory /gone, variable B".to_owned())
            )
        );

        assert_eq!(restore.report(b"end ").1, None);
        let (restored, missing) = restore.report(b"");
        assert_eq!(restored, "");
        assert!(missing.unwrap().contains("function f"));
    }
}
