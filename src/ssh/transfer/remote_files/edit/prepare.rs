//! From the files that an edit finds to the changes that it makes. Nothing is written here.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{EditAction, EditError, FileChange, Loaded, LoadedFile, PreparedEdit, PreparedFile};
use crate::{
    edit::{
        diff::{Diff, unified},
        encoded_text::EncodedText,
        kind::{Kind, SNIFFED_BYTES},
        patch::{Change, Patch},
        replace::replace,
    },
    ssh::transfer::error::shown,
};

/// Time for comparing lines, after which the rest counts as replaced.
const DIFF_LIMIT: Duration = Duration::from_millis(500);

/// Prepares an edit of the files that were found, by their paths as typed.
///
/// # Errors
/// The edit does not fit the files, or a file is not one that is edited.
pub(super) fn prepare(
    action: &EditAction,
    found: &BTreeMap<Vec<u8>, Loaded>,
) -> Result<PreparedEdit, EditError> {
    match action {
        EditAction::Replace {
            path,
            old,
            new,
            all,
        } => {
            let file = existing(found, path)?;
            let text = text_of(file)?;
            let replaced =
                replace(&text.text, old, new, *all).map_err(|source| EditError::Replace {
                    path: shown(&file.path),
                    source,
                })?;

            let content = encode(file, &text, &replaced.content)?;
            let change = write(file, content);

            Ok(PreparedEdit::of(vec![change]))
        }
        EditAction::Content { path, content } => content_of(found, path, content),
        EditAction::Patch(patch) => patched(patch, found),
    }
}

/// Prepares a new content of a whole file.
fn content_of(
    found: &BTreeMap<Vec<u8>, Loaded>,
    path: &[u8],
    content: &[u8],
) -> Result<PreparedEdit, EditError> {
    let file = match find(found, path)? {
        Loaded::Missing(path) => {
            let create = FileChange::Create {
                path: path.clone(),
                content: content.to_vec(),
                makes_directories: true,
            };
            return Ok(PreparedEdit::of(vec![create]));
        }
        Loaded::File(file) => file,
    };

    // The encoding belongs to the file, as its mode does, and a caller does not see it.
    let text = text_of(file)?;
    let content = encode(file, &text, content)?;

    Ok(PreparedEdit {
        replaces_content: true,
        ..PreparedEdit::of(vec![write(file, content)])
    })
}

/// Prepares the changes of a patch, whose paths are as typed.
fn patched(patch: &Patch, found: &BTreeMap<Vec<u8>, Loaded>) -> Result<PreparedEdit, EditError> {
    // Different names of a file have to become the same.
    let mut resolved = patch.clone();
    resolved.resolve(|as_typed| {
        Ok::<_, EditError>(match find(found, as_typed)? {
            Loaded::File(file) => file.path.clone(),
            Loaded::Missing(missing) => missing.clone(),
        })
    })?;

    let files: BTreeMap<&[u8], &LoadedFile> = found
        .values()
        .filter_map(|loaded| match loaded {
            Loaded::File(file) => Some((file.path.as_slice(), file)),
            Loaded::Missing(_) => None,
        })
        .collect();
    let texts: BTreeMap<&[u8], EncodedText<'_>> = files
        .iter()
        .map(|(path, file)| (*path, EncodedText::of(&file.content)))
        .collect();
    let contents = texts
        .iter()
        .map(|(path, text)| (path.to_vec(), text.text.to_vec()))
        .collect();

    let applied = resolved.apply(&contents)?;
    let file_at = |path: &[u8]| {
        files
            .get(path)
            .copied()
            .ok_or_else(|| EditError::Missing(shown(path)))
    };
    let encoded = |path: &[u8], content: &[u8]| {
        let file = file_at(path)?;
        let text = text_of(file)?;
        encode(file, &text, content)
    };

    let changes = applied.changes.into_iter().map(|change| {
        Ok(match change {
            Change::Create { path, content } => FileChange::Create {
                path,
                content,
                makes_directories: false,
            },
            Change::Write { path, content } => write(file_at(&path)?, encoded(&path, &content)?),
            Change::Rename { from, to, content } => FileChange::Rename {
                content: content
                    .map(|content| encoded(&from, &content))
                    .transpose()?,
                old: file_at(&from)?.clone(),
                to,
            },
            Change::Delete { path } => FileChange::Delete {
                old: file_at(&path)?.clone(),
            },
        })
    });

    Ok(PreparedEdit {
        lenient: applied.lenient,
        ..PreparedEdit::of(changes.collect::<Result<_, EditError>>()?)
    })
}

/// Returns what was found at a path as typed.
fn find<'a>(found: &'a BTreeMap<Vec<u8>, Loaded>, path: &[u8]) -> Result<&'a Loaded, EditError> {
    found
        .get(path)
        .ok_or_else(|| EditError::Missing(shown(path)))
}

/// Returns the file at a path as typed.
fn existing<'a>(
    found: &'a BTreeMap<Vec<u8>, Loaded>,
    path: &[u8],
) -> Result<&'a LoadedFile, EditError> {
    match find(found, path)? {
        Loaded::File(file) => Ok(file),
        Loaded::Missing(path) => Err(EditError::Missing(shown(path))),
    }
}

/// Returns the text of a file.
///
/// # Errors
/// The file is not text.
fn text_of(file: &LoadedFile) -> Result<EncodedText<'_>, EditError> {
    let beginning = file.content.get(..SNIFFED_BYTES).unwrap_or(&file.content);
    let kind = match Kind::of(beginning) {
        Kind::Text => return Ok(EncodedText::of(&file.content)),
        Kind::Image(format) => format.media_type(),
        Kind::Binary(kind) => kind,
    };

    Err(EditError::Binary {
        path: shown(&file.path),
        kind: kind.to_owned(),
    })
}

/// Returns a new text in the encoding of the file.
fn encode(file: &LoadedFile, text: &EncodedText<'_>, new: &[u8]) -> Result<Vec<u8>, EditError> {
    let content = text.encode(new).ok_or_else(|| EditError::Binary {
        path: shown(&file.path),
        kind: "UTF-16, which the new text cannot be converted to".to_owned(),
    })?;

    let bytes = content.len() as u64;
    if bytes > super::MAX_EDITED_BYTES {
        return Err(EditError::TooLong {
            path: shown(&file.path),
            bytes,
        });
    }

    Ok(content)
}

fn write(file: &LoadedFile, content: Vec<u8>) -> FileChange {
    FileChange::Write {
        old: file.clone(),
        content,
    }
}

impl PreparedEdit {
    /// Creates an edit of these changes, with their diffs.
    fn of(changes: Vec<FileChange>) -> Self {
        let deadline = Instant::now() + DIFF_LIMIT;
        let files = changes
            .into_iter()
            .map(|change| PreparedFile {
                diff: diff(&change, deadline),
                change,
            })
            .collect();

        Self {
            files,
            lenient: Vec::new(),
            replaces_content: false,
        }
    }
}

/// Returns the difference that a change makes, in the text of the file.
fn diff(change: &FileChange, deadline: Instant) -> Diff {
    let (old, new): (&[u8], &[u8]) = match change {
        FileChange::Create { content, .. } => (b"", content),
        FileChange::Write { old, content }
        | FileChange::Rename {
            content: Some(content),
            old,
            ..
        } => (&old.content, content),
        FileChange::Rename { content: None, .. } => return Diff::default(),
        FileChange::Delete { old } if text_of(old).is_err() => return Diff::default(),
        FileChange::Delete { old } => (&old.content, b""),
    };
    let [old, new] = [old, new].map(EncodedText::of);

    unified(&old.text, &new.text, Some(deadline))
}
