//! Description, for the user, of a running program that waits for a secret.

use std::fmt;

use super::as_root::cut;
use crate::foreign_text::ForeignText;

/// Most characters shown of the command.
const MAX_COMMAND_CHARS: usize = 4000;
/// Most characters shown of the prompt and of the agent's words.
const MAX_WORDS_CHARS: usize = 500;

/// Description of a program that gets what the user types. Texts that are too long are cut, and say
/// so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInput {
    /// Name of the session in which the program runs.
    pub session: String,
    /// Command with which the agent started the program.
    pub command: ForeignText,
    /// Unfinished line at the end of the program's output; empty if there is none.
    pub prompt: ForeignText,
    /// The agent's words about the secret.
    pub words: ForeignText,
}

impl ProgramInput {
    /// Describes a program, its prompt, and the agent's words about the secret.
    #[must_use]
    pub fn new(session: &str, command: &str, prompt: &str, words: &str) -> Self {
        Self {
            session: session.to_owned(),
            command: cut(command, MAX_COMMAND_CHARS).into(),
            prompt: cut(prompt, MAX_WORDS_CHARS).into(),
            words: cut(words, MAX_WORDS_CHARS).into(),
        }
    }
}

impl fmt::Display for ProgramInput {
    /// Writes the command last, so that no line of it passes for another part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "for a program in the session {}", self.session)?;
        write!(f, "\nThe agent calls it: {}", self.words)?;
        write!(f, "\nThe program shows: {}", self.prompt)?;
        write!(f, "\nThe command: {}", self.command.block())
    }
}
