//! The file of the audit log, shared by several processes. All operations block.
//!
//! A full file gets the next free name `NAME.1`, `NAME.2` …, and the chain goes on in a new one. No
//! file is ever removed: otherwise whoever floods the log could push their traces out of it.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    audit::{chain::Tail, record::Event},
    local::{EntryKind, Folder, LocalName, lock_file, only_ours},
};

/// Time limit for the lock. Another process holds it for less than a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Length of the end of a file in which the last line is looked for first, in bytes. Most lines are
/// much shorter.
const TAIL_BYTES: u64 = 4 * 1024;

/// Failure to write or read the audit log, with its path.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no path and no home directory.
    #[error("there is no home directory for the audit log")]
    Nowhere,
    /// Another process has held the lock for five seconds.
    #[error("the audit log {0} is locked by another process")]
    Locked(PathBuf),
    /// The line could not be written.
    #[error("the audit log {0} cannot be written: {1}")]
    Write(PathBuf, io::Error),
    /// A file of the log could not be read.
    #[error("the audit log {0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
}

/// Path and size limit of an audit log. Holds nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFile {
    path: PathBuf,
    /// Size in bytes from which a file gets no further lines.
    max_bytes: u64,
}

impl AuditFile {
    /// Returns the log at this path. Touches nothing.
    #[must_use]
    pub fn new(path: PathBuf, max_bytes: u64) -> Self {
        Self { path, max_bytes }
    }

    /// Returns the path of the file that is written at present.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line and returns the tail after it. `lost` is the number of lines that could not
    /// be written before.
    ///
    /// # Errors
    /// Returns [`AuditError::Locked`] or [`AuditError::Write`]; nothing was written then.
    pub fn append(&self, lost: u64, event: Event) -> Result<Tail, AuditError> {
        let failed = |error| AuditError::Write(self.path.clone(), error);
        let log = self.location(true).map_err(failed)?;

        let lock = log.sibling(".", ".lock");
        let _lock = lock_file(&lock, LOCK_PATIENCE)
            .map_err(failed)?
            .ok_or_else(|| AuditError::Locked(self.path.clone()))?;

        self.append_locked(&log, lost, event).map_err(failed)
    }

    /// Hands each file of the log to `take`, with its name, the oldest first.
    ///
    /// # Errors
    /// Returns [`AuditError::Read`] if there is no log, or one of its files cannot be read.
    pub fn read(&self, mut take: impl FnMut(&str, &[u8])) -> Result<(), AuditError> {
        let failed = |error| AuditError::Read(self.path.clone(), error);
        let log = self.location(false).map_err(failed)?;

        let mut files = full_files(&log).map_err(failed)?;
        files.push(log.clone());
        let is_there = |file: &LocalName| file.find().map(|found| found.is_some());

        let mut count = 0;
        for file in files {
            // After a rotation there is no new file yet.
            if !is_there(&file).map_err(failed)? {
                continue;
            }

            let mut text = Vec::new();
            let mut opened = file.open().map_err(failed)?;
            opened.read_to_end(&mut text).map_err(failed)?;
            take(&String::from_utf8_lossy(&file.name), &text);
            count += 1;
        }

        if count == 0 {
            return Err(failed(ErrorKind::NotFound.into()));
        }

        Ok(())
    }

    /// Returns the name of the file in its open folder. With `create`, a missing folder is created
    /// (0700), and one into which others may write is refused.
    fn location(&self, create: bool) -> io::Result<LocalName> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };

        let opened = if create {
            Folder::made(folder)?.if_ours(folder)?
        } else {
            Folder::root(folder)?
        };

        let name = self.path.file_name().unwrap_or_default();

        Ok(LocalName {
            folder: Arc::new(opened),
            name: name.as_encoded_bytes().to_vec(),
            path: self.path.clone(),
        })
    }

    fn append_locked(&self, log: &LocalName, lost: u64, event: Event) -> io::Result<Tail> {
        let mut file = open(log)?;
        let mut length = file.metadata()?.len();

        if length >= self.max_bytes {
            match rotate(log) {
                Ok(()) => {
                    file = open(log)?;
                    length = file.metadata()?.len();
                }
                // A file that may only grow (chattr(1)) cannot be renamed. It still takes lines.
                Err(error) => tracing::debug!(%error, "the audit log cannot be rotated"),
            }
        }

        let tail = match tail_of(&mut file, length)? {
            Some(tail) => tail,
            None => tail_before(log)?.in_file(&whole(&mut file)?),
        };

        let now = DateTime::<Utc>::from(SystemTime::now());
        let now = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        let (line, tail) = tail.append(now, lost, event)?;
        write(&mut file, length, line.as_bytes())?;

        Ok(tail)
    }
}

/// Opens the file that is written, created if missing (0600).
fn open(log: &LocalName) -> io::Result<File> {
    if let Some((EntryKind::Link, _)) = log.find()? {
        return Err(io::Error::other("it is a link"));
    }

    let file = log.folder.open_to_append(&log.name, true)?;
    only_ours(&file)?;

    Ok(file)
}

/// Writes a line in one write, or nothing of it.
fn write(file: &mut File, length: u64, line: &[u8]) -> io::Result<()> {
    loop {
        match file.write(line) {
            Ok(written) if written == line.len() => return Ok(()),
            Ok(_) => {
                // The beginning of a line would be no use to anybody.
                file.set_len(length)?;
                return Err(ErrorKind::StorageFull.into());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the tail of a file of this length; `None` if the file has no whole line.
fn tail_of(file: &mut File, length: u64) -> io::Result<Option<Tail>> {
    let mut size = TAIL_BYTES;

    loop {
        let start = length.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut text = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
        file.read_exact(&mut text)?;

        // The first line may have begun before.
        let lines = if start == 0 {
            text.as_slice()
        } else {
            let end = memchr::memchr(b'\n', &text).map_or(text.len(), |end| end + 1);
            text.get(end..).unwrap_or_default()
        };

        match Tail::find(lines) {
            None if start > 0 => size *= 8,
            tail => return Ok(tail),
        }
    }
}

/// Returns the tail of the full files: that of the newest which has a whole line.
fn tail_before(log: &LocalName) -> io::Result<Tail> {
    for full in full_files(log)?.iter().rev() {
        let mut file = full.open()?;
        let length = file.metadata()?.len();

        if let Some(tail) = tail_of(&mut file, length)? {
            return Ok(tail);
        }
    }

    Ok(Tail::default())
}

fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut text)?;

    Ok(text)
}

/// Gives a full file its last name: the next number.
fn rotate(log: &LocalName) -> io::Result<()> {
    let last = full_numbers(log)?.last().copied().unwrap_or_default();
    let full = log.sibling("", &format!(".{}", last + 1));

    log.folder.rename(&log.name, &full.name)
}

/// Returns the full files, the oldest first.
fn full_files(log: &LocalName) -> io::Result<Vec<LocalName>> {
    let numbers = full_numbers(log)?.into_iter();
    Ok(numbers
        .map(|number| log.sibling("", &format!(".{number}")))
        .collect())
}

/// Returns the numbers of the full files, sorted.
fn full_numbers(log: &LocalName) -> io::Result<Vec<u64>> {
    let prefix = log.sibling("", ".").name;
    let number = |name: &[u8]| {
        let number = std::str::from_utf8(name.strip_prefix(&*prefix)?).ok()?;
        // Only the spelling that this program uses.
        let number: u64 = number.parse().ok()?;
        let is_ours = format!("{}{number}", String::from_utf8_lossy(&prefix)).as_bytes() == name;
        is_ours.then_some(number)
    };

    let names = log.folder.names(usize::MAX)?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| number(name.as_encoded_bytes()))
        .collect();
    numbers.sort_unstable();

    Ok(numbers)
}
