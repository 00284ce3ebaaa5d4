//! The report for programs.

use serde::Serialize;

use super::DoctorReport;
use crate::{
    render::json_for_a_terminal,
    ssh::trace::{Finding, Stage, StageOutcome},
};

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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonStage<'a> {
    stage: &'static str,
    /// The jump host that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    jump_host: Option<&'a str>,
    outcome: &'static str,
    summary: &'a str,
    details: &'a [String],
}

impl DoctorReport {
    /// One JSON object on several lines.
    ///
    /// # Errors
    /// None that is known: the report is text.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let report = JsonReport {
            host: &self.patient.typed,
            connects: self.connects(),
            verdict: self.verdict(),
            next: self.next(),
            notices: &self.patient.notices,
            stages: self.trace.iter().map(stage).collect(),
        };

        serde_json::to_string_pretty(&report).map(|json| json_for_a_terminal(&json))
    }
}

fn stage(finding: &Finding) -> JsonStage<'_> {
    JsonStage {
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
        jump_host: finding.hop.as_deref(),
        outcome: match finding.outcome {
            StageOutcome::Passed => "passed",
            StageOutcome::Failed => "failed",
            StageOutcome::Skipped => "skipped",
        },
        summary: &finding.summary,
        details: &finding.details,
    }
}
