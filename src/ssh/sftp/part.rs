//! A file on this machine that is not complete yet.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{folder::Folder, paths};
use crate::{ssh::exec::random_sentinel, tree::entry::Attributes};

/// Where a file of this machine goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Vec<u8>,
    /// The same, for people.
    pub(super) path: PathBuf,
}

/// A temporary file beside its target. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    folder: Arc<Folder>,
    /// Empty once it is in its place.
    name: Vec<u8>,
}

impl Target {
    /// The place of this path; its directory must be there.
    pub(super) fn at(path: PathBuf) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = Arc::new(Folder::root(folder)?);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        Ok(Self { folder, name: paths::bytes(name), path })
    }
}

impl Part {
    /// Makes one, under a name that nobody else has, for this user alone.
    pub(super) fn beside(folder: &Arc<Folder>) -> io::Result<Self> {
        let name = temporary_name()?;
        Ok(Self { file: folder.create(&name)?, folder: Arc::clone(folder), name })
    }

    /// Gives it mode and time, and the name of its target, over whatever has that. Modes are taken without the bits that
    /// would let a server plant a program that runs as somebody else.
    pub(super) fn put_in_place(mut self, attributes: Attributes, name: &[u8]) -> io::Result<()> {
        #[cfg(unix)]
        {
            let mode = attributes.mode.unwrap_or(0o644) & 0o777;
            self.file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }
        if let Some(modified) = attributes.modified {
            self.file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into()))?;
        }
        self.folder.rename(&self.name, name)?;
        self.name.clear();
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// A name that nobody else has.
pub(super) fn temporary_name() -> io::Result<Vec<u8>> {
    let random = random_sentinel().map_err(io::Error::other)?;
    Ok(format!(".mcp-ssh-sessions.{}.part", random.as_str()).into_bytes())
}
