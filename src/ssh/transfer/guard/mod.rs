//! Keeps transfers away from files which this machine trusts, unless the user permits the access
//! ([`crate::policy`]).
//!
//! Opened files are checked rather than typed paths: an open directory and its parents by device
//! and inode, and the beginning of the content that is read.

pub(super) mod file_facts;
mod machine;
mod ssh_config;

use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use tokio::task::spawn_blocking;

pub use self::machine::Machine;
use self::{
    file_facts::{FileFactsBefore, id_of, way_to},
    machine::{GuardedPlaces, ids},
};
use super::{error::TransferError, local::read_at::read_at, paths};
use crate::{
    local::{Folder, LocalName},
    lock::lock,
    policy::{DirectoryFacts, FileId, GuardReason, TransferDirection, marks},
    ssh::prompt::prompter::{GuardedPath, PathPurpose, Prompter},
};

/// Upper limit of files in guarded directories which are checked for other names. The least nested
/// files come first: keys and tokens are there, while caches and toolchains lie deeper.
const MAX_FILES: usize = 20_000;

/// Decides about guarded places for the transfers of a session, and asks the user.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Options with paths of guarded files.
    pub machine: Arc<Machine>,
    /// Prompter for the questions to the user.
    pub prompter: Prompter,
    /// Folders for transfers that the user's settings name; empty without such a setting.
    pub roots: Vec<PathBuf>,
    /// Name of the remote account, as shown to the user.
    pub account: String,
    /// Paths which the user has permitted before.
    pub given: GrantedPaths,
}

/// Paths which the user has permitted in a session, each for a single purpose. Clones share the
/// set.
#[derive(Debug, Clone, Default)]
pub struct GrantedPaths(Arc<Mutex<HashSet<(PathPurpose, PathBuf)>>>);

/// Preparation of the checks of a transfer, with the client's folders. [`begin`](Self::begin)
/// collects the guarded places.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    machine: Arc<Machine>,
    folders: Option<Vec<PathBuf>>,
    roots: Vec<PathBuf>,
    way: TransferDirection,
}

/// Guarded places for the duration of a transfer, and the checks against them. Files that become
/// guarded later are recognised by name only.
#[derive(Debug)]
pub(super) struct GuardChecks {
    all: GuardedPlaces,
    /// Identities of the directories in which the client works, and of those that the settings name,
    /// each with the reason to guard what is outside, and with the folder of outputs. Empty if
    /// neither names any.
    roots: Vec<(Vec<FileId>, GuardReason)>,
    /// Files of guarded directories which have other names (hard links). Collected at the first
    /// use.
    linked: OnceLock<HashSet<FileId>>,
}

/// Open directory, and the facts known about it.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    /// Path of the directory, with links resolved.
    pub(super) path: PathBuf,
    /// Facts that decide about the entries of the directory.
    pub(super) spot: DirectoryFacts,
    /// Reason if the directory is outside all directories in which the client works, or that the
    /// settings name.
    outside: Option<GuardReason>,
}

/// Guarded path which a transfer is about to touch, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuardedFinding {
    pub(super) path: PathBuf,
    pub(super) why: GuardReason,
}

impl Guard {
    /// Creates the watcher of a transfer. Asks the client for the folders in which it works.
    pub(super) async fn watcher(&self, way: TransferDirection) -> Watcher {
        Watcher {
            machine: Arc::clone(&self.machine),
            folders: self.prompter.folders().await,
            roots: self.roots.clone(),
            way,
        }
    }

    /// Asks the user about a guarded path, once per path and session. `None` passes without a
    /// question.
    ///
    /// # Errors
    /// [`TransferError::Guarded`] if nobody can be asked or the user refuses.
    pub(super) async fn pass(
        &self,
        way: TransferDirection,
        found: Option<GuardedFinding>,
    ) -> Result<(), TransferError> {
        let purpose = match way {
            TransferDirection::Read => PathPurpose::Send,
            TransferDirection::Write => PathPurpose::Write,
        };
        self.pass_for(purpose, found).await
    }

    /// Returns the place of a socket that is to be created, after the user has agreed if the place
    /// is guarded. What is created there afterwards is created in the directory that was checked.
    ///
    /// # Errors
    /// The directory does not exist, or the place is guarded and not permitted.
    pub(in crate::ssh) async fn place_for_socket(
        &self,
        path: PathBuf,
    ) -> Result<LocalName, TransferError> {
        let watcher = self.watcher(TransferDirection::Write).await;
        let shown = path.clone();
        let failed = |source| TransferError::local("looking at", &shown, source);

        let find = spawn_blocking(move || {
            let place = LocalName::resolve(&path)?;
            let checks = watcher.begin();
            let site = checks.site_of(&place)?;
            let facts = FileFactsBefore::at(&place.folder, &place.name)?;
            let finding = checks.finding(&site, &place, facts.as_ref(), None);
            Ok::<_, io::Error>((place, finding))
        });

        let found = find.await.map_err(io::Error::other).flatten();
        let (place, finding) = found.map_err(failed)?;
        self.pass_for(PathPurpose::Listen, finding).await?;

        Ok(place)
    }

    /// Asks the user about a guarded path for this purpose. `None` passes without a question.
    async fn pass_for(
        &self,
        purpose: PathPurpose,
        found: Option<GuardedFinding>,
    ) -> Result<(), TransferError> {
        let Some(GuardedFinding { path, why }) = found else {
            return Ok(());
        };
        let key = (purpose, path);
        if self.given.lock().contains(&key) {
            return Ok(());
        }

        let (purpose, path) = key;

        let request = GuardedPath {
            account: self.account.clone(),
            path: path.as_os_str().as_encoded_bytes().into(),
            purpose,
            why: why.to_string(),
        };

        // Only a yes is remembered, so the user can change a refusal with the next call.
        match self.prompter.allows(request).await {
            Some(true) => {
                self.given.lock().insert((purpose, path));
                Ok(())
            }
            answer => Err(TransferError::Guarded {
                path,
                why,
                is_read: purpose == PathPurpose::Send,
                refused: answer.is_some(),
            }),
        }
    }
}

impl GrantedPaths {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(PathPurpose, PathBuf)>> {
        lock(&self.0)
    }
}

impl Watcher {
    /// Collects the places which are guarded now. The watched directory has to be open already, so
    /// that nothing can be moved above it afterwards.
    pub(super) fn begin(&self) -> GuardChecks {
        let folders = self.folders.as_deref();
        let settings = Some(self.roots.as_slice()).filter(|roots| !roots.is_empty());
        // Outputs are this program's own, and reading them is no reason for a question.
        let output = self.machine.output.as_deref();
        let output = output.filter(|_| self.way == TransferDirection::Read);
        let output = output.and_then(id_of);

        let each = [
            (folders, GuardReason::Outside),
            (settings, GuardReason::OutsideRoots),
        ];
        let roots = each.into_iter().filter_map(|(folders, why)| {
            let mut roots = ids(folders?);
            roots.extend(output.clone());
            Some((roots, why))
        });

        GuardChecks {
            all: self.machine.collect(self.way),
            roots: roots.collect(),
            linked: OnceLock::new(),
        }
    }
}

impl GuardChecks {
    /// Locates the directory of a local name.
    ///
    /// # Errors
    /// The location of the directory cannot be determined.
    pub(super) fn site_of(&self, target: &LocalName) -> io::Result<OpenDirectory> {
        let above = target
            .path
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        self.site(&target.folder, above)
    }

    /// Locates an open directory. `user_path` is the path by which the directory was opened.
    ///
    /// # Errors
    /// The location of the directory cannot be determined.
    pub(super) fn site(&self, directory: &Folder, user_path: &Path) -> io::Result<OpenDirectory> {
        // From the open directory upwards: the path may meanwhile lead elsewhere.
        #[cfg(unix)]
        let ids = file_facts::ids_above(directory)?;
        #[cfg(not(unix))]
        let ids = {
            let _ = directory;
            file_facts::ids_above_path(user_path)?
        };

        let (path, way) = way_to(user_path, ids)?;
        let mut violated = self
            .roots
            .iter()
            .filter(|(roots, _)| !way.iter().any(|(_, id)| roots.contains(id)));
        let outside = violated.next().map(|(_, why)| *why);

        Ok(OpenDirectory {
            path,
            spot: self.all.places.spot(&way),
            outside,
        })
    }

    /// Returns the finding for a file in an open directory, existing or not. `None` if no question
    /// is needed. `content` is the reason given by the content of the file.
    pub(super) fn finding(
        &self,
        site: &OpenDirectory,
        target: &LocalName,
        facts: Option<&FileFactsBefore>,
        content: Option<GuardReason>,
    ) -> Option<GuardedFinding> {
        let name = &target.name;
        // The question shows a single reason, so the weakest is tried last.
        let why = self
            .file(&site.spot, name, facts)
            .or(content)
            .or(site.outside)?;

        Some(GuardedFinding {
            path: site.path.join(paths::os_name(name)),
            why,
        })
    }

    /// Returns the reason for which a file in a directory is guarded. `None` if it is not.
    pub(super) fn file(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        facts: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        let id = facts.and_then(|facts| facts.id.as_ref());
        self.all
            .places
            .file(inside, name, id)
            .or_else(|| self.other_name(facts?))
    }

    /// Returns the reason for which a link must not be created in a directory. `None` if it may.
    pub(super) fn link(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        facts: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        self.all
            .places
            .link(inside, name, facts.and_then(|facts| facts.id.as_ref()))
    }

    /// Returns the reason for which an open file is guarded, by identity and independent of the
    /// path.
    pub(super) fn opened(&self, facts: &FileFactsBefore) -> Option<GuardReason> {
        facts
            .id
            .as_ref()
            .and_then(|id| self.all.places.by_id(id))
            .or_else(|| self.other_name(facts))
    }

    /// Returns a reason if the file is another name (hard link) of a guarded file.
    fn other_name(&self, facts: &FileFactsBefore) -> Option<GuardReason> {
        let id = facts.id.as_ref().filter(|_| facts.has_other_names)?;
        self.linked().contains(id).then_some(GuardReason::OtherName)
    }

    /// Returns the facts about a directory in another directory.
    pub(super) fn below(
        &self,
        above: &DirectoryFacts,
        name: &[u8],
        facts: Option<&FileFactsBefore>,
    ) -> DirectoryFacts {
        self.all
            .places
            .directory(above, name, facts.and_then(|facts| facts.id.as_ref()))
    }

    /// Returns the guarded files which have several names.
    fn linked(&self) -> &HashSet<FileId> {
        self.linked.get_or_init(|| {
            // Breadth first, so that the limit cuts off the deepest directories.
            let (mut linked, mut left) = (HashSet::new(), MAX_FILES);
            let mut directories: VecDeque<_> = self.all.directories.iter().cloned().collect();

            while let Some(directory) = directories.pop_front() {
                for entry in fs::read_dir(directory)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .take(left)
                {
                    left -= 1;
                    let Ok(found) = entry.metadata() else {
                        continue;
                    };
                    let facts = FileFactsBefore::from_metadata(&found);
                    if found.is_dir() {
                        directories.push_back(entry.path());
                    }

                    linked.extend(facts.id.filter(|_| facts.has_other_names));
                }
            }

            linked
        })
    }
}

impl OpenDirectory {
    /// Returns the finding for this directory with all its content. `None` if no question is
    /// needed.
    pub(super) fn finding(&self) -> Option<GuardedFinding> {
        let why = self.spot.guarded().or(self.outside)?;

        Some(GuardedFinding {
            path: self.path.clone(),
            why,
        })
    }

    /// Returns a directory in this directory, existing or not.
    pub(super) fn below(
        &self,
        checks: &GuardChecks,
        name: &[u8],
        facts: Option<&FileFactsBefore>,
    ) -> Self {
        let spot = checks.below(&self.spot, name, facts);
        Self {
            path: self.path.join(paths::os_name(name)),
            spot,
            outside: self.outside,
        }
    }
}

/// Returns the reason for which content with this beginning is guarded. `None` if it is not.
pub(super) fn content(beginning: &[u8]) -> Option<GuardReason> {
    marks::private_key(beginning).map(GuardReason::PrivateKey)
}

/// Returns the reason for which the content of an open file is guarded. `None` if it is not.
///
/// # Errors
/// The file cannot be read.
pub(super) fn content_of(file: &File) -> io::Result<Option<GuardReason>> {
    let (mut beginning, mut length) = (vec![0; marks::LOOKED_AT], 0);
    while let Some(rest) = beginning.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match read_at(file, rest, length as u64)? {
            0 => break,
            read => length += read,
        }
    }

    Ok(content(beginning.get(..length).unwrap_or_default()))
}
