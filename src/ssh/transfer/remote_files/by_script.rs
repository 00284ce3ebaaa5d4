//! Reads a file or directory by the programs of a host that has no SFTP.

use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use super::{
    FileContent, FileView, Listing, MAX_EDITED_BYTES, MAX_LINES, READ_LIMIT, ReadRequest,
    RemoteFiles, ScriptFiles, Start, TransferError, broken_link,
    content::{FIRST_TAIL, MAX_IMAGE_BYTES, USUAL_LINE_BYTES, WINDOW, binary},
    failure, path,
};
use crate::{
    edit::{
        kind::Kind,
        listing::{Entry, window},
        page::{Encoding, MAX_TAIL_BYTES, Pager, Step, Tail},
    },
    framing::read_file::{self, FileAnswer, FilePart, PathKind},
    ssh::{
        command::limits::StopConditions,
        transfer::{error::shown, paths::absolute},
    },
};

/// Bytes of a file that a script prints at most.
const MAX_BYTES: u64 = MAX_TAIL_BYTES as u64;

/// Reads a page of a file or directory without SFTP.
///
/// # Errors
/// There is no such file, it cannot be read, the host runs no commands, or the call is stopped.
pub async fn read_by_script(
    files: &ScriptFiles,
    request: &ReadRequest,
    conditions: &StopConditions,
) -> Result<FileView, TransferError> {
    // Boxed for the same reason as in `RemoteFiles::read`.
    let page: BoxFuture<'_, Result<FileView, TransferError>> = Box::pin(read(files, request));
    files.host.first().unless_stopped(conditions, page).await
}

/// Result of looking at a path.
enum Attempt {
    Read(FileView),
    /// Nothing is there. The error says so.
    Missing(TransferError),
}

/// Reads the file at the path of the request, as it was typed, or else without escapes.
async fn read(files: &ScriptFiles, request: &ReadRequest) -> Result<FileView, TransferError> {
    let typed = path::resolve(&request.path, &request.directory)?;
    let missing = match read_at(files, &typed, request).await? {
        Attempt::Read(view) => return Ok(view),
        Attempt::Missing(error) => error,
    };

    // A name that was shown with escaped bytes may be given as it was shown.
    match path::unescaped(&typed) {
        Some(bytes) => match read_at(files, &bytes, request).await? {
            Attempt::Read(view) => Ok(view),
            Attempt::Missing(_) => Err(missing),
        },
        None => Err(missing),
    }
}

/// Reads one part of the file after another until one is enough.
async fn read_at(
    files: &ScriptFiles,
    typed: &[u8],
    request: &ReadRequest,
) -> Result<Attempt, TransferError> {
    // No path begins with `-` for a program.
    let path = if typed.starts_with(b"/") {
        typed.to_vec()
    } else {
        [b"./", typed].concat()
    };

    for part in parts(request.start) {
        let output = files
            .run(("read", typed), read_file::script(&path, part), READ_LIMIT)
            .await?;
        let answer = read_file::parse(&output)
            .ok_or_else(|| failure(typed, "/bin/sh does not answer as expected"))?;
        let absolute = absolute(typed, Some(answer.directory));

        let content = match answer.found {
            PathKind::Missing => {
                let error = match answer.content.strip_suffix(b"\n") {
                    Some(target) => broken_link(&absolute, target),
                    None => failure(&absolute, "no such file or directory"),
                };
                return Ok(Attempt::Missing(error));
            }
            PathKind::Denied => return Err(failure(&absolute, "permission denied")),
            PathKind::Special => return Err(TransferError::NotAFile(shown(&absolute))),
            PathKind::Directory => Some(list(files, &path, answer.content, request).await?),
            PathKind::File => content(&answer, part, request),
        };

        if let Some(content) = content {
            return Ok(Attempt::Read(FileView {
                resolved: answer.resolved.map_or_else(|| absolute.clone(), Vec::from),
                path: absolute,
                size: answer.facts.size,
                mode: answer.facts.mode.map(|mode| mode & 0o7777),
                modified: answer.facts.modified,
                sha256: sha256(&answer, part),
                owner: answer.facts.owner,
                content,
            }));
        }
    }

    // The scripts print the ends of a file. A shell that serves files reads any part, but not as
    // root.
    if files.root.is_none() {
        let found = RemoteFiles::open_by_shell(&files.host).await?;
        return found.read_any(request).await.map(Attempt::Read);
    }

    let message = "the page begins more than 8 MiB from the beginning, and the server has no SFTP";
    Err(failure(typed, message))
}

/// Returns the parts of a file that are read in turn, until one is enough.
fn parts(start: Start) -> Vec<FilePart> {
    match start {
        Start::Line(_) => vec![
            FilePart::Beginning(WINDOW.into()),
            FilePart::Beginning(MAX_BYTES),
        ],
        Start::FromEnd(wanted) => {
            let guess = wanted
                .min(MAX_LINES as u64)
                .saturating_mul(USUAL_LINE_BYTES)
                .clamp(FIRST_TAIL.0, FIRST_TAIL.1);
            // The kind of a binary file shows only in its beginning.
            vec![
                FilePart::End(guess),
                FilePart::End(MAX_BYTES),
                FilePart::Beginning(MAX_BYTES),
            ]
        }
    }
}

/// Makes a page of a part of a file; `None` if the part is not enough.
fn content(answer: &FileAnswer<'_>, part: FilePart, request: &ReadRequest) -> Option<FileContent> {
    let bytes = answer.content;
    let is_whole = is_whole(answer, part);
    let is_last = part.most() == MAX_BYTES;

    // The end of a text in UTF-16 does not look like text.
    let encoding = Encoding::of(&answer.first_bytes);
    let kind = match encoding {
        Encoding::Utf16Le | Encoding::Utf16Be => Kind::Text,
        Encoding::Utf8 | Encoding::Utf8Bom => Kind::of(bytes),
    };

    let lacks_beginning = matches!(part, FilePart::End(_)) && !is_whole;
    match kind {
        Kind::Text => {}
        _ if lacks_beginning => return None,
        Kind::Image(format) if is_whole && bytes.len() <= MAX_IMAGE_BYTES => {
            let bytes = bytes.to_vec();
            return Some(FileContent::Image { format, bytes });
        }
        Kind::Image(_) if !is_last => return None,
        Kind::Image(format) => {
            let kind = format!("{}, too large to be shown", format.media_type());
            return Some(binary(kind, bytes.to_vec()));
        }
        Kind::Binary(kind) => return Some(binary(kind.to_owned(), bytes.to_vec())),
    }

    match (request.start, part) {
        (Start::Line(first), _) => {
            let mut pager = Pager::new(first, request.limit);
            let is_enough = pager.push(bytes) == Step::Enough || is_whole;
            is_enough.then(|| FileContent::Text(pager.finish(is_whole)))
        }
        // A file that is a text only at its beginning.
        (Start::FromEnd(_), FilePart::Beginning(_)) => {
            let mut pager = Pager::new(1, request.limit);
            pager.push(bytes);
            Some(FileContent::Text(pager.finish(is_whole)))
        }
        (Start::FromEnd(wanted), FilePart::End(_)) => {
            let length = bytes.len() as u64;
            let size = if is_whole {
                length
            } else {
                answer.facts.size.unwrap_or(0).max(length + 1)
            };

            let mut tail = Tail::new(wanted, request.limit, encoding, size);
            let is_enough = tail.push(bytes.to_vec()) == Step::Enough || is_last;
            is_enough.then(|| FileContent::Text(tail.finish(None)))
        }
    }
}

/// Returns true if the part is the whole file.
fn is_whole(answer: &FileAnswer<'_>, part: FilePart) -> bool {
    (answer.content.len() as u64) < part.most()
}

/// Returns the SHA-256 of a file that was read whole, unless it is too long to be edited.
fn sha256(answer: &FileAnswer<'_>, part: FilePart) -> Option<[u8; 32]> {
    let is_known = answer.found == PathKind::File
        && is_whole(answer, part)
        && answer.content.len() as u64 <= MAX_EDITED_BYTES;

    is_known.then(|| Sha256::digest(answer.content).into())
}

/// Lists a page of the names in a directory, with the facts about each.
async fn list(
    files: &ScriptFiles,
    path: &[u8],
    names: &[u8],
    request: &ReadRequest,
) -> Result<FileContent, TransferError> {
    let (mut names, is_whole) = read_file::names(names);
    names.sort_unstable();

    let page = window(names.len(), request.start, request.limit);
    let shown = names.get(page.clone()).unwrap_or_default();
    let script = read_file::details(path, shown);
    let answer = files.run(("read", path), script, READ_LIMIT).await?;

    let entries: Vec<Entry> = shown
        .iter()
        .zip(read_file::parse_details(&answer, shown.len()))
        .map(|(name, (facts, target))| Entry {
            name: name.to_vec(),
            mode: facts.mode,
            owner: facts.owner,
            size: facts.size,
            modified: facts.modified,
            target,
        })
        .collect();

    let mut listing = Listing::new(&entries, page.start, names.len());
    listing.is_cut = !is_whole;

    Ok(FileContent::Directory(listing))
}
