//! Answer of a transfer: a line for a reader, and facts for a program.

use std::time::Duration;

use rmcp::model::CallToolResult;
use serde::Serialize;

use super::super::session;
use crate::{
    foreign_text::escape_line,
    mcp::call::{progress::size, report, tool_error::ToolError},
    ssh::transfer::{Transferred, counted},
};

/// Answer of a finished transfer.
pub(super) struct TransferAnswer {
    /// The line, without line breaks.
    pub(super) text: String,
    /// The facts.
    pub(super) facts: TransferResult,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransferResult {
    pub(super) files: u64,
    pub(super) bytes: u64,
    duration_ms: u64,
    skipped: u64,
    /// Paths in the tree that this machine guards.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<Vec<String>>,
    /// True if both sides were compared by SHA-256, not by size alone.
    verified: bool,
    /// Path at the destination.
    to: String,
    /// Session of the path that is not on this machine; `None` for a local path.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_session: Option<String>,
}

/// Returns how many files, links and directories were moved, and bytes.
pub(super) fn counts(moved: &Transferred) -> String {
    let tally = &moved.tally;

    // A single file needs no counts of links and directories, so these appear only if there are
    // any.
    let mut counts = vec![counted(tally.files, "file", "files")];
    if tally.links > 0 {
        counts.push(counted(tally.links, "link", "links"));
    }

    if tally.directories > 0 {
        counts.push(counted(tally.directories, "directory", "directories"));
    }

    format!("{}, {} bytes", counts.join(", "), tally.bytes)
}

/// Returns the answer of a finished transfer. `begin` says what was moved, `notice` is about hosts
/// that became sessions, and `other_session` is the one in place of this machine.
/// Without `shows_speed` the same files make the same line on each host.
pub(super) fn answer(
    begin: &str,
    notice: &str,
    other_session: Option<String>,
    moved: Transferred,
    shows_speed: bool,
) -> TransferAnswer {
    let Transferred {
        to,
        tally,
        verified,
        by_shell,
        duration,
    } = moved;

    // Names may be any bytes, but JSON needs UTF-8.
    let facts = TransferResult {
        files: tally.files,
        bytes: tally.bytes,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        skipped: tally.unchanged + tally.special,
        left_out: (tally.left_out > 0).then(|| {
            tally
                .named_left_out
                .iter()
                .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
                .collect()
        }),
        verified,
        to,
        other_session,
    };

    // The answer claims no more than was compared: some servers report no length, or a wrong one.
    let how = match tally.unkept.size {
        _ if verified => "SHA-256 verified".to_owned(),
        0 => "size verified".to_owned(),
        unsure => {
            let begin = if unsure < tally.files {
                "size verified, but not always"
            } else {
                "not verified"
            };

            format!(
                "{begin}: the server reported another length for {}, or none",
                counted(unsure, "file", "files")
            )
        }
    };

    let mut remarks = vec![how];

    if by_shell {
        remarks.push("by /bin/sh, without SFTP".to_owned());
    }

    if facts.skipped > 0 {
        remarks.push(format!(
            "{} skipped: {} unchanged, {} special",
            facts.skipped, tally.unchanged, tally.special
        ));
    }

    // A short transfer says nothing about the link.
    if shows_speed && duration >= Duration::from_secs(1) {
        #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
        let rate = size(facts.bytes as f64 / duration.as_secs_f64());
        remarks.push(format!("{}, {rate}/s", report::duration(duration)));
    }

    let unkept = Some(tally.unkept.to_string()).filter(|said| !said.is_empty());
    let unkept = unkept.map(|said| format!("; {said}")).unwrap_or_default();
    let text = format!("{begin} ({}){unkept}{notice}", remarks.join(", "));

    // Paths come from either machine and must not break the line.
    let text = text + &left_out(tally.left_out, &tally.named_left_out);
    TransferAnswer {
        text: escape_line(text.as_bytes()),
        facts,
    }
}

impl TransferAnswer {
    /// Returns the result of a call with this answer.
    ///
    /// # Errors
    /// The facts cannot be written as JSON.
    pub(super) fn into_result(self) -> Result<CallToolResult, ToolError> {
        session::text_and_facts(self.text, &self.facts)
    }
}

/// Returns the part of the answer about guarded entries of a tree, with the reasons. Empty if
/// nothing was left out.
///
/// `first` holds the first of `count` entries.
fn left_out(count: usize, first: &[(Vec<u8>, String)]) -> String {
    if count == 0 {
        return String::new();
    }

    // Only the first entries are known by name, since a tree may hold any number of guarded ones.
    let named = first
        .iter()
        .map(|(path, why)| format!("\"{}\" ({why})", escape_line(path)));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match count - first.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };

    format!(
        "; left out, because guarded: {named}{more}. The person is asked about a path that is named by itself"
    )
}
