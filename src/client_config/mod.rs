//! Configurations of AI clients (pure): where they are, what they say of our server, and the text
//! of a configuration with our server in it or without it.
//!
//! A change is always a text in, a text out. Everything that is not changed stays byte for byte:
//! comments, order, indentation, line ends and a byte order mark. So libraries only parse here, and
//! the changes are made to the text itself.

pub mod client;
pub mod hook;
mod jsonc;
pub mod launch;
pub mod place;
pub mod servers;
pub mod splice;
mod toml;

/// Reason why a configuration cannot be read or changed. The file is then left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientConfigError {
    /// The text does not have the syntax of its format.
    #[error("line {line} is not valid {format}: {reason}")]
    Syntax {
        /// JSON or TOML.
        format: &'static str,
        /// Number of the line, from 1.
        line: usize,
        /// Words of the parser.
        reason: String,
    },
    /// A value that must be a table or a list is something else.
    #[error("{key} is not {wanted}")]
    WrongKind {
        /// The keys that lead to the value, with dots.
        key: String,
        /// What it has to be, with its article.
        wanted: &'static str,
    },
    /// The entry is written in a form that this program does not change.
    #[error("{0} is written in one line with other keys, which this program does not change")]
    Inline(String),
    /// No entry has this name.
    #[error("there is no {0}")]
    Missing(String),
}

/// Returns the number of the line, from 1, in which this byte is.
fn line_of(text: &str, position: usize) -> usize {
    let before = text.as_bytes().get(..position).unwrap_or(text.as_bytes());
    1 + memchr::memchr_iter(b'\n', before).count()
}

/// Returns the end of line that the text uses first, else LF.
fn line_end(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((line, _)) if line.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}
