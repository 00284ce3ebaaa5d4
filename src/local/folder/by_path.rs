//! Folders on systems other than Unix: by path, with each component checked before use.
//!
//! Links are not created here. Modes, and times of directories, are not kept.

#[cfg(not(unix))]
use std::ffi::OsString;
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

#[cfg(not(unix))]
use super::NOT_REGULAR;
use super::{IN_THE_WAY, mode_of};
use crate::tree::entry::{EntryAttributes, EntryKind};

/// A directory, identified by path.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Returns the folder of a directory given by the user. Links on the way are followed.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY));
        }
        Ok(Self(path.to_owned()))
    }

    /// Returns the folder of a directory below, checking each name for links.
    pub(crate) fn below(&self, names: &[&[u8]]) -> io::Result<Self> {
        let mut at = self.0.clone();
        for name in names {
            at.push(text(name)?);
            if !fs::symlink_metadata(&at)?.is_dir() {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY));
            }
        }

        Ok(Self(at))
    }

    /// Creates a directory. Returns true if the directory is new.
    pub(crate) fn make(&self, name: &[u8], _: u32) -> io::Result<bool> {
        match fs::create_dir(self.path(name)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.below(&[name]).map(|_| false)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the kind and attributes of an entry, or `None` if nothing exists.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<(EntryKind, EntryAttributes)>> {
        let found = match fs::symlink_metadata(self.path(name)?) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };

        let what = match found.file_type() {
            kind if kind.is_symlink() => EntryKind::Link,
            kind if kind.is_dir() => EntryKind::Directory,
            kind if kind.is_file() => EntryKind::File(found.len()),
            _ => EntryKind::Special,
        };

        let modified = found.modified()?.duration_since(UNIX_EPOCH).ok();
        let modified = modified.and_then(|since| u32::try_from(since.as_secs()).ok());

        Ok(Some((
            what,
            EntryAttributes {
                mode: Some(mode_of(&found)),
                modified,
            },
        )))
    }

    /// Creates a file. An existing entry is an error.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name)?)
    }

    /// Renames an entry, replacing the target.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Removes a file or link.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    /// Returns the path of a name in the directory.
    fn path(&self, name: &[u8]) -> io::Result<PathBuf> {
        Ok(self.0.join(text(name)?))
    }
}

#[cfg(not(unix))]
impl Folder {
    /// Returns the folder of a directory given by the user, creating missing directories.
    pub(crate) fn made(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Self::root(path)
    }

    /// Returns the folder unchanged: a directory in the user's profile is theirs only.
    pub(crate) fn if_ours(self, _: &Path) -> io::Result<Self> {
        Ok(self)
    }

    /// Returns the folder of the last name of a path, and the name as well: `.` if the path ends in
    /// none.
    pub(crate) fn towards(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let Some(name) = path.file_name() else {
            return Ok((Self::root(path)?, b".".to_vec()));
        };

        let above = path
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
            .unwrap_or(Path::new("."));

        Ok((
            Self::root(above)?,
            name.to_string_lossy().into_owned().into_bytes(),
        ))
    }

    /// Returns the folder of the directory with this name. A link is an error.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        self.below(&[name])
    }

    /// Returns up to `most` names in the directory, in any order.
    pub(crate) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?
            .take(most)
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    /// Opens a regular file for reading. Anything else is an error.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<File> {
        match self.find(name)? {
            Some((EntryKind::Directory, _)) => Err(io::ErrorKind::IsADirectory.into()),
            Some((EntryKind::Link | EntryKind::Special, _)) => Err(io::Error::other(NOT_REGULAR)),
            Some((EntryKind::File(_), _)) | None => File::open(self.path(name)?),
        }
    }

    /// Opens a file for reading and appending. With `create`, a missing file is created.
    pub(crate) fn open_to_append(&self, name: &[u8], create: bool) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(self.path(name)?)
    }

    /// Creates a hard link. An existing target is an error.
    pub(crate) fn hard_link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::hard_link(self.path(from)?, self.path(to)?)
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Unix")]
impl Folder {
    /// Fails: symbolic links are supported only on systems where any user may create links.
    pub(crate) fn link(&self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails, like [`link`](Self::link).
    pub(crate) fn read_link(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails, like [`link`](Self::link).
    pub(crate) fn set_link_time(&self, _: &[u8], _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Accepts every file: files in the user's profile are theirs only.
    pub(crate) fn trust_file(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing: directories cannot be opened as files here, and need no sync.
    pub(crate) fn sync(&self) {}

    /// Returns `None`: the free space is not queried here.
    pub(crate) fn room(&self) -> Option<u64> {
        None
    }

    /// Does nothing: there are no modes here, and times of directories are not kept.
    pub(crate) fn set(&self, _: EntryAttributes) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses an open file that is not a regular one.
#[cfg(not(unix))]
pub(crate) fn only_ours(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        Ok(())
    } else {
        Err(io::Error::other(NOT_REGULAR))
    }
}

/// Converts a name to text, which paths need here.
fn text(name: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(name).map_err(|_| io::ErrorKind::InvalidFilename.into())
}
