//! What a job begins with.

use std::time::Duration;

use crate::{session::detached::Detached, ssh::command::output::Output};

/// What a job is, apart from what it does.
#[derive(Debug)]
pub struct JobSpec {
    /// The session's name.
    pub session: String,
    /// The shell's name.
    pub shell: Option<String>,
    /// The command.
    pub command: String,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it may be given input while it runs.
    pub takes_input: bool,
    /// Whether sudo runs it.
    pub sudo: bool,
    /// What else it was given.
    pub given: CommandInputs,
    /// What it prints.
    pub output: Output,
    /// How long it has been running already.
    pub since: Duration,
    /// The command on the remote machine, which gives the job its name, if it lives there.
    pub detached: Option<Detached>,
}

/// What a command was given besides its text, as far as an answer may have to explain how it failed. Values of its
/// environment are not kept: they may be secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandInputs {
    /// What it reads from stdin.
    pub stdin: CommandStdin,
    /// The directory that was asked for.
    pub directory: Option<String>,
    /// Variables of its environment whose value holds a reference such as `$PATH`, which nobody expands: the name, and
    /// the reference.
    pub references: Vec<(String, String)>,
}

/// What a command reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandStdin {
    /// Nothing: it ends at once.
    #[default]
    Empty,
    /// What the call brought.
    Text {
        /// Whether the last line has its end.
        ends_line: bool,
    },
    /// What later calls bring.
    Open,
}

impl CommandInputs {
    /// The surroundings of a command with this stdin, which stays open for more if `is_open`.
    #[must_use]
    pub fn new(
        stdin: Option<&[u8]>,
        is_open: bool,
        directory: Option<&str>,
        environment: &[(String, String)],
    ) -> Self {
        let stdin = match stdin.filter(|stdin| !stdin.is_empty()) {
            Some(text) => CommandStdin::Text {
                ends_line: text.ends_with(b"\n"),
            },
            None if is_open => CommandStdin::Open,
            None => CommandStdin::Empty,
        };

        let references = environment
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), reference(value)?)));

        Self {
            stdin,
            directory: directory.map(str::to_owned),
            references: references.collect(),
        }
    }
}

/// The first `$NAME` or `${NAME}` in a value.
fn reference(value: &str) -> Option<String> {
    value.match_indices('$').find_map(|(at, _)| {
        let rest = value.get(at + 1..)?;
        let braced = rest.strip_prefix('{');
        let name: String = braced
            .unwrap_or(rest)
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .collect();

        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');

        is_name.then(|| {
            if braced.is_some() {
                format!("${{{name}}}")
            } else {
                format!("${name}")
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_and_values_are_not_kept() {
        for (value, found) in [
            ("$PATH:/opt/bin", Some("$PATH")),
            ("/opt/bin:${PATH}", Some("${PATH}")),
            ("costs $5, $x", Some("$x")),
            ("$", None),
            ("$$1", None),
            ("secret", None),
        ] {
            assert_eq!(reference(value).as_deref(), found, "{value}");
        }

        let environment = [
            ("TOKEN".to_owned(), "hunter2".to_owned()),
            ("A".to_owned(), "$B-hunter2".to_owned()),
        ];

        let given = CommandInputs::new(Some(b"x"), false, Some("/d"), &environment);
        assert_eq!(given.references, [("A".to_owned(), "$B".to_owned())]);
        assert!(!format!("{given:?}").contains("hunter2"));
        assert_eq!(given.stdin, CommandStdin::Text { ends_line: false });
        assert_eq!(
            CommandInputs::new(Some(b""), true, None, &[]).stdin,
            CommandStdin::Open
        );

        assert_eq!(
            CommandInputs::new(None, false, None, &[]).stdin,
            CommandStdin::Empty
        );
    }
}
