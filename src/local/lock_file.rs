//! Locks between processes.

use std::{
    fs::{File, TryLockError},
    io::{self, ErrorKind},
    thread,
    time::{Duration, Instant},
};

use super::LocalName;

/// Pause between two attempts to lock. Short, because there is no queue and a long sleeper keeps
/// missing the gaps.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// Locks a file, created if missing, until the returned handle is dropped. Blocks for `patience` at
/// most, and returns `None` if another process holds the lock for longer.
///
/// The file is never removed: otherwise two processes could lock two files of the same name.
///
/// # Errors
/// The file cannot be opened or locked, or another user has put it there.
pub(crate) fn lock_file(name: &LocalName, patience: Duration) -> io::Result<Option<File>> {
    let file = name.folder.open_to_append(&name.name, true)?;

    // Another user could plant a lock file in a shared directory and hold the lock forever.
    name.folder.trust_file(&file)?;
    let deadline = Instant::now() + patience;

    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Some systems let a signal interrupt even a lock that does not wait.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
