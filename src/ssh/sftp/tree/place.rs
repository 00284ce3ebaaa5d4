//! Where a tree goes: into a directory that is there, else to the path itself, as `cp -r` would have it. A trailing `/`
//! means "into it" also where nothing is there yet, so that the same call always has the same effect.
//!
//! A source without a name of its own (`.`, `dir/.`, `~`) is its content, which goes into the target itself.

use std::{
    io::ErrorKind,
    path::{MAIN_SEPARATOR, PathBuf},
    sync::Arc,
};

use super::{
    Common,
    remote::{found, in_the_way, join},
};
use crate::{
    local::{Folder, Place},
    sftp::attributes::{Attributes as Found, Kind},
    ssh::sftp::{TransferError, TransferRequest, client::Client, error::shown, paths},
    tree::{
        entry::Attributes,
        name::{self, HERE},
    },
};

/// The directory on the remote host that a tree becomes.
#[derive(Debug)]
pub(super) struct RemotePlace {
    pub(super) path: Vec<u8>,
    /// The one that it is in is not there either.
    above: Option<Vec<u8>>,
    attributes: Attributes,
    /// It was there, and only content goes into it: its mode and time are its own.
    pub(super) keeps_attributes: bool,
}

/// The same on this machine.
#[derive(Debug)]
pub(super) struct LocalPlace {
    pub(super) folder: Arc<Folder>,
    pub(super) path: PathBuf,
    pub(super) keeps_attributes: bool,
}

/// Finds the directory for an upload.
pub(super) async fn remote(
    client: &Client,
    request: &TransferRequest,
    attributes: Attributes,
) -> Result<RemotePlace, TransferError> {
    let typed = paths::remote(&request.remote)?;
    let end = if typed.trim_end_matches('/').is_empty() { typed.as_str() } else { typed.trim_end_matches('/') };
    let (home, looked) = tokio::join!(client.realpath(b"."), client.stat(typed.as_bytes()));
    let wanted = paths::absolute(end.as_bytes(), home.ok().as_deref());
    let there = found(looked).map_err(client.failed("looking at", &wanted))?;
    if there.is_some_and(|there| !matches!(there.kind(), Kind::Directory | Kind::Unknown)) {
        return Err(TransferError::NotADirectory(format!("\"{}\" on the remote host", shown(&wanted))));
    }
    let place = |path, above, keeps_attributes| RemotePlace { path, above, attributes, keeps_attributes };
    Ok(match own_name(&request.local, &['/', MAIN_SEPARATOR]) {
        Some(name) if there.is_some() => place(join(&wanted, &[name.as_bytes()]), None, false),
        Some(name) if request.remote.ends_with('/') => place(join(&wanted, &[name.as_bytes()]), Some(wanted), false),
        name => place(wanted, None, name.is_none() && there.is_some()),
    })
}

impl RemotePlace {
    /// Makes the directory. May be done again after a lost link.
    pub(super) async fn make(&self, client: &Client) -> Result<(), TransferError> {
        if let Some(above) = &self.above
            && let Err(refused) = client.mkdir(above, Found::default()).await
            && !client.stat(above).await.is_ok_and(|there| there.kind() == Kind::Directory)
        {
            return Err(client.failed("making the directory", above)(refused));
        }
        if self.keeps_attributes { Ok(()) } else { make_remote(client, &self.path, self.attributes).await }
    }
}

/// Makes a directory that its owner may write into, whatever its mode is to be, or opens up the one that is there.
pub(super) async fn make_remote(client: &Client, path: &[u8], attributes: Attributes) -> Result<(), TransferError> {
    let mode = attributes.mode.unwrap_or(0o755) | 0o700;
    let Err(refused) = client.mkdir(path, Found::mode(mode)).await else { return Ok(()) };
    let Ok(there) = client.lstat(path).await else {
        return Err(client.failed("making the directory", path)(refused));
    };
    if there.kind() != Kind::Directory {
        return Err(in_the_way(path));
    }
    let now = there.permissions.unwrap_or(0) & 0o7777;
    if now & 0o700 != 0o700 {
        // Somebody else's cannot be changed; then what is written into it says why not.
        let _ = client.setstat(path, Found::mode(now | 0o700)).await;
    }
    Ok(())
}

/// Finds and makes the directory for a download. Links are followed on the way that the person has typed, not behind it.
pub(super) async fn local(
    common: &Common,
    request: &TransferRequest,
    attributes: Attributes,
) -> Result<LocalPlace, TransferError> {
    let path = paths::local(&request.local)?;
    let name = own_name(&request.remote, &['/']).map(str::to_owned);
    let into = request.local.ends_with(['/', MAIN_SEPARATOR]);
    let find = move || {
        let failed = |source| TransferError::local("making the directory", &path, source);
        let (folder, there) = match Folder::root(&path) {
            Ok(folder) => (folder, true),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(TransferError::NotADirectory(path.display().to_string()));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = Place::of(&path).and_then(|place| {
                    place.folder.make(&place.name, 0o777)?;
                    place.folder.enter(&place.name)
                });
                (made.map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        match name {
            Some(name) if there || into => {
                name::check(name.as_bytes(), HERE)
                    .map_err(|error| TransferError::Path(format!("{name:?} cannot be a name here: {error}")))?;
                let mode = attributes.mode.unwrap_or(0o755);
                let inside = folder.make(name.as_bytes(), mode).and_then(|_| folder.below(&[name.as_bytes()]));
                let path = path.join(name);
                let inside = inside.map_err(|source| TransferError::local("making the directory", &path, source))?;
                Ok(LocalPlace { folder: Arc::new(inside), path, keeps_attributes: false })
            }
            name => Ok(LocalPlace { folder: Arc::new(folder), path, keeps_attributes: there && name.is_none() }),
        }
    };
    common.disk(find).await
}

/// The name that a typed path ends in, if it ends in one.
fn own_name<'a>(typed: &'a str, separators: &[char]) -> Option<&'a str> {
    let typed = typed.trim_end_matches(separators);
    let last = typed.rsplit(separators).next().unwrap_or(typed);
    if matches!(last, "" | "." | "..") || typed == "~" { None } else { Some(last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_name_of_its_own_or_stands_for_its_content() {
        for (typed, name) in [
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
            assert_eq!(own_name(typed, &['/']), name, "{typed}");
        }
        assert_eq!(own_name("C:\\dir\\tree\\", &['/', '\\']), Some("tree"));
    }
}
