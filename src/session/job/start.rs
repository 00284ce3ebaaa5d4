//! Parameters for creating a job.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::{
    session::{caller::Caller, detached::Detached, error::SessionError, shell_name::ShellName},
    ssh::command::{output::Output, spec::CommandSpec},
};

/// Description of a new job, consumed by [`Job::new`](super::Job::new).
#[derive(Debug)]
pub struct JobSpec<'a> {
    /// Name of the session in which the command runs.
    pub session: String,
    /// Name of the shell in which the command runs. `None` if the command has a channel of its own.
    pub shell: Option<ShellName>,
    /// Command to run.
    pub command: &'a CommandSpec,
    /// Output of the command.
    pub output: Output,
    /// Time for which the command has been running already. Nonzero for a detached job found on the
    /// remote machine.
    pub since: Duration,
    /// Handle of the detached job, which provides the id. `None` if the command ends with its
    /// channel.
    pub detached: Option<Detached>,
    /// Check before input from a later call.
    pub input_check: InputCheck,
}

/// Check of what the settings say, before a command gets input or a signal from a later call.
pub struct InputCheck(Box<Check>);

type Check = dyn Fn(Caller) -> BoxFuture<'static, Result<(), SessionError>> + Send + Sync + 'static;

impl InputCheck {
    /// Creates a check.
    pub fn new(
        check: impl Fn(Caller) -> BoxFuture<'static, Result<(), SessionError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(check))
    }

    /// Runs the check for this caller.
    pub(super) async fn run(&self, caller: &Caller) -> Result<(), SessionError> {
        (self.0)(caller.clone()).await
    }
}

impl fmt::Debug for InputCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InputCheck")
    }
}

/// Inputs of a command besides the text, kept to explain a failure in an answer.
///
/// Values of environment variables are not kept because they may be secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandInputs {
    /// True for a shell channel, on which the server chooses what runs.
    pub is_shell_channel: bool,
    /// Source of the command's stdin.
    pub stdin: CommandStdin,
    /// Working directory the caller asked for; `None` if the caller named none.
    pub directory: Option<String>,
    /// Environment variables whose value contains a reference such as `$PATH`, which nobody
    /// expands. Each entry is the name and the first reference.
    pub references: Vec<(String, String)>,
}

/// Source of a command's stdin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommandStdin {
    /// Empty stdin.
    #[default]
    Empty,
    /// Text from the starting call.
    Text {
        /// True if the text ends with a line feed.
        ends_line: bool,
    },
    /// Open stdin, for input from later calls.
    Open,
}

impl CommandInputs {
    /// Records the inputs of a command.
    #[must_use]
    pub fn new(spec: &CommandSpec) -> Self {
        let stdin = match spec.stdin.as_deref().filter(|stdin| !stdin.is_empty()) {
            Some(text) => CommandStdin::Text {
                ends_line: text.ends_with(b"\n"),
            },
            None if spec.takes_input => CommandStdin::Open,
            None => CommandStdin::Empty,
        };

        let references = spec
            .env
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), reference(value)?)));

        Self {
            is_shell_channel: spec.is_shell_channel(),
            stdin,
            directory: spec.cwd.clone(),
            references: references.collect(),
        }
    }
}

/// Returns the first `$NAME` or `${NAME}` in a value.
fn reference(value: &str) -> Option<String> {
    value.match_indices('$').find_map(|(at, _)| {
        let rest = value.get(at + 1..)?;
        let braced = rest.strip_prefix('{');
        let name: String = braced
            .unwrap_or(rest)
            .chars()
            .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .collect();

        // `$1` and `$$` are not variables of the environment, and "$5" may be a price.
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

        let given = CommandInputs::new(&CommandSpec {
            stdin: Some(b"x".to_vec()),
            env: vec![
                ("TOKEN".to_owned(), "hunter2".to_owned()),
                ("A".to_owned(), "$B-hunter2".to_owned()),
            ],
            ..CommandSpec::default()
        });

        assert_eq!(given.references, [("A".to_owned(), "$B".to_owned())]);
        assert!(!format!("{given:?}").contains("hunter2"));
        assert_eq!(given.stdin, CommandStdin::Text { ends_line: false });
        assert_eq!(
            CommandInputs::new(&CommandSpec {
                stdin: Some(Vec::new()),
                takes_input: true,
                ..CommandSpec::default()
            })
            .stdin,
            CommandStdin::Open
        );

        assert_eq!(
            CommandInputs::new(&CommandSpec::default()).stdin,
            CommandStdin::Empty
        );
    }
}
