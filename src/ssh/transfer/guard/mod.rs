//! Keeps transfers from what this machine trusts, unless the person says otherwise ([`crate::policy`]).
//!
//! What is opened is looked at, not what was typed: an open directory and those above it, by device and inode, and the
//! beginning of what is read.

mod machine;
pub(super) mod seen;
mod ssh_config;

use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

pub use self::machine::Machine;
use self::{
    machine::{GuardedPlaces, ids},
    seen::{FileFactsBefore, id_of, way_to},
};
use super::{error::TransferError, local::io_threads, paths};
use crate::{
    local::{Folder, LocalName},
    policy::{DirectoryFacts, FileId, GuardReason, TransferDirection, marks},
    render::escape_line,
    ssh::prompt::prompter::{GuardedPath, Prompter},
};

/// How many files of guarded directories are looked at for other names, at most, those that are not deep first: keys and
/// tokens are there, while below may be caches and whole toolchains.
const MAX_FILES: usize = 20_000;

/// Who decides about the guarded places that a transfer touches.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// What is guarded.
    pub machine: Arc<Machine>,
    /// Who is asked.
    pub prompter: Prompter,
    /// The other side, for people.
    pub account: String,
    /// What the person has allowed before.
    pub given: GrantedPaths,
}

/// What the person has allowed in a session: paths, each for one way.
#[derive(Debug, Clone, Default)]
pub struct GrantedPaths(Arc<Mutex<HashSet<(TransferDirection, PathBuf)>>>);

/// What is about to watch over one transfer.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    machine: Arc<Machine>,
    folders: Option<Vec<PathBuf>>,
    way: TransferDirection,
}

/// What is guarded during one transfer.
#[derive(Debug)]
pub(super) struct GuardWatch {
    all: GuardedPlaces,
    /// The directories that the client works in, and where else this program's own files may be read.
    roots: Option<Vec<FileId>>,
    /// Files of guarded directories that have other names; looked for when they are wanted.
    linked: OnceLock<HashSet<FileId>>,
}

/// An open directory, and what is known of it.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    /// Its path, without links.
    pub(super) path: PathBuf,
    pub(super) spot: DirectoryFacts,
    /// It is in none of the directories that the client works in.
    outside: bool,
}

/// What a transfer is about to touch, and why that is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GuardedFinding {
    pub(super) path: PathBuf,
    pub(super) why: GuardReason,
}

impl Guard {
    /// What watches over one transfer. The client is asked which folders it works in.
    pub(super) async fn watcher(&self, way: TransferDirection) -> Watcher {
        Watcher {
            machine: Arc::clone(&self.machine),
            folders: self.prompter.folders().await,
            way,
        }
    }

    /// Has the person decide, once a path and session.
    ///
    /// # Errors
    /// There is nobody to ask, or they say no.
    pub(super) async fn pass(
        &self,
        way: TransferDirection,
        found: Option<GuardedFinding>,
    ) -> Result<(), TransferError> {
        let Some(GuardedFinding { path, why }) = found else {
            return Ok(());
        };
        let key = (way, path);
        if self.given.lock().contains(&key) {
            return Ok(());
        }

        let (way, path) = key;

        let question = GuardedPath {
            account: self.account.clone(),
            path: escape_line(path.as_os_str().as_encoded_bytes()),
            is_read: way == TransferDirection::Read,
            why: why.to_string(),
        };

        match self.prompter.allows(question).await {
            Some(true) => {
                self.given.lock().insert((way, path));
                Ok(())
            }
            answer => Err(TransferError::Guarded {
                path,
                why,
                is_read: way == TransferDirection::Read,
                refused: answer.is_some(),
            }),
        }
    }
}

impl GrantedPaths {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(TransferDirection, PathBuf)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Looks at what is guarded now. What is watched has to be open by then: so nothing can come to be above it any more.
    pub(super) fn begin(&self) -> GuardWatch {
        let mut roots = self.folders.as_deref().map(ids);
        if let (Some(roots), TransferDirection::Read) = (&mut roots, self.way) {
            roots.extend(self.machine.output.as_deref().and_then(id_of));
        }

        GuardWatch {
            all: self.machine.collect(self.way),
            roots,
            linked: OnceLock::new(),
        }
    }
}

impl GuardWatch {
    /// Where the directory of a place is.
    ///
    /// # Errors
    /// It cannot be said where it is.
    pub(super) fn site_of(&self, place: &LocalName) -> io::Result<OpenDirectory> {
        let above = place
            .path
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        self.site(&place.folder, above)
    }

    /// Where an open directory is. `typed` is the path by which it was opened.
    ///
    /// # Errors
    /// It cannot be said where it is.
    pub(super) fn site(&self, directory: &Folder, typed: &Path) -> io::Result<OpenDirectory> {
        #[cfg(unix)]
        let ids = seen::ids_above(directory)?;
        #[cfg(not(unix))]
        let ids = {
            let _ = directory;
            seen::ids_above_path(typed)?
        };

        let (path, way) = way_to(typed, ids)?;
        let outside = self
            .roots
            .as_ref()
            .is_some_and(|roots| !way.iter().any(|(_, id)| roots.contains(id)));

        Ok(OpenDirectory {
            path,
            spot: self.all.places.spot(&way),
            outside,
        })
    }

    /// Why a file in an open directory is a question, there or not, if it is one; `content` is what its content says.
    pub(super) fn question(
        &self,
        site: &OpenDirectory,
        place: &LocalName,
        seen: Option<&FileFactsBefore>,
        content: Option<GuardReason>,
    ) -> Option<GuardedFinding> {
        let name = &place.name;
        let why = self
            .file(&site.spot, name, seen)
            .or(content)
            .or_else(|| site.outside.then_some(GuardReason::Outside))?;

        Some(GuardedFinding {
            path: site.path.join(paths::os_name(name)),
            why,
        })
    }

    /// Why a file in a directory is guarded, if it is.
    pub(super) fn file(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        seen: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        let id = seen.and_then(|seen| seen.id.as_ref());
        self.all
            .places
            .file(inside, name, id)
            .or_else(|| self.other_name(seen?))
    }

    /// Why a link in a directory may not be made, if it may not.
    pub(super) fn link(
        &self,
        inside: &DirectoryFacts,
        name: &[u8],
        seen: Option<&FileFactsBefore>,
    ) -> Option<GuardReason> {
        self.all
            .places
            .link(inside, name, seen.and_then(|seen| seen.id.as_ref()))
    }

    /// Why this very file is guarded, wherever it was opened.
    pub(super) fn opened(&self, seen: &FileFactsBefore) -> Option<GuardReason> {
        seen.id
            .as_ref()
            .and_then(|id| self.all.places.by_id(id))
            .or_else(|| self.other_name(seen))
    }

    fn other_name(&self, seen: &FileFactsBefore) -> Option<GuardReason> {
        let id = seen.id.as_ref().filter(|_| seen.has_other_names)?;
        self.linked().contains(id).then_some(GuardReason::OtherName)
    }

    /// What is known of a directory in another one.
    pub(super) fn below(
        &self,
        above: &DirectoryFacts,
        name: &[u8],
        seen: Option<&FileFactsBefore>,
    ) -> DirectoryFacts {
        self.all
            .places
            .directory(above, name, seen.and_then(|seen| seen.id.as_ref()))
    }

    fn linked(&self) -> &HashSet<FileId> {
        self.linked.get_or_init(|| {
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
                    let seen = FileFactsBefore::from_metadata(&found);
                    if found.is_dir() {
                        directories.push_back(entry.path());
                    }

                    linked.extend(seen.id.filter(|_| seen.has_other_names));
                }
            }

            linked
        })
    }
}

impl OpenDirectory {
    /// Why this directory with all that is in it is a question, if it is one.
    pub(super) fn question(&self) -> Option<GuardedFinding> {
        let why = self
            .spot
            .guarded()
            .or_else(|| self.outside.then_some(GuardReason::Outside))?;

        Some(GuardedFinding {
            path: self.path.clone(),
            why,
        })
    }

    /// A directory in this one, there or not.
    pub(super) fn below(
        &self,
        watch: &GuardWatch,
        name: &[u8],
        seen: Option<&FileFactsBefore>,
    ) -> Self {
        let spot = watch.below(&self.spot, name, seen);
        Self {
            path: self.path.join(paths::os_name(name)),
            spot,
            outside: self.outside,
        }
    }
}

/// Why the content of a file is guarded that begins so, if it is.
pub(super) fn content(beginning: &[u8]) -> Option<GuardReason> {
    marks::private_key(beginning).map(GuardReason::PrivateKey)
}

/// The same of an open file.
///
/// # Errors
/// The system's own.
pub(super) fn content_of(file: &File) -> io::Result<Option<GuardReason>> {
    let (mut beginning, mut length) = (vec![0; marks::LOOKED_AT], 0);
    while let Some(rest) = beginning.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match io_threads::read_at(file, rest, length as u64)? {
            0 => break,
            read => length += read,
        }
    }

    Ok(content(beginning.get(..length).unwrap_or_default()))
}
