//! The files that each client has been shown, so that an edit notices if others have changed them.

use sha2::{Digest as _, Sha256};

use crate::ssh::{
    command::output::ReaderId,
    transfer::{FileContent, FileView},
};

/// Number of files that are remembered for a client.
const MAX_FILES: usize = 1_000;
/// Number of clients whose files are remembered. Nothing says when a client is gone.
const MAX_READERS: usize = 100;

/// Files of a session that clients were shown, by client and path.
///
/// A path is absolute, with symbolic links resolved where the host does that. Of too many files
/// or clients, the one that was noted first is forgotten.
#[derive(Debug, Default)]
pub struct ShownFiles {
    /// The last entry was noted last, here and in the lists of files.
    readers: Vec<(ReaderId, FilesByPath)>,
}

/// Files with their paths.
type FilesByPath = Vec<(Vec<u8>, ShownFile)>;

/// State of a file when a client was shown some of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShownFile {
    /// Length in bytes, if known.
    pub size: Option<u64>,
    /// Time of the last modification, in seconds since 1970, if known.
    pub modified: Option<u32>,
    /// SHA-256 of the whole content, unless only a part of the file was read.
    pub sha256: Option<[u8; 32]>,
}

impl ShownFiles {
    /// Notes that a client was shown a file, in place of what was noted before.
    pub fn note(&mut self, reader: ReaderId, path: Vec<u8>, file: ShownFile) {
        let mut files = take(&mut self.readers, &reader).unwrap_or_default();
        take(&mut files, &path);

        push(&mut files, (path, file), MAX_FILES);
        push(&mut self.readers, (reader, files), MAX_READERS);
    }

    /// Returns the state of a file that a client was shown last; `None` if it was shown none.
    #[must_use]
    pub fn shown(&self, reader: ReaderId, path: &[u8]) -> Option<ShownFile> {
        let (_, files) = self.readers.iter().find(|(held, _)| *held == reader)?;
        let (_, file) = files.iter().find(|(held, _)| held == path)?;

        Some(*file)
    }
}

impl ShownFile {
    /// Describes a file whose whole content is known, such as after an edit.
    #[must_use]
    pub fn whole(content: &[u8], modified: Option<u32>) -> Self {
        Self {
            size: Some(content.len() as u64),
            modified,
            sha256: Some(Sha256::digest(content).into()),
        }
    }

    /// Describes the file of a page; `None` for a directory.
    #[must_use]
    pub fn of(view: &FileView) -> Option<Self> {
        let is_file = !matches!(view.content, FileContent::Directory(_));
        is_file.then_some(Self {
            size: view.size,
            modified: view.modified,
            sha256: view.sha256,
        })
    }

    /// Returns true if the file still has the content of which a client was shown some.
    ///
    /// The content decides where it is known, whatever the time says. Otherwise size and time have
    /// to be known and the same.
    #[must_use]
    pub fn matches(&self, content: &[u8], modified: Option<u32>) -> bool {
        match self.sha256 {
            Some(sha256) => sha256 == <[u8; 32]>::from(Sha256::digest(content)),
            None => {
                self.size == Some(content.len() as u64)
                    && self.modified.is_some()
                    && self.modified == modified
            }
        }
    }
}

/// Removes the entry of a key, and returns its value.
fn take<K: PartialEq, V>(entries: &mut Vec<(K, V)>, key: &K) -> Option<V> {
    let at = entries.iter().position(|(held, _)| held == key)?;
    Some(entries.remove(at).1)
}

/// Appends an entry to at most `most`, and drops the first one if there are more.
fn push<T>(entries: &mut Vec<T>, entry: T, most: usize) {
    entries.push(entry);
    if entries.len() > most {
        entries.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(size: u64) -> ShownFile {
        ShownFile {
            size: Some(size),
            ..ShownFile::default()
        }
    }

    #[test]
    fn the_content_decides_where_it_is_known() {
        let whole = ShownFile::whole(b"text\n", Some(5));
        let part = ShownFile {
            sha256: None,
            ..whole
        };
        let timeless = ShownFile {
            modified: None,
            ..part
        };
        let sizeless = ShownFile { size: None, ..part };

        for (shown, content, modified, is_same) in [
            (whole, "text\n", Some(5), true),
            (whole, "text\n", Some(6), true),
            (whole, "text\n", None, true),
            (whole, "Text\n", Some(5), false),
            (whole, "", Some(5), false),
            (part, "text\n", Some(5), true),
            (part, "Text\n", Some(5), true),
            (part, "text\n", Some(6), false),
            (part, "text\n", None, false),
            (part, "text", Some(5), false),
            (timeless, "text\n", Some(5), false),
            (timeless, "text\n", None, false),
            (sizeless, "text\n", Some(5), false),
        ] {
            let found = shown.matches(content.as_bytes(), modified);
            assert_eq!(found, is_same, "{shown:?} {content:?} {modified:?}");
        }
    }

    #[test]
    fn each_client_has_its_own_files() {
        let (one, other) = (ReaderId::unique(), ReaderId::unique());
        let mut files = ShownFiles::default();
        files.note(one, b"/a".to_vec(), sized(1));
        files.note(one, b"/b".to_vec(), sized(2));
        files.note(other, b"/a".to_vec(), sized(3));
        files.note(one, b"/a".to_vec(), sized(4));

        assert_eq!(files.shown(one, b"/a"), Some(sized(4)));
        assert_eq!(files.shown(one, b"/b"), Some(sized(2)));
        assert_eq!(files.shown(other, b"/a"), Some(sized(3)));
        assert_eq!(files.shown(other, b"/b"), None);
        assert_eq!(files.shown(ReaderId::SHARED, b"/a"), None);
    }

    #[test]
    fn what_was_noted_first_is_forgotten() {
        let reader = ReaderId::unique();
        let path = |number: u64| number.to_string().into_bytes();
        let mut files = ShownFiles::default();
        for number in 0..=1_000 {
            files.note(reader, path(number), sized(number));
            // Noted again and again, this file is never the oldest.
            files.note(reader, b"/used".to_vec(), sized(0));
        }

        assert_eq!(files.shown(reader, &path(1)), None);
        assert_eq!(files.shown(reader, &path(2)), Some(sized(2)));
        assert!(files.shown(reader, b"/used").is_some());

        for _ in 0..99 {
            files.note(ReaderId::unique(), path(1), sized(1));
            files.note(reader, path(1), sized(1));
        }
        let idle = ReaderId::unique();
        files.note(idle, path(1), sized(1));
        for _ in 0..100 {
            files.note(ReaderId::unique(), path(1), sized(1));
        }
        assert_eq!(files.shown(idle, &path(1)), None);
        assert_eq!(files.shown(reader, &path(1)), None);
        assert_eq!(files.readers.len(), 100);
    }
}
