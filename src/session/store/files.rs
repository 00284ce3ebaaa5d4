//! The file under the store: locked, set aside, replaced whole.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::StoreError;
use crate::session::saved::StoreDocument;

/// Between two tries for the lock: short, since there is no queue and whoever sleeps long keeps missing the gaps.
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// How the name of a store that is not complete yet ends, after six letters and digits of `tempfile`.
const TEMPORARY: &str = ".tmp";

/// Moves the file to the first free place. The place is taken with an empty file of our own, which the rename then
/// replaces, because a rename alone would replace anyone's.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let aside = path.with_file_name(name_around("", path, &format!(".unreadable-{number}")));
        match OpenOptions::new().write(true).create_new(true).open(&aside) {
            Ok(placeholder) => {
                // Windows would not rename over an open file.
                drop(placeholder);
                return match fs::rename(path, &aside) {
                    Ok(()) => Ok(aside),
                    Err(error) => fs::remove_file(&aside).and(Err(error)),
                };
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Replaces the file: the new content is on the disk before it gets the name. The lock must be held.
pub(super) fn write(path: &Path, document: &StoreDocument) -> io::Result<()> {
    let mut json = serde_json::to_vec_pretty(document)?;
    json.push(b'\n');
    // What cannot be read again, being too large or nested too deep, is not written.
    StoreDocument::parse(&json).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    remove_litter(path);
    // `tempfile` makes it 0600 and removes it if anything fails.
    let mut file =
        tempfile::Builder::new().prefix(&name_around(".", path, ".")).suffix(TEMPORARY).tempfile_in(directory(path))?;
    file.write_all(&json)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_directory(directory(path));
    Ok(())
}

/// Removes what was begun by processes that were killed: under the lock nobody else has begun one.
fn remove_litter(path: &Path) {
    let prefix = name_around(".", path, ".");
    for entry in fs::read_dir(directory(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
        let random = random.and_then(|rest| rest.strip_suffix(TEMPORARY.as_bytes()));
        if random.is_some_and(|random| random.len() == 6 && random.iter().all(u8::is_ascii_alphanumeric)) {
            // What cannot be removed harms nothing.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Holds until the file is dropped. The lock file stays: removing it would let two processes lock two files of one name.
pub(super) fn lock(path: &Path, patience: Duration) -> Result<File, StoreError> {
    let lock_path = path.with_file_name(name_around(".", path, ".lock"));
    let failed = |source| StoreError::Lock(lock_path.clone(), source);
    let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&lock_path).map_err(failed)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path.to_owned())),
            // Some systems let a signal interrupt even a lock that does not wait.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

pub(super) fn create_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    private_directory(builder.recursive(true))
        .create(path)
        .map_err(|source| StoreError::CreateDirectory(path.to_owned(), source))
}

/// The directory that a path is in, also where it names none.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path's last part with something around it.
pub(super) fn name_around(before: &str, path: &Path, after: &str) -> OsString {
    let mut name = OsString::from(before);
    name.push(path.file_name().unwrap_or(OsStr::new("store")));
    name.push(after);
    name
}

#[cfg(unix)]
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600)
}

#[cfg(unix)]
pub(super) fn private_directory(builder: &mut DirBuilder) -> &mut DirBuilder {
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700)
}

/// Makes a rename last through a power failure. Not all file systems can, and the new file is in place by now: to report
/// a failure would be to say the opposite.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) {
    let _ = File::open(path).and_then(|directory| directory.sync_all());
}

/// A file in the person's profile directory is theirs alone already.
#[cfg(not(unix))]
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(not(unix))]
pub(super) fn private_directory(builder: &mut DirBuilder) -> &mut DirBuilder {
    builder
}

/// Directories cannot be opened as files here, nor need to be.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) {}
