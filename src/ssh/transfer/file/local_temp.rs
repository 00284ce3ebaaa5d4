//! Temporary local files.

use std::{
    fs::File,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(unix)]
use crate::{local::folder::permitted, ssh::transfer::paths, tree::limits::LIMITS};
use crate::{
    local::{Folder, LocalName},
    ssh::command::exec::random_sentinel,
    tree::entry::EntryAttributes,
};

/// Minimum age of a temporary file before it counts as abandoned. On file systems without locks, a
/// stalled download must not lose its file.
#[cfg(unix)]
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Temporary file next to the target. Dropping the value removes the file.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct LocalTemp {
    pub(in crate::ssh::transfer) file: File,
    folder: Arc<Folder>,
    /// Name of the temporary file. Empty after the file was renamed to the target.
    name: Vec<u8>,
}

/// Removes abandoned temporary files of this user from the directory of a local name. Files of
/// killed processes remain otherwise. Errors are ignored, because the files are harmless.
#[cfg(unix)]
pub(in crate::ssh::transfer) fn remove_litter(target: &LocalName) {
    for name in target.folder.names(LIMITS.entries).unwrap_or_default() {
        let name = paths::bytes(&name);
        if is_temporary(&name) && is_abandoned(&target.folder, &name) {
            let _ = target.folder.remove(&name);
        }
    }
}

/// Does nothing on this system, where locks of other processes may not be visible.
#[cfg(not(unix))]
pub(in crate::ssh::transfer) fn remove_litter(_: &LocalName) {}

impl LocalTemp {
    /// Creates a file with a random name, accessible only by this user.
    ///
    /// # Errors
    /// The disk has less free space than `bytes`, or the file cannot be created.
    pub(in crate::ssh::transfer) fn create_in(
        folder: &Arc<Folder>,
        bytes: u64,
    ) -> io::Result<Self> {
        // Refused at once, rather than after a transfer which fills the disk.
        if let Some(room) = folder.room()
            && room < bytes
        {
            let why = format!(
                "No space left: it is said to have {bytes} bytes, and there is room for {room}"
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }

        let name = temporary_name()?;
        let file = folder.create(&name)?;

        // The lock shows other processes that the file is in use. Not every file system supports
        // locks.
        #[cfg(unix)]
        let _ = file.try_lock();

        Ok(Self {
            file,
            folder: Arc::clone(folder),
            name,
        })
    }

    /// Sets mode and time, and renames the file over the target. The mode is reduced by the umask.
    /// It never includes the bits with which a server could plant a program that runs as another
    /// user.
    ///
    /// # Errors
    /// The attributes cannot be set, or the rename failed.
    pub(in crate::ssh::transfer) fn put_in_place(
        mut self,
        attributes: EntryAttributes,
        name: &[u8],
    ) -> io::Result<()> {
        #[cfg(unix)]
        {
            let mode = permitted(attributes.mode.unwrap_or(0o666));
            self.file
                .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        }

        if let Some(modified) = attributes.modified {
            self.file
                .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified.into()))?;
        }

        // Last, so that the target never has wrong attributes. An empty name keeps `drop` from
        // removing the target.
        self.folder.rename(&self.name, name)?;
        self.name.clear();

        Ok(())
    }
}

impl Drop for LocalTemp {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let _ = self.folder.remove(&self.name);
        }
    }
}

/// Returns a random name for a temporary file.
///
/// # Errors
/// The system provides no random number.
pub(in crate::ssh::transfer) fn temporary_name() -> io::Result<Vec<u8>> {
    let random = random_sentinel().map_err(io::Error::other)?;
    Ok(format!(".mcp-ssh-sessions.{}.part", random.as_str()).into_bytes())
}

/// Returns true if a name has the form of [`temporary_name`].
#[cfg(unix)]
fn is_temporary(name: &[u8]) -> bool {
    let random = name
        .strip_prefix(b".mcp-ssh-sessions.")
        .and_then(|rest| rest.strip_suffix(b".part"));
    random.is_some_and(|random| random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Returns true if a file of this user is not being written, nor about to be locked.
#[cfg(unix)]
fn is_abandoned(folder: &Folder, name: &[u8]) -> bool {
    // Only an open file can be locked, and the lock is released with it.
    let Ok(file) = folder.open(name) else {
        return false;
    };

    let Ok(found) = file.metadata() else {
        return false;
    };
    let ours = std::os::unix::fs::MetadataExt::uid(&found) == nix::unistd::geteuid().as_raw();
    let age = found
        .modified()
        .ok()
        .and_then(|modified| modified.elapsed().ok());

    ours && age.is_some_and(|age| age > ABANDONED_AFTER) && file.try_lock().is_ok()
}
