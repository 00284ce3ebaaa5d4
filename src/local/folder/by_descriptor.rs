//! On Unix: relative to open directories.

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

/// A directory of this machine.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a file is known by.
pub(crate) type Identity = (u64, u64);

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// A directory that is only passed through, which its user need not be allowed to list.
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

/// What took the place of a file must not make us wait for its other end, nor become our terminal.
const FILE: OFlag = OFlag::O_NOFOLLOW
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

impl Folder {
    /// The directory that a person named. Links on the way to it are followed, but for those that another user has put
    /// into a directory into which all may write.
    pub(crate) fn root(path: &Path) -> io::Result<Self> {
        let (above, name) = Self::towards(path)?;
        above.pass(&name)?.listed()
    }

    /// The same; directories that are missing are made, for this user alone.
    pub(crate) fn made(path: &Path) -> io::Result<Self> {
        match Self::root(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }

        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };

        let above = Self::made(if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        })?;

        match mkdirat(&above.0, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => above.enter(name.as_bytes()),
            Err(error) => Err(error.into()),
        }
    }

    /// Itself, if it is this user's and nobody else may write into it.
    pub(crate) fn if_ours(self, path: &Path) -> io::Result<Self> {
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

    /// The directory that the last name of a path is in, and that name: `.` where the path ends in none.
    pub(crate) fn towards(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        Self(openat(AT_FDCWD, ".", PASSED, Mode::empty())?).towards_from(path)
    }

    /// The same for a path that begins here, if it is relative.
    pub(crate) fn towards_from(&self, path: &Path) -> io::Result<(Self, Vec<u8>)> {
        if path.as_os_str().is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }

        let (mut at, mut last) = (Self(self.0.try_clone()?), None::<&OsStr>);

        for component in path.components() {
            if let Some(name) = last.take() {
                at = at.pass(name.as_bytes())?;
            }

            match component {
                Component::RootDir => at = Self(openat(AT_FDCWD, "/", PASSED, Mode::empty())?),
                Component::ParentDir => at = at.pass(b"..")?,
                Component::Normal(name) => last = Some(name),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }

        Ok((at, last.unwrap_or(OsStr::new(".")).as_bytes().to_vec()))
    }

    /// A directory that the person named. The system follows it if it is a link; not so if that is planted.
    fn pass(&self, name: &[u8]) -> io::Result<Self> {
        let name_here = OsStr::from_bytes(name);
        match openat(
            &self.0,
            name_here,
            PASSED | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(inside) => Ok(Self(inside)),
            // A link is one or the other, by system.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                self.trust(name)?;

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

    /// Refuses what another user has put into this directory, if all may write into it: the rule of `protected_symlinks`
    /// and `protected_regular` (`proc_sys_fs(5)`), which not every system has, or has switched on. Such an entry of ours
    /// nobody else can exchange where the directory is sticky.
    pub(crate) fn trust(&self, name: &[u8]) -> io::Result<()> {
        self.trust_owner(&fstatat(
            &self.0,
            OsStr::from_bytes(name),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?)
    }

    /// The same of a file in it that is open.
    pub(crate) fn trust_file(&self, file: &File) -> io::Result<()> {
        self.trust_owner(&fstat(file)?)
    }

    fn trust_owner(&self, found: &FileStat) -> io::Result<()> {
        let here = fstat(&self.0)?;
        let all_write = Mode::from_bits_truncate(here.st_mode).contains(Mode::S_IWOTH);
        if all_write && found.st_uid != geteuid().as_raw() && found.st_uid != here.st_uid {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, PLANTED));
        }
        Ok(())
    }

    /// What a name stands for, behind it if it is a link and `follow`; `None` if there is nothing.
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

    /// The names in it, in any order, up to `most`.
    pub(crate) fn names(&self, most: usize) -> io::Result<Vec<OsString>> {
        let entries = Dir::from_fd(self.listed()?.0)?.into_iter();
        let names =
            entries.map(|entry| Ok(OsString::from_vec(entry?.file_name().to_bytes().to_vec())));
        names
            .filter(|name| !name.as_ref().is_ok_and(|name| name == "." || name == ".."))
            .take(most)
            .collect()
    }

    /// Itself, opened anew: to be listed, or made to last.
    fn listed(&self) -> io::Result<Self> {
        Ok(Self(openat(&self.0, ".", DIRECTORY, Mode::empty())?))
    }

    /// How many bytes a file here may take: what is free for this user, less a reserve. `None` where the file system does
    /// not say.
    pub(crate) fn room(&self) -> Option<u64> {
        let disk = fstatvfs(&self.0).ok()?;
        let bytes = |blocks| number(blocks).saturating_mul(number(disk.fragment_size()));
        let all = bytes(disk.blocks());
        (all > 0).then(|| bytes(disk.blocks_available()).saturating_sub(RESERVE.min(all / 100)))
    }

    /// The directory these names below.
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

    /// The directory of this name, if it is one.
    pub(crate) fn enter(&self, name: &[u8]) -> io::Result<Self> {
        match openat(
            &self.0,
            OsStr::from_bytes(name),
            DIRECTORY | OFlag::O_NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(inside) => Ok(Self(inside)),
            // A link is one or the other, by system.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                Err(io::Error::new(io::ErrorKind::NotADirectory, IN_THE_WAY))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory that its owner may write into, whatever its mode is to be; one that is there is opened up for
    /// the time being. `true` if there was none.
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
            // Somebody else's cannot be changed; then what is written into it says why not.
            let _ = there.set_permissions(Permissions::from_mode(meanwhile));
        }

        Ok(is_new)
    }

    /// What a name names, links not followed; `None` if there is nothing.
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

    /// Opens a regular file for reading, and nothing else: what was one when it was found may not be one any more.
    pub(crate) fn open(&self, name: &[u8]) -> io::Result<File> {
        // To open a device can do something.
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

        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other(NOT_REGULAR))
        }
    }

    /// Opens a file for reading, and for writing to its end; `create` makes one where there is nothing, for this user
    /// alone. It may be a device.
    pub(crate) fn open_to_append(&self, name: &[u8], create: bool) -> io::Result<File> {
        let create = if create {
            OFlag::O_CREAT
        } else {
            OFlag::empty()
        };

        let flags = OFlag::O_RDWR | OFlag::O_APPEND | create | FILE;
        Ok(File::from(openat(
            &self.0,
            OsStr::from_bytes(name),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?))
    }

    /// Makes a file where there is nothing, readable to this user alone until its mode is set.
    pub(crate) fn create(&self, name: &[u8]) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | FILE;
        Ok(File::from(openat(
            &self.0,
            OsStr::from_bytes(name),
            flags,
            Mode::S_IRUSR | Mode::S_IWUSR,
        )?))
    }

    /// Puts one name in the place of another.
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

    /// Gives a file one more name, where nothing has that.
    pub(crate) fn hard_link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(linkat(
            &self.0,
            OsStr::from_bytes(from),
            &self.0,
            OsStr::from_bytes(to),
            AtFlags::empty(),
        )?)
    }

    /// Makes what was done in it last through a power failure. Not all file systems can, and to report that would be to
    /// say that nothing was done.
    pub(crate) fn sync(&self) {
        let _ = self
            .listed()
            .and_then(|listed| File::from(listed.0).sync_all());
    }

    /// Makes a link that says this.
    pub(crate) fn link(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(symlinkat(
            OsStr::from_bytes(target),
            &self.0,
            OsStr::from_bytes(name),
        )?)
    }

    /// What a link says.
    pub(crate) fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, OsStr::from_bytes(name))?
            .as_bytes()
            .to_vec())
    }

    /// Sets when a link was made, in seconds since 1970.
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

    /// Sets this directory's own mode and time. The bits that are not permissions are not taken from others, nor those
    /// that the umask keeps back.
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

/// What of a mode that somebody else has named is given: permissions alone, and not those that the person's umask keeps
/// back.
pub(crate) fn permitted(mode: u32) -> u32 {
    static KEPT_BACK: OnceLock<Mode> = OnceLock::new();

    let kept_back = KEPT_BACK.get_or_init(|| {
        // It can only be read by setting it. What is made at this moment is for this user alone.
        let now = umask(Mode::S_IRWXG | Mode::S_IRWXO);
        umask(now);
        now
    });

    mode & 0o777 & !bits(kept_back.bits())
}

/// A number as wide as the system likes.
fn number(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

/// A mode as wide as the system likes.
fn bits(mode: impl Into<u32>) -> u32 {
    mode.into()
}
