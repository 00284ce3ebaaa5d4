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

/// How long a temporary file must not have been written to before it can be one that was left behind: where files cannot
/// be locked, a download that stalls is not to lose its own.
#[cfg(unix)]
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

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

impl Target {
    /// Removes what processes that were killed have left beside it. What cannot be removed stays: it harms nothing.
    #[cfg(unix)]
    pub(super) fn remove_litter(&self) {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = paths::bytes(&entry.file_name());
            if is_temporary(&name) && entry.file_type().is_ok_and(|kind| kind.is_file()) && is_abandoned(&entry.path())
            {
                let _ = self.folder.remove(&name);
            }
        }
    }

    /// A file that is written here is locked by its process, which locks elsewhere may not show.
    #[cfg(not(unix))]
    pub(super) fn remove_litter(&self) {}
}

impl Part {
    /// Makes one, under a name that nobody else has, for this user alone.
    pub(super) fn beside(folder: &Arc<Folder>) -> io::Result<Self> {
        let name = temporary_name()?;
        let file = folder.create(&name)?;
        // By this others know that it is being written; not every file system can.
        #[cfg(unix)]
        let _ = file.try_lock();
        Ok(Self { file, folder: Arc::clone(folder), name })
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

#[cfg(unix)]
fn is_temporary(name: &[u8]) -> bool {
    let random = name.strip_prefix(b".mcp-ssh-sessions.").and_then(|rest| rest.strip_suffix(b".part"));
    random.is_some_and(|random| random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Whether nobody writes it, nor is about to lock it.
#[cfg(unix)]
fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > ABANDONED_AFTER) && file.try_lock().is_ok()
}
