//! On Unix: relative to open directories.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::Path,
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat},
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, fstatat, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::{UnlinkatFlags, symlinkat, unlinkat},
};

use super::IN_THE_WAY;
use crate::tree::entry::{Attributes, What};

/// A directory that is written into.
#[derive(Debug)]
pub(in crate::ssh::sftp) struct Folder(OwnedFd);

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl Folder {
    /// The directory that a person named: links on the way to it are followed.
    pub(in crate::ssh::sftp) fn root(path: &Path) -> io::Result<Self> {
        Ok(Self(openat(AT_FDCWD, path, DIRECTORY, Mode::empty())?))
    }

    /// The directory these names below.
    pub(in crate::ssh::sftp) fn below(&self, names: &[&[u8]]) -> io::Result<Self> {
        let Some((first, rest)) = names.split_first() else { return Ok(Self(self.0.try_clone()?)) };
        let mut at = self.enter(first)?;
        for name in rest {
            at = at.enter(name)?;
        }
        Ok(at)
    }

    fn enter(&self, name: &[u8]) -> io::Result<Self> {
        match openat(&self.0, OsStr::from_bytes(name), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(inside) => Ok(Self(inside)),
            // A link is one or the other, by system.
            Err(Errno::ENOTDIR | Errno::ELOOP) => Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory that its owner may write into, whatever its mode is to be; one that is there is opened up for
    /// the time being. `true` if there was none.
    pub(in crate::ssh::sftp) fn make(&self, name: &[u8], mode: u32) -> io::Result<bool> {
        let is_new = match mkdirat(&self.0, OsStr::from_bytes(name), Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let there = File::from(self.enter(name)?.0);
        let now = there.metadata()?.permissions().mode() & 0o7777;
        let meanwhile = if is_new { mode & 0o777 | 0o700 } else { now | 0o700 };
        if now != meanwhile {
            // Somebody else's cannot be changed; then what is written into it says why not.
            let _ = there.set_permissions(Permissions::from_mode(meanwhile));
        }
        Ok(is_new)
    }

    /// What a name names, links not followed; `None` if there is nothing.
    pub(in crate::ssh::sftp) fn find(&self, name: &[u8]) -> io::Result<Option<(What, Attributes)>> {
        let found = match fstatat(&self.0, OsStr::from_bytes(name), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
        let what = match kind {
            SFlag::S_IFREG => What::File(u64::try_from(found.st_size).unwrap_or(0)),
            SFlag::S_IFDIR => What::Directory,
            SFlag::S_IFLNK => What::Link,
            _ => What::Special,
        };
        Ok(Some((what, Attributes { mode: None, modified: u32::try_from(found.st_mtime).ok() })))
    }

    /// Makes a file where there is nothing, readable to this user alone until its mode is set.
    pub(in crate::ssh::sftp) fn create(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.0, OsStr::from_bytes(name), flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
    }

    /// Puts one name in the place of another.
    pub(in crate::ssh::sftp) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(renameat(&self.0, OsStr::from_bytes(from), &self.0, OsStr::from_bytes(to))?)
    }

    /// Removes a file or link.
    pub(in crate::ssh::sftp) fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(&self.0, OsStr::from_bytes(name), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Makes a link that says this.
    pub(in crate::ssh::sftp) fn link(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(symlinkat(OsStr::from_bytes(target), &self.0, OsStr::from_bytes(name))?)
    }

    /// What a link says.
    pub(in crate::ssh::sftp) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, OsStr::from_bytes(name))?.as_bytes().to_vec())
    }

    /// Sets when a link was made, in seconds since 1970.
    pub(in crate::ssh::sftp) fn set_link_time(&self, name: &[u8], modified: u32) -> io::Result<()> {
        let modified = TimeSpec::from_duration(Duration::from_secs(modified.into()));
        let name = OsStr::from_bytes(name);
        Ok(utimensat(&self.0, name, &TimeSpec::UTIME_OMIT, &modified, UtimensatFlags::NoFollowSymlink)?)
    }

    /// Sets this directory's own mode and time. The bits that are not permissions are not taken from others.
    pub(in crate::ssh::sftp) fn set(&self, attributes: Attributes) -> io::Result<()> {
        let directory = File::from(self.0.try_clone()?);
        if let Some(mode) = attributes.mode {
            directory.set_permissions(Permissions::from_mode(mode & 0o777))?;
        }
        match attributes.modified {
            Some(modified) => directory.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into())),
            None => Ok(()),
        }
    }
}
