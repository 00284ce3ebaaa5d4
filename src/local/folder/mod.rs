//! Directories of this machine and operations on the names in them.
//!
//! Below a directory given by the user, no link is ever followed, whoever placed the link. On Unix,
//! each step is relative to an open directory (`openat(2)`). On other systems, each component is
//! checked before use.

#[cfg(unix)]
mod by_descriptor;
#[cfg(any(not(unix), test))]
mod by_path;

use std::fs::Metadata;

#[cfg(unix)]
pub(crate) use self::by_descriptor::{Folder, only_ours, permitted};
#[cfg(not(unix))]
pub(crate) use self::by_path::{Folder, only_ours};

/// Error message for something else in place of a directory.
const IN_THE_WAY: &str = "there is a link or a file where a directory has to be";
/// Error message for a device, socket, pipe or link in place of a file.
const NOT_REGULAR: &str = "it is not a regular file";
/// Error message for an entry of another user in a directory open to all.
#[cfg(unix)]
const PLANTED: &str = "another user has put it into a directory into which all may write";
/// Error message for a directory of another user, to be put after the path.
#[cfg(unix)]
const BELONGS_TO_ANOTHER: &str = "belongs to another user";
/// Error message for a directory open to others, with the path before and after.
#[cfg(unix)]
const OPEN_TO_OTHERS: &str = "may be written into by other users; run: chmod go-w";

/// Number of bytes to leave free on a disk, or a hundredth of the disk if less. On a full disk
/// other programs fail.
#[cfg(unix)]
const RESERVE: u64 = 64 * 1024 * 1024;

/// Returns the permission bits from metadata.
#[cfg(unix)]
pub(crate) fn mode_of(metadata: &Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// Returns permission bits from metadata. Windows knows only "read-only", which means nothing for a
/// directory.
#[cfg(not(unix))]
pub(crate) fn mode_of(metadata: &Metadata) -> u32 {
    match (metadata.is_dir(), metadata.permissions().readonly()) {
        (true, _) => 0o755,
        (false, true) => 0o444,
        (false, false) => 0o644,
    }
}

/// Actions of other users, for tests.
#[cfg(test)]
#[cfg(unix)]
pub(crate) mod others {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, lchown, symlink},
        path::Path,
    };

    /// User id of another user, on most systems `nobody`.
    const OTHER: u32 = 65534;

    /// Creates a directory like `/tmp`: all may write, and only owners may remove.
    pub(crate) fn sticky() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        folder
    }

    /// Gives an entry to another user. Returns false unless run by root; such a test then only
    /// shows that nothing breaks.
    pub(crate) fn give_away(path: &Path) -> bool {
        lchown(path, Some(OTHER), Some(OTHER)).is_ok()
    }

    /// Creates a link owned by another user.
    pub(crate) fn plant(target: &Path, link: &Path) -> bool {
        symlink(target, link).unwrap();
        give_away(link)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
        time::{Duration, UNIX_EPOCH},
    };

    use crate::tree::entry::{EntryAttributes, EntryKind};

    /// Runs each test with both implementations of a folder.
    macro_rules! both {
        ($($name:ident),*) => {
            mod with_descriptors { $(#[test] fn $name() { super::$name!(crate::local::folder::by_descriptor::Folder); })* }
            mod with_paths { $(#[test] fn $name() { super::$name!(crate::local::folder::by_path::Folder); })* }
        };
    }

    macro_rules! what_is_made_is_where_it_was_named {
        ($folder:ty) => {{
            use super::*;
            let outside = tempfile::tempdir().unwrap();
            let root = <$folder>::root(outside.path()).unwrap();
            assert!(root.make(b"a", 0o755).unwrap() && !root.make(b"a", 0o755).unwrap());
            let inside = root.below(&[b"a"]).unwrap();
            inside
                .create(b"new")
                .unwrap()
                .write_all(b"content")
                .unwrap();
            assert!(inside.create(b"new").is_err(), "never over another");
            inside.rename(b"new", b"old").unwrap();
            assert_eq!(fs::read(outside.path().join("a/old")).unwrap(), b"content");
            let (what, attributes) = inside.find(b"old").unwrap().unwrap();
            assert_eq!(
                (what, attributes.modified.is_some()),
                (EntryKind::File(7), true)
            );
            assert_eq!(inside.find(b"none").unwrap(), None);
            inside.remove(b"old").unwrap();
            assert_eq!(inside.find(b"old").unwrap(), None);
        }};
    }

    macro_rules! no_link_is_followed {
        ($folder:ty) => {{
            use super::*;
            let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            symlink(outside.path(), inside.path().join("link")).unwrap();
            fs::create_dir(inside.path().join("real")).unwrap();
            symlink(outside.path(), inside.path().join("real/link")).unwrap();
            fs::write(inside.path().join("file"), "").unwrap();
            let root = <$folder>::root(inside.path()).unwrap();
            for names in [
                &[&b"link"[..]][..],
                &[b"real", b"link"],
                &[b"file"],
                &[b"link", b"x"],
            ] {
                assert!(root.below(names).is_err(), "{names:?}");
            }
            for name in [&b"link"[..], b"file"] {
                assert!(root.make(name, 0o755).is_err(), "{name:?}");
            }
            assert!(root.create(b"link").is_err());
            assert_eq!(root.find(b"link").unwrap().unwrap().0, EntryKind::Link);
            root.create(b"new").unwrap();
            root.rename(b"new", b"link").unwrap();
            assert_eq!(
                root.find(b"link").unwrap().unwrap().0,
                EntryKind::File(0),
                "a link is replaced, not followed"
            );
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        }};
    }

    both!(what_is_made_is_where_it_was_named, no_link_is_followed);
    use {no_link_is_followed, what_is_made_is_where_it_was_named};

    #[test]
    fn a_read_only_directory_is_writable_until_its_mode_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
        let root = super::Folder::root(folder.path()).unwrap();
        assert!(!root.make(b"closed", 0o700).unwrap());
        let inside = root.below(&[b"closed"]).unwrap();
        inside.create(b"file").unwrap();

        inside
            .set(EntryAttributes {
                mode: Some(0o4555),
                modified: Some(1_000_000_000),
            })
            .unwrap();

        let metadata = fs::metadata(&closed).unwrap();
        assert_eq!(
            metadata.permissions().mode() & 0o7777,
            0o555,
            "and no bits that are not for others to give"
        );

        assert_eq!(
            metadata.modified().unwrap(),
            UNIX_EPOCH + Duration::from_secs(1_000_000_000)
        );

        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_link_keeps_its_target_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let root = super::Folder::root(folder.path()).unwrap();
        root.link(b"../any\xff/where", b"link").unwrap();
        root.set_link_time(b"link", 1_000_000_000).unwrap();
        assert_eq!(root.read_link(b"link").unwrap(), b"../any\xff/where");
        let time = fs::symlink_metadata(folder.path().join(Path::new("link")))
            .unwrap()
            .modified()
            .unwrap();

        assert_eq!(time, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn a_replacement_of_a_file_is_neither_opened_nor_awaited() {
        let folder = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let root = super::Folder::root(folder.path()).unwrap();

        for name in [&b"pipe"[..], b"link"] {
            assert!(
                root.open(name)
                    .unwrap_err()
                    .to_string()
                    .contains("not a regular file"),
                "{name:?}"
            );
        }

        // Both ends of a pipe, so that neither has to be waited for; and no link.
        assert!(
            !root
                .open_to_append(b"pipe", true)
                .unwrap()
                .metadata()
                .unwrap()
                .is_file()
        );

        assert!(root.open_to_append(b"link", true).is_err());
    }

    #[test]
    fn a_folder_that_is_not_for_this_user_alone_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("new/deeper");
        let made = || super::Folder::made(&at).unwrap().if_ours(&at);
        made().unwrap();

        for mode in [0o720, 0o702, 0o1777] {
            fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                made().unwrap_err().to_string().contains("chmod go-w"),
                "{mode:o}"
            );
        }

        fs::set_permissions(&at, fs::Permissions::from_mode(0o700)).unwrap();

        if super::others::give_away(&at) {
            assert!(
                made()
                    .unwrap_err()
                    .to_string()
                    .contains("belongs to another user")
            );
        }

        assert_eq!(
            fs::metadata(folder.path().join("new"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
    }

    #[test]
    fn there_is_room_for_less_than_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let disk = nix::sys::statvfs::statvfs(folder.path()).unwrap();
        let all = disk.blocks() as u64 * disk.fragment_size() as u64;

        assert!(
            super::Folder::root(folder.path())
                .unwrap()
                .room()
                .is_some_and(|room| room < all)
        );
    }
}
