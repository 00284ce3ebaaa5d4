//! What paths mean on either side: `~`, and a directory as the target.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    client::{RequestError, SftpClient},
    error::{TransferError, shown},
};
use crate::{
    local::home::home,
    sftp::attributes::{Attributes, FileType},
};

/// A local path as a person types it: `~` and `~/…` are the home directory.
///
/// # Errors
/// An empty path, or a home directory that is not known.
pub(super) fn local(path: &str) -> Result<PathBuf, TransferError> {
    if path.is_empty() || path.contains('\0') {
        return Err(TransferError::Path(
            "localPath is empty or holds a NUL byte".to_owned(),
        ));
    }

    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', std::path::MAIN_SEPARATOR]) => {
            let home = home().ok_or_else(|| {
                TransferError::Path(
                    "the local home directory is not known; write the path out".to_owned(),
                )
            })?;
            Ok(home.join(rest.trim_start_matches(['/', std::path::MAIN_SEPARATOR])))
        }
        _ => Ok(PathBuf::from(path)),
    }
}

/// A remote path as SFTP wants it: relative paths, and so `~/…`, begin at the home directory.
///
/// # Errors
/// An empty path, or somebody else's home directory.
pub(super) fn remote(path: &str) -> Result<String, TransferError> {
    if path.is_empty() || path.contains('\0') {
        return Err(TransferError::Path(
            "remotePath is empty or holds a NUL byte".to_owned(),
        ));
    }

    match path.strip_prefix('~') {
        Some("" | "/") => Ok(".".to_owned()),
        Some(rest) if rest.starts_with('/') => Ok(format!("./{}", rest.trim_start_matches('/'))),
        Some(rest) => {
            let user = rest.split('/').next().unwrap_or(rest);
            Err(TransferError::Path(format!(
                "SFTP does not know the home directory of {user:?}; write the path out"
            )))
        }
        None => Ok(path.to_owned()),
    }
}

/// Whether the path says that a directory is meant.
pub(super) fn names_directory(path: &str) -> bool {
    path.ends_with('/')
        || path == "."
        || path == ".."
        || path.ends_with("/.")
        || path.ends_with("/..")
}

/// The last part of a remote path, if it can be a file's name on this machine.
///
/// # Errors
/// A path that ends in no name.
pub(super) fn file_name(path: &str) -> Result<&str, TransferError> {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();

    let single = Path::new(name).file_name().is_some_and(|only| only == name);
    if single {
        Ok(name)
    } else {
        Err(TransferError::Path(format!(
            "{path:?} does not end in a file's name"
        )))
    }
}

/// The directory of a remote path and what comes after it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(
        path.iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1),
    )
}

/// A name of this machine as SFTP carries it.
#[cfg(unix)]
pub(super) fn bytes(name: &OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
}

#[cfg(not(unix))]
pub(super) fn bytes(name: &OsStr) -> Vec<u8> {
    name.to_string_lossy().into_owned().into_bytes()
}

/// The same back.
#[cfg(unix)]
pub(super) fn os_name(name: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

#[cfg(not(unix))]
pub(super) fn os_name(name: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(name).unwrap_or_default())
}

/// Where an upload goes: into the path if it is a directory, through it if it is a link, else to it.
///
/// # Errors
/// The server's own, and a trailing slash behind something that is not there.
pub(super) async fn target(
    client: &SftpClient,
    typed: &str,
    name: &[u8],
) -> Result<Vec<u8>, TransferError> {
    let path = typed.as_bytes();

    // All at once: each would be a round trip. A relative path begins at home, for the server too.
    let (home, found, spelled, link) = tokio::join!(
        client.realpath(b"."),
        client.stat(path),
        client.realpath(path),
        client.lstat(path)
    );

    let absolute = absolute(path, home.ok().as_deref());

    match found.map(|found| found.kind()) {
        Ok(FileType::Directory) => inside(client, absolute, name).await,
        Ok(FileType::Special) => Err(TransferError::NotAFile(shown(&absolute))),
        Ok(_) => Ok(spelled.map_or(absolute, Into::into)),
        Err(error) if !client.may_be_missing(&error) => {
            Err(client.failed("looking at", &absolute)(error))
        }
        Err(_) if names_directory(typed) => {
            let absolute = shown(&absolute);
            Err(TransferError::Path(format!(
                "there is no directory \"{absolute}\" on the remote host"
            )))
        }
        Err(_) => Ok(behind_link(absolute, link, spelled)),
    }
}

/// The same for a name in a directory.
async fn inside(
    client: &SftpClient,
    folder: Vec<u8>,
    name: &[u8],
) -> Result<Vec<u8>, TransferError> {
    let separator = if folder.ends_with(b"/") {
        &b""[..]
    } else {
        b"/"
    };

    let path = [&folder, separator, name].concat();
    let (found, spelled, link) = tokio::join!(
        client.stat(&path),
        client.realpath(&path),
        client.lstat(&path)
    );

    match found.map(|found| found.kind()) {
        Ok(FileType::Directory) => Err(TransferError::Directory(shown(&path))),
        Ok(FileType::Special) => Err(TransferError::NotAFile(shown(&path))),
        Ok(_) => Ok(spelled.map_or(path, Into::into)),
        Err(_) => Ok(behind_link(path, link, spelled)),
    }
}

/// Where a link leads that leads to nothing yet; any other path as it is.
fn behind_link(
    path: Vec<u8>,
    link: Result<Attributes, RequestError>,
    spelled: Result<Bytes, RequestError>,
) -> Vec<u8> {
    match (link.map(|link| link.kind()), spelled) {
        (Ok(FileType::Link), Ok(spelled)) => spelled.into(),
        _ => path,
    }
}

/// The path with the home directory before it, if it is relative: what a person can use elsewhere.
pub(super) fn absolute(path: &[u8], home: Option<&[u8]>) -> Vec<u8> {
    let Some(home) = home.filter(|_| !path.starts_with(b"/")) else {
        return path.to_owned();
    };
    let rest = path.strip_prefix(b"./").unwrap_or(path);
    if rest == b"." {
        return home.to_owned();
    }

    [home.strip_suffix(b"/").unwrap_or(home), b"/", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_home_on_either_side() {
        for (typed, meant) in [
            ("~", "."),
            ("~/", "."),
            ("~/a b", "./a b"),
            ("~//x", "./x"),
            ("/etc/x", "/etc/x"),
            ("x", "x"),
        ] {
            assert_eq!(remote(typed).unwrap(), meant, "{typed}");
        }

        let home = home().unwrap();
        assert_eq!(local("~/x/y").unwrap(), home.join("x/y"));
        assert_eq!(local("~x").unwrap(), PathBuf::from("~x"));
        assert!(remote("~other/x").is_err() && remote("").is_err() && local("").is_err());
    }

    #[test]
    fn only_a_plain_name_can_become_a_local_file() {
        assert_eq!(file_name("/var/log/syslog").unwrap(), "syslog");
        assert_eq!(file_name("a/b/").unwrap(), "b");
        for none in ["/", ".", "..", "a/..", ""] {
            assert!(file_name(none).is_err(), "{none}");
        }
    }

    #[test]
    fn a_path_splits_behind_its_last_slash() {
        assert_eq!(split(b"/a/b"), (&b"/a/"[..], &b"b"[..]));
        assert_eq!(split(b"b"), (&b""[..], &b"b"[..]));
    }

    #[test]
    fn a_relative_path_begins_at_home() {
        for (path, home, expected) in [
            ("/etc/x", Some("/home/u"), "/etc/x"),
            ("x/y", Some("/home/u"), "/home/u/x/y"),
            ("./x", Some("/home/u"), "/home/u/x"),
            (".", Some("/home/u"), "/home/u"),
            ("x", Some("/"), "/x"),
            ("x", None, "x"),
        ] {
            let absolute = absolute(path.as_bytes(), home.map(str::as_bytes));
            assert_eq!(absolute, expected.as_bytes(), "{path}");
        }
    }
}
