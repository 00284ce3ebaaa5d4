//! The file under the store: locked, set aside, replaced whole. All of it beside the file, in a directory that is open.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind, Write},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use super::StoreError;
use crate::{local::LocalName, session::saved::StoreDocument};

/// Between two tries for the lock: short, since there is no queue and whoever sleeps long keeps missing the gaps.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// How the name of a store that is not complete yet ends, after six letters and digits.
const TEMPORARY: &str = ".tmp";

/// Moves the file to the first free place. The place is taken with an empty file of our own, which the rename then
/// replaces, because a rename alone would replace anyone's.
pub(super) fn set_aside(place: &LocalName) -> io::Result<PathBuf> {
    let folder = &place.folder;
    let mut number = 1_u64;
    loop {
        let aside = place.beside("", &format!(".unreadable-{number}"));
        match folder.create(&aside.name) {
            Ok(placeholder) => {
                // Windows would not rename over an open file.
                drop(placeholder);
                return match folder.rename(&place.name, &aside.name) {
                    Ok(()) => Ok(aside.path),
                    Err(error) => folder.remove(&aside.name).and(Err(error)),
                };
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Replaces the file: the new content is on the disk before it gets the name. The lock must be held.
pub(super) fn write(place: &LocalName, document: &StoreDocument) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(document)?;
    json.push(b'\n');

    // What cannot be read again, being too large or nested too deep, is not written.
    StoreDocument::parse(&json).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    remove_litter(place);

    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let temporary = place.beside(
        ".",
        &format!(".{:06x}{TEMPORARY}", u32::from_be_bytes(random) >> 8),
    );

    let folder = &place.folder;
    let mut file = folder.create(&temporary.name)?;
    let written = file.write_all(&json).and_then(|()| file.sync_all());

    // Windows would not rename an open file.
    drop(file);

    if let Err(error) = written.and_then(|()| folder.rename(&temporary.name, &place.name)) {
        let _ = folder.remove(&temporary.name);
        return Err(error);
    }

    folder.sync();

    Ok(())
}

/// Removes what was begun by processes that were killed: under the lock nobody else has begun one.
fn remove_litter(place: &LocalName) {
    let prefix = place.beside(".", ".").name;
    for name in place.folder.names(usize::MAX).unwrap_or_default() {
        let name = name.as_encoded_bytes();
        let random = name
            .strip_prefix(&*prefix)
            .and_then(|rest| rest.strip_suffix(TEMPORARY.as_bytes()));

        if random
            .is_some_and(|random| random.len() == 6 && random.iter().all(u8::is_ascii_alphanumeric))
        {
            // What cannot be removed harms nothing.
            let _ = place.folder.remove(name);
        }
    }
}

/// Holds until the file is dropped. The lock file stays: removing it would let two processes lock two files of one name.
pub(super) fn lock(place: &LocalName, patience: Duration) -> Result<File, StoreError> {
    let beside = place.beside(".", ".lock");
    let failed = |source| StoreError::Lock(beside.path.clone(), source);
    let file = place
        .folder
        .open_to_append(&beside.name, true)
        .map_err(failed)?;

    place.folder.trust_file(&file).map_err(failed)?;
    let deadline = Instant::now() + patience;

    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(place.path.clone())),
            // Some systems let a signal interrupt even a lock that does not wait.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}
