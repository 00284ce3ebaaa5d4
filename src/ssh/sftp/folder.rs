//! A directory of this machine that is written into, when what is written has been named by somebody else.
//!
//! Below the root that the person named no link is ever followed, whether it was there before, is planted meanwhile, or
//! came with the tree. On Unix each step from the root on is relative to an open directory (`openat(2)`); elsewhere each
//! component is looked at before it is used.

#[cfg(unix)]
mod by_descriptor;
#[cfg(any(not(unix), test))]
mod by_path;

#[cfg(unix)]
pub(super) use self::by_descriptor::Folder;
#[cfg(not(unix))]
pub(super) use self::by_path::Folder;

/// What is said where a directory is needed and something else has its name.
const IN_THE_WAY: &str = "there is a link or a file where a directory has to be";

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::Path,
        time::{Duration, UNIX_EPOCH},
    };

    use crate::tree::entry::{Attributes, What};

    /// The same for both ways to do it.
    macro_rules! both {
        ($($name:ident),*) => {
            mod with_descriptors { $(#[test] fn $name() { super::$name!(crate::ssh::sftp::folder::by_descriptor::Folder); })* }
            mod with_paths { $(#[test] fn $name() { super::$name!(crate::ssh::sftp::folder::by_path::Folder); })* }
        };
    }

    macro_rules! what_is_made_is_where_it_was_named {
        ($folder:ty) => {{
            use super::*;
            let outside = tempfile::tempdir().unwrap();
            let root = <$folder>::root(outside.path()).unwrap();
            assert!(root.make(b"a", 0o755).unwrap() && !root.make(b"a", 0o755).unwrap());
            let inside = root.below(&[b"a"]).unwrap();
            inside.create(b"new").unwrap().write_all(b"content").unwrap();
            assert!(inside.create(b"new").is_err(), "never over another");
            inside.rename(b"new", b"old").unwrap();
            assert_eq!(fs::read(outside.path().join("a/old")).unwrap(), b"content");
            let (what, attributes) = inside.find(b"old").unwrap().unwrap();
            assert_eq!((what, attributes.modified.is_some()), (What::File(7), true));
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
            for names in [&[&b"link"[..]][..], &[b"real", b"link"], &[b"file"], &[b"link", b"x"]] {
                assert!(root.below(names).is_err(), "{names:?}");
            }
            for name in [&b"link"[..], b"file"] {
                assert!(root.make(name, 0o755).is_err(), "{name:?}");
            }
            assert!(root.create(b"link").is_err());
            assert_eq!(root.find(b"link").unwrap().unwrap().0, What::Link);
            root.create(b"new").unwrap();
            root.rename(b"new", b"link").unwrap();
            assert_eq!(root.find(b"link").unwrap().unwrap().0, What::File(0), "a link is replaced, not followed");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        }};
    }

    both!(what_is_made_is_where_it_was_named, no_link_is_followed);
    use {no_link_is_followed, what_is_made_is_where_it_was_named};

    #[test]
    fn a_directory_that_may_not_be_written_is_opened_up_until_its_mode_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
        let root = super::Folder::root(folder.path()).unwrap();
        assert!(!root.make(b"closed", 0o700).unwrap());
        let inside = root.below(&[b"closed"]).unwrap();
        inside.create(b"file").unwrap();
        inside.set(Attributes { mode: Some(0o4555), modified: Some(1_000_000_000) }).unwrap();
        let metadata = fs::metadata(&closed).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o555, "and no bits that are not for others to give");
        assert_eq!(metadata.modified().unwrap(), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_link_keeps_its_target_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let root = super::Folder::root(folder.path()).unwrap();
        root.link(b"../any\xff/where", b"link").unwrap();
        root.set_link_time(b"link", 1_000_000_000).unwrap();
        assert_eq!(root.read_link(b"link").unwrap(), b"../any\xff/where");
        let time = fs::symlink_metadata(folder.path().join(Path::new("link"))).unwrap().modified().unwrap();
        assert_eq!(time, UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }
}
