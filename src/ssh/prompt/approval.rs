//! Question whether the agent may do something on a host, because the settings say `ask`.

use std::fmt;

use super::as_root::{cut, spelled_out};
use crate::foreign_text::{ForeignText, escape_line};

/// Most characters shown of the command, or of other long texts.
const MAX_TEXT_CHARS: usize = 4000;
/// Most environment variables shown.
const MAX_VARIABLES: usize = 50;
/// Most hosts named in a question. The rest is counted.
const MAX_HOSTS: usize = 100;

/// Description of something that the agent wants to do, without the hosts. Each detail is a single
/// line with control characters spelled out. A text that is too long is cut, and says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActDescription {
    /// Words that follow "The agent wants to", such as `run this command`.
    pub doing: String,
    /// Other details, as pairs of a label and a text.
    pub details: Vec<(String, String)>,
    /// Command, patch or the like, which may have several lines. Empty if there is none.
    pub text: ForeignText,
}

/// Host in a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalHost {
    /// Host as the agent names it: the session, or the jump host.
    pub name: ForeignText,
    /// Account that would be used: `user@host`, with the port.
    pub account: ForeignText,
    /// Setting that wants the question.
    pub reason: String,
}

/// Question whether the agent may do something on one host or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What the agent wants to do.
    pub act: ActDescription,
    /// Hosts; never empty.
    pub hosts: Vec<ApprovalHost>,
    /// True if the answer may hold for the rest of the conversation.
    pub may_last: bool,
}

/// Answer to an [`Approval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalAnswer {
    /// Yes, this time.
    Once,
    /// Yes, and the same again in this conversation.
    Conversation,
    /// No.
    No,
}

impl ApprovalAnswer {
    /// All answers, the default last.
    pub const ALL: [Self; 3] = [Self::Once, Self::Conversation, Self::No];

    /// Returns the answer as forms show it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Conversation => "for this conversation",
            Self::No => "no",
        }
    }

    /// Returns the answer of this word. Any other word is a no.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|answer| answer.word() == word);
        found.unwrap_or(Self::No)
    }
}

impl Approval {
    /// Returns the answers among which the user chooses.
    pub fn answers(&self) -> impl Iterator<Item = ApprovalAnswer> {
        let may_last = self.may_last;
        ApprovalAnswer::ALL
            .into_iter()
            .filter(move |answer| may_last || *answer != ApprovalAnswer::Conversation)
    }
}

impl ActDescription {
    /// Describes an act without details.
    #[must_use]
    pub fn new(doing: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            ..Self::default()
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, label: impl Into<String>, text: impl AsRef<[u8]>) -> Self {
        let text = String::from_utf8_lossy(text.as_ref());
        self.details.push((label.into(), spelled_out(&text)));
        self
    }

    /// Adds the text with its lines.
    #[must_use]
    pub fn with_text(self, text: impl AsRef<[u8]>) -> Self {
        let text = String::from_utf8_lossy(text.as_ref());
        Self {
            text: cut(&text, MAX_TEXT_CHARS).into(),
            ..self
        }
    }

    /// Adds environment variables. Those that are too many are counted.
    #[must_use]
    pub fn with_environment(mut self, environment: &[(String, String)]) -> Self {
        for (name, value) in environment.iter().take(MAX_VARIABLES) {
            self = self.with("With the variable", format!("{name}={value}"));
        }

        match environment.len().checked_sub(MAX_VARIABLES) {
            Some(more @ 1..) => self.with("With more variables", more.to_string()),
            _ => self,
        }
    }

    /// Adds the beginning of stdin.
    #[must_use]
    pub fn with_stdin(self, stdin: Option<&[u8]>) -> Self {
        match stdin {
            Some(stdin @ [_, ..]) => {
                self.with(format!("It reads {} bytes from stdin", stdin.len()), stdin)
            }
            _ => self,
        }
    }
}

impl fmt::Display for Approval {
    /// Writes the text last, so that no line of it passes for another part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The agent wants to {}", self.act.doing)?;

        for host in self.hosts.iter().take(MAX_HOSTS) {
            write!(f, "\non {host}")?;
        }
        if let Some(more @ 1..) = self.hosts.len().checked_sub(MAX_HOSTS) {
            write!(f, "\non {more} more hosts")?;
        }

        for (label, text) in &self.act.details {
            write!(f, "\n{label}: {text}")?;
        }

        f.write_str(
            "\n\nAllow it only if you expect it: words on a web page or a server can mislead an agent.",
        )?;

        if self.act.text.is_empty() {
            Ok(())
        } else {
            write!(f, "\n\n{}", self.act.text.block())
        }
    }
}

impl fmt::Display for ApprovalHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = escape_line(&self.reason);
        write!(f, "{} ({}): {reason}", self.name, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_shows_everything_and_its_own_lines_alone() {
        let hostile = "a\n\u{1b}[2J\u{202e}b";
        let question = Approval {
            act: ActDescription::new("run this command")
                .with("In the directory", hostile)
                .with_environment(&[("A".to_owned(), hostile.to_owned())])
                .with_stdin(Some(hostile.as_bytes()))
                .with_text("first\nsecond\u{1b}[2J"),
            hosts: vec![ApprovalHost {
                name: hostile.into(),
                account: hostile.into(),
                reason: hostile.to_owned(),
            }],
            may_last: false,
        };

        let text = question.to_string();
        assert_eq!(text.lines().count(), 10, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        for part in [
            "In the directory: a\\n",
            "A=a\\n",
            "bytes from stdin",
            "\nsecond\\u{1b}[2J",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }

        assert_eq!(question.answers().count(), 2);
    }

    #[test]
    fn a_question_says_what_it_leaves_out() {
        let variables: Vec<_> = (0..60).map(|n| (format!("V{n}"), String::new())).collect();
        let act = ActDescription::new("x")
            .with_environment(&variables)
            .with_text("é".repeat(MAX_TEXT_CHARS + 5));
        assert_eq!(act.details.len(), MAX_VARIABLES + 1);
        assert!(act.text.raw().ends_with("(5 more characters follow)"));
    }

    #[test]
    fn only_a_known_word_is_a_yes() {
        for (word, answer) in [
            ("once", ApprovalAnswer::Once),
            ("for this conversation", ApprovalAnswer::Conversation),
            ("no", ApprovalAnswer::No),
            ("yes", ApprovalAnswer::No),
            ("", ApprovalAnswer::No),
        ] {
            assert_eq!(ApprovalAnswer::from_word(word), answer, "{word}");
        }
    }
}
