//! The local side of a tree: directories reached from an open root, and their entries. Links are
//! listed, but never followed.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    local::Folder,
    lock::lock,
    policy::GuardReason,
    ssh::transfer::paths,
    tree::{
        entry::{Directory, DirectoryEntry, EntryAttributes},
        limits::LIMITS,
    },
};

/// Open root of a tree, with a cache of the most recently used directory. Most files are in the
/// same directory as the file before.
#[derive(Debug)]
pub(super) struct Root {
    root: Arc<Folder>,
    last: Mutex<Option<(Arc<Directory>, Arc<Folder>)>>,
}

impl Root {
    pub(super) fn new(root: Arc<Folder>) -> Self {
        Self {
            root,
            last: Mutex::default(),
        }
    }

    /// Returns the mode and modification time of the root.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(super) fn attributes(&self) -> io::Result<EntryAttributes> {
        Ok(self
            .root
            .find(b".")?
            .map(|(_, attributes)| attributes)
            .unwrap_or_default())
    }

    /// Opens the directory at a path below the root, name by name.
    ///
    /// # Errors
    /// A directory cannot be opened, or another kind of file has its name.
    pub(super) fn below(&self, names: &[&[u8]]) -> io::Result<Folder> {
        self.root.below(names)
    }

    /// Opens a directory of the tree, or returns the cached directory.
    ///
    /// # Errors
    /// The same as for [`below`](Self::below).
    pub(super) fn folder_of(&self, directory: &Arc<Directory>) -> io::Result<Arc<Folder>> {
        // Only blocking threads lock this mutex, for the time it takes to open a directory.
        let mut last = lock(&self.last);
        if let Some((held, folder)) = &*last
            && Arc::ptr_eq(held, directory)
        {
            return Ok(Arc::clone(folder));
        }

        let folder = Arc::new(self.root.below(&directory.names())?);
        *last = Some((Arc::clone(directory), Arc::clone(&folder)));

        Ok(folder)
    }
}

/// Content of a directory, and the entries which cannot be moved.
#[derive(Debug, Default)]
pub(super) struct LocalListing {
    /// Entries to be moved, in any order.
    pub(super) entries: Vec<DirectoryEntry>,
    /// Names of the unreadable entries, with the reasons.
    pub(super) failures: Vec<(Vec<u8>, String)>,
    /// Guarded entries which are left out: the name, true for a directory, and the reason.
    pub(super) left_out: Vec<(Vec<u8>, bool, GuardReason)>,
}

/// Lists a directory.
///
/// # Errors
/// The directory cannot be read. Errors of single entries are part of the listing.
pub(super) fn list(directory: &Folder) -> io::Result<LocalListing> {
    let mut listing = LocalListing::default();

    // One entry above the limit, so that the plan notices and refuses the tree.
    for name in directory.names(LIMITS.entries + 1)? {
        let Some(name) = bytes(&name) else {
            let name = name.to_string_lossy().into_owned().into_bytes();
            listing
                .failures
                .push((name, "its name is not Unicode".to_owned()));

            continue;
        };

        // An entry may disappear between the listing and this look; the rest of the directory is
        // still moved.
        match directory.find(&name) {
            Ok(Some((what, attributes))) => listing.entries.push(DirectoryEntry {
                name,
                what,
                attributes,
            }),
            Ok(None) => listing
                .failures
                .push((name, io::Error::from(io::ErrorKind::NotFound).to_string())),
            Err(error) => listing.failures.push((name, error.to_string())),
        }
    }

    Ok(listing)
}

/// Returns the local path of a directory or file of the tree, for display.
pub(super) fn path(root: &Path, names: &[&[u8]]) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(names.iter().map(|name| paths::os_name(name)));
    path
}

/// Returns the bytes of a local name.
#[cfg(unix)]
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere not every name is bytes"
)]
fn bytes(name: &OsStr) -> Option<Vec<u8>> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec())
}

/// Returns the bytes of a local name. `None` if the name is not Unicode.
#[cfg(not(unix))]
fn bytes(name: &OsStr) -> Option<Vec<u8>> {
    Some(name.to_str()?.as_bytes().to_vec())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
            net::UnixListener,
        },
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;
    use crate::tree::entry::EntryKind;

    #[test]
    fn a_listing_says_what_is_there_and_follows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        fs::create_dir(at(b"directory")).unwrap();
        fs::write(at(b"not \xff text"), "12345").unwrap();
        fs::set_permissions(at(b"not \xff text"), fs::Permissions::from_mode(0o640)).unwrap();
        File::open(at(b"not \xff text"))
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(7))
            .unwrap();

        symlink("nowhere", at(b"dangling")).unwrap();
        symlink("directory", at(b"link")).unwrap();
        let _socket = UnixListener::bind(at(b"socket")).unwrap();
        let root = Folder::root(folder.path()).unwrap();
        let mut listing = list(&root).unwrap();
        listing
            .entries
            .sort_unstable_by(|one, other| one.name.cmp(&other.name));

        let found: Vec<_> = listing
            .entries
            .iter()
            .map(|entry| (entry.name.as_slice(), entry.what))
            .collect();

        assert_eq!(
            found,
            [
                (&b"dangling"[..], EntryKind::Link),
                (b"directory", EntryKind::Directory),
                (b"link", EntryKind::Link),
                (b"not \xff text", EntryKind::File(5)),
                (b"socket", EntryKind::Special),
            ]
        );

        assert_eq!(
            listing.entries[3].attributes,
            EntryAttributes {
                mode: Some(0o640),
                modified: Some(7)
            }
        );

        assert_eq!(root.read_link(b"link").unwrap(), b"directory");
        assert!(
            ["link", "directory", "socket"]
                .iter()
                .all(|name| root.open(name.as_bytes()).is_err())
        );

        assert_eq!(
            root.open(b"not \xff text")
                .unwrap()
                .metadata()
                .unwrap()
                .len(),
            5
        );
    }
}
