//! The report as text, for users: one line per stage, details below each, the verdict last.

use std::{env, fmt::Write as _, io::IsTerminal as _};

use super::DoctorReport;
use crate::{
    foreign_text::escape_line,
    ssh::trace::{Finding, Stage, StageOutcome},
};

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
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        if cfg!(unix) && std::io::stdout().is_terminal() && !no_color && !dumb {
            Self::On
        } else {
            Self::Off
        }
    }

    /// Returns the mark of an outcome.
    pub(super) fn mark(self, outcome: StageOutcome) -> String {
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
            let _ = writeln!(text, "{}", escape_line(notice));
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
                .map(|hop| format!("{hop} › "))
                .unwrap_or_default();

            let _ = writeln!(
                text,
                "{} {hop}{}: {}",
                colours.mark(*outcome),
                name(*stage),
                summary
            );

            for detail in details {
                let _ = writeln!(text, "    {detail}");
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
            escape_line(self.verdict())
        );

        if let Some(next) = self.next() {
            let _ = write!(text, "\n  next: {}", escape_line(&next));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_colours_on_request_alone() {
        assert_eq!(Colours::Off.mark(StageOutcome::Passed), "✓");
        assert_eq!(Colours::On.mark(StageOutcome::Failed), "\x1b[31m✗\x1b[0m");
    }
}
