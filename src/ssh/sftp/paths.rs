//! What paths mean on either side: `~`, and a directory as the target.

use std::path::{Path, PathBuf};

use russh_sftp::client::error::Error;

use super::{Kind, Sftp, TransferError, kind};

/// A local path as a person types it: `~` and `~/…` are the home directory.
///
/// # Errors
/// An empty path, or a home directory that is not known.
pub(super) fn local(path: &str) -> Result<PathBuf, TransferError> {
    if path.is_empty() || path.contains('\0') {
        return Err(TransferError::Path("localPath is empty or holds a NUL byte".to_owned()));
    }
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', std::path::MAIN_SEPARATOR]) => {
            let home = dirs::home_dir().ok_or_else(|| {
                TransferError::Path("the local home directory is not known; write the path out".to_owned())
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
        return Err(TransferError::Path("remotePath is empty or holds a NUL byte".to_owned()));
    }
    match path.strip_prefix('~') {
        Some("" | "/") => Ok(".".to_owned()),
        Some(rest) if rest.starts_with('/') => Ok(format!("./{}", rest.trim_start_matches('/'))),
        Some(rest) => {
            let user = rest.split('/').next().unwrap_or(rest);
            Err(TransferError::Path(format!("SFTP does not know the home directory of {user:?}; write the path out")))
        }
        None => Ok(path.to_owned()),
    }
}

/// Whether the path says that a directory is meant.
pub(super) fn names_directory(path: &str) -> bool {
    path.ends_with('/') || path == "." || path == ".." || path.ends_with("/.") || path.ends_with("/..")
}

/// The last part of a remote path, if it can be a file's name on this machine.
///
/// # Errors
/// A path that ends in no name.
pub(super) fn file_name(path: &str) -> Result<&str, TransferError> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let single = Path::new(name).file_name().is_some_and(|only| only == name);
    if single { Ok(name) } else { Err(TransferError::Path(format!("{path:?} does not end in a file's name"))) }
}

/// The directory of a remote path and what comes after it.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rfind('/') {
        Some(at) => path.split_at(at + 1),
        None => ("", path),
    }
}

impl Sftp {
    /// The path with the home directory before it, if it is relative: what a person can use elsewhere.
    pub(super) async fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let Some(home) = self.real_path(".").await else { return path.to_owned() };
        match path.trim_start_matches("./") {
            "." => home,
            rest => format!("{}/{rest}", home.trim_end_matches('/')),
        }
    }

    /// Where an upload goes: into the path if it is a directory, through it if it is a link, else to it.
    ///
    /// # Errors
    /// The server's own, and a trailing slash behind something that is not there.
    pub(super) async fn target(&self, path: &str, name: &str) -> Result<Result<String, Error>, TransferError> {
        let found = match self.stat(path).await {
            Ok(attributes) => attributes.as_ref().map(kind),
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(match found {
            Some(Kind::Directory) => {
                let inside = if path.ends_with('/') { format!("{path}{name}") } else { format!("{path}/{name}") };
                match self.stat(&inside).await.ok().flatten().as_ref().map(kind) {
                    Some(Kind::Directory) => return Err(TransferError::Directory(inside)),
                    Some(Kind::Special) => return Err(TransferError::NotAFile(inside)),
                    Some(Kind::File) => self.real_path(&inside).await.unwrap_or(inside),
                    None => self.behind_link(inside).await,
                }
            }
            Some(Kind::Special) => return Err(TransferError::NotAFile(path.to_owned())),
            Some(Kind::File) => self.real_path(path).await.unwrap_or_else(|| path.to_owned()),
            None if names_directory(path) => {
                return Err(TransferError::Path(format!("there is no directory {path:?} on the remote host")));
            }
            None => self.behind_link(path.to_owned()).await,
        }))
    }

    /// Where a link leads that leads to nothing yet; any other path as it is.
    async fn behind_link(&self, path: String) -> String {
        let link = self.raw.lstat(path.as_str()).await.is_ok_and(|found| found.attrs.is_symlink());
        if link { self.real_path(&path).await.unwrap_or(path) } else { path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_home_on_either_side() {
        for (typed, meant) in
            [("~", "."), ("~/", "."), ("~/a b", "./a b"), ("~//x", "./x"), ("/etc/x", "/etc/x"), ("x", "x")]
        {
            assert_eq!(remote(typed).unwrap(), meant, "{typed}");
        }
        let home = dirs::home_dir().unwrap();
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
        assert_eq!(split("/a/b"), ("/a/", "b"));
        assert_eq!(split("b"), ("", "b"));
    }
}
