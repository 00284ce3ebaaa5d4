//! The file of saved sessions: shared by several processes, replaced whole, never lost.
//!
//! Everything here blocks; a caller inside an async runtime gives it a thread of its own.

mod files;

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::files::{lock, set_aside, write};
use super::{
    causes::with_causes,
    saved::{DocumentError, MAX_STORE_BYTES, StoreDocument},
};
use crate::local::{EntryKind, Folder, LocalName};

/// How long a change waits for another process to finish its own, which takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// The saved sessions on disk. Holds no state but the path, so any number of them may share a file.
#[derive(Debug, Clone)]
pub struct Store {
    path: Option<PathBuf>,
}

/// What a [`Store`] holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedStore {
    /// The document, empty where there is no file.
    pub document: StoreDocument,
    /// What the person should know: that an unreadable file was set aside, and where; or that the file holds secrets.
    pub notice: Option<String>,
}

/// Why the store could not be read or changed, with the path at fault. Whatever the store held, it still holds.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No path was given, and there is no home directory.
    #[error("there is no home directory to keep the session store in")]
    Nowhere,
    /// A later version of this program wrote the file: the version that it states.
    #[error("the session store {0} has version {1}, which only a newer mcp-ssh-sessions can read")]
    Newer(PathBuf, u64),
    /// Another process has held the lock for five seconds.
    #[error("the session store {0} is locked by another process")]
    Locked(PathBuf),
    /// A directory, a device or a pipe, which can be neither read as a store nor replaced by one.
    #[error("the session store {0} is not a regular file")]
    NotAFile(PathBuf),
    /// The file is there but cannot be read.
    #[error("cannot read the session store {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The lock file beside the store, which the path names, cannot be made or locked.
    #[error("cannot lock the session store with {0}")]
    Lock(PathBuf, #[source] io::Error),
    /// The directory that the store belongs in is missing and cannot be made.
    #[error("cannot create the directory {0} for the session store")]
    CreateDirectory(PathBuf, #[source] io::Error),
    /// The file is unreadable and cannot be moved out of the way.
    #[error("cannot set the unreadable session store {0} aside")]
    SetAside(PathBuf, #[source] io::Error),
    /// The new content cannot be written.
    #[error("cannot write the session store {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Store {
    /// A store in that file, which need not exist; without one it is empty and cannot be changed. Nothing is touched yet.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Reads the store. Takes no lock, since the file is only ever replaced whole, unless it is unreadable: then it is
    /// set aside as `NAME.unreadable-N`, and the notice says so.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::NotAFile`], [`StoreError::Read`]; for an unreadable file also
    /// [`StoreError::Locked`], [`StoreError::Lock`] and [`StoreError::SetAside`].
    pub fn load(&self) -> Result<LoadedStore, StoreError> {
        let Some(place) = self.place()? else {
            return Ok(LoadedStore {
                document: StoreDocument::default(),
                notice: None,
            });
        };

        if let Ok(loaded) = try_parse(&place)? {
            return Ok(loaded);
        }

        let _lock = lock(&place, LOCK_PATIENCE)?;

        read_or_set_aside(&place)
    }

    /// Reads the store for whoever must not change anything: an unreadable file stays where it is, and is an error in words.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn peek(&self) -> Result<StoreDocument, String> {
        let read = self.place().and_then(|place| {
            place
                .map(|place| try_parse(&place).map(|read| (place, read)))
                .transpose()
        });

        match read {
            Ok(None) => Ok(StoreDocument::default()),
            Ok(Some((_, Ok(loaded)))) => Ok(loaded.document),
            Ok(Some((place, Err(reason)))) => Err(format!(
                "the session store {} cannot be read: {reason}",
                place.path.display()
            )),
            Err(error) => Err(with_causes(&error)),
        }
    }

    /// Changes the store: reads what is there now, applies `change` and replaces the file (0600), all under a lock that
    /// other processes respect. Waits for that lock for up to five seconds. Returns what was written, and the notice of
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// Any [`StoreError`]; the file is then as it was, or set aside if it was unreadable.
    pub fn update(
        &self,
        change: impl FnOnce(&mut StoreDocument),
    ) -> Result<LoadedStore, StoreError> {
        let path = self.path.as_deref().ok_or(StoreError::Nowhere)?;
        Folder::made(directory(path))
            .map_err(|source| StoreError::CreateDirectory(directory(path).to_owned(), source))?;
        let place =
            LocalName::resolve(path).map_err(|source| StoreError::Read(path.to_owned(), source))?;
        let _lock = lock(&place, LOCK_PATIENCE)?;
        let mut loaded = read_or_set_aside(&place)?;
        change(&mut loaded.document);
        write(&place, &loaded.document).map_err(|source| StoreError::Write(place.path, source))?;

        Ok(loaded)
    }

    /// The file that the path stands for, there or not: behind a symbolic link, since people link their dotfiles, and a
    /// rename onto the link would replace it. The lock lies beside this file too, so that two links to it share one lock.
    /// `None` where nothing can be.
    fn place(&self) -> Result<Option<LocalName>, StoreError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };

        match LocalName::resolve(path) {
            Ok(place) => Ok(Some(place)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Read(path.clone(), error)),
        }
    }
}

/// The directory that a path is in, also where it names none.
fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Reads the file; the inner error is the reason why it is unreadable.
fn try_parse(place: &LocalName) -> Result<Result<LoadedStore, DocumentError>, StoreError> {
    let path = &place.path;

    let parsed = match StoreDocument::parse(&read(place)?) {
        Ok(parsed) => parsed,
        Err(DocumentError::Newer { version }) => {
            return Err(StoreError::Newer(path.clone(), version));
        }
        Err(reason) => return Ok(Err(reason)),
    };

    let notice = parsed.held_secrets.then(|| {
        format!(
            "The session store {} holds passwords, passphrases or keys. \
             They are not used, and are removed when it is next written.",
            path.display()
        )
    });

    let document = parsed.document;
    Ok(Ok(LoadedStore { document, notice }))
}

/// For whoever holds the lock: another process may have put things right meanwhile, or is about to.
fn read_or_set_aside(place: &LocalName) -> Result<LoadedStore, StoreError> {
    let path = &place.path;
    let reason = match try_parse(place)? {
        Ok(loaded) => return Ok(loaded),
        Err(reason) => reason,
    };

    let aside = set_aside(place).map_err(|source| StoreError::SetAside(path.clone(), source))?;
    let document = StoreDocument::default();

    let notice = Some(format!(
        "The session store {} could not be read ({reason}). \
         It was kept as {}, and no saved sessions were loaded.",
        path.display(),
        aside.display()
    ));

    Ok(LoadedStore { document, notice })
}

/// The file's bytes, one more than are allowed at most; none when it is missing.
fn read(place: &LocalName) -> Result<Vec<u8>, StoreError> {
    let unread = |error| StoreError::Read(place.path.clone(), error);
    match place.find().map_err(unread)? {
        None => return Ok(Vec::new()),
        Some((EntryKind::File(_), _)) => {}
        Some(_) => return Err(StoreError::NotAFile(place.path.clone())),
    }

    let read = || {
        let file = place.open()?;
        place.folder.trust_file(&file)?;
        let mut bytes = Vec::new();
        file.take(MAX_STORE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)?;

        Ok::<_, io::Error>(bytes)
    };

    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(unread),
    }
}

#[cfg(test)]
mod tests;
