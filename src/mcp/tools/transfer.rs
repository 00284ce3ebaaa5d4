//! What uploads and downloads share: the call, its answer and its errors.

use std::time::Duration;

use rmcp::model::CallToolResult;
use serde::Serialize;

use super::session;
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, hints, progress::size, report, tool_error::ToolError},
    session::{error::SessionError, registry::OpenedSession, transfers::Direction},
    ssh::transfer::{TransferRequest, Transferred, counted},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TransferResult {
    files: u64,
    bytes: u64,
    duration_ms: u64,
    skipped: u64,
    /// Paths in the tree that this machine guards.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<Vec<String>>,
    /// True if both sides were compared by SHA-256, not by size alone.
    verified: bool,
    /// Path at the destination.
    to: String,
}

/// Arguments that uploads and downloads have in common.
pub(super) struct TransferArguments {
    /// Path on this machine, as typed.
    pub(super) local: String,
    /// Path on the remote host, as typed.
    pub(super) remote: String,
    /// Name of the session; `None` means the default session.
    pub(super) session: Option<String>,
    /// Patterns to leave out.
    pub(super) exclude: Option<Vec<String>>,
    /// True to skip files of the same size and time.
    pub(super) skip_unchanged: bool,
}

/// Copies a file or directory in this direction.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn run(
    call: Call,
    direction: Direction,
    arguments: TransferArguments,
) -> Result<CallToolResult, ToolError> {
    // The daemon has another working directory than the client, so a relative path is resolved
    // first.
    let local = call.local(arguments.local);
    let OpenedSession {
        session, notice, ..
    } = call
        .registry
        .open(arguments.session.as_deref(), &call.caller)
        .await?;
    let name = session.saved.name.as_str();

    let request = TransferRequest {
        local,
        remote: arguments.remote,
        exclude: arguments.exclude.unwrap_or_default(),
        skip_unchanged: arguments.skip_unchanged,
        progress: call.watched.transfer(),
    };

    // The dashboard lists the transfer until this guard is dropped, however the call ends.
    let _shown = call.registry.transfers.track(name, direction, &request);

    // The transfer consumes the request, but a hint about a failed path needs the paths as they
    // were typed.
    let requested = request.clone();
    let (verb, moved) = match direction {
        Direction::Upload => ("uploaded", session.upload(request, &call.caller).await),
        Direction::Download => ("downloaded", session.download(request, &call.caller).await),
    };
    let moved = moved.map_err(|error| explained(&error, &requested, direction))?;

    // With a single connected session its name would be noise in the answer.
    let name = call.registry.is_one_of_many().then_some(name);
    result(verb, name, notice.as_deref(), moved)
}

/// Returns the error of a transfer. If the form of the path shows the mistake, the hint says which
/// path to write instead.
fn explained(error: &SessionError, request: &TransferRequest, direction: Direction) -> ToolError {
    let hint = hints::of_transfer(error, request, direction == Direction::Upload);
    let mut explained = ToolError::from(error);
    if let Some(hint) = hint {
        hint.clone_into(&mut explained.hint);
    }
    explained
}

/// Returns the answer of a finished transfer. `what` is the verb, `session` is the name of the
/// session if several are connected, and `notice` is about a host that became a session.
///
/// # Errors
/// The result cannot be written as JSON.
fn result(
    what: &str,
    session: Option<&str>,
    notice: Option<&str>,
    moved: Transferred,
) -> Result<CallToolResult, ToolError> {
    let Transferred {
        to,
        tally,
        verified,
        duration,
    } = moved;

    // Names may be any bytes, but JSON needs UTF-8.
    let result = TransferResult {
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
    };

    // A single file needs no counts of links and directories, so these appear only if there are
    // any.
    let mut counts = vec![counted(tally.files, "file", "files")];
    if tally.links > 0 {
        counts.push(counted(tally.links, "link", "links"));
    }

    if tally.directories > 0 {
        counts.push(counted(tally.directories, "directory", "directories"));
    }

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

    if result.skipped > 0 {
        remarks.push(format!(
            "{} skipped: {} unchanged, {} special",
            result.skipped, tally.unchanged, tally.special
        ));
    }

    // A short transfer says nothing about the link.
    if duration >= Duration::from_secs(1) {
        #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
        let rate = size(result.bytes as f64 / duration.as_secs_f64());
        remarks.push(format!("{}, {rate}/s", report::duration(duration)));
    }

    let session = session
        .map(|session| format!("session {session}: "))
        .unwrap_or_default();
    let unkept = Some(tally.unkept.to_string()).filter(|said| !said.is_empty());
    let unkept = unkept.map(|said| format!("; {said}")).unwrap_or_default();
    let notice = notice
        .map(|notice| format!("; session: {notice}"))
        .unwrap_or_default();

    let text = format!(
        "{session}{what} {}, {} bytes, to {} ({}){unkept}{notice}",
        counts.join(", "),
        result.bytes,
        result.to,
        remarks.join(", ")
    );

    // Paths come from either machine and must not break the line.
    session::text_and_facts(
        escape_line((text + &left_out(tally.left_out, &tally.named_left_out)).as_bytes()),
        &result,
    )
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
