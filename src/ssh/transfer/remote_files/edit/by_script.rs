//! Changes files by the programs of a host: without SFTP, or as root.

use std::time::Duration;

use super::{EditError, InPlaceReason, Loaded, LoadedFile, MAX_EDITED_BYTES, Written, edit_id};
use crate::{
    framing::edit_file::{self, ChangeAnswer, ChangeEnd, FoundKind, LoadedBytes},
    random,
    ssh::{
        error::SshError,
        transfer::{
            TransferError,
            error::shown,
            remote_files::{READ_LIMIT, ScriptFiles},
        },
    },
};

/// Time limit of a change. Writing everything to the disk takes long on a busy host, and a host
/// without `sync FILE` writes all files.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);
/// Shown in place of a message that a program of the host did not give.
const NO_MESSAGE: &str = "a program of the host failed";

impl ScriptFiles {
    /// Loads a file for an edit, or finds out that it does not exist. A relative path starts at
    /// home.
    ///
    /// # Errors
    /// The path leads to no file that can be edited, or the host does not answer.
    pub async fn load(&self, path: &[u8]) -> Result<Loaded, TransferError> {
        let script = edit_file::load(path, MAX_EDITED_BYTES);
        let answer = self.run(("edit", path), script, READ_LIMIT).await?;
        let Some(found) = edit_file::parse_found(&answer) else {
            let message = "/bin/sh does not answer as expected";
            return Err(failed("reading", path, message).into());
        };

        let path = shown(found.path);
        let not_a_file = |what| EditError::NotAFile {
            path: path.clone(),
            what,
        };
        let error = match found.kind {
            FoundKind::File if found.content.len() as u64 <= MAX_EDITED_BYTES => {
                return Ok(Loaded::File(LoadedFile {
                    path: found.path.to_vec(),
                    content: found.content.to_vec(),
                    mode: found.mode.map(|mode| mode & 0o7777),
                    owner: found.owner,
                    modified: found.modified,
                }));
            }
            FoundKind::Missing | FoundKind::NoDirectory => {
                return Ok(Loaded::Missing(found.path.to_vec()));
            }
            FoundKind::File | FoundKind::Long => {
                let size = std::str::from_utf8(found.message).ok();
                let size = size.and_then(|size| size.parse().ok());
                let bytes = size.unwrap_or(found.content.len() as u64);
                EditError::TooLong { path, bytes }
            }
            FoundKind::Directory => not_a_file("a directory"),
            FoundKind::Fifo => not_a_file("a FIFO"),
            FoundKind::Socket => not_a_file("a socket"),
            FoundKind::Device => not_a_file("a device"),
            FoundKind::Dangling => {
                let to = format!("to {path}, which does not exist");
                EditError::BrokenLink { path, to }
            }
            FoundKind::Loop => {
                let to = "to itself".to_owned();
                EditError::BrokenLink { path, to }
            }
            FoundKind::Denied => failed("reading", found.path, "permission denied"),
            FoundKind::Failed => failed("reading", found.path, &words(found.message)),
        };

        Err(error.into())
    }

    /// Gives a file new content, if the host still has the loaded content.
    ///
    /// # Errors
    /// The file has changed, or cannot be written. [`EditError::Unsure`] if the host does not say
    /// that the change was made.
    pub async fn write(&self, file: &LoadedFile, content: &[u8]) -> Result<Written, TransferError> {
        let script = edit_file::write(bytes(file), content, &edit_id(&file.path));
        self.change(("writing", &file.path), script).await
    }

    /// Creates a file that nobody else has created meanwhile. `may_make` permits to create its
    /// directory as well.
    ///
    /// # Errors
    /// The file exists, or cannot be created. [`EditError::Unsure`] if the host does not say that
    /// the change was made.
    pub async fn create(
        &self,
        path: &[u8],
        content: &[u8],
        may_make: bool,
    ) -> Result<Written, TransferError> {
        let script = edit_file::create(path, content, may_make, &temporary_name()?);
        self.change(("creating", path), script).await
    }

    /// Gives a file another path, which nothing may have, if the host still has the loaded content.
    /// `may_make` permits to create the directory there.
    ///
    /// # Errors
    /// The file has changed, the path is taken, or the file cannot be renamed.
    /// [`EditError::Unsure`] if the host does not say that the change was made.
    pub async fn rename(
        &self,
        file: &LoadedFile,
        to: &[u8],
        may_make: bool,
    ) -> Result<Written, TransferError> {
        let script = edit_file::rename(bytes(file), to, may_make);
        self.change(("renaming", &file.path), script)
            .await
            .map_err(|error| match error {
                TransferError::Edit(EditError::Exists(_)) => EditError::Exists(shown(to)).into(),
                TransferError::Edit(EditError::NoDirectory(_)) => no_directory(to).into(),
                error => error,
            })
    }

    /// Deletes a file, if the host still has the loaded content.
    ///
    /// # Errors
    /// The file has changed, or cannot be deleted. [`EditError::Unsure`] if the host does not say
    /// that the change was made.
    pub async fn delete(&self, file: &LoadedFile) -> Result<(), TransferError> {
        let script = edit_file::delete(bytes(file));
        self.change(("deleting", &file.path), script).await?;
        Ok(())
    }

    /// Runs a script that makes a change.
    async fn change(
        &self,
        (doing, path): (&'static str, &[u8]),
        script: Vec<u8>,
    ) -> Result<Written, TransferError> {
        let unsure = |message: String| EditError::Unsure {
            path: shown(path),
            message,
        };

        let answer = match self.run(("edit", path), script, CHANGE_LIMIT).await {
            Ok(answer) => answer,
            // The script may have been sent.
            Err(error @ (SshError::Lost(_) | SshError::Timeout { .. })) => {
                return Err(unsure(error.to_string()).into());
            }
            Err(error) => return Err(error.into()),
        };
        let Some(change) = edit_file::parse_change(&answer) else {
            return Err(unsure("/bin/sh does not answer as expected".to_owned()).into());
        };

        let error = match change.end {
            ChangeEnd::Done => return Ok(written(&change)),
            ChangeEnd::Changed => EditError::Changed(shown(path)),
            ChangeEnd::Busy => EditError::Busy {
                path: shown(path),
                temp: shown(change.message),
            },
            ChangeEnd::Exists => EditError::Exists(shown(path)),
            ChangeEnd::NoDirectory => no_directory(path),
            ChangeEnd::Failed => failed(doing, path, &words(change.message)),
            ChangeEnd::Incomplete => EditError::Incomplete {
                path: shown(path),
                message: words(change.message),
                old: shown(change.old.unwrap_or_default()),
            },
        };

        Err(error.into())
    }
}

fn bytes(file: &LoadedFile) -> LoadedBytes<'_> {
    LoadedBytes {
        path: &file.path,
        content: &file.content,
    }
}

fn written(change: &ChangeAnswer<'_>) -> Written {
    let in_place = change.reason.map(|reason| match reason {
        b"links" => InPlaceReason::HardLinks,
        b"unseen" => InPlaceReason::Unseen,
        b"owner" => InPlaceReason::Owner,
        b"directory" => InPlaceReason::Directory,
        b"rename" => InPlaceReason::NoRename,
        _ => InPlaceReason::Attributes,
    });
    let not_kept = change.lost.iter().map(|property| match *property {
        b"mode" => "mode",
        b"owner" => "owner",
        b"group" => "group",
        _ => "extended attributes",
    });

    Written {
        in_place,
        not_kept: not_kept.collect(),
        left_copy: None,
        created_directories: change.made.iter().map(|made| made.to_vec()).collect(),
    }
}

/// Returns the reason in a message of a program, such as `mv: x: Permission denied`.
fn words(message: &[u8]) -> String {
    let message = String::from_utf8_lossy(message);
    let line = message.trim().lines().last().unwrap_or_default();
    let reason = line.rsplit(": ").next().unwrap_or_default();

    if reason.is_empty() {
        NO_MESSAGE.to_owned()
    } else {
        shown(reason.as_bytes())
    }
}

fn failed(doing: &'static str, path: &[u8], message: &str) -> EditError {
    EditError::Failed {
        doing,
        path: shown(path),
        message: message.to_owned(),
    }
}

fn no_directory(path: &[u8]) -> EditError {
    let end = memchr::memrchr(b'/', path).unwrap_or(0);
    EditError::NoDirectory(shown(path.get(..end.max(1)).unwrap_or(path)))
}

/// Returns a name that nobody on the host can guess.
fn temporary_name() -> Result<String, SshError> {
    random::hex::<16>().map_err(|error| SshError::Random(error.to_string()))
}
