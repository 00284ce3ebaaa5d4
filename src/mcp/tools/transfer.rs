//! What uploads and downloads share: the call, its answer and its errors.

use std::time::Duration;

use rmcp::model::CallToolResult;
use serde::Serialize;

use super::session;
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, hints, progress::size, report, tool_error::ToolError},
    session::{
        error::SessionError,
        live::Permit,
        registry::OpenedSession,
        transfers::{Direction, TransferListing},
        work::{RemoteRead, RemoteWrite, Work},
    },
    ssh::transfer::{TransferError, TransferRequest, Transferred, counted},
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
    /// Session of the path that is not on this machine; `None` for a local path.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_session: Option<String>,
}

/// Arguments that uploads and downloads have in common.
pub(super) struct TransferArguments {
    /// Path on this machine, or `session:/path`, as typed.
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

/// Session of a side that is on a host, with the permit for what is done there.
type OpenedSide<W> = (OpenedSession, Permit<W>);

/// Copies a file or directory in this direction.
///
/// # Errors
/// The arguments are wrong, or not everything could be copied.
pub(super) async fn run(
    call: Call,
    direction: Direction,
    arguments: TransferArguments,
) -> Result<CallToolResult, ToolError> {
    match direction {
        Direction::Upload => upload(&call, arguments).await,
        Direction::Download => download(&call, arguments).await,
    }
}

/// Copies to the host of the session, from this machine or another host.
async fn upload(call: &Call, arguments: TransferArguments) -> Result<CallToolResult, ToolError> {
    let other = other_side(call, &arguments.local, |path| RemoteRead {
        path,
        sudo: false,
    })
    .await?;

    let work = RemoteWrite {
        path: arguments.remote.clone(),
        from: arguments.local.clone(),
    };
    let name = arguments.session.as_deref();
    let (opened, permit) = call.registry.open(name, work, &call.caller).await?;

    let request = arguments.into_request(call, other.is_some());
    let _shown = shown(call, &opened, Direction::Upload, &request);

    let Some(from) = other else {
        let moved = opened
            .session
            .upload(request.clone(), &permit, &call.caller);
        let moving = moved_here(call, &opened, Direction::Upload, &request, moved);
        return Box::pin(moving).await;
    };

    let other_name = from.0.session.saved.name.to_string();
    Box::pin(copy(call, &from, &(opened, permit), other_name, request)).await
}

/// Copies from the host of the session, to this machine or another host.
async fn download(call: &Call, arguments: TransferArguments) -> Result<CallToolResult, ToolError> {
    let from = match &arguments.session {
        Some(session) => format!("{session}:{}", arguments.remote),
        None => arguments.remote.clone(),
    };
    let other = other_side(call, &arguments.local, |path| RemoteWrite { path, from }).await?;

    let work = RemoteRead {
        path: arguments.remote.clone(),
        sudo: false,
    };
    let name = arguments.session.as_deref();
    let (opened, permit) = call.registry.open(name, work, &call.caller).await?;

    let request = arguments.into_request(call, other.is_some());
    let _shown = shown(call, &opened, Direction::Download, &request);

    let Some(to) = other else {
        let moved = opened
            .session
            .download(request.clone(), &permit, &call.caller);
        let moving = moved_here(call, &opened, Direction::Download, &request, moved);
        return Box::pin(moving).await;
    };

    let other_name = to.0.session.saved.name.to_string();
    Box::pin(copy(call, &(opened, permit), &to, other_name, request)).await
}

impl TransferArguments {
    /// Returns the request. Its local path is one of this machine unless that side is on a host.
    fn into_request(self, call: &Call, is_between_hosts: bool) -> TransferRequest {
        TransferRequest {
            // The daemon has another working directory than the client, so a relative path is
            // resolved first.
            local: if is_between_hosts {
                self.local
            } else {
                call.local(self.local)
            },
            remote: self.remote,
            exclude: self.exclude.unwrap_or_default(),
            skip_unchanged: self.skip_unchanged,
            progress: call.watched.transfer(),
        }
    }
}

/// Shows the transfer on the dashboard until the answer is dropped, however the call ends.
fn shown<'a>(
    call: &'a Call,
    opened: &OpenedSession,
    direction: Direction,
    request: &TransferRequest,
) -> TransferListing<'a> {
    let name = opened.session.saved.name.as_str();
    call.registry.transfers.track(name, direction, request)
}

/// Waits for a transfer from or to this machine, and returns the answer. A hint about a failed path
/// needs the paths as they were typed in `request`.
async fn moved_here(
    call: &Call,
    opened: &OpenedSession,
    direction: Direction,
    request: &TransferRequest,
    moved: impl Future<Output = Result<Transferred, SessionError>>,
) -> Result<CallToolResult, ToolError> {
    let moved = moved
        .await
        .map_err(|error| explained(&error, request, direction))?;
    let verb = match direction {
        Direction::Upload => "uploaded",
        Direction::Download => "downloaded",
    };

    // With a single connected session its name would be noise in the answer.
    let is_named = call.registry.is_one_of_many();
    let name = &opened.session.saved.name;
    let session = is_named.then(|| format!("session {name}: "));
    let session = session.unwrap_or_default();

    let notice = opened.notice.as_ref();
    let notice = notice.map(|notice| format!("; session: {notice}"));
    let begin = format!("{session}{verb} {}, to {}", counts(&moved), moved.to);
    result(&begin, &notice.unwrap_or_default(), None, moved)
}

/// Copies from one host to another. `other_name` is the session in place of this machine.
async fn copy(
    call: &Call,
    (from, reading): &OpenedSide<RemoteRead>,
    (to, writing): &OpenedSide<RemoteWrite>,
    other_name: String,
    request: TransferRequest,
) -> Result<CallToolResult, ToolError> {
    let (from_name, to_name) = (&from.session.saved.name, &to.session.saved.name);
    let request = TransferRequest {
        local: reading.work().path.clone(),
        remote: writing.work().path.clone(),
        ..request
    };

    let origin = (&*from.session, reading);
    let copied = to
        .session
        .copy_from(origin, request.clone(), writing, &call.caller);
    let copied = copied
        .await
        .map_err(|error| explained_copy(&error, from_name.as_str(), request))?;

    let notices = [(from_name, from), (to_name, to)];
    let notices = notices.iter().filter_map(|(name, opened)| {
        let notice = opened.notice.as_deref()?;
        Some(format!("; session {name}: {notice}"))
    });

    let begin = format!(
        "copied {}, from {from_name} to {to_name}:{}",
        counts(&copied),
        copied.to
    );
    result(
        &begin,
        &notices.collect::<String>(),
        Some(other_name),
        copied,
    )
}

/// Opens the session of a local side of the form `session:/path`, for the work that is done with the
/// path there. `None` for a path of this machine.
///
/// # Errors
/// There is no such session, or the host of that name cannot be connected to.
async fn other_side<W: Work>(
    call: &Call,
    local: &str,
    work: impl FnOnce(String) -> W,
) -> Result<Option<OpenedSide<W>>, ToolError> {
    let Some((name, path)) = session_and_path(local) else {
        return Ok(None);
    };

    let is_drive = name.len() == 1 && name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if is_drive && cfg!(windows) {
        return Ok(None);
    }

    let work = work(path.to_owned());
    match call.registry.open(Some(name), work, &call.caller).await {
        Ok(side) => Ok(Some(side)),
        Err(SessionError::Unknown { .. }) if is_drive => Ok(None),
        Err(error @ SessionError::Unknown { .. }) => {
            let mut explained = ToolError::from(&error);
            explained.hint = escape_line(
                format!("{}; a local file of that name is ./{local}", explained.hint).as_bytes(),
            );
            Err(explained)
        }
        Err(error) => Err(error.into()),
    }
}

/// Splits `session:/path` and `session:~/path`. `None` for any other path, in particular one with a
/// separator before the colon.
pub(super) fn session_and_path(local: &str) -> Option<(&str, &str)> {
    let colon = [":/", ":~"]
        .iter()
        .filter_map(|start| local.find(start))
        .min()?;

    let (name, path) = (local.get(..colon)?, local.get(colon + 1..)?);
    let is_name = !name.is_empty() && !name.contains(['/', '\\']);
    is_name.then_some((name, path))
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

/// Returns the error of a copy from the session `from`. `request` has the path there as the local
/// one.
fn explained_copy(error: &SessionError, from: &str, request: TransferRequest) -> ToolError {
    let SessionError::Transfer {
        session, source, ..
    } = error
    else {
        return error.into();
    };
    let TransferError::Remote { doing, .. } = &**source else {
        return explained(error, &request, Direction::Upload);
    };

    // Both sides may be the same session.
    let is_source = session == from && (doing.starts_with("reading") || *doing == "opening");
    let (request, direction) = if is_source {
        let TransferRequest { local, remote, .. } = request.clone();
        let (local, remote) = (remote, local);
        let request = TransferRequest {
            local,
            remote,
            ..request
        };
        (request, Direction::Download)
    } else {
        (request, Direction::Upload)
    };

    let mut explained = ToolError::from(error);
    hints::of_transfer(error, &request, direction == Direction::Upload)
        .unwrap_or("check that path on that host, its permissions and the free space")
        .clone_into(&mut explained.hint);
    explained
}

/// Returns how many files, links and directories were moved, and bytes.
fn counts(moved: &Transferred) -> String {
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
///
/// # Errors
/// The result cannot be written as JSON.
fn result(
    begin: &str,
    notice: &str,
    other_session: Option<String>,
    moved: Transferred,
) -> Result<CallToolResult, ToolError> {
    let Transferred {
        to,
        tally,
        verified,
        by_shell,
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

    let unkept = Some(tally.unkept.to_string()).filter(|said| !said.is_empty());
    let unkept = unkept.map(|said| format!("; {said}")).unwrap_or_default();
    let text = format!("{begin} ({}){unkept}{notice}", remarks.join(", "));

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_before_the_colon_makes_a_session() {
        for (local, expected) in [
            ("web:/srv/data", Some(("web", "/srv/data"))),
            ("web:~", Some(("web", "~"))),
            ("web:~/x:/y", Some(("web", "~/x:/y"))),
            ("my server:/a b/", Some(("my server", "/a b/"))),
            ("me@host:2222:/x", Some(("me@host:2222", "/x"))),
            ("[::1]:2222:~/x", Some(("[::1]:2222", "~/x"))),
            ("C:/x", Some(("C", "/x"))),
            ("C:\\x", None),
            ("web:x", None),
            ("web", None),
            (":/x", None),
            ("./web:/x", None),
            ("/srv/web:/x", None),
            ("~/web:/x", None),
            ("a\\b:/x", None),
            ("", None),
        ] {
            assert_eq!(session_and_path(local), expected, "{local}");
        }
    }
}
