//! The identities of local files, and the location of an open directory.

use std::{
    fs::Metadata,
    io,
    path::{Component, Path, PathBuf},
};

#[cfg(unix)]
use crate::ssh::transfer::paths;
use crate::{local::Folder, policy::FileId};

/// Facts of an existing local file, as seen before a transfer touches the file.
#[derive(Debug, Clone)]
pub(in crate::ssh::transfer) struct FileFactsBefore {
    /// Identity of the file. `None` where the system offers none.
    pub(in crate::ssh::transfer) id: Option<FileId>,
    /// True if the file has further names (hard links).
    pub(in crate::ssh::transfer) has_other_names: bool,
}

impl FileFactsBefore {
    /// Returns the facts from the metadata of an open file.
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
    /// Returns the facts of a name in an open directory, without following a link. `None` if there
    /// is no such name.
    ///
    /// # Errors
    /// The file cannot be looked at.
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

        // Relative to the open directory, which cannot be exchanged meanwhile.
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

    /// Returns `None`: here a file is recognised only by its path.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    pub(in crate::ssh::transfer) fn at(_: &Folder, _: &[u8]) -> io::Result<Option<Self>> {
        Ok(None)
    }
}

/// Returns the identity in the result of a stat call. The types of the fields differ by system.
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

/// Returns the identity of the file to which a path leads. `None` if there is no such file.
pub(super) fn id_of(path: &Path) -> Option<FileId> {
    #[cfg(unix)]
    return FileFactsBefore::from_metadata(&std::fs::metadata(path).ok()?).id;
    #[cfg(not(unix))]
    path.canonicalize().ok().map(folded)
}

/// Returns the identity of a path, which ignores case.
#[cfg(not(unix))]
fn folded(path: PathBuf) -> FileId {
    FileId::Path(
        path.to_str()
            .map(|text| text.to_lowercase().into())
            .unwrap_or(path),
    )
}

/// Names and identities of the directories on the way to a directory, from the root on.
type DirectoryChain = Vec<(Vec<u8>, FileId)>;

/// Returns the path of an open directory without links, and the chain of directories down to it.
/// `user_path` is the path by which it was opened. `ids` are the identities of the directory and its
/// parents, from the directory upwards.
///
/// # Errors
/// The directory was moved or exchanged meanwhile.
pub(super) fn way_to(user_path: &Path, ids: Vec<FileId>) -> io::Result<(PathBuf, DirectoryChain)> {
    let path = user_path.canonicalize()?;
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_encoded_bytes().to_vec()),
        Component::RootDir => Some(Vec::new()),
        _ => None,
    });

    let names: Vec<_> = names.collect();
    // The names come from the path and the identities from the open directory. They describe the
    // same chain only if both ends agree.
    if names.len() != ids.len() || ids.first() != id_of(&path).as_ref() {
        return Err(io::Error::other("it was moved while it was looked at"));
    }

    Ok((path, names.into_iter().zip(ids.into_iter().rev()).collect()))
}

/// Returns the identities of an open directory and its parents, from the directory upwards.
///
/// # Errors
/// A directory cannot be looked at.
#[cfg(unix)]
pub(super) fn ids_above(directory: impl std::os::fd::AsFd) -> io::Result<Vec<FileId>> {
    use nix::{fcntl::AtFlags, sys::stat::fstatat};

    /// Upper limit of nested directories, more than a path can have (`PATH_MAX` of limits.h).
    const DEEPEST: usize = 2048;

    let root = id_of(Path::new("/"));
    let (mut ids, mut at) = (Vec::new(), ".".to_owned());

    // Through `..` rather than by path, since another process may rename a parent meanwhile.
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

/// Returns the identities of the directory at a path and its parents, from the directory upwards.
///
/// # Errors
/// The path cannot be resolved.
#[cfg(not(unix))]
pub(super) fn ids_above_path(path: &Path) -> io::Result<Vec<FileId>> {
    let path = path.canonicalize()?;
    let names = path
        .ancestors()
        .filter(|above| above.file_name().is_some() || above.has_root());
    Ok(names.map(|above| folded(above.to_owned())).collect())
}
