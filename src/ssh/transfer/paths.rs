//! The meaning of typed paths on either side: `~`, and a directory as the target.

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

/// Converts a typed local path. `~` and `~/…` stand for the home directory.
///
///
/// # Errors
/// The path is empty or contains a NUL byte, or the home directory is unknown.
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

/// Converts a typed remote path for SFTP. Relative paths, and therefore `~/…`, begin at the home
/// directory.
///
///
/// # Errors
/// The path is empty or contains a NUL byte, or begins with the `~` of another user.
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

/// Returns true if the form of the path implies a directory: a trailing `/`, or `.` or `..` at the
/// end.
pub(super) fn names_directory(path: &str) -> bool {
    path.ends_with('/')
        || path == "."
        || path == ".."
        || path.ends_with("/.")
        || path.ends_with("/..")
}

/// Returns the last component of a remote path, to be used as the name of a local file.
///
///
/// # Errors
/// The path has no last component which is a valid file name on this machine.
pub(super) fn file_name(path: &str) -> Result<&str, TransferError> {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();

    // A name such as `..`, or on Windows `a\b`, would be another path here.
    let single = Path::new(name).file_name().is_some_and(|only| only == name);
    if single {
        Ok(name)
    } else {
        Err(TransferError::Path(format!(
            "{path:?} does not end in a file's name"
        )))
    }
}

/// Returns a remote path without the slashes at its end.
pub(super) fn without_end_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    path.get(..end.map_or(0, |at| at + 1)).unwrap_or_default()
}

/// Splits a remote path into the directory, with a trailing `/`, and the name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.split_at(
        path.iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1),
    )
}

/// Returns the bytes of a local name, in the form used by SFTP.
#[cfg(unix)]
pub(super) fn bytes(name: &OsStr) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()
}

/// Returns the bytes of a local name, in the form used by SFTP.
#[cfg(not(unix))]
pub(super) fn bytes(name: &OsStr) -> Vec<u8> {
    name.to_string_lossy().into_owned().into_bytes()
}

/// Returns the local name for the bytes of an SFTP name.
#[cfg(unix)]
pub(super) fn os_name(name: &[u8]) -> &OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

/// Returns the local name for the bytes of an SFTP name. Elsewhere than on Unix, a name must be
/// UTF-8; another name becomes empty.
#[cfg(not(unix))]
pub(super) fn os_name(name: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(name).unwrap_or_default())
}

/// Resolves the target of an upload. A directory receives the file under `name`; a link is
/// followed; any other path is the target itself.
///
///
/// # Errors
/// The path cannot be looked at, the target is a directory or special file, or a path that ends in
/// `/` does not exist.
pub(super) async fn target(
    client: &SftpClient,
    user_path: &str,
    name: &[u8],
) -> Result<Vec<u8>, TransferError> {
    let path = user_path.as_bytes();

    // All requests at once, since each costs a round trip. The server resolves a relative path from
    // the home directory too.
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
        // A drop box may take files without showing any.
        Err(error) if error.is_refused() => {
            if names_directory(user_path) || client.is_listed(path).await {
                inside(client, absolute, name).await
            } else {
                Ok(spelled.map_or(absolute, Into::into))
            }
        }
        Err(error) if !client.may_be_missing(&error) => {
            Err(client.failed("looking at", &absolute)(error))
        }
        // A trailing slash demands a directory, so no file is made under that name.
        Err(_) if names_directory(user_path) => {
            let absolute = shown(&absolute);
            Err(TransferError::Path(format!(
                "there is no directory \"{absolute}\" on the remote host"
            )))
        }
        Err(_) => Ok(behind_link(absolute, link, spelled)),
    }
}

/// Resolves the target of an upload for a name in a directory.
///
///
/// # Errors
/// The target is a directory or a special file.
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

    // The name may be a link or a directory itself, so it is looked at like the typed path.
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

/// Returns the destination of a link which leads to nothing yet. Any other path is returned as it
/// is.
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

/// Returns an absolute path by joining a relative path to the home directory. Without a known home
/// directory the path stays relative. The result can be used in other tools.
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
        for (user_path, meant) in [
            ("~", "."),
            ("~/", "."),
            ("~/a b", "./a b"),
            ("~//x", "./x"),
            ("/etc/x", "/etc/x"),
            ("x", "x"),
        ] {
            assert_eq!(remote(user_path).unwrap(), meant, "{user_path}");
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
