//! Elsewhere: by path, each component looked at before it is used. Links are not made here, modes and the times of
//! directories not kept.

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

/// A directory that is written into.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The directory that a person named: links on the way to it are followed.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY));
        }
        Ok(Self(path.to_owned()))
    }

    /// The directory these names below.
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

    /// Makes a directory. `true` if there was none.
    pub(crate) fn make(&self, name: &[u8], _: u32) -> io::Result<bool> {
        match fs::create_dir(self.path(name)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.below(&[name]).map(|_| false)
            }
            Err(error) => Err(error),
        }
    }

    /// What a name names, links not followed; `None` if there is nothing.
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

    /// Makes a file where there is nothing.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name)?)
    }

    /// Puts one name in the place of another.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Removes a file or link.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn path(&self, name: &[u8]) -> io::Result<PathBuf> {
        Ok(self.0.join(text(name)?))
    }
}

#[cfg(not(unix))]
impl Folder {
    /// As [`root`](Self::root); directories that are missing are made.
    pub(crate) fn made(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Self::root(path)
    }

    /// Itself: it is in the person's profile directory, and so theirs alone.
    pub(crate) fn if_ours(self, _: &Path) -> io::Result<Self> {
        Ok(self)
    }

    /// The directory that the last name of a path is in, and that name: `.` where the path ends in none.
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

    /// The directory of this name, if it is one.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        self.below(&[name])
    }

    /// The names in it, in any order, up to `most`.
    pub(crate) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        fs::read_dir(&self.0)?
            .take(most)
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    /// Opens a regular file for reading, and nothing else.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<File> {
        match self.find(name)? {
            Some((EntryKind::Directory, _)) => Err(io::ErrorKind::IsADirectory.into()),
            Some((EntryKind::Link | EntryKind::Special, _)) => Err(io::Error::other(NOT_REGULAR)),
            Some((EntryKind::File(_), _)) | None => File::open(self.path(name)?),
        }
    }

    /// Opens a file for reading, and for writing to its end; `create` makes one where there is nothing.
    pub(crate) fn open_to_append(&self, name: &[u8], create: bool) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .open(self.path(name)?)
    }

    /// Gives a file one more name, where nothing has that.
    pub(crate) fn hard_link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::hard_link(self.path(from)?, self.path(to)?)
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Unix")]
impl Folder {
    /// Links are for those systems where anybody may make them.
    pub(crate) fn link(&self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`link`](Self::link).
    pub(crate) fn read_link(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`link`](Self::link).
    pub(crate) fn set_link_time(&self, _: &[u8], _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// All that is in the person's profile directory is theirs.
    pub(crate) fn trust_file(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    /// Directories cannot be opened as files here, nor need to be.
    pub(crate) fn sync(&self) {}

    /// It is not asked for.
    pub(crate) fn room(&self) -> Option<u64> {
        None
    }

    /// Nothing to set.
    pub(crate) fn set(&self, _: EntryAttributes) -> io::Result<()> {
        Ok(())
    }
}

fn text(name: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(name).map_err(|_| io::ErrorKind::InvalidFilename.into())
}
