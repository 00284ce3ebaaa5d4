//! Folders on Unix: every operation is relative to an open directory.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt as _, OsStringExt as _},
            fs::PermissionsExt as _,
        },
    },
    path::{Component, Path},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat},
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, fstatat, mkdirat, umask, utimensat},
        statvfs::fstatvfs,
        time::TimeSpec,
    },
    unistd::{UnlinkatFlags, geteuid, linkat, symlinkat, unlinkat},
};

use super::{BELONGS_TO_ANOTHER, IN_THE_WAY, NOT_REGULAR, OPEN_TO_OTHERS, PLANTED, RESERVE};
use crate::tree::entry::{EntryAttributes, EntryKind};

/// An open directory of this machine.
///
/// All operations take single names in the directory and follow no links, unless stated otherwise.
/// The handle keeps leading to the same directory when the path to the directory changes.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Identity of a file: device and inode.
pub(crate) type Identity = (u64, u64);

/// Flags to open a directory for listing.
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// Flags to open a directory only for passing through, which works without permission to list.
const PASSED: OFlag = SEARCHED.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEARCHED: OFlag = OFlag::O_PATH;
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
const SEARCHED: OFlag = OFlag::O_SEARCH;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
const SEARCHED: OFlag = OFlag::O_RDONLY;

/// Flags to open a file. Whatever took the place of the file can neither block us nor become our
/// terminal.
const FILE: OFlag = OFlag::O_NOFOLLOW
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

impl Folder {
    /// Opens a directory given by the user.
    ///
    /// Links on the way are followed, except those planted by another user in a directory that all
    /// may write to.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        let (above, name) = Self::towards(path)?;
        above.pass(&name)?.listed()
    }

    /// Opens a directory given by the user, creating missing directories (0700).
    pub(crate) fn made(path: &Path) -> io::Result<Self> {
        match Self::root(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }

        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };

        // An empty parent is the working directory.
        let above = Self::made(if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        })?;

        // Another process may create the directory at the same moment.
        match mkdirat(&above.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => above.enter(name.as_bytes()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the folder if this user owns the directory and nobody else may write there.
    pub(crate) fn if_ours(self, path: &Path) -> io::Result<Self> {
        // Checked on the open directory, so that nothing can be exchanged between check and use.
        let found = fstat(&self.0)?;
        let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        if found.st_uid != geteuid().as_raw() {
            return refused(format!("{} {BELONGS_TO_ANOTHER}", path.display()));
        }

        if Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH) {
            return refused(format!(
                "{} {OPEN_TO_OTHERS} {}",
                path.display(),
                path.display()
            ));
        }

        Ok(self)
    }

    /// Opens the directory of the last name of a path, and returns the name as well: `.` if the
    /// path ends in none.
    pub(crate) fn towards(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        Self(openat(AT_FDCWD, ".", PASSED, Mode::empty())?).towards_from(path)
    }

    /// Opens the directory of the last name of a path, resolving a relative path from this
    /// directory.
    pub(crate) fn towards_from(&self, path: &Path) -> io::Result<(Self, Vec<u8>)> {
        if path.as_os_str().is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }

        let (mut at, mut last) = (Self(self.0.try_clone()?), None::<&OsStr>);

        for component in path.components() {
            // Only a name before another name is passed through; the last name need not exist.
            if let Some(name) = last.take() {
                at = at.pass(name.as_bytes())?;
            }

            match component {
                Component::RootDir => at = Self(openat(AT_FDCWD, "/", PASSED, Mode::empty())?),
                // Left to the system: after a link, `..` is not the name before the link.
                Component::ParentDir => at = at.pass(b"..")?,
                Component::Normal(name) => last = Some(name),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }

        Ok((at, last.unwrap_or(OsStr::new(".")).as_bytes().to_vec()))
    }

    /// Opens a directory on the user's path, following a link unless another user has planted the
    /// link.
    fn pass(&self, name: &[u8]) -> io::Result<Self> {
        // Without following links at first: only a link needs a check of its owner.
        let name_here = OsStr::from_bytes(name);
        match openat(
            &self.0,
            name_here,
            PASSED | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(inside) => Ok(Self(inside)),
            // Systems differ in the error for a link.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                self.trust(name)?;

                // The link was checked, so the system may follow it, to wherever it leads.
                match openat(&self.0, name_here, PASSED, Mode::empty()) {
                    Ok(inside) => Ok(Self(inside)),
                    Err(Errno::ENOTDIR) => {
                        Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses an entry planted by another user in a directory open to all.
    ///
    /// This is the rule of `protected_symlinks` and `protected_regular` (`proc_sys_fs(5)`), which
    /// some systems lack or have switched off. In a sticky directory, nobody else can exchange an
    /// entry of this user.
    pub(crate) fn trust(&self, name: &[u8]) -> io::Result<()> {
        self.trust_owner(&fstatat(
            &self.0,
            OsStr::from_bytes(name),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?)
    }

    /// Refuses an open file of this directory if [`trust`](Self::trust) would refuse the name.
    pub(crate) fn trust_file(&self, file: &File) -> io::Result<()> {
        self.trust_owner(&fstat(file)?)
    }

    /// Refuses an entry of another user in a directory open to all, except an entry of the
    /// directory's owner.
    fn trust_owner(&self, found: &FileStat) -> io::Result<()> {
        let here = fstat(&self.0)?;
        let all_write = Mode::from_bits_truncate(here.st_mode).contains(Mode::S_IWOTH);
        // The owner of the directory can replace any entry anyway, so their entries are accepted.
        if all_write && found.st_uid != geteuid().as_raw() && found.st_uid != here.st_uid {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, PLANTED));
        }
        Ok(())
    }

    /// Returns the identity of an entry, or `None` if nothing exists. With `follow`, links are
    /// followed.
    pub(crate) fn identity(&self, name: &[u8], follow: bool) -> io::Result<Option<Identity>> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::AT_SYMLINK_NOFOLLOW
        };

        match fstatat(&self.0, OsStr::from_bytes(name), flags) {
            Ok(found) => Ok(Some((number(found.st_dev), number(found.st_ino)))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns up to `most` names in the directory, in any order.
    pub(crate) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        let entries = Dir::from_fd(self.listed()?.0)?.into_iter();
        let names =
            entries.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())));
        names
            .filter(|name| !name.as_ref().is_ok_and(|name| name == "." || name == ".."))
            .take(most)
            .collect()
    }

    /// Opens the directory again with permission to list or sync.
    fn listed(&self) -> io::Result<Self> {
        Ok(Self(openat(&self.0, ".", DIRECTORY, Mode::empty())?))
    }

    /// Returns the number of bytes available for a new file: free space less a reserve. `None` if
    /// the file system does not say.
    pub(crate) fn room(&self) -> Option<u64> {
        let disk = fstatvfs(&self.0).ok()?;
        let bytes = |blocks| number(blocks).saturating_mul(number(disk.fragment_size()));
        let all = bytes(disk.blocks());
        (all > 0).then(|| bytes(disk.blocks_available()).saturating_sub(RESERVE.min(all / 100)))
    }

    /// Opens a directory below, following `names` step by step.
    pub(crate) fn below(&self, names: &[&[u8]]) -> io::Result<Self> {
        let Some((first, rest)) = names.split_first() else {
            return Ok(Self(self.0.try_clone()?));
        };
        let mut at = self.enter(first)?;
        for name in rest {
            at = at.enter(name)?;
        }

        Ok(at)
    }

    /// Opens the directory of this name. A link is an error.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        match openat(
            &self.0,
            OsStr::from_bytes(name),
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(inside) => Ok(Self(inside)),
            // Systems differ in the error for a link.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a directory with write permission for the owner, whatever `mode` says. Returns true
    /// if the directory is new.
    ///
    /// An existing directory is made writable until [`set`](Self::set) gives the final mode.
    pub(crate) fn make(&self, name: &[u8], mode: u32) -> io::Result<bool> {
        let is_new = match mkdirat(&self.0, OsStr::from_bytes(name), Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };

        let there = File::from(self.enter(name)?.0);
        let now = there.metadata()?.permissions().mode() & 0o7777;
        let meanwhile = if is_new {
            permitted(mode) | 0o700
        } else {
            now | 0o700
        };

        if now != meanwhile {
            // The mode of a foreign directory cannot be changed; writing to it then reports why
            // not.
            let _ = there.set_permissions(Permissions::from_mode(meanwhile));
        }

        Ok(is_new)
    }

    /// Returns the kind and attributes of an entry, or `None` if nothing exists.
    pub(crate) fn find(&self, name: &[u8]) -> io::Result<Option<(EntryKind, EntryAttributes)>> {
        let found = match fstatat(
            &self.0,
            OsStr::from_bytes(name),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        ) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };

        let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;

        // Devices, pipes and sockets are never transferred, so they share one kind.
        let what = match kind {
            SFlag::S_IFREG => EntryKind::File(u64::try_from(found.st_size).unwrap_or(0)),
            SFlag::S_IFDIR => EntryKind::Directory,
            SFlag::S_IFLNK => EntryKind::Link,
            _ => EntryKind::Special,
        };

        let mode = Some(bits(found.st_mode) & 0o7777);

        Ok(Some((
            what,
            EntryAttributes {
                mode,
                modified: u32::try_from(found.st_mtime).ok(),
            },
        )))
    }

    /// Opens a regular file for reading. Anything else is an error, also if exchanged after a
    /// check.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<File> {
        // Checked before opening as well, because opening a device can have effects.
        match self.find(name)? {
            Some((EntryKind::Directory, _)) => return Err(io::ErrorKind::IsADirectory.into()),
            Some((EntryKind::Link | EntryKind::Special, _)) => {
                return Err(io::Error::other(NOT_REGULAR));
            }
            Some((EntryKind::File(_), _)) | None => {}
        }

        let file = File::from(openat(
            &self.0,
            OsStr::from_bytes(name),
            OFlag::O_RDONLY | FILE,
            Mode::empty(),
        )?);

        // The entry may have been exchanged since `find` looked at it.
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other(NOT_REGULAR))
        }
    }

    /// Opens a file for reading and appending. With `create`, a missing file is created (0600).
    ///
    /// The result may be a device.
    pub(crate) fn open_to_append(&self, name: &[u8], create: bool) -> io::Result<File> {
        let create = if create {
            OFlag::O_CREAT
        } else {
            OFlag::empty()
        };

        // A pipe opened for both directions does not wait for its other end.
        let flags = OFlag::O_RDWR | OFlag::O_APPEND | create | FILE;
        Ok(File::from(openat(
            &self.0,
            OsStr::from_bytes(name),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?))
    }

    /// Creates a file (0600) for reading and writing. An existing entry is an error.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | FILE;
        Ok(File::from(openat(
            &self.0,
            OsStr::from_bytes(name),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?))
    }

    /// Renames an entry, replacing the target.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(renameat(
            &self.0,
            OsStr::from_bytes(from),
            &self.0,
            OsStr::from_bytes(to),
        )?)
    }

    /// Removes a file or link.
    pub(crate) fn remove(&self, name: &[u8]) -> io::Result<()> {
        Ok(unlinkat(
            &self.0,
            OsStr::from_bytes(name),
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Creates a hard link. An existing target is an error.
    pub(crate) fn hard_link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(linkat(
            &self.0,
            OsStr::from_bytes(from),
            &self.0,
            OsStr::from_bytes(to),
            AtFlags::empty(),
        )?)
    }

    /// Makes changes of names in this directory survive a power failure.
    ///
    /// Errors are ignored: some file systems lack this, and an error would suggest that nothing was
    /// changed.
    pub(crate) fn sync(&self) {
        let _ = self
            .listed()
            .and_then(|listed| File::from(listed.0).sync_all());
    }

    /// Creates a symbolic link with this target.
    pub(crate) fn link(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(symlinkat(
            OsStr::from_bytes(target),
            &self.0,
            OsStr::from_bytes(name),
        )?)
    }

    /// Returns the target of a symbolic link.
    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, OsStr::from_bytes(name))?
            .as_bytes()
            .to_vec())
    }

    /// Sets the modification time of a symbolic link, in seconds since 1970.
    pub(crate) fn set_link_time(&self, name: &[u8], modified: u32) -> io::Result<()> {
        let modified = TimeSpec::from_duration(Duration::from_secs(modified.into()));
        let name = OsStr::from_bytes(name);
        Ok(utimensat(
            &self.0,
            name,
            &TimeSpec::UTIME_OMIT,
            &modified,
            UtimensatFlags::NoFollowSymlink,
        )?)
    }

    /// Sets the mode and time of this directory.
    ///
    /// Of the mode, only permissions are set, and only those which the umask allows.
    pub(crate) fn set(&self, attributes: EntryAttributes) -> io::Result<()> {
        let directory = File::from(self.0.try_clone()?);
        if let Some(mode) = attributes.mode {
            directory.set_permissions(Permissions::from_mode(permitted(mode)))?;
        }

        match attributes.modified {
            Some(modified) => directory
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into())),
            None => Ok(()),
        }
    }
}

/// Refuses an open file that is not a regular one, belongs to another user, or may be written by
/// others.
pub(crate) fn only_ours(file: &File) -> io::Result<()> {
    let found = fstat(file)?;
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));

    if !file.metadata()?.is_file() {
        return refused(NOT_REGULAR);
    }

    if found.st_uid != geteuid().as_raw() {
        return refused("it belongs to another user");
    }

    if Mode::from_bits_truncate(found.st_mode).intersects(Mode::S_IWGRP | Mode::S_IWOTH) {
        return refused("other users may write it; run: chmod go-w");
    }

    Ok(())
}

/// Returns the permissions to apply from a foreign mode: no other bits, and nothing withheld by the
/// user's umask.
pub(crate) fn permitted(mode: u32) -> u32 {
    static KEPT_BACK: OnceLock<Mode> = OnceLock::new();

    let kept_back = KEPT_BACK.get_or_init(|| {
        // The umask can be read only by setting it. Files created at this moment get permissions
        // for this user only.
        let now = umask(Mode::S_IRWXG | Mode::S_IRWXO);
        umask(now);
        now
    });

    mode & 0o777 & !bits(kept_back.bits())
}

/// Converts a number whose width depends on the system.
fn number(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// Converts a mode whose width depends on the system.
fn bits(mode: impl Into<u32>) -> u32 {
    mode.into()
}
