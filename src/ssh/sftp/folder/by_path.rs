//! Elsewhere: by path, each component looked at before it is used. Links are not made here, modes and the times of
//! directories not kept.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use super::IN_THE_WAY;
use crate::tree::entry::{Attributes, What};

/// A directory that is written into.
#[derive(Debug)]
pub(in crate::ssh::sftp) struct Folder(PathBuf);

impl Folder {
    /// The directory that a person named: links on the way to it are followed.
    pub(in crate::ssh::sftp) fn root(path: &Path) -> io::Result<Self> {
        if !fs::metadata(path)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY));
        }
        Ok(Self(path.to_owned()))
    }

    /// The directory these names below.
    pub(in crate::ssh::sftp) fn below(&self, names: &[&[u8]]) -> io::Result<Self> {
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
    pub(in crate::ssh::sftp) fn make(&self, name: &[u8], _: u32) -> io::Result<bool> {
        match fs::create_dir(self.path(name)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.below(&[name]).map(|_| false),
            Err(error) => Err(error),
        }
    }

    /// What a name names, links not followed; `None` if there is nothing.
    pub(in crate::ssh::sftp) fn find(&self, name: &[u8]) -> io::Result<Option<(What, Attributes)>> {
        let found = match fs::symlink_metadata(self.path(name)?) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let what = match found.file_type() {
            kind if kind.is_symlink() => What::Link,
            kind if kind.is_dir() => What::Directory,
            kind if kind.is_file() => What::File(found.len()),
            _ => What::Special,
        };
        let modified = found.modified()?.duration_since(UNIX_EPOCH).ok();
        let modified = modified.and_then(|since| u32::try_from(since.as_secs()).ok());
        Ok(Some((what, Attributes { mode: None, modified })))
    }

    /// Makes a file where there is nothing.
    pub(in crate::ssh::sftp) fn create(&self, name: &[u8]) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name)?)
    }

    /// Puts one name in the place of another.
    pub(in crate::ssh::sftp) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    /// Removes a file or link.
    pub(in crate::ssh::sftp) fn remove(&self, name: &[u8]) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn path(&self, name: &[u8]) -> io::Result<PathBuf> {
        Ok(self.0.join(text(name)?))
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Unix")]
impl Folder {
    /// Links are for those systems where anybody may make them.
    pub(in crate::ssh::sftp) fn link(&self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`link`](Self::link).
    pub(in crate::ssh::sftp) fn read_link(&self, _: &[u8]) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`link`](Self::link).
    pub(in crate::ssh::sftp) fn set_link_time(&self, _: &[u8], _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Nothing to set.
    pub(in crate::ssh::sftp) fn set(&self, _: Attributes) -> io::Result<()> {
        Ok(())
    }
}

fn text(name: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(name).map_err(|_| io::ErrorKind::InvalidFilename.into())
}
