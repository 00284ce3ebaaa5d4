//! Reads and replaces configurations.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::error::SetupError;
use crate::{
    local::{Folder, LocalName},
    random,
};

/// Limit of the size of a configuration, in bytes (64 MiB). Claude Code keeps some of its history
/// in the same file.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// Returns the text of a file, or `None` if there is none. Links are followed, except those that
/// another user may have planted.
///
/// # Errors
/// The file cannot be read, is too long, or is not UTF-8.
pub(super) fn read(path: &Path) -> Result<Option<String>, SetupError> {
    let opened = LocalName::resolve(path).and_then(|name| name.open());
    let mut bytes = Vec::new();
    match opened.and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes)) {
        Ok(read) if read as u64 > MAX_SIZE => {
            let error = io::Error::other(format!("it is longer than {} MiB", MAX_SIZE >> 20));
            return Err(SetupError::file("read", path)(error));
        }
        Ok(_) => {}
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(SetupError::file("read", path)(error)),
    }

    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| SetupError::NotText(path.to_owned()))
}

/// Replaces a file that has the content `before`, and returns the folders that had to be made, the
/// outermost first.
///
/// The new content is complete and on disk before it gets the name. Permissions and group stay. A
/// new file is for this user only.
///
/// # Errors
/// The content is another one by now, the file is another user's or read-only, or it cannot be
/// written.
pub(super) fn replace(
    path: &Path,
    before: Option<&str>,
    after: &str,
) -> Result<Vec<PathBuf>, SetupError> {
    let failed = |error| SetupError::file("write", path)(error);
    let folders = missing_folders(path);
    if let Some(folder) = folders.last() {
        Folder::made(folder).map_err(failed)?;
    }

    let old = changeable(path)?;
    if read(path)?.as_deref() != before {
        return Err(SetupError::ChangedMeanwhile(path.to_owned()));
    }

    let name = LocalName::resolve(path).map_err(failed)?;
    put(&name, after.as_bytes(), old.as_ref()).map_err(failed)?;
    Ok(folders)
}

/// Returns the attributes of a file that this program may change, or `None` if there is no file.
///
/// # Errors
/// The file is another user's, is read-only, or cannot be examined.
pub(super) fn changeable(path: &Path) -> Result<Option<fs::Metadata>, SetupError> {
    let found = LocalName::resolve(path)
        .and_then(|name| name.open())
        .and_then(|file| file.metadata());

    match found {
        Ok(found) if !is_ours(&found) => Err(SetupError::NotOurs(path.to_owned())),
        // A replacement would succeed, because only the folder has to be writable for it.
        Ok(found) if found.permissions().readonly() => Err(SetupError::ReadOnly(path.to_owned())),
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(SetupError::file("read", path)(error)),
    }
}

/// Writes a file next to its place and puts it there, with the permissions and the group of `old`.
///
/// # Errors
/// The file cannot be written. Nothing of it is left then.
pub(super) fn put(name: &LocalName, content: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    let folder = &name.folder;
    let temporary = name.sibling(".", &format!(".{}.tmp", random::hex::<3>()?));
    let written = folder
        .create(&temporary.name)
        .and_then(|file| fill(file, content, old))
        .and_then(|()| folder.rename(&temporary.name, &name.name));
    if let Err(error) = written {
        let _ = folder.remove(&temporary.name);
        return Err(error);
    }

    // Without this, a power failure could undo the rename.
    folder.sync();
    Ok(())
}

/// Removes a file that has the content `before`. A link to it stays.
///
/// # Errors
/// The content is another one by now, or the file cannot be removed.
pub(super) fn remove(path: &Path, before: &str) -> Result<(), SetupError> {
    if read(path)?.as_deref() != Some(before) {
        return Err(SetupError::ChangedMeanwhile(path.to_owned()));
    }

    LocalName::resolve(path)
        .and_then(|name| name.folder.remove(&name.name))
        .map_err(SetupError::file("remove", path))
}

/// Removes these folders, the innermost first, as far as they are empty.
pub(super) fn remove_empty(folders: &[PathBuf]) {
    for folder in folders.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}

/// Returns the SHA-256 of a text in hexadecimal digits.
pub(super) fn digest(content: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;

    let mut digits = String::new();
    for byte in Sha256::digest(content) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// Returns the folders of this file that do not exist, the outermost first.
pub(super) fn missing_folders(path: &Path) -> Vec<PathBuf> {
    let above = path.ancestors().skip(1);
    let mut missing: Vec<PathBuf> = above
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

/// Returns true if the error means that there is no such file.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Writes a file to the disk.
fn fill(mut file: File, content: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    file.write_all(content)?;
    if let Some(old) = old {
        // The group first: a change of the group clears some bits of the permissions (chown(2)).
        keep_group(&file, old)?;
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()
}

/// Gives a file the group of the old one. Without that, its permissions would hold for others.
#[cfg(unix)]
fn keep_group(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    if file.metadata()?.gid() == old.gid() {
        return Ok(());
    }
    fchown(file, None, Some(old.gid()))
}

/// Does nothing: a file of Windows has no group of this kind.
#[cfg(not(unix))]
fn keep_group(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// Returns true if this user owns the file.
#[cfg(unix)]
fn is_ours(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.uid() == nix::unistd::geteuid().as_raw()
}

/// Returns true: the system itself does not let another user's file be replaced.
#[cfg(not(unix))]
fn is_ours(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_comes_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/c.json");
        let made = replace(&file, None, "{}").unwrap();

        assert_eq!(made, [folder.path().join("a"), folder.path().join("a/b")]);
        assert_eq!(read(&file).unwrap().as_deref(), Some("{}"));

        remove(&file, "{}").unwrap();
        remove_empty(&made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_has_changed_meanwhile_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        fs::write(&file, "theirs").unwrap();

        for before in [None, Some("{}")] {
            let refused = replace(&file, before, "ours");
            assert!(matches!(refused, Err(SetupError::ChangedMeanwhile(_))));
        }
        assert!(remove(&file, "{}").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    }

    #[test]
    fn a_read_only_file_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        fs::write(&file, "{}").unwrap();
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&file, permissions).unwrap();

        let refused = replace(&file, Some("{}"), "ours");
        assert!(matches!(refused, Err(SetupError::ReadOnly(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
    }

    #[test]
    fn a_file_that_is_too_long_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        File::create(&file).unwrap().set_len(MAX_SIZE + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("64 MiB"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_the_mode_is_kept() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("dotfile"), folder.path().join("c.json"));
        fs::write(&target, "{}").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("dotfile", &link).unwrap();

        replace(&link, Some("{}"), "{ }").unwrap();

        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "{ }");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_a_link_waited_for_goes_and_the_link_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("dotfile"), folder.path().join("c.json"));
        std::os::unix::fs::symlink("dotfile", &link).unwrap();

        replace(&link, None, "{ }").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "{ }");
        remove(&link, "{ }").unwrap();

        assert!(!target.exists());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_is_not_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.json");
        fs::write(&file, [0xff, 0xfe, b'{', 0]).unwrap();
        assert!(matches!(read(&file), Err(SetupError::NotText(_))));
        assert!(matches!(read(&folder.path().join("none/c.json")), Ok(None)));
    }
}
