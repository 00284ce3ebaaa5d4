//! The local side of an upload: what is in a directory of this machine. Links are named, never followed.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use crate::{
    ssh::sftp::original::attributes,
    tree::{
        entry::{Entry, What},
        limits::LIMITS,
    },
};

/// What is in a directory, and what of it cannot be said.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// What can be moved, in any order.
    pub(super) entries: Vec<Entry>,
    /// Names of the others, and why.
    pub(super) failures: Vec<(Vec<u8>, String)>,
}

/// Lists a directory.
///
/// # Errors
/// The system's own. What is wrong with a single entry is in the listing.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    // One more than a tree may have, to be refused for that.
    for entry in fs::read_dir(directory)?.take(LIMITS.entries + 1) {
        let entry = entry?;
        let name = entry.file_name();
        match (bytes(&name), entry.metadata()) {
            (Some(name), Ok(metadata)) => listing.entries.push(of(name, &metadata)),
            (Some(name), Err(error)) => listing.failures.push((name, error.to_string())),
            (None, _) => {
                let name = name.to_string_lossy().into_owned().into_bytes();
                listing.failures.push((name, "its name is not Unicode".to_owned()));
            }
        }
    }
    Ok(listing)
}

/// Opens a regular file for reading, and nothing else: what was one when it was listed may not be one any more.
///
/// # Errors
/// The system's own, and that it is something else.
pub(super) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    let options = options.read(true);
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        // A pipe would wait for its other end.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits());
    }
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file any more"));
    }
    Ok((file, metadata))
}

/// What a link says.
///
/// # Errors
/// The system's own, and a target that cannot be said in bytes.
pub(super) fn read_link(path: &Path) -> io::Result<Vec<u8>> {
    bytes(fs::read_link(path)?.as_os_str()).ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}

/// The path of a directory of the tree, or of a name in it.
pub(super) fn path(root: &Path, names: &[&[u8]]) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(names.iter().map(|name| os_name(name)));
    path
}

fn of(name: Vec<u8>, metadata: &Metadata) -> Entry {
    let what = match metadata.file_type() {
        kind if kind.is_symlink() => What::Link,
        kind if kind.is_dir() => What::Directory,
        kind if kind.is_file() => What::File(metadata.len()),
        _ => What::Special,
    };
    Entry { name, what, attributes: attributes(metadata) }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere not every name is bytes")]
fn bytes(name: &OsStr) -> Option<Vec<u8>> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec())
}

#[cfg(not(unix))]
fn bytes(name: &OsStr) -> Option<Vec<u8>> {
    Some(name.to_str()?.as_bytes().to_vec())
}

#[cfg(unix)]
fn os_name(name: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

#[cfg(not(unix))]
fn os_name(name: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(name).unwrap_or_default())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        os::unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
            net::UnixListener,
        },
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;
    use crate::tree::entry::Attributes;

    #[test]
    fn a_listing_says_what_is_there_and_follows_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        fs::create_dir(at(b"directory")).unwrap();
        fs::write(at(b"not \xff text"), "12345").unwrap();
        fs::set_permissions(at(b"not \xff text"), fs::Permissions::from_mode(0o640)).unwrap();
        File::open(at(b"not \xff text")).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(7)).unwrap();
        symlink("nowhere", at(b"dangling")).unwrap();
        symlink("directory", at(b"link")).unwrap();
        let _socket = UnixListener::bind(at(b"socket")).unwrap();
        let mut listing = list(folder.path()).unwrap();
        listing.entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let found: Vec<_> = listing.entries.iter().map(|entry| (entry.name.as_slice(), entry.what)).collect();
        assert_eq!(
            found,
            [
                (&b"dangling"[..], What::Link),
                (b"directory", What::Directory),
                (b"link", What::Link),
                (b"not \xff text", What::File(5)),
                (b"socket", What::Special),
            ]
        );
        assert_eq!(listing.entries[3].attributes, Attributes { mode: Some(0o640), modified: Some(7) });
        assert_eq!(read_link(&at(b"link")).unwrap(), b"directory");
        assert!(open(&at(b"link")).is_err() && open(&at(b"directory")).is_err() && open(&at(b"socket")).is_err());
        assert_eq!(open(&path(folder.path(), &[b"not \xff text"])).unwrap().1.len(), 5);
    }

    #[test]
    fn a_pipe_that_took_the_place_of_a_file_does_not_stop_anything() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&pipe).unwrap_err().to_string().contains("not a regular file"));
    }
}
