//! The report as text and as JSON.

use std::fmt::Write as _;

use super::{super::text::Colours, CheckHealth, InstallationReport};
use crate::{
    foreign_text::{escape_line, json_for_a_terminal},
    ssh::trace::StageOutcome,
};

impl InstallationReport {
    /// Returns true if nothing is to be fixed.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works
    }

    /// Formats the report, without a final end of line. Text of files and programs moves no cursor.
    #[must_use]
    pub fn text(&self, colours: Colours) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let mark = colours.mark(match check.health {
                CheckHealth::Good => StageOutcome::Passed,
                CheckHealth::Absent => StageOutcome::Skipped,
                CheckHealth::Bad => StageOutcome::Failed,
            });
            let _ = writeln!(
                text,
                "{mark} {}: {}",
                check.name,
                escape_line(&check.summary)
            );
            if let Some(fix) = &check.fix {
                let _ = writeln!(text, "    {}", escape_line(fix));
            }
        }

        let problems = self
            .checks
            .iter()
            .filter(|check| check.health == CheckHealth::Bad)
            .count();
        let (outcome, verdict) = match problems {
            0 => (StageOutcome::Passed, "this installation works".to_owned()),
            1 => (StageOutcome::Failed, "1 thing to fix".to_owned()),
            many => (StageOutcome::Failed, format!("{many} things to fix")),
        };
        let _ = write!(text, "\n{} {verdict}", colours.mark(outcome));
        text
    }

    /// Formats the report as a JSON object on several lines, safe to print on a terminal.
    ///
    /// # Errors
    /// No failure is known: the report consists of text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|json| json_for_a_terminal(&json))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::InstallationCheck, *};

    #[test]
    fn what_is_absent_is_no_fault_and_text_of_others_is_escaped() {
        let mut report = InstallationReport {
            version: "1.2.3",
            works: true,
            checks: vec![
                InstallationCheck::good("ssh", "OpenSSH\u{1b}[2J"),
                InstallationCheck::absent("agent", "none", Some("start one")),
            ],
        };
        let text = report.text(Colours::Off);
        assert!(text.ends_with("✓ this installation works"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");

        report
            .checks
            .push(InstallationCheck::bad("Codex", "broken", "mend it"));
        assert!(report.text(Colours::Off).ends_with("\n✗ 1 thing to fix"));
    }
}
