//! The tool `ssh_search`.

use std::{fmt::Write as _, time::Duration};

use rmcp::model::{CallToolResult, Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, session};
use crate::{
    foreign_text::{ForeignText, escape_line},
    mcp::call::{Call, hints, tool_error::ToolError},
    session::{error::SessionError, work::RemoteRead},
    ssh::transfer::{
        Glob, Hits, Pattern, SearchEnd, SearchEngine, SearchRequest, SearchResult, TransferError,
    },
};

pub(super) const NAME: &str = "ssh_search";

/// Number of matches, files or names without `limit`.
const DEFAULT_LIMIT: usize = 100;
/// Number of lines around a match at most.
const MAX_CONTEXT: u32 = 50;
/// Length of a pattern in bytes.
const MAX_PATTERN_BYTES: usize = 16 * 1024;
/// Time after which a search ends with what was found.
const TIME_LIMIT: Duration = Duration::from_secs(20);
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct SearchParams {
    pattern: Option<String>,
    path: Option<String>,
    /// Such as *.conf or src/**/*.{c,h}
    glob: Option<String>,
    /// Lines around a match
    context: Option<u32>,
    files_only: Option<bool>,
    ignore_case: Option<bool>,
    /// Default 100
    limit: Option<u64>,
    session: Option<String>,
}

/// What was found, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SearchFacts {
    path: ForeignText,
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<u64>,
    files: u64,
    /// Number of matches, files or names in the text.
    shown: u64,
    /// False if the search ended early.
    complete: bool,
    #[serde(skip_serializing_if = "is_zero")]
    unreadable: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

pub(super) fn tool() -> Tool {
    let tool = super::describe::<SearchParams>(
        NAME,
        "Search file contents on the remote server by a regular expression, or without pattern find files by glob, newest first.",
        Effect::ReadsOnly,
    );
    super::found_by(tool, "search grep find files remote server")
}

/// Searches a remote file or tree.
///
/// # Errors
/// The arguments are wrong, or the path cannot be searched.
pub(super) async fn call(mut call: Call) -> Result<CallToolResult, ToolError> {
    let params: SearchParams = super::arguments(NAME, &mut call)?;
    let session_name = params.session.clone();
    let mut request = request(params)?;
    request.progress = call.watched.search();

    let work = RemoteRead {
        path: request.path.clone(),
        sudo: false,
    };
    let (opened, permit) = call
        .registry
        .open(session_name.as_deref(), work, &call.caller)
        .await?;
    let found = opened
        .session
        .search(request.clone(), &permit, &call.caller)
        .await
        .map_err(|error| explained(&error))?;

    result(&request, &found, session::remarks(&call, &opened))
}

/// Reads the parameters.
///
/// # Errors
/// One of them cannot be used.
fn request(params: SearchParams) -> Result<SearchRequest, ToolError> {
    let wrong = |message: String, hint: &str| ToolError::new(format!("{NAME}: {message}"), hint);
    if params.pattern.is_none() && params.glob.is_none() {
        return Err(wrong(
            "pattern or glob is missing".to_owned(),
            "give a pattern for contents, or a glob for names; ssh_read lists a directory",
        ));
    }

    let limit = match params.limit {
        Some(0) => {
            return Err(wrong(
                "limit must be 1 or more".to_owned(),
                "leave it out for 100",
            ));
        }
        limit => limit.map_or(DEFAULT_LIMIT, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        }),
    };
    let context = params.context.unwrap_or(0);
    if context > MAX_CONTEXT {
        return Err(wrong(
            format!("context must be {MAX_CONTEXT} or less"),
            "read the lines around with ssh_read and offset",
        ));
    }

    let ignores_case = params.ignore_case.unwrap_or(false);
    let pattern = params
        .pattern
        .map(|text| match text.len() {
            0..=MAX_PATTERN_BYTES => Pattern::parse(&text, ignores_case).map_err(|error| {
                wrong(
                    format!("pattern {text:?} is no regular expression: {error}"),
                    "put \\ before ( ) [ ] { } . * + ? | ^ $ to search for the character itself",
                )
            }),
            _ => Err(wrong(
                "pattern is longer than 16 KiB".to_owned(),
                "search for a shorter one",
            )),
        })
        .transpose()?;

    let (path, glob) = split(params.path, params.glob);
    let glob = glob
        .map(|text| {
            Glob::parse(&text).map_err(|error| {
                wrong(
                    format!("glob {text:?} cannot be used: {error}"),
                    "write it as *.conf for names or src/**/*.rs for paths below path",
                )
            })
        })
        .transpose()?;

    Ok(SearchRequest {
        path,
        directory: Vec::new(),
        pattern,
        glob,
        context,
        files_only: params.files_only.unwrap_or(false),
        limit,
        time_limit: TIME_LIMIT,
        progress: crate::ssh::transfer::SearchProgress::default(),
    })
}

/// Returns the path to search and the glob below it. A glob that is an absolute path, such as
/// `/etc/*.conf`, begins with the path.
fn split(path: Option<String>, glob: Option<String>) -> (String, Option<String>) {
    let is_absolute = |glob: &String| glob.starts_with('/') || glob.starts_with("~/");
    match (path, glob) {
        (None, Some(glob)) if is_absolute(&glob) => {
            let wild = glob.find(['*', '?', '[', '{', '\\']).unwrap_or(glob.len());
            let slash = glob.get(..wild).and_then(|start| start.rfind('/'));
            let (path, rest) = glob
                .split_at_checked(slash.unwrap_or(0) + 1)
                .unwrap_or((&glob, ""));
            // Only the root itself keeps its slash, and what is left is a path below.
            let path = match path.trim_end_matches('/') {
                "" => "/",
                path => path,
            };
            (path.to_owned(), Some(format!("/{rest}")))
        }
        (path, glob) => (path.unwrap_or_else(|| ".".to_owned()), glob),
    }
}

/// Returns the error with the next step for a search.
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
        TransferError::NotAFile(_) => "search a file or directory",
        TransferError::Remote { message, .. } if message.contains("the pattern is refused") => {
            "write the pattern in a simpler way"
        }
        TransferError::Remote { message, .. } if message.contains("permission denied") => {
            hints::as_root(
                *runs_commands,
                "search with ssh_exec, grep -rn and sudo: true",
            )
        }
        TransferError::Remote { message, .. } if message.contains("no such file") => {
            "list its directory with ssh_read"
        }
        TransferError::Remote { .. } | TransferError::Ended { .. } => {
            "call again, or use ssh_exec with grep -rn or find"
        }
        TransferError::NoSftp | TransferError::NoShell(_) | TransferError::Start(_) => {
            "the host has neither grep nor SFTP; look at files with ssh_read"
        }
        TransferError::Tree(_) => "search a directory with fewer entries",
        _ => return explained,
    };
    hint.clone_into(&mut explained.hint);

    explained
}

/// Returns the answer: what was found, and then a line that says how much of it. `remarks` end that
/// line.
///
/// # Errors
/// The result cannot be written as JSON.
fn result(
    request: &SearchRequest,
    found: &SearchResult,
    remarks: impl Iterator<Item = String>,
) -> Result<CallToolResult, ToolError> {
    let path = ForeignText::from(&found.root);
    let (text, summary, shown, total) = match &found.hits {
        Hits::Matches(matches) if request.files_only => {
            let total = matches.total_files;
            (
                matches.files_text(),
                matches.summary(),
                matches.shown,
                total,
            )
        }
        Hits::Matches(matches) => {
            let total = matches.total;
            (matches.text(), matches.summary(), matches.shown, total)
        }
        Hits::Names(names) => (
            names.text(),
            names.summary(),
            names.names.len(),
            names.total,
        ),
    };
    let shown = shown as u64;

    let is_relative = !request.path.starts_with('/');
    let mut parts = vec![match found.ended {
        Some(_) if total > 0 => format!("{summary} so far"),
        _ => summary,
    }];
    if is_relative || total == 0 {
        parts.push(path.clone().cut(session::MAX_PATH_BYTES).to_string());
    }
    parts.push(found.engine.name().to_owned());
    parts.extend(notes(request, found, shown < total, total));
    parts.extend(remarks);

    let facts = SearchFacts {
        path,
        engine: found.engine.name(),
        matches: match &found.hits {
            Hits::Matches(matches) => Some(matches.total),
            Hits::Names(_) => None,
        },
        files: match &found.hits {
            Hits::Matches(matches) => matches.total_files,
            Hits::Names(names) => names.total,
        },
        shown,
        complete: found.ended.is_none(),
        unreadable: found.problems.count,
    };

    // Names come from the host and must not break the line, which is the last one.
    let status = escape_line(format!("[{}]", parts.join(" · ")));
    session::text_and_facts(text + &status, &facts)
}

/// Returns what a reader must know about the result to go on.
fn notes(request: &SearchRequest, found: &SearchResult, is_cut: bool, total: u64) -> Vec<String> {
    let mut notes = Vec::new();
    match found.ended {
        Some(SearchEnd::Time) => {
            notes.push(format!("stopped after {} s", request.time_limit.as_secs()));
        }
        Some(SearchEnd::Size) => notes.push("stopped: too much to search".to_owned()),
        None => {}
    }
    if is_cut || found.ended.is_some() {
        notes.push("narrow with path or glob".to_owned());
    }

    let (binary, unclear) = match &found.hits {
        Hits::Matches(matches) => (
            matches.binary_files,
            matches.ignored.saturating_sub(matches.binary_files),
        ),
        Hits::Names(_) => (0, 0),
    };
    if unclear > 0 {
        let lines = if unclear == 1 { "line" } else { "lines" };
        notes.push(format!("{unclear} {lines} of unclear origin not shown"));
    }
    if binary > 0 {
        let files = if binary == 1 { "file" } else { "files" };
        notes.push(format!("matches in {binary} binary {files} not shown"));
    }
    if let Hits::Names(names) = &found.hits
        && names.total > 0
        && !names.has_times
    {
        notes.push("times unknown".to_owned());
    }

    if total == 0 && found.engine == SearchEngine::Rg {
        notes.push("skips what .gitignore names".to_owned());
    }

    let problems = &found.problems;
    if problems.count > 0 {
        let mut words = format!(
            "{} not searched: {}",
            problems.count,
            problems.first.join(", ")
        );
        if problems.count > problems.first.len() as u64 {
            let _ = write!(words, ", …");
        }
        notes.push(words);
    }

    notes
}
