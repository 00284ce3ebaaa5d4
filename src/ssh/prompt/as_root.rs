//! Description, for the user, of a command that is to run as root or another user.

use std::fmt;

use crate::foreign_text::{ForeignText, escape_line};

/// Name of the superuser.
const ROOT: &str = "root";
/// Most characters shown of the command.
const MAX_COMMAND_CHARS: usize = 4000;
/// Most characters shown of each other detail.
const MAX_REST_CHARS: usize = 500;
/// Most environment variables shown.
const MAX_VARIABLES: usize = 50;

/// Description of everything that sudo runs once the user answers. Each detail is a single line
/// with control characters spelled out. A text that is too long is cut, and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsRoot {
    /// User as whom sudo runs the command, mostly root.
    pub user: String,
    /// Command, which may have several lines.
    pub command: ForeignText,
    /// Other details, as pairs of a label and a text.
    pub details: Vec<(String, String)>,
}

impl AsRoot {
    /// Describes a command with all input. `reads_on` says that more input may be typed while the
    /// command runs.
    pub(in crate::ssh) fn new(
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        stdin: &[u8],
        reads_on: bool,
    ) -> Self {
        // Each detail could change what the command does, so the user sees all of them before the
        // password is typed.
        let mut details = Vec::new();
        if let Some(directory) = directory {
            details.push(("In the directory".to_owned(), spelled_out(directory)));
        }

        for (name, value) in environment.iter().take(MAX_VARIABLES) {
            details.push((
                "With the variable".to_owned(),
                spelled_out(&format!("{name}={value}")),
            ));
        }

        // The rest is counted: variables must not be hidden by their number.
        if let Some(more @ 1..) = environment.len().checked_sub(MAX_VARIABLES) {
            details.push(("With more variables".to_owned(), more.to_string()));
        }

        if !stdin.is_empty() {
            let text = String::from_utf8_lossy(stdin);
            details.push((
                format!("It reads {} bytes from stdin", stdin.len()),
                spelled_out(&text),
            ));
        }

        if reads_on {
            let more = "what the agent types while it runs".to_owned();
            details.push(("It may read more".to_owned(), more));
        }

        Self {
            user: ROOT.to_owned(),
            command: cut(command, MAX_COMMAND_CHARS).into(),
            details,
        }
    }

    /// Describes the first command of a persistent shell of `user`.
    pub(in crate::ssh) fn of_shell(user: &str, command: &str, stdin: &[u8]) -> Self {
        let mut shown = Self::new(command, None, &[], stdin, false);
        shown.details.push((
            "In a shell that stays".to_owned(),
            "later commands run in it without this question".to_owned(),
        ));

        Self {
            user: user.to_owned(),
            ..shown
        }
    }
}

impl AsRoot {
    /// Describes an action on a file, such as `edit`.
    pub(in crate::ssh) fn of_file(action: &str, path: &[u8]) -> Self {
        let path = String::from_utf8_lossy(path);
        Self {
            user: ROOT.to_owned(),
            command: format!("{action} the file {}", spelled_out(&path)).into(),
            details: Vec::new(),
        }
    }
}

impl fmt::Display for AsRoot {
    /// Writes the details first and the command last. So no line of the command passes for a detail
    /// after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to run as {}", self.user)?;
        for (what, text) in &self.details {
            write!(f, "\n{what}: {text}")?;
        }

        let separator = if self.details.is_empty() {
            ": "
        } else {
            "\nThe command: "
        };

        write!(f, "{separator}{}", self.command.block())
    }
}

/// Returns the text in a single line. Backslashes are doubled, so that an escape differs from the
/// same characters in the text.
pub(super) fn spelled_out(text: &str) -> String {
    cut(&escape_line(text.replace('\\', "\\\\")), MAX_REST_CHARS)
}

/// Returns the first `longest` characters, followed by the number of characters left out.
pub(super) fn cut(text: &str, longest: usize) -> String {
    let mut letters = text.chars();
    let shown: String = letters.by_ref().take(longest).collect();
    let more = letters.count();
    if more == 0 {
        shown
    } else {
        format!("{shown}… ({more} more characters follow)")
    }
}
