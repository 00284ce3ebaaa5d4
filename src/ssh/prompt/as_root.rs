//! Description, for the user, of a command that is to run as root.

use std::fmt;

/// Most characters shown of the command.
const MAX_COMMAND_CHARS: usize = 4000;
/// Most characters shown of each other detail.
const MAX_REST_CHARS: usize = 500;
/// Most environment variables shown.
const MAX_VARIABLES: usize = 50;

/// Description of everything to run as root once the user answers. Each detail is a single line
/// with control characters spelled out. A text that is too long is cut, and says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsRoot {
    /// Command, which may have several lines.
    pub command: String,
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
            command: cut(command.chars(), MAX_COMMAND_CHARS),
            details,
        }
    }
}

impl fmt::Display for AsRoot {
    /// Writes the details first and the command last. So no line of the command passes for a detail
    /// after it.
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

/// Returns the text in a single line, without characters which a terminal obeys or which turn text
/// around.
fn spelled_out(text: &str) -> String {
    // Quotation marks are harmless, and commands are full of them: escaping them would make the
    // text hard to read.
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

/// Returns the first `longest` characters, followed by the number of characters left out.
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
