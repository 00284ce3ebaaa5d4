//! Resolution of user-given paths. A path is resolved once, and all later operations work on the
//! result.

#[cfg(unix)]
use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Folder;
use crate::tree::entry::{EntryAttributes, EntryKind};

/// Maximum number of links to follow, as many as Linux follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A name in an open directory.
///
/// Created by resolving a path, following links. The name was no link when resolved, and is never
/// followed as a link afterwards. Nothing need exist under the name.
#[derive(Debug, Clone)]
pub(crate) struct LocalName {
    /// Directory which contains the name.
    pub(crate) folder: Arc<Folder>,
    /// Name in the directory.
    pub(crate) name: Vec<u8>,
    /// Path for messages to users.
    pub(crate) path: PathBuf,
}

impl LocalName {
    /// Resolves a path to the directory and name of the target, which need not exist.
    ///
    /// # Errors
    /// The directory does not exist, or there are too many links. A link is refused if another user
    /// put it into a directory that all may write to (`/tmp`). That is the rule of
    /// `protected_symlinks` in `proc_sys_fs(5)`, applied even where switched off.
    pub(crate) fn resolve(path: &Path) -> io::Result<Self> {
        let (folder, name) = Folder::towards(path)?;
        Self {
            folder: Arc::new(folder),
            name,
            path: path.to_owned(),
        }
        .behind_links()
    }

    /// Resolves a name in a directory given by the user.
    ///
    /// # Errors
    /// The same as for [`resolve`](Self::resolve).
    pub(crate) fn inside(folder: Folder, name: &[u8], path: PathBuf) -> io::Result<Self> {
        Self {
            folder: Arc::new(folder),
            name: name.to_owned(),
            path,
        }
        .behind_links()
    }

    /// Returns the kind and attributes of the entry, or `None` if nothing exists.
    ///
    /// # Errors
    /// Any error of the system.
    pub(crate) fn find(&self) -> io::Result<Option<(EntryKind, EntryAttributes)>> {
        self.folder.find(&self.name)
    }

    /// Opens a regular file for reading, like [`Folder::open`].
    ///
    /// # Errors
    /// The entry is not a regular file, or the system reports an error.
    pub(crate) fn open(&self) -> io::Result<File> {
        self.folder.open(&self.name)
    }

    /// Returns a name in the same directory, made by adding text before and after.
    pub(crate) fn sibling(&self, before: &str, after: &str) -> Self {
        let name = [before.as_bytes(), &self.name, after.as_bytes()].concat();
        let mut shown = std::ffi::OsString::from(before);
        shown.push(self.path.file_name().unwrap_or_default());
        shown.push(after);

        Self {
            folder: Arc::clone(&self.folder),
            name,
            path: self.path.with_file_name(shown),
        }
    }

    /// Follows links until the name is not a link, checking each link on the way.
    #[cfg(unix)]
    fn behind_links(mut self) -> io::Result<Self> {
        let mut meant = None;
        for _ in 0..=MAX_LINKS {
            let is_link = self
                .find()?
                .is_some_and(|(what, _)| what == EntryKind::Link);

            if !is_link {
                // The system has followed the link as well, and must have reached the same file.
                // Links of `/proc` lead elsewhere than their text says.
                return match meant {
                    Some(meant) if self.folder.identity(&self.name, false)? != meant => Err(
                        io::Error::other("it is a link that leads elsewhere than it says"),
                    ),
                    _ => Ok(self),
                };
            }

            // In a shared directory, a link of another user could lead to any file of this user.
            self.folder.trust(&self.name)?;
            // Only the first link: the system follows all further links from there itself.
            if meant.is_none() {
                meant = Some(self.folder.identity(&self.name, true)?);
            }

            let target = self.folder.read_link(&self.name)?;
            let target = Path::new(OsStr::from_bytes(&target));
            // A relative target begins at the directory of the link.
            let (folder, name) = self.folder.towards_from(target)?;
            let path = self.path.parent().unwrap_or(Path::new("")).join(target);
            self = Self {
                folder: Arc::new(folder),
                name,
                path,
            };
        }

        Err(io::Error::other("there are too many links"))
    }

    /// Follows links by path. `canonicalize` would return paths which few programs read
    /// (`\\?\C:\…`).
    #[cfg(not(unix))]
    fn behind_links(self) -> io::Result<Self> {
        let mut path = self.path;
        for _ in 0..MAX_LINKS {
            let Ok(target) = path.read_link() else { break };
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }

        let (folder, name) = Folder::towards(&path)?;

        Ok(Self {
            folder: Arc::new(folder),
            name,
            path,
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::local::folder::others::{give_away, plant, sticky};

    #[test]
    fn a_link_of_this_user_leads_where_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "content").unwrap();

        for (link, target) in [
            ("one", "a/file"),
            ("two", "one"),
            ("a/b/up", "../../two"),
            ("new", "a/new"),
            ("there", "a/b/.."),
        ] {
            symlink(target, at(link)).unwrap();
        }

        for (path, meant) in [
            ("one", "a/file"),
            ("two", "a/file"),
            ("a/b/up", "a/file"),
            ("there/b/up", "a/file"),
            ("a/./b/../file", "a/file"),
            ("new", "a/new"),
            ("none", "none"),
            ("there", "a"),
            ("a/b/..", "a"),
        ] {
            let name = LocalName::resolve(&at(path)).unwrap();
            let found = name.folder.identity(&name.name, false).unwrap();
            let meant = LocalName::resolve(&at(meant)).unwrap();
            assert_eq!(
                found,
                meant.folder.identity(&meant.name, false).unwrap(),
                "{path}"
            );

            assert_eq!(name.find().unwrap().is_some(), at(path).exists(), "{path}");
        }

        assert!(
            LocalName::resolve(&at("none/x")).is_err()
                && LocalName::resolve(&at("a/file/x")).is_err()
        );

        symlink("round", at("round")).unwrap();
        assert!(LocalName::resolve(&at("round")).is_err());
    }

    #[test]
    fn a_link_of_another_user_is_refused_only_where_all_may_write() {
        let (shared, own) = (sticky(), tempfile::tempdir().unwrap());
        fs::write(own.path().join("file"), "mine").unwrap();
        let (file, nothing, folder) = (
            shared.path().join("file"),
            shared.path().join("nothing"),
            shared.path().join("folder"),
        );

        let is_other = plant(&own.path().join("file"), &file)
            && plant(&own.path().join("none"), &nothing)
            && plant(own.path(), &folder);

        if !is_other {
            return;
        }

        for path in [&file, &nothing, &folder, &folder.join("file")] {
            let refused = LocalName::resolve(path).unwrap_err();
            assert!(
                refused.to_string().contains("another user"),
                "{}: {refused}",
                path.display()
            );
        }

        assert!(Folder::root(&folder).is_err() && Folder::made(&folder.join("new")).is_err());

        // The owner of a directory could do anything in it.
        assert!(give_away(shared.path()));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        LocalName::resolve(&file).unwrap().open().unwrap();
        Folder::root(&folder).unwrap();
    }

    #[test]
    fn what_is_exchanged_after_it_was_found_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("here")).unwrap();
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("here/file"), "here").unwrap();
        fs::write(at("elsewhere/file"), "elsewhere").unwrap();
        let name = LocalName::resolve(&at("here/file")).unwrap();
        fs::rename(at("here"), at("moved")).unwrap();
        symlink("elsewhere", at("here")).unwrap();
        name.folder.create(b"new").unwrap();
        name.folder.rename(b"new", &name.name).unwrap();
        assert_eq!(
            fs::read_to_string(at("elsewhere/file")).unwrap(),
            "elsewhere"
        );

        assert_eq!(fs::read_to_string(at("moved/file")).unwrap(), "");
        fs::remove_file(at("moved/file")).unwrap();
        symlink("../elsewhere/file", at("moved/file")).unwrap();
        assert!(
            name.open().is_err(),
            "a link that took the place of a file is not followed"
        );
    }
}
