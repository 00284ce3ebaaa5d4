//! A file on this machine that is not complete yet.

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

/// How long a temporary file must not have been written to before it can be one that was left behind: where files cannot
/// be locked, a download that stalls is not to lose its own.
#[cfg(unix)]
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// A temporary file beside its target. Dropping it removes it.
#[derive(Debug)]
pub(in crate::ssh::transfer) struct LocalTemp {
    pub(in crate::ssh::transfer) file: File,
    folder: Arc<Folder>,
    /// Empty once it is in its place.
    name: Vec<u8>,
}

/// Removes what processes of this user that were killed have left beside a place. What cannot be removed stays: it harms
/// nothing.
#[cfg(unix)]
pub(in crate::ssh::transfer) fn remove_litter(place: &LocalName) {
    for name in place.folder.names(LIMITS.entries).unwrap_or_default() {
        let name = paths::bytes(&name);
        if is_temporary(&name) && is_abandoned(&place.folder, &name) {
            let _ = place.folder.remove(&name);
        }
    }
}

/// A file that is written here is locked by its process, which locks elsewhere may not show.
#[cfg(not(unix))]
pub(in crate::ssh::transfer) fn remove_litter(_: &LocalName) {}

impl LocalTemp {
    /// Makes one, under a name that nobody else has, for this user alone, where there is room for so many bytes.
    pub(in crate::ssh::transfer) fn beside(folder: &Arc<Folder>, bytes: u64) -> io::Result<Self> {
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

        // By this others know that it is being written; not every file system can.
        #[cfg(unix)]
        let _ = file.try_lock();

        Ok(Self {
            file,
            folder: Arc::clone(folder),
            name,
        })
    }

    /// Gives it mode and time, and the name of its target, over whatever has that. Modes are taken without the bits that
    /// would let a server plant a program that runs as somebody else, and without those that the umask keeps back.
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

/// A name that nobody else has.
pub(in crate::ssh::transfer) fn temporary_name() -> io::Result<Vec<u8>> {
    let random = random_sentinel().map_err(io::Error::other)?;
    Ok(format!(".mcp-ssh-sessions.{}.part", random.as_str()).into_bytes())
}

#[cfg(unix)]
fn is_temporary(name: &[u8]) -> bool {
    let random = name
        .strip_prefix(b".mcp-ssh-sessions.")
        .and_then(|rest| rest.strip_suffix(b".part"));
    random.is_some_and(|random| random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit))
}

/// Whether it is a file of this user that nobody writes, nor is about to lock.
#[cfg(unix)]
fn is_abandoned(folder: &Folder, name: &[u8]) -> bool {
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
