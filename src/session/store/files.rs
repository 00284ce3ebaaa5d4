//! Operations on the store's file: lock, set aside, replace. All happen in the open directory of
//! the file.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    path::PathBuf,
    time::Duration,
};

use super::StoreError;
use crate::{
    local::{LocalName, lock_file},
    random,
    session::saved::StoreDocument,
};

/// Suffix of temporary files, after six letters and digits.
const TEMPORARY: &str = ".tmp";

/// Moves the store to the first free name `NAME.unreadable-N`, and returns the new path.
///
/// The name is reserved with an empty file, which the rename replaces. A rename without a
/// reservation could replace a file of another process.
pub(super) fn set_aside(location: &LocalName) -> io::Result<PathBuf> {
    let folder = &location.folder;
    let mut number = 1_u64;
    loop {
        let aside = location.sibling("", &format!(".unreadable-{number}"));
        match folder.create(&aside.name) {
            Ok(placeholder) => {
                // Windows would not rename over an open file.
                drop(placeholder);
                return match folder.rename(&location.name, &aside.name) {
                    Ok(()) => Ok(aside.path),
                    Err(error) => folder.remove(&aside.name).and(Err(error)),
                };
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Replaces the store. The caller must hold the lock.
///
/// The new content is on disk before the file gets its name, so a crash leaves the old or the new
/// store.
pub(super) fn write(location: &LocalName, document: &StoreDocument) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(document)?;
    json.push(b'\n');

    // Content that could not be read again, too large or nested too deep, is never written.
    StoreDocument::parse(&json).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    remove_litter(location);

    // Random, because `create` fails if a killed process has left a file of this name.
    let temporary = location.sibling(".", &format!(".{}{TEMPORARY}", random::hex::<3>()?));

    let folder = &location.folder;
    let mut file = folder.create(&temporary.name)?;
    let written = file.write_all(&json).and_then(|()| file.sync_all());

    // Windows would not rename an open file.
    drop(file);

    if let Err(error) = written.and_then(|()| folder.rename(&temporary.name, &location.name)) {
        let _ = folder.remove(&temporary.name);
        return Err(error);
    }

    // Without this, a power failure could undo the rename.
    folder.sync();

    Ok(())
}

/// Removes temporary files of killed processes. Under the lock, nobody else has a temporary file in
/// use.
fn remove_litter(location: &LocalName) {
    let prefix = location.sibling(".", ".").name;
    for name in location.folder.names(usize::MAX).unwrap_or_default() {
        let name = name.as_encoded_bytes();
        let random = name
            .strip_prefix(&*prefix)
            .and_then(|rest| rest.strip_suffix(TEMPORARY.as_bytes()));

        if random
            .is_some_and(|random| random.len() == 6 && random.iter().all(u8::is_ascii_alphanumeric))
        {
            // A leftover file does no harm, so failures are ignored.
            let _ = location.folder.remove(name);
        }
    }
}

/// Locks the store until the returned file is dropped.
///
/// # Errors
/// Returns [`StoreError::Locked`] after `patience`, and [`StoreError::Lock`] if the lock file
/// cannot be used.
pub(super) fn lock(location: &LocalName, patience: Duration) -> Result<File, StoreError> {
    let name = location.sibling(".", ".lock");

    lock_file(&name, patience)
        .map_err(|source| StoreError::Lock(name.path, source))?
        .ok_or_else(|| StoreError::Locked(location.path.clone()))
}
