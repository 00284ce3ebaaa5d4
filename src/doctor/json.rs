//! The report as JSON, for programs.

use serde::Serialize;

use super::DoctorReport;
use crate::{
    foreign_text::{ForeignText, json_for_a_terminal},
    ssh::trace::{Finding, Stage, StageOutcome},
};

/// JSON form of a report. Field names are part of the interface to programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonReport<'a> {
    host: &'a str,
    connects: bool,
    verdict: String,
    next: Option<String>,
    notices: &'a [String],
    stages: Vec<JsonStage<'a>>,
}

/// JSON form of a finding.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonStage<'a> {
    stage: &'static str,
    /// Jump host of this stage; absent for the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    jump_host: Option<&'a ForeignText>,
    outcome: &'static str,
    summary: &'a ForeignText,
    details: &'a [ForeignText],
}

impl DoctorReport {
    /// Formats the report as a JSON object on several lines, safe to print on a terminal.
    ///
    /// # Errors
    /// No failure is known: the report consists of text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let report = JsonReport {
            host: &self.patient.host,
            connects: self.connects(),
            verdict: self.verdict(),
            next: self.next(),
            notices: &self.patient.notices,
            stages: self.trace.iter().map(stage).collect(),
        };

        serde_json::to_string_pretty(&report).map(|json| json_for_a_terminal(&json))
    }
}

/// Converts a finding.
fn stage(finding: &Finding) -> JsonStage<'_> {
    JsonStage {
        // These names are read by programs; those for people are in `text::name` and may change.
        stage: match finding.stage {
            Stage::Configuration => "configuration",
            Stage::Proxy => "proxy",
            Stage::Addresses => "addresses",
            Stage::Tcp => "tcp",
            Stage::Identification => "identification",
            Stage::KeyExchange => "keyExchange",
            Stage::HostKey => "hostKey",
            Stage::Authentication => "authentication",
            Stage::Channel => "channel",
            Stage::LoginShell => "loginShell",
            Stage::Bash => "shell",
            Stage::Sftp => "sftp",
            Stage::Channels => "channels",
        },
        jump_host: finding.hop.as_ref(),
        outcome: match finding.outcome {
            StageOutcome::Passed => "passed",
            StageOutcome::Failed => "failed",
            StageOutcome::Skipped => "skipped",
        },
        summary: &finding.summary,
        details: &finding.details,
    }
}
