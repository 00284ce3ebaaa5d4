//! Files that a client's own command leaves in its folder besides the configuration: logs, backups,
//! lists of projects.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::files::digest;
use crate::client_config::client::Client;

/// Number of files that are looked at. A client's folder that we see being made has a few.
const MAX_FILES: usize = 1_000;

/// File that a client's command has made, with its content as a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeFile {
    path: PathBuf,
    sha256: String,
}

/// State of a client's folder before its command ran.
#[derive(Debug)]
pub(super) struct Footprint {
    /// Folder to watch.
    folder: PathBuf,
    was_there: bool,
    files: BTreeSet<PathBuf>,
}

impl Footprint {
    /// Looks at the folder of a client.
    ///
    /// In a folder that was there, other processes of the client work, too. Only the backups of
    /// Claude Code's configuration are watched there.
    pub(super) fn before(client: Client, folder: PathBuf) -> Self {
        let was_there = folder.exists();
        let folder = match client {
            Client::ClaudeCode if was_there => folder.join("backups"),
            _ => folder,
        };
        let watched = !was_there || client == Client::ClaudeCode;

        Self {
            files: if watched {
                below(&folder)
            } else {
                BTreeSet::new()
            },
            folder: if watched { folder } else { PathBuf::new() },
            was_there,
        }
    }

    /// Returns the files that were made since, except the configuration itself, and the folder if
    /// it was made.
    pub(super) fn after(self, configuration: &Path) -> (Vec<MadeFile>, Option<PathBuf>) {
        if self.folder.as_os_str().is_empty() {
            return (Vec::new(), None);
        }

        let made = below(&self.folder)
            .difference(&self.files)
            .filter(|path| *path != configuration)
            .filter_map(|path| {
                Some(MadeFile {
                    sha256: digest(fs::read(path).ok()?),
                    path: path.clone(),
                })
            })
            .collect();

        let folder = (!self.was_there && self.folder.exists()).then_some(self.folder);
        (made, folder)
    }
}

/// Removes these files as far as they are still the same, and the folders that become empty in
/// `folder`.
pub(super) fn remove(files: &[MadeFile], folder: Option<&Path>) {
    for MadeFile { path, sha256 } in files {
        if fs::read(path).is_ok_and(|content| digest(content) == *sha256) {
            let _ = fs::remove_file(path);
        }
    }

    if let Some(folder) = folder {
        remove_empty_below(folder);
    }
}

/// Removes a folder and those in it, as far as they have no files.
fn remove_empty_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Returns the files below a folder. Links are not followed.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && files.len() < MAX_FILES => {
                    files.insert(entry.path());
                }
                _ => {}
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_made_goes_unless_it_was_used_since() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".gemini");
        let configuration = folder.join("settings.json");
        let before = Footprint::before(Client::Gemini, folder.clone());
        fs::create_dir_all(folder.join("tmp/x")).unwrap();
        for name in ["settings.json", "projects.json", "tmp/x/used"] {
            fs::write(folder.join(name), name).unwrap();
        }

        let (made, own) = before.after(&configuration);
        assert_eq!(made.len(), 2);
        fs::write(folder.join("tmp/x/used"), "more").unwrap();
        remove(&made, own.as_deref());

        assert_eq!(below(&folder).len(), 2, "{:?}", below(&folder));
        fs::remove_file(&configuration).unwrap();
        fs::remove_file(folder.join("tmp/x/used")).unwrap();
        remove(&made, own.as_deref());
        assert!(!folder.exists());
    }

    #[test]
    fn only_backups_count_in_a_folder_that_was_there() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".claude");
        fs::create_dir_all(folder.join("projects")).unwrap();
        let before = Footprint::before(Client::ClaudeCode, folder.clone());
        fs::write(folder.join("projects/a.jsonl"), "theirs").unwrap();
        fs::create_dir(folder.join("backups")).unwrap();
        fs::write(folder.join("backups/b"), "backup").unwrap();

        let (made, own) = before.after(&home.path().join(".claude.json"));
        assert_eq!((made.len(), own), (1, None));
        remove(&made, None);
        assert!(folder.join("projects/a.jsonl").exists());
    }
}
