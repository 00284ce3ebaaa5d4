//! The tool `ssh_read`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, Tool};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use super::{Effect, session};
use crate::{
    foreign_text::{ForeignText, escape_line},
    mcp::call::{Call, hints, progress::size, tool_error::ToolError},
    session::{error::SessionError, work::RemoteRead},
    ssh::transfer::{
        FileContent, FileView, MAX_LINES, ReadRequest, Start, TransferError, hex_dump,
    },
};

pub(super) const NAME: &str = "ssh_read";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReadParams {
    path: String,
    session: Option<String>,
    /// First line; negative: from the end
    offset: Option<i64>,
    /// Lines; default 2000
    limit: Option<u64>,
    #[serde(default)]
    sudo: bool,
}

/// What was read, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadResult {
    path: ForeignText,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(flatten)]
    page: Option<PageResult>,
}

/// Lines or entries on a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PageResult {
    /// Number of the first one. Negative numbers count from the end.
    first: i64,
    /// Number of them on the page.
    shown: u64,
    /// Number of them altogether, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// `offset` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<i64>,
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<ReadParams>(
        NAME,
        "Read a file on the remote server, as numbered lines (images are shown), or list a directory.",
        Effect::ReadsOnly,
    );
    super::found_by(tool, "read file remote server")
}

/// Shows a page of a remote file or directory.
///
/// # Errors
/// The arguments are wrong, or the file cannot be read.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: ReadParams = super::arguments(NAME, &mut call)?;
    let limit = match params.limit {
        Some(0) => {
            return Err(ToolError::new(
                format!("{NAME}: limit must be 1 or more"),
                format!("leave it out for {MAX_LINES} lines"),
            ));
        }
        limit => limit.and_then(|limit| usize::try_from(limit).ok()),
    };

    let work = RemoteRead {
        path: params.path,
        sudo: params.sudo,
    };
    let (opened, permit) = call
        .registry
        .open(params.session.as_deref(), work, &call.caller)
        .await?;

    let request = ReadRequest {
        path: String::new(),
        directory: Vec::new(),
        start: Start::at(params.offset.unwrap_or(1)),
        limit: limit.unwrap_or(MAX_LINES),
    };
    let view = opened
        .session
        .read_file(request, &permit, &call.caller)
        .await
        .map_err(|error| explained(&error))?;

    result(&view, session::remarks(&call, &opened))
}

/// Returns the error with the next step for a reader.
fn explained(error: &SessionError) -> ToolError {
    let mut explained = ToolError::from(error);
    let SessionError::Transfer {
        source,
        runs_commands,
        ..
    } = error
    else {
        return explained;
    };

    let hint = match &**source {
        TransferError::NotAFile(_) => {
            "a device, FIFO or socket is read with ssh_exec and a time limit"
        }
        TransferError::Remote { message, .. } if message.contains("permission denied") => {
            hints::as_root(*runs_commands, "call ssh_read with sudo: true")
        }
        TransferError::Remote { message, .. } if message.contains("no such file") => {
            "list its directory with ssh_read"
        }
        TransferError::Remote { .. } | TransferError::Ended { .. } => {
            "call again, or use ssh_exec with sed -n or tail"
        }
        TransferError::NoSftp | TransferError::NoShell(_) | TransferError::Start(_) => {
            "use ssh_exec with cat, sed -n or ls"
        }
        TransferError::Tree(_) => "use ssh_exec with find and a pattern",
        _ => return explained,
    };
    hint.clone_into(&mut explained.hint);

    explained
}

/// Returns the answer: the content, and then a line that says what was shown. `remarks` end that
/// line.
///
/// # Errors
/// The result cannot be written as JSON.
fn result(
    view: &FileView,
    remarks: impl Iterator<Item = String>,
) -> Result<CallToolResult, ToolError> {
    let path = ForeignText::from(view.path_text());
    let mode = view.mode.map(|mode| format!("{mode:04o}"));
    let mut shown = Shown::of(view);

    let mut parts = vec![
        path.clone().cut(session::MAX_PATH_BYTES).to_string(),
        shown.what,
    ];
    // The size of a directory says nothing about its entries, and in `/proc` sizes read 0.
    let bytes = view.size.filter(|bytes| match &view.content {
        FileContent::Text(page) => *bytes > 0 || page.shown == 0,
        FileContent::Directory(_) => false,
        FileContent::Image { .. } | FileContent::Binary { .. } => true,
    });
    #[expect(clippy::cast_precision_loss, reason = "to be looked at")]
    parts.extend(bytes.map(|bytes| size(bytes as f64)));

    let rights: Vec<&str> = [&mode, &view.owner]
        .into_iter()
        .filter_map(|part| part.as_deref())
        .collect();
    parts.extend((!rights.is_empty()).then(|| rights.join(" ")));
    parts.append(&mut shown.notes);

    let next = shown.page.as_ref().and_then(|page| page.next_offset);
    parts.extend(next.map(|next| format!("offset {next} continues")));
    parts.extend(remarks);

    let facts = ReadResult {
        path,
        kind: shown.kind,
        bytes,
        mode,
        owner: view.owner.clone(),
        page: shown.page,
    };

    // Names come from the host and must not break the line, which is the last one.
    let status = escape_line(format!("[{}]", parts.join(" · ")));
    let mut result = session::text_and_facts(shown.text + &status, &facts)?;
    if let FileContent::Image { format, bytes } = &view.content {
        let image = ContentBlock::image(BASE64_STANDARD.encode(bytes), format.media_type());
        result.content.insert(0, image);
    }

    Ok(result)
}

/// Content of a file as text, with the words about it.
struct Shown {
    text: String,
    kind: &'static str,
    /// What is shown, such as `lines 1–240 of 240`.
    what: String,
    /// What a reader must know to go on.
    notes: Vec<String>,
    page: Option<PageResult>,
}

impl Shown {
    /// Formats the content of a file.
    fn of(view: &FileView) -> Self {
        match &view.content {
            FileContent::Text(page) => Self {
                text: page.text.clone(),
                kind: "text",
                what: page.range(),
                notes: page.notes(),
                page: Some(PageResult {
                    first: page.first,
                    shown: page.shown as u64,
                    total: page.total,
                    next_offset: page.next_offset().filter(|_| page.shown > 0),
                }),
            },
            FileContent::Directory(listing) => Self {
                text: listing.text.clone(),
                kind: "directory",
                what: listing.range(),
                notes: [
                    (
                        listing.has_names_only,
                        "names only; a smaller limit shows the rest",
                    ),
                    (
                        listing.is_cut,
                        "further names are found with ssh_exec and find",
                    ),
                ]
                .into_iter()
                .filter(|(applies, _)| *applies)
                .map(|(_, note)| note.to_owned())
                .collect(),
                page: Some(PageResult {
                    first: i64::try_from(listing.first).unwrap_or(i64::MAX),
                    shown: listing.shown as u64,
                    total: (!listing.is_cut).then_some(listing.total as u64),
                    next_offset: listing
                        .next_offset()
                        .and_then(|next| i64::try_from(next).ok()),
                }),
            },
            FileContent::Image { format, .. } => Self {
                text: String::new(),
                kind: "image",
                what: format.media_type().to_owned(),
                notes: Vec::new(),
                page: None,
            },
            FileContent::Binary { kind, beginning } => Self {
                text: hex_dump(beginning),
                kind: "binary",
                what: format!("binary: {kind}"),
                notes: vec!["ssh_download fetches it".to_owned()],
                page: None,
            },
        }
    }
}
