//! What a person is shown of what is to run as root.

use std::fmt;

/// What is shown of a command, in characters.
const MAX_COMMAND_CHARS: usize = 4000;
/// What is shown of everything else, each, in characters.
const MAX_REST_CHARS: usize = 500;
/// How many variables are shown.
const MAX_VARIABLES: usize = 50;

/// All that runs as root once a question is answered. What is not the command is in one line each, with control characters
/// spelled out; everything is cut where it is too long, and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsRoot {
    /// The command, which may have several lines.
    pub command: String,
    /// The rest: what it is, and what is to be said of it.
    pub details: Vec<(String, String)>,
}

impl AsRoot {
    /// What is shown of a command, given all that it runs with; it `reads_on` if more may be typed while it runs.
    pub(in crate::ssh) fn new(
        command: &str,
        directory: Option<&str>,
        environment: &[(&str, &str)],
        stdin: &[u8],
        reads_on: bool,
    ) -> Self {
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
            command: cut(command.chars(), MAX_COMMAND_CHARS),
            details,
        }
    }
}

impl fmt::Display for AsRoot {
    /// The command last: nothing in it passes for what comes after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("to run as root")?;
        for (what, text) in &self.details {
            write!(f, "\n{what}: {text}")?;
        }

        let separator = if self.details.is_empty() {
            ": "
        } else {
            "\nThe command: "
        };

        write!(f, "{separator}{}", self.command)
    }
}

/// In one line, in which nothing is obeyed by a terminal or turns text around.
fn spelled_out(text: &str) -> String {
    let letters = text.chars().flat_map(|letter| {
        let plain = matches!(letter, '"' | '\'');
        (!plain)
            .then(|| letter.escape_debug())
            .into_iter()
            .flatten()
            .chain(plain.then_some(letter))
    });

    cut(letters, MAX_REST_CHARS)
}

/// So many characters of it, and how many are left out.
fn cut(letters: impl Iterator<Item = char>, longest: usize) -> String {
    let mut letters = letters;
    let shown: String = letters.by_ref().take(longest).collect();
    let more = letters.count();
    if more == 0 {
        shown
    } else {
        format!("{shown}… ({more} more characters follow)")
    }
}
