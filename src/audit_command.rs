//! The command `audit`: the log for a person, and whether it is as it was written.

use std::{error::Error, path::Path};

use crate::{
    audit::{
        calls::{Calls, Filter},
        verify::{Verdict, Verifier},
    },
    foreign_text::{escape_line, json_for_a_terminal},
    session::{
        audit_log::{AuditError, AuditFile, audit_file},
        settings_file::SettingsFile,
    },
};

/// Returns the log in this file, or else that of the settings.
///
/// # Errors
/// The settings file cannot be used, or there is no home directory.
pub fn find(file: Option<&Path>, settings: &SettingsFile) -> Result<AuditFile, Box<dyn Error>> {
    if let Some(file) = file {
        return Ok(AuditFile::new(file.to_owned(), u64::MAX));
    }

    // Without a section in the settings, an older log may still lie in the usual place.
    let settings = settings.current()?;
    let audit = settings.and_then(|settings| settings.audit().cloned());

    Ok(audit_file(&audit.unwrap_or_default())?)
}

/// Returns the wanted calls of a log: a line of text for each, or with `json` a line of JSON.
///
/// # Errors
/// The log cannot be read.
pub fn show(file: &AuditFile, filter: &Filter, json: bool) -> Result<String, AuditError> {
    let mut calls = Calls::default();
    file.read(|_, text| calls.add(text))?;

    let calls = calls.finish().into_iter();
    let wanted = calls.filter(|call| filter.matches(call));

    let lines = wanted.map(|call| {
        if json {
            json_for_a_terminal(&serde_json::to_string(&call).unwrap_or_default())
        } else {
            call.line()
        }
    });

    Ok(lines.map(|line| line + "\n").collect())
}

/// Checks the chain of a log. Returns the report, and true if nothing is wrong. `head` is a digest
/// that one of the lines must have.
///
/// # Errors
/// The log cannot be read.
pub fn verify(file: &AuditFile, head: Option<&str>) -> Result<(String, bool), AuditError> {
    let mut verifier = Verifier::default();
    file.read(|name, text| verifier.add(name, text))?;
    let verdict = verifier.finish(head);

    Ok((
        report(&verdict, head.is_some()),
        verdict.problems.is_empty(),
    ))
}

/// Returns the report on a log.
fn report(verdict: &Verdict, has_head: bool) -> String {
    let findings = verdict.problems.iter().chain(&verdict.notes);
    let mut lines: Vec<String> = findings.map(ToString::to_string).collect();

    let count = verdict.lines;
    lines.push(match verdict.problems.len() {
        0 => format!("{count} lines, none of them changed"),
        1 => format!("{count} lines, 1 problem"),
        problems => format!("{count} lines, {problems} problems"),
    });

    if let Some(head) = &verdict.head {
        lines.push(format!("head: {head}"));
    }

    if let Some(after) = verdict.after_wanted {
        lines.push(format!(
            "the given head is there, with {after} lines after it"
        ));
    }

    // The digests lead from the end to the beginning, so the end itself needs a witness.
    if !has_head {
        lines.push(
            "whether lines are missing after the last one, only an earlier head tells: verify --head HASH, with the last \
             AUDIT_HEAD of the system's log"
                .to_owned(),
        );
    }

    lines
        .into_iter()
        .map(|line| escape_line(line) + "\n")
        .collect()
}
