//! The report as text, for users: one line per stage, details below each, the verdict last.

use std::{env, fmt::Write as _, io::IsTerminal as _};

use super::DoctorReport;
use crate::ssh::trace::{Finding, Stage, StageOutcome};

/// Use of colours for the marks of stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Colours as ANSI escape sequences.
    On,
    /// Marks without colours.
    Off,
}

impl Colours {
    /// Returns `On` if stdout is a Unix terminal and the user has not refused colours (`NO_COLOR`,
    /// `TERM=dumb`).
    #[must_use]
    pub fn of_stdout() -> Self {
        let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        if cfg!(unix) && std::io::stdout().is_terminal() && !unwanted && !dumb {
            Self::On
        } else {
            Self::Off
        }
    }

    /// Returns the mark of an outcome.
    fn mark(self, outcome: StageOutcome) -> String {
        let (mark, colour) = match outcome {
            StageOutcome::Passed => ('✓', 32),
            StageOutcome::Failed => ('✗', 31),
            StageOutcome::Skipped => ('–', 2),
        };

        if self == Self::On {
            format!("\x1b[{colour}m{mark}\x1b[0m")
        } else {
            mark.to_string()
        }
    }
}

impl DoctorReport {
    /// Formats the report, without a final end of line.
    ///
    /// Text from a server cannot move the cursor or hide other text.
    #[must_use]
    pub fn text(&self, colours: Colours) -> String {
        let mut text = String::new();
        // Notices may quote the store, so they are escaped like words of a server.
        for notice in &self.patient.notices {
            let _ = writeln!(text, "{}", shown(notice));
        }

        for Finding {
            stage,
            hop,
            outcome,
            summary,
            details,
        } in &self.trace
        {
            let hop = hop
                .as_ref()
                .map(|hop| format!("{} › ", shown(hop)))
                .unwrap_or_default();

            let _ = writeln!(
                text,
                "{} {hop}{}: {}",
                colours.mark(*outcome),
                name(*stage),
                shown(summary)
            );

            for detail in details {
                let _ = writeln!(text, "    {}", shown(detail));
            }
        }

        let outcome = if self.connects() {
            StageOutcome::Passed
        } else {
            StageOutcome::Failed
        };

        let _ = write!(
            text,
            "\n{} {}",
            colours.mark(outcome),
            shown(&self.verdict())
        );

        if let Some(next) = self.next() {
            let _ = write!(text, "\n  next: {}", shown(&next));
        }

        text
    }
}

/// Returns the name of a stage for users.
pub(super) fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Configuration => "configuration",
        Stage::Proxy => "way there",
        Stage::Addresses => "addresses",
        Stage::Tcp => "TCP",
        Stage::Identification => "server",
        Stage::KeyExchange => "key exchange",
        Stage::HostKey => "host key",
        Stage::Authentication => "log-in",
        Stage::Channel => "channel",
        Stage::LoginShell => "login shell",
        Stage::Bash => "ssh_shell",
        Stage::Sftp => "files (SFTP)",
        Stage::Channels => "channels",
    }
}

/// Escapes control characters, invisible characters and marks for reversed text.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        // Zero-width characters are included, because they could hide a difference between two
        // names.
        let hides = letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if hides {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }

    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_colours_on_request_alone() {
        assert_eq!(Colours::Off.mark(StageOutcome::Passed), "✓");
        assert_eq!(Colours::On.mark(StageOutcome::Failed), "\x1b[31m✗\x1b[0m");
    }

    #[test]
    fn what_would_move_the_cursor_or_hide_is_spelled_out() {
        for (text, expected) in [
            ("plain ü \"q\" \\", "plain ü \"q\" \\"),
            ("\x1b[2Jgone\r\n", "\\u{1b}[2Jgone\\r\\n"),
            ("a\u{202e}b\u{9b}c\u{200b}", "a\\u{202e}b\\u{9b}c\\u{200b}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }
}
