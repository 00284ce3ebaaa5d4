//! The record of what was changed, which `--undo` needs.
//!
//! It holds the changed part of each file, not the rest: a configuration can contain keys of other
//! services.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    error::SetupError,
    files::{digest, missing_folders, put, remove_empty},
    footprint::MadeFile,
};
use crate::{
    client_config::{launch::Launch, splice::Splice},
    local::{Folder, LocalName, home, lock_file},
};

/// Version of the format.
const VERSION: u32 = 1;

/// Time to wait for another process of `setup`. It may wait for a client's command for longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Part of a client's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ConfigPart {
    /// The MCP server.
    Server,
    /// The hook.
    Hook,
}

/// One change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedChange {
    /// [`Client::id`](crate::client_config::client::Client::id).
    pub(super) client: String,
    pub(super) part: ConfigPart,
    pub(super) file: PathBuf,
    /// Name of the entry.
    pub(super) name: String,
    /// Command of the entry before, if only that was changed.
    pub(super) previous: Option<RecordedCommand>,
    /// SHA-256 of the content before. `None`: there was no file.
    pub(super) before: Option<String>,
    /// SHA-256 of the content after.
    pub(super) after: String,
    /// Position of the changed part in bytes.
    pub(super) start: usize,
    /// The changed part before.
    pub(super) old: String,
    /// The changed part after.
    pub(super) new: String,
    /// Objects and lists that were made for the entry.
    pub(super) made_tables: Vec<String>,
    /// Folders that were made for the file, the outermost first.
    pub(super) made_folders: Vec<PathBuf>,
    /// Other files that the client's own command has made.
    pub(super) made_files: Vec<MadeFile>,
    /// The client's own folder, if its command has made it.
    pub(super) made_client_folder: Option<PathBuf>,
}

/// [`Launch`] in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedCommand {
    command: String,
    args: Vec<String>,
}

/// Form of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JournalFile {
    version: u32,
    changes: Vec<RecordedChange>,
    /// Folders that were made for the record, the outermost first.
    made_folders: Vec<PathBuf>,
}

/// The record. It is in this program's own state folder, for this user only, and locked against
/// other processes until it is dropped. An empty one then goes, with the folders made for it.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    changes: Vec<RecordedChange>,
    made_folders: Vec<PathBuf>,
    /// Held for its lock.
    _lock: File,
}

impl RecordedChange {
    /// Describes the change of a file.
    pub(super) fn new(
        client: &str,
        part: ConfigPart,
        file: &Path,
        before: Option<&str>,
        after: &str,
    ) -> Self {
        let Splice { start, old, new } = Splice::between(before.unwrap_or_default(), after);

        Self {
            client: client.to_owned(),
            part,
            file: file.to_owned(),
            name: String::new(),
            previous: None,
            before: before.map(digest),
            after: digest(after),
            start,
            old,
            new,
            made_tables: Vec::new(),
            made_folders: Vec::new(),
            made_files: Vec::new(),
            made_client_folder: None,
        }
    }

    /// Returns the changed part.
    pub(super) fn splice(&self) -> Splice {
        Splice {
            start: self.start,
            old: self.old.clone(),
            new: self.new.clone(),
        }
    }
}

impl From<Launch> for RecordedCommand {
    fn from(Launch { command, args }: Launch) -> Self {
        Self { command, args }
    }
}

impl From<&RecordedCommand> for Launch {
    fn from(command: &RecordedCommand) -> Self {
        Self {
            command: command.command.clone(),
            args: command.args.clone(),
        }
    }
}

impl Journal {
    /// Locks and reads the record. Without a file there are no changes.
    ///
    /// # Errors
    /// The file cannot be read, or another process has locked it for more than two seconds.
    pub(super) fn open() -> Result<Self, SetupError> {
        let folder = home::state().ok_or(SetupError::NoHome)?;
        Self::at(folder.join("mcp-ssh-sessions").join("setup.json"))
    }

    /// Locks and reads the record at this path.
    fn at(path: PathBuf) -> Result<Self, SetupError> {
        let made_folders = missing_folders(&path);
        let lock = lock(&path)
            .map_err(SetupError::file("lock", &path))?
            .ok_or(SetupError::Busy)?;

        let damaged = |reason: String| SetupError::Record {
            path: path.clone(),
            reason,
        };
        let document = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<JournalFile>(&bytes)
                .map_err(|error| damaged(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => JournalFile {
                version: VERSION,
                changes: Vec::new(),
                made_folders,
            },
            Err(error) => return Err(SetupError::file("read", &path)(error)),
        };

        if document.version > VERSION {
            return Err(damaged("a later version has written it".to_owned()));
        }

        Ok(Self {
            path,
            changes: document.changes,
            made_folders: document.made_folders,
            _lock: lock,
        })
    }

    /// Returns all changes, the oldest first. The record itself stays until [`Self::replace`].
    pub(super) fn take(&mut self) -> Vec<RecordedChange> {
        std::mem::take(&mut self.changes)
    }

    /// Adds a change and saves the record.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) fn add(&mut self, change: RecordedChange) -> Result<(), SetupError> {
        self.changes.push(change);
        self.save()
    }

    /// Completes or removes the last change, and saves the record.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) fn set_last(&mut self, change: Option<RecordedChange>) -> Result<(), SetupError> {
        self.changes.pop();
        self.changes.extend(change);
        self.save()
    }

    /// Replaces all changes. An empty record is removed.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(super) fn replace(&mut self, changes: Vec<RecordedChange>) -> Result<(), SetupError> {
        self.changes = changes;
        self.save()
    }

    fn save(&self) -> Result<(), SetupError> {
        let written = if self.changes.is_empty() {
            self.remove()
        } else {
            self.write()
        };
        written.map_err(SetupError::file("write", &self.path))
    }

    /// Writes the record next to its place and puts it there.
    fn write(&self) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(&JournalFile {
            version: VERSION,
            changes: self.changes.clone(),
            made_folders: self.made_folders.clone(),
        })?;
        put(&LocalName::resolve(&self.path)?, &json, None)
    }

    /// Removes the record.
    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.path.exists() {
            return;
        }

        // Removed while it is locked: nobody else has a record that depends on it.
        let _ = fs::remove_file(lock_path(&self.path));
        remove_empty(&self.made_folders);
    }
}

/// Makes the folder of the record, and locks the record. `None`: another process has the lock.
fn lock(path: &Path) -> io::Result<Option<File>> {
    if let Some(folder) = path.parent() {
        Folder::made(folder)?;
    }

    lock_file(&LocalName::resolve(&lock_path(path))?, LOCK_PATIENCE)
}

/// Returns the file that is locked. The record itself is replaced, which would lose its lock.
fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_until_they_are_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp-ssh-sessions/setup.json");
        let change = RecordedChange::new(
            "cursor",
            ConfigPart::Server,
            Path::new("/x/mcp.json"),
            Some("{\"secret\": 1}"),
            "{\"secret\": 1, \"ssh\": {}}",
        );

        Journal::at(path.clone())
            .unwrap()
            .add(change.clone())
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("secret"), "{text}");

        let mut journal = Journal::at(path.clone()).unwrap();
        assert_eq!(journal.take(), [change]);
        journal.replace(Vec::new()).unwrap();
        drop(journal);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn a_damaged_record_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setup.json");
        for text in [
            "{",
            "{\"version\": 2, \"changes\": [], \"madeFolders\": []}",
        ] {
            fs::write(&path, text).unwrap();
            assert!(Journal::at(path.clone()).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn one_process_at_a_time_has_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setup.json");
        let first = Journal::at(path.clone()).unwrap();
        assert!(matches!(Journal::at(path.clone()), Err(SetupError::Busy)));

        drop(first);
        assert!(Journal::at(path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
