//! The destination of a tree: inside an existing directory, otherwise the path itself, as with `cp
//! -r`. A trailing `/` always means "inside", even if nothing exists there yet, so that the same
//! call always has the same effect.
//!
//! A source without a name of its own (`.`, `dir/.`, `~`) stands for its content, which goes into
//! the target itself.

use std::{
    io::ErrorKind,
    path::{MAIN_SEPARATOR, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{
    EntryFilter,
    remote::{found, in_the_way, join},
};
use crate::{
    local::{Folder, LocalName},
    policy::TransferDirection,
    sftp::attributes::{self, FileType},
    ssh::transfer::{
        Guard, TransferError, TransferRequest,
        client::SftpClient,
        error::shown,
        guard::{GuardedFinding, Watcher, file_facts::FileFactsBefore},
        paths,
    },
    tree::{
        entry::EntryAttributes,
        name::{self, HERE},
    },
};

/// Remote directory to receive a tree, possibly not created yet.
#[derive(Debug)]
pub(super) struct RemoteDestination {
    /// Absolute path of the directory, where the home directory is known.
    pub(super) path: Vec<u8>,
    /// Parent directory to be created first. `None` if only the directory itself is needed.
    above: Option<Vec<u8>>,
    /// Mode and modification time of the local directory.
    attributes: EntryAttributes,
    /// True if an existing directory receives only content. Then its mode and time are kept.
    pub(super) keeps_attributes: bool,
}

/// Local directory to receive a tree, created and open.
#[derive(Debug)]
pub(super) struct LocalDestination {
    /// Open directory.
    pub(super) folder: Arc<Folder>,
    pub(super) path: PathBuf,
    /// True if an existing directory receives only content. Then its mode and time are kept.
    pub(super) keeps_attributes: bool,
    /// Filter for guarded entries. `None` if the user permitted the whole tree.
    pub(super) filter: Option<Arc<EntryFilter>>,
}

/// Resolves the destination of an upload, without creating anything. `separators` are those of the
/// path of the source.
///
/// # Errors
/// The path is invalid, something other than a directory exists there, or a request failed.
pub(super) async fn remote(
    client: &SftpClient,
    request: &TransferRequest,
    attributes: EntryAttributes,
    separators: &[char],
) -> Result<RemoteDestination, TransferError> {
    let user_path = paths::remote(&request.remote)?;
    let wanted = if user_path.trim_end_matches('/').is_empty() {
        user_path.as_str()
    } else {
        user_path.trim_end_matches('/')
    };

    let (home, looked) = tokio::join!(client.realpath(b"."), client.stat(user_path.as_bytes()));
    let wanted = paths::absolute(wanted.as_bytes(), home.ok().as_deref());
    let looked = match looked {
        // A drop box may take files without showing any.
        Err(error) if error.is_refused() => {
            let is_there = client.is_listed(user_path.as_bytes()).await;
            Ok(is_there.then(attributes::Attributes::default))
        }
        looked => found(client, looked),
    };
    let there = looked.map_err(client.failed("looking at", &wanted))?;

    // A server may not tell the type of the path. Then a later step fails if it is not a directory.
    if there.is_some_and(|there| !matches!(there.kind(), FileType::Directory | FileType::Unknown)) {
        return Err(TransferError::NotADirectory(format!(
            "\"{}\" on the remote host",
            shown(&wanted)
        )));
    }

    let destination = |path, above, keeps_attributes| RemoteDestination {
        path,
        above,
        attributes,
        keeps_attributes,
    };

    Ok(match own_name(&request.local, separators) {
        Some(name) if there.is_some() => {
            destination(join(&wanted, &[name.as_bytes()]), None, false)
        }
        Some(name) if request.remote.ends_with('/') => {
            destination(join(&wanted, &[name.as_bytes()]), Some(wanted), false)
        }
        name => destination(wanted, None, name.is_none() && there.is_some()),
    })
}

impl RemoteDestination {
    /// Creates the directory. May be repeated after a lost connection.
    ///
    /// # Errors
    /// A directory cannot be created, or another kind of file has its name.
    pub(super) async fn make(&self, client: &SftpClient) -> Result<(), TransferError> {
        if let Some(above) = &self.above
            && let Err(refused) = client.mkdir(above, attributes::Attributes::default()).await
            && !client
                .stat(above)
                .await
                .is_ok_and(|there| there.kind() == FileType::Directory)
        {
            return Err(client.failed("making the directory", above)(refused));
        }

        // An existing directory which receives only content needs no change.
        if self.keeps_attributes {
            Ok(())
        } else {
            make_remote(client, &self.path, self.attributes).await
        }
    }
}

/// Creates a directory with write permission for the owner, whatever the final mode. An existing
/// directory is made writable.
///
/// # Errors
/// The directory cannot be created, or another kind of file has its name.
pub(super) async fn make_remote(
    client: &SftpClient,
    path: &[u8],
    attributes: EntryAttributes,
) -> Result<(), TransferError> {
    let mode = attributes.mode.unwrap_or(0o755) | 0o700;
    let Err(refused) = client.mkdir(path, attributes::Attributes::mode(mode)).await else {
        return Ok(());
    };

    // The links in the tree are not followed, so that content cannot leave the tree.
    let there = match client.lstat(path).await {
        Ok(there) => there,
        Err(error) if error.is_refused() && client.is_listed(path).await => return Ok(()),
        Err(_) => return Err(client.failed("making the directory", path)(refused)),
    };

    if there.kind() != FileType::Directory {
        return Err(in_the_way(path));
    }

    let now = there.permissions.unwrap_or(0) & 0o7777;

    if now & 0o700 != 0o700 {
        // The directory of another user cannot be changed. Writing into it then reports the reason.
        let _ = client
            .setstat(path, attributes::Attributes::mode(now | 0o700))
            .await;
    }

    Ok(())
}

/// Resolves and creates the destination of a download, after asking the user about guarded places.
/// Links are followed only in the typed path. Nothing is created without the user's permission.
///
/// # Errors
/// The path is invalid, the directory cannot be created, or the user does not permit it.
pub(super) async fn local(
    guard: &Guard,
    request: &TransferRequest,
    attributes: EntryAttributes,
) -> Result<LocalDestination, TransferError> {
    let goal = DownloadTarget {
        path: paths::local(&request.local)?,
        name: own_name(&request.remote, &['/']).map(str::to_owned),
        into: request.local.ends_with(['/', MAIN_SEPARATOR]),
        attributes,
        watcher: guard.watcher(TransferDirection::Write).await,
    };

    let wanted = goal.clone();
    let finding = blocking(move || wanted.finding()).await?;
    guard.pass(TransferDirection::Write, finding).await?;

    let (destination, finding) = blocking(move || goal.make()).await?;

    // The open directory is checked again. The user is asked again only if the directory was
    // exchanged meanwhile.
    guard.pass(TransferDirection::Write, finding).await?;

    Ok(destination)
}

/// Runs blocking work for the local directory, on a thread of the runtime.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    let failed = |error| {
        TransferError::local(
            "making the directory",
            "".as_ref(),
            std::io::Error::other(error),
        )
    };

    spawn_blocking(task)
        .await
        .unwrap_or_else(|error| Err(failed(error)))
}

/// Typed target of a download, before it is resolved.
#[derive(Clone)]
struct DownloadTarget {
    path: PathBuf,
    /// Name of the tree. `None` if the source stands for its content.
    name: Option<String>,
    /// True if the path ends in a separator, and so the tree goes inside even if nothing exists
    /// there.
    into: bool,
    attributes: EntryAttributes,
    watcher: Watcher,
}

impl DownloadTarget {
    /// Returns the error for the local directory.
    fn failed(&self, source: std::io::Error) -> TransferError {
        TransferError::local("making the directory", &self.path, source)
    }

    /// Opens the directory at the path. Returns `None` if nothing exists there.
    fn there(&self) -> Result<Option<Folder>, TransferError> {
        match Folder::root(&self.path) {
            Ok(folder) => Ok(Some(folder)),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(
                TransferError::NotADirectory(self.path.display().to_string()),
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Returns the question for the user, before anything is created. `None` if no question is
    /// needed.
    fn finding(&self) -> Result<Option<GuardedFinding>, TransferError> {
        let name = self.name.as_deref().map(str::as_bytes);

        let Some(folder) = self.there()? else {
            let local_name = LocalName::resolve(&self.path).map_err(|error| self.failed(error))?;
            let checks = self.watcher.begin();
            let above = checks
                .site_of(&local_name)
                .map_err(|error| self.failed(error))?;
            let site = above.below(&checks, &local_name.name, None);
            let name = name.filter(|_| self.into);
            return Ok(name.map_or_else(
                || site.finding(),
                |name| site.below(&checks, name, None).finding(),
            ));
        };

        let checks = self.watcher.begin();
        let site = checks
            .site(&folder, &self.path)
            .map_err(|error| self.failed(error))?;

        let Some(name) = name else {
            return Ok(site.finding());
        };
        let facts = FileFactsBefore::at(&folder, name).map_err(|error| self.failed(error))?;
        Ok(site.below(&checks, name, facts.as_ref()).finding())
    }

    /// Creates and opens the directory. Returns the destination, and the question for the directory
    /// as it is now.
    fn make(self) -> Result<(LocalDestination, Option<GuardedFinding>), TransferError> {
        let (folder, there) = if let Some(folder) = self.there()? {
            (folder, true)
        } else {
            let made = LocalName::resolve(&self.path).and_then(|local_name| {
                local_name.folder.make(&local_name.name, 0o777)?;
                local_name.folder.enter(&local_name.name)
            });
            (made.map_err(|error| self.failed(error))?, false)
        };

        let (folder, path, keeps_attributes) = match &self.name {
            Some(name) if there || self.into => {
                // The name comes from the remote path and need not be valid on this machine.
                name::check(name.as_bytes(), HERE).map_err(|error| {
                    TransferError::Path(format!("{name:?} cannot be a name here: {error}"))
                })?;

                let mode = self.attributes.mode.unwrap_or(0o755);
                let inside = folder
                    .make(name.as_bytes(), mode)
                    .and_then(|_| folder.below(&[name.as_bytes()]));
                let path = self.path.join(name);
                let inside = inside.map_err(|source| {
                    TransferError::local("making the directory", &path, source)
                })?;
                (inside, path, false)
            }
            name => (folder, self.path.clone(), there && name.is_none()),
        };

        let checks = self.watcher.begin();
        let site = checks
            .site(&folder, &path)
            .map_err(|error| self.failed(error))?;
        let finding = site.finding();
        let filter = EntryFilter::new(TransferDirection::Write, checks, site).map(Arc::new);

        Ok((
            LocalDestination {
                folder: Arc::new(folder),
                path,
                keeps_attributes,
                filter,
            },
            finding,
        ))
    }
}

/// Returns the last name of a typed path. `None` if the path stands for its content.
fn own_name<'a>(user_path: &'a str, separators: &[char]) -> Option<&'a str> {
    let user_path = user_path.trim_end_matches(separators);
    let last = user_path.rsplit(separators).next().unwrap_or(user_path);
    if matches!(last, "" | "." | "..") || user_path == "~" {
        None
    } else {
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_name_of_its_own_or_stands_for_its_content() {
        for (user_path, name) in [
            ("tree", Some("tree")),
            ("/a/tree/", Some("tree")),
            ("~/tree", Some("tree")),
            ("a//", Some("a")),
            ("...", Some("...")),
            ("a/~", Some("~")),
            (".", None),
            ("..", None),
            ("tree/.", None),
            ("tree/./", None),
            ("tree/..", None),
            ("~", None),
            ("~/", None),
            ("/", None),
        ] {
            assert_eq!(own_name(user_path, &['/']), name, "{user_path}");
        }

        assert_eq!(own_name("C:\\dir\\tree\\", &['/', '\\']), Some("tree"));
    }
}
