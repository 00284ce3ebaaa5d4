//! Whether only this user and root can change a file, as `StrictModes` of `sshd_config(5)` asks.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Reason why the content of a file cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// An entry on the way cannot be examined.
    #[error("{} cannot be examined: {source}", path.display())]
    Unreadable {
        /// Path of the entry.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Another user owns the file, or a directory or link on the way.
    #[cfg(unix)]
    #[error("{} belongs to another user (number {user})", path.display())]
    Owner {
        /// Path of the entry.
        path: PathBuf,
        /// User id of the owner.
        user: u32,
    },
    /// Other users may write to the file or to a directory on the way.
    #[cfg(unix)]
    #[error("other users may write to {}; run: chmod go-w {}", path.display(), path.display())]
    Writable {
        /// Path of the entry.
        path: PathBuf,
    },
    /// Links lead to each other.
    #[cfg(unix)]
    #[error("too many links lead to {}", .0.display())]
    Links(PathBuf),
}

/// Walks an absolute path from the root, and returns the path without links if this user or root
/// owns all that lies on it and nobody else may write there.
///
/// Every directory that was passed counts, those of links included. In a directory with the sticky
/// bit, such as `/tmp`, nobody can exchange the entries of others.
///
/// # Errors
/// Another user could exchange or change the file, or the path cannot be walked.
#[cfg(unix)]
pub(crate) fn trusted_path(path: &Path) -> Result<PathBuf, TrustError> {
    use std::{collections::VecDeque, ffi::OsString, fs, path::Component};

    /// Limit of the links on a path, as of Linux (`path_resolution(7)`).
    const MAX_LINKS: usize = 40;

    let parts = |path: &Path| -> VecDeque<OsString> {
        let parts = path.components();
        parts.map(|part| part.as_os_str().to_owned()).collect()
    };

    let mut current = PathBuf::from("/");
    let mut left = parts(path);
    let mut links = 0;

    while let Some(part) = left.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                current.pop();
                continue;
            }
            Some(Component::RootDir) => current = PathBuf::from("/"),
            _ => current.push(&part),
        }

        let unreadable = |source| TrustError::Unreadable {
            path: current.clone(),
            source,
        };

        let entry = fs::symlink_metadata(&current).map_err(unreadable)?;
        check(&current, &entry)?;

        if entry.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(TrustError::Links(path.to_owned()));
            }

            let mut target = parts(&fs::read_link(&current).map_err(unreadable)?);
            target.append(&mut left);
            left = target;
            current.pop();
        }
    }

    Ok(current)
}

/// Checks the owner and the mode of one entry.
#[cfg(unix)]
fn check(path: &Path, entry: &std::fs::Metadata) -> Result<(), TrustError> {
    use std::os::unix::fs::MetadataExt as _;

    /// Write permission of group and others.
    const OTHERS_WRITE: u32 = 0o022;
    /// Sticky bit: only the owner of an entry may remove or rename it.
    const STICKY: u32 = 0o1000;

    let user = entry.uid();
    if user != 0 && user != nix::unistd::geteuid().as_raw() {
        return Err(TrustError::Owner {
            path: path.to_owned(),
            user,
        });
    }

    // The mode of a link means nothing.
    let is_sticky = entry.is_dir() && entry.mode() & STICKY != 0;
    if !entry.is_symlink() && !is_sticky && entry.mode() & OTHERS_WRITE != 0 {
        return Err(TrustError::Writable {
            path: path.to_owned(),
        });
    }

    Ok(())
}

/// Returns the path without links: on this system, the profile of a user is closed to others.
///
/// # Errors
/// The path cannot be walked.
#[cfg(not(unix))]
pub(crate) fn trusted_path(path: &Path) -> Result<PathBuf, TrustError> {
    std::fs::canonicalize(path).map_err(|source| TrustError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn each_directory_on_the_way_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);

        for name in ["a/b", "open/c"] {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join("file"), "").unwrap();
        }
        symlink("../../open/c/file", at("a/b/to-open")).unwrap();
        symlink(at("a/b"), at("a/to-b")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("to-b/file", at("a/twice")).unwrap();

        // What is changed, the path that is walked, and a word of the error.
        for (changed, mode, walked, error) in [
            ("a", 0o755, "a/b/file", None),
            ("a", 0o755, "a/b/../b/./file", None),
            ("a", 0o755, "a/twice", None),
            ("a", 0o755, "open/c/file", None),
            ("a", 0o775, "a/b/file", Some("chmod go-w")),
            ("a", 0o757, "a/b/file", Some("chmod go-w")),
            ("a", 0o757, "open/c/file", None),
            ("a", 0o1777, "a/b/file", None),
            ("a/b", 0o777, "a/b/file", Some("a/b")),
            ("a/b/file", 0o664, "a/b/file", Some("a/b/file")),
            ("a/b/file", 0o646, "a/b/file", Some("a/b/file")),
            // The sticky bit of a file means nothing.
            ("a/b/file", 0o1666, "a/b/file", Some("a/b/file")),
            ("a/b/file", 0o400, "a/b/file", None),
            // A link leads through directories of its own.
            ("open", 0o777, "a/b/file", None),
            ("open", 0o777, "a/b/to-open", Some("open")),
            ("a/b", 0o777, "a/to-b/file", Some("a/b")),
            ("a/b", 0o777, "a/to-b/to-open", Some("a/b")),
            ("a", 0o755, "loop", Some("too many links")),
            ("a", 0o755, "a/missing", Some("cannot be examined")),
            ("a", 0o755, "a/b/file/x", Some("cannot be examined")),
        ] {
            let usual = fs::metadata(at(changed)).unwrap().permissions();
            fs::set_permissions(at(changed), Permissions::from_mode(mode)).unwrap();
            let found = trusted_path(&at(walked));
            fs::set_permissions(at(changed), usual).unwrap();

            match (found, error) {
                (Ok(found), None) => assert_eq!(found, at(walked).canonicalize().unwrap()),
                (Err(found), Some(word)) => {
                    assert!(found.to_string().contains(word), "{walked}: {found}");
                }
                (found, error) => panic!("{changed} {mode:o} {walked}: {found:?}, not {error:?}"),
            }
        }
    }
}
