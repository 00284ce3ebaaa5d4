//! Store of saved sessions, shared by several processes and always replaced as a whole.
//!
//! All operations block. Async callers run them on a blocking thread.

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

/// Time limit for the lock of the store. Another process holds the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Handle of the file of saved sessions. Holds only the path, so any number of handles may share a
/// file.
#[derive(Debug, Clone)]
pub struct Store {
    path: Option<PathBuf>,
}

/// Content of a [`Store`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedStore {
    /// Document, empty if there is no file.
    pub document: StoreDocument,
    /// Notice for the user about an unreadable file set aside, or about secrets in the file. `None`
    /// if all is well.
    pub notice: Option<String>,
}

/// Content of the store's file, once read.
enum FileContent {
    Renderer(LoadedStore),
    /// Content in no known format, for this reason.
    Unreadable(DocumentError),
}

/// Error of reading or changing the store, with the path at fault. The store keeps its content.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no path and no home directory.
    #[error("there is no home directory to keep the session store in")]
    Nowhere,
    /// The file has a version, given here, which only a newer program can read.
    #[error("the session store {0} has version {1}, which only a newer mcp-ssh-sessions can read")]
    Newer(PathBuf, u64),
    /// Another process has held the lock for five seconds.
    #[error("the session store {0} is locked by another process")]
    Locked(PathBuf),
    /// The path names a directory, a device or a pipe.
    #[error("the session store {0} is not a regular file")]
    NotAFile(PathBuf),
    /// The file exists but cannot be read.
    #[error("cannot read the session store {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The lock file next to the store cannot be created or locked. The path is that of the lock
    /// file.
    #[error("cannot lock the session store with {0}")]
    Lock(PathBuf, #[source] io::Error),
    /// The directory of the store is missing and cannot be created.
    #[error("cannot create the directory {0} for the session store")]
    CreateDirectory(PathBuf, #[source] io::Error),
    /// The unreadable file cannot be moved out of the way.
    #[error("cannot set the unreadable session store {0} aside")]
    SetAside(PathBuf, #[source] io::Error),
    /// The new content cannot be written.
    #[error("cannot write the session store {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Store {
    /// Creates a handle for the file, which need not exist. Touches nothing.
    ///
    /// Without a path, the store is empty and cannot be changed.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// Reads the store. An unreadable file is set aside as `NAME.unreadable-N`, which the notice
    /// reports.
    ///
    /// Takes the lock only to set a file aside: the file is only ever replaced as a whole.
    ///
    /// # Errors
    /// Returns [`StoreError::Newer`], [`StoreError::NotAFile`] or [`StoreError::Read`]. For an
    /// unreadable file also [`StoreError::Locked`], [`StoreError::Lock`] and
    /// [`StoreError::SetAside`].
    pub fn load(&self) -> Result<LoadedStore, StoreError> {
        let Some(location) = self.location()? else {
            return Ok(LoadedStore {
                document: StoreDocument::default(),
                notice: None,
            });
        };

        if let FileContent::Renderer(loaded) = try_parse(&location)? {
            return Ok(loaded);
        }

        // Another process may be writing the store, or setting it aside, at this moment.
        let _lock = lock(&location, LOCK_PATIENCE)?;

        read_or_set_aside(&location)
    }

    /// Reads the store without changing anything. An unreadable file stays in place.
    ///
    /// # Errors
    /// Returns the reason why the store cannot be read, as a message.
    pub fn peek(&self) -> Result<StoreDocument, String> {
        let read = self.location().and_then(|location| {
            location
                .map(|location| try_parse(&location).map(|read| (location, read)))
                .transpose()
        });

        match read {
            Ok(None) => Ok(StoreDocument::default()),
            Ok(Some((_, FileContent::Renderer(loaded)))) => Ok(loaded.document),
            Ok(Some((location, FileContent::Unreadable(reason)))) => Err(format!(
                "the session store {} cannot be read: {reason}",
                location.path.display()
            )),
            Err(error) => Err(with_causes(&error)),
        }
    }

    /// Changes the store: reads the current content, applies `change` and replaces the file (0600).
    ///
    /// The change happens under a lock respected by other processes, waiting up to five seconds for
    /// the lock. Returns the written content, with the notice of [`load`](Self::load).
    ///
    /// # Errors
    /// Any [`StoreError`]. The file is then as it was, or set aside if unreadable.
    pub fn update(
        &self,
        change: impl FnOnce(&mut StoreDocument),
    ) -> Result<LoadedStore, StoreError> {
        let path = self.path.as_deref().ok_or(StoreError::Nowhere)?;
        Folder::made(directory(path))
            .map_err(|source| StoreError::CreateDirectory(directory(path).to_owned(), source))?;
        // Resolved once: the lock, the read and the write must all be about the same file.
        let location =
            LocalName::resolve(path).map_err(|source| StoreError::Read(path.to_owned(), source))?;
        let _lock = lock(&location, LOCK_PATIENCE)?;
        let mut loaded = read_or_set_aside(&location)?;
        change(&mut loaded.document);
        write(&location, &loaded.document)
            .map_err(|source| StoreError::Write(location.path, source))?;

        Ok(loaded)
    }

    /// Resolves the path to the store's file, which need not exist. `None` if its directory does
    /// not exist.
    ///
    /// A symbolic link is followed, because people link their dotfiles and a rename would replace
    /// the link. The lock lies next to the target, so two links to one file share a lock.
    fn location(&self) -> Result<Option<LocalName>, StoreError> {
        let Some(path) = &self.path else {
            return Ok(None);
        };

        match LocalName::resolve(path) {
            Ok(location) => Ok(Some(location)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::Read(path.clone(), error)),
        }
    }
}

/// Returns the directory of a path, `.` if the path names none.
fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Reads and parses the file.
fn try_parse(location: &LocalName) -> Result<FileContent, StoreError> {
    let path = &location.path;

    let parsed = match StoreDocument::parse(&read(location)?) {
        Ok(parsed) => parsed,
        Err(DocumentError::Newer { version }) => {
            return Err(StoreError::Newer(path.clone(), version));
        }
        Err(reason) => return Ok(FileContent::Unreadable(reason)),
    };

    let notice = parsed.held_secrets.then(|| {
        format!(
            "The session store {} holds passwords, passphrases or keys. \
             They are not used, and are removed when it is next written.",
            path.display()
        )
    });

    let document = parsed.document;
    Ok(FileContent::Renderer(LoadedStore { document, notice }))
}

/// Reads the file under the lock, and sets the file aside if unreadable.
///
/// The file is read again, because another process may have replaced the file before the lock was
/// taken.
fn read_or_set_aside(location: &LocalName) -> Result<LoadedStore, StoreError> {
    let path = &location.path;
    let reason = match try_parse(location)? {
        FileContent::Renderer(loaded) => return Ok(loaded),
        FileContent::Unreadable(reason) => reason,
    };

    let aside = set_aside(location).map_err(|source| StoreError::SetAside(path.clone(), source))?;
    let document = StoreDocument::default();

    let notice = Some(format!(
        "The session store {} could not be read ({reason}). \
         It was kept as {}, and no saved sessions were loaded.",
        path.display(),
        aside.display()
    ));

    Ok(LoadedStore { document, notice })
}

/// Returns the bytes of the file, none if missing. Reads at most one byte more than is allowed.
fn read(location: &LocalName) -> Result<Vec<u8>, StoreError> {
    let unread = |error| StoreError::Read(location.path.clone(), error);
    match location.find().map_err(unread)? {
        None => return Ok(Vec::new()),
        Some((EntryKind::File(_), _)) => {}
        Some(_) => return Err(StoreError::NotAFile(location.path.clone())),
    }

    let read = || {
        let file = location.open()?;
        location.folder.trust_file(&file)?;
        let mut bytes = Vec::new();
        // The extra byte tells a file that is too large from one of the maximum size.
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
