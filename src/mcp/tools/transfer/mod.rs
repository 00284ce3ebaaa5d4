//! What uploads and downloads share: the call, its answer and its errors.

mod answer;
mod many;

use rmcp::model::CallToolResult;

use self::answer::{answer, counts};
use crate::{
    foreign_text::escape_line,
    mcp::call::{Call, hints, tool_error::ToolError},
    session::{
        caller::Caller,
        error::SessionError,
        live::Permit,
        registry::OpenedSession,
        transfers::{Direction, TransferListing},
        work::{RemoteRead, RemoteWrite, Work},
    },
    ssh::transfer::{TransferError, TransferRequest, Transferred},
};

/// Arguments that uploads and downloads have in common.
pub(super) struct TransferArguments {
    /// Path on this machine, or `session:/path`, as typed.
    pub(super) local: String,
    /// Path on the remote host, as typed.
    pub(super) remote: String,
    /// Name of the session; `None` means the default session.
    pub(super) session: Option<String>,
    /// Names of several sessions to upload to; `None` means one session.
    pub(super) sessions: Option<Vec<String>>,
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
        Direction::Upload if arguments.sessions.is_some() => many::upload(&call, arguments).await,
        Direction::Upload => upload(&call, arguments).await,
        Direction::Download => download(&call, arguments).await,
    }
}

/// Copies to the host of the session, from this machine or another host.
async fn upload(call: &Call, arguments: TransferArguments) -> Result<CallToolResult, ToolError> {
    let from = source(call, &arguments).await?;
    let work = arguments.written();
    let name = arguments.session.as_deref();
    let to = call.registry.open(name, work, &call.caller).await?;

    let request = arguments.into_request(call, from.is_some());
    let uploaded = Box::pin(upload_to(call, &call.caller, from.as_ref(), &to, request)).await?;

    match from {
        None => here(call, &to.0, "uploaded", uploaded),
        Some((from, _)) => between(&from, &to.0, &from, uploaded),
    }
}

/// Copies from the host of the session, to this machine or another host.
async fn download(call: &Call, arguments: TransferArguments) -> Result<CallToolResult, ToolError> {
    let source = match &arguments.session {
        Some(session) => format!("{session}:{}", arguments.remote),
        None => arguments.remote.clone(),
    };
    let other = other_side(call, &arguments.local, |path| RemoteWrite {
        path,
        from: source,
    })
    .await?;

    let work = RemoteRead {
        path: arguments.remote.clone(),
        sudo: false,
    };
    let name = arguments.session.as_deref();
    let from = call.registry.open(name, work, &call.caller).await?;

    let request = arguments.into_request(call, other.is_some());
    let _shown = shown(call, &from.0, Direction::Download, &request);

    if let Some(to) = other {
        let copied = Box::pin(copy(&call.caller, &from, &to, request)).await?;
        return between(&from.0, &to.0, &to.0, copied);
    }

    let (opened, permit) = &from;
    let downloading = opened
        .session
        .download(request.clone(), permit, &call.caller);
    let downloaded = Box::pin(downloading)
        .await
        .map_err(|error| explained(&error, &request, Direction::Download))?;

    here(call, opened, "downloaded", downloaded)
}

/// Opens the session from which an upload reads. `None` for a path of this machine.
///
/// # Errors
/// There is no such session, or the host of that name cannot be connected to.
async fn source(
    call: &Call,
    arguments: &TransferArguments,
) -> Result<Option<OpenedSide<RemoteRead>>, ToolError> {
    let read = |path| RemoteRead { path, sudo: false };
    other_side(call, &arguments.local, read).await
}

/// Copies to the host of an opened session, from this machine or the host of `from`.
///
/// # Errors
/// Not everything could be copied.
async fn upload_to(
    call: &Call,
    caller: &Caller,
    from: Option<&OpenedSide<RemoteRead>>,
    to: &OpenedSide<RemoteWrite>,
    request: TransferRequest,
) -> Result<Transferred, ToolError> {
    let (opened, permit) = to;
    let _shown = shown(call, opened, Direction::Upload, &request);

    match from {
        Some(from) => copy(caller, from, to, request).await,
        None => opened
            .session
            .upload(request.clone(), permit, caller)
            .await
            .map_err(|error| explained(&error, &request, Direction::Upload)),
    }
}

impl TransferArguments {
    /// Returns what an upload does on its host.
    fn written(&self) -> RemoteWrite {
        RemoteWrite {
            path: self.remote.clone(),
            from: self.local.clone(),
        }
    }

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

/// Copies from one host to another.
///
/// # Errors
/// Not everything could be copied. The hint says which path of which host is meant.
async fn copy(
    caller: &Caller,
    (from, reading): &OpenedSide<RemoteRead>,
    (to, writing): &OpenedSide<RemoteWrite>,
    request: TransferRequest,
) -> Result<Transferred, ToolError> {
    let request = TransferRequest {
        local: reading.work().path.clone(),
        remote: writing.work().path.clone(),
        ..request
    };

    let origin = (&*from.session, reading);
    let copied = to
        .session
        .copy_from(origin, request.clone(), writing, caller);
    copied
        .await
        .map_err(|error| explained_copy(&error, from.session.saved.name.as_str(), request))
}

/// Returns the answer about a transfer from or to this machine. With a single connected session
/// its name would be noise.
fn here(
    call: &Call,
    opened: &OpenedSession,
    verb: &str,
    moved: Transferred,
) -> Result<CallToolResult, ToolError> {
    let name = &opened.session.saved.name;
    let is_named = call.registry.is_one_of_many();
    let session = is_named.then(|| format!("session {name}: "));
    let session = session.unwrap_or_default();

    let begin = format!("{session}{verb} {}, to {}", counts(&moved), moved.to);
    answer(&begin, &notice(opened), None, moved, true).into_result()
}

/// Returns the answer about a copy between hosts. `other` is the one in place of this machine.
fn between(
    from: &OpenedSession,
    to: &OpenedSession,
    other: &OpenedSession,
    copied: Transferred,
) -> Result<CallToolResult, ToolError> {
    let [from_name, to_name] = [from, to].map(|opened| &opened.session.saved.name);
    let notices = [from, to].map(|opened| {
        let notice = opened.notice.as_ref();
        let name = &opened.session.saved.name;
        notice.map(|notice| format!("; session {name}: {notice}"))
    });

    let begin = format!(
        "copied {}, from {from_name} to {to_name}:{}",
        counts(&copied),
        copied.to
    );
    let notices: String = notices.into_iter().flatten().collect();
    let other = Some(other.session.saved.name.to_string());
    answer(&begin, &notices, other, copied, true).into_result()
}

/// Returns what is to be said of a host that became a session, as a part of the answer.
fn notice(opened: &OpenedSession) -> String {
    let notice = opened.notice.as_ref();
    notice.map_or_else(String::new, |notice| format!("; session: {notice}"))
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
