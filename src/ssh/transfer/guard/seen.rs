//! What files of this machine are, and where an open directory is.

use std::{
    fs::Metadata,
    io,
    path::{Component, Path, PathBuf},
};

#[cfg(unix)]
use crate::ssh::transfer::paths;
use crate::{local::Folder, policy::FileId};

/// What was seen of a file that is there.
#[derive(Debug, Clone)]
pub(in crate::ssh::transfer) struct FileFactsBefore {
    /// What it is, where the system says so.
    pub(in crate::ssh::transfer) id: Option<FileId>,
    /// It has other names, too.
    pub(in crate::ssh::transfer) has_other_names: bool,
}

impl FileFactsBefore {
    /// Of an open file.
    pub(in crate::ssh::transfer) fn from_metadata(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;

            let id = FileId::Inode {
                device: metadata.dev(),
                inode: metadata.ino(),
            };

            Self {
                id: Some(id),
                has_other_names: metadata.is_file() && metadata.nlink() > 1,
            }
        }

        #[cfg(not(unix))]
        {
            let _ = metadata;
            Self {
                id: None,
                has_other_names: false,
            }
        }
    }
}

impl FileFactsBefore {
    /// Of what a name in an open directory names, if there is something; a link is not followed.
    ///
    /// # Errors
    /// The system's own.
    #[cfg(unix)]
    pub(in crate::ssh::transfer) fn at(
        directory: &Folder,
        name: &[u8],
    ) -> io::Result<Option<Self>> {
        use nix::{
            errno::Errno,
            fcntl::AtFlags,
            sys::stat::{SFlag, fstatat},
        };

        match fstatat(
            directory,
            paths::os_name(name),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        ) {
            Ok(found) => {
                let is_file =
                    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
                Ok(Some(Self {
                    has_other_names: is_file && found.st_nlink > 1,
                    id: Some(inode(&found)),
                }))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Here it is known by its path alone.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(in crate::ssh::transfer) fn at(_: &Folder, _: &[u8]) -> io::Result<Option<Self>> {
        Ok(None)
    }
}

/// The fields differ in their types by system.
#[cfg(unix)]
fn inode(found: &nix::sys::stat::FileStat) -> FileId {
    FileId::Inode {
        device: number(found.st_dev),
        inode: number(found.st_ino),
    }
}

#[cfg(unix)]
fn number(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or(u64::MAX)
}

/// What a path leads to, if there is something.
pub(super) fn id_of(path: &Path) -> Option<FileId> {
    #[cfg(unix)]
    return FileFactsBefore::from_metadata(&std::fs::metadata(path).ok()?).id;
    #[cfg(not(unix))]
    path.canonicalize().ok().map(folded)
}

/// A path without regard to case.
#[cfg(not(unix))]
fn folded(path: PathBuf) -> FileId {
    FileId::Path(
        path.to_str()
            .map(|text| text.to_lowercase().into())
            .unwrap_or(path),
    )
}

/// The name of each directory on the way to one, from the root of the file system on, and what it is.
type DirectoryChain = Vec<(Vec<u8>, FileId)>;

/// Its path without links, and each directory on the way there from the root of the file system on. `typed` is the path
/// by which it was opened, `ids` what it and those above it are, itself first.
///
/// # Errors
/// It was moved or exchanged meanwhile.
pub(super) fn way_to(typed: &Path, ids: Vec<FileId>) -> io::Result<(PathBuf, DirectoryChain)> {
    let path = typed.canonicalize()?;
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_encoded_bytes().to_vec()),
        Component::RootDir => Some(Vec::new()),
        _ => None,
    });

    let names: Vec<_> = names.collect();
    if names.len() != ids.len() || ids.first() != id_of(&path).as_ref() {
        return Err(io::Error::other("it was moved while it was looked at"));
    }

    Ok((path, names.into_iter().zip(ids.into_iter().rev()).collect()))
}

/// What an open directory and those above it are, itself first.
///
/// # Errors
/// The system's own.
#[cfg(unix)]
pub(super) fn ids_above(directory: impl std::os::fd::AsFd) -> io::Result<Vec<FileId>> {
    use nix::{fcntl::AtFlags, sys::stat::fstatat};

    /// More than a path can have (`PATH_MAX` of limits.h).
    const DEEPEST: usize = 2048;

    let root = id_of(Path::new("/"));
    let (mut ids, mut at) = (Vec::new(), ".".to_owned());

    while ids.len() < DEEPEST {
        let found = inode(&fstatat(&directory, at.as_str(), AtFlags::empty())?);
        let is_root = Some(&found) == root.as_ref();
        ids.push(found);
        if is_root {
            return Ok(ids);
        }

        at.push_str("/..");
    }

    Err(io::Error::other("it is too deep to say where it is"))
}

/// The same of a path.
///
/// # Errors
/// The system's own.
#[cfg(not(unix))]
pub(super) fn ids_above_path(path: &Path) -> io::Result<Vec<FileId>> {
    let path = path.canonicalize()?;
    let names = path
        .ancestors()
        .filter(|above| above.file_name().is_some() || above.has_root());
    Ok(names.map(|above| folded(above.to_owned())).collect())
}
