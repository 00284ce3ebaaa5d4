//! Entries of a directory tree. Names are bytes, as in file systems and SFTP.

use std::sync::Arc;

/// An entry in the listing of a directory, as reported by the file system or the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Name of the entry, without a path.
    pub name: Vec<u8>,
    /// Type of the entry, without following links.
    pub what: EntryKind,
    /// Mode and modification time.
    pub attributes: EntryAttributes,
}

/// Type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file, with the length in bytes.
    File(u64),
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Special,
}

/// Metadata of an entry which a transfer preserves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryAttributes {
    /// Permission bits (`07777`), or `None` if unknown.
    pub mode: Option<u32>,
    /// Time of the last modification in seconds since 1970, as in SFTP version 3. `None` if
    /// unknown.
    pub modified: Option<u32>,
}

/// A directory of a tree. Each directory refers to its parent, so that a path exists only while
/// somebody needs it.
#[derive(Debug)]
pub struct Directory {
    /// Directory above, or `None` for the root.
    parent: Option<Arc<Directory>>,
    name: Vec<u8>,
    depth: usize,
    /// Mode and modification time.
    pub attributes: EntryAttributes,
}

/// An entry of a tree which is moved as a whole: a file or a link.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Directory which holds the entry.
    pub directory: Arc<Directory>,
    /// Name of the entry, without a path.
    pub name: Vec<u8>,
    /// Type of the entry.
    pub kind: LeafKind,
    /// Mode and modification time.
    pub attributes: EntryAttributes,
}

/// Type of a [`Leaf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// A regular file, with the length in bytes.
    File(u64),
    /// A symbolic link.
    Link,
}

impl Directory {
    /// Creates the root of a tree.
    #[must_use]
    pub fn root(attributes: EntryAttributes) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            name: Vec::new(),
            depth: 0,
            attributes,
        })
    }

    /// Creates a directory inside this directory.
    #[must_use]
    pub fn inside(self: &Arc<Self>, name: Vec<u8>, attributes: EntryAttributes) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name,
            depth: self.depth + 1,
            attributes,
        })
    }

    /// Returns the number of directories above in the tree; 0 for the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns the names from below the root down to this directory. The root has no names.
    #[must_use]
    pub fn names(&self) -> Vec<&[u8]> {
        let (mut names, mut at) = (Vec::with_capacity(self.depth), self);
        while let Some(parent) = &at.parent {
            names.push(at.name.as_slice());
            at = parent;
        }
        names.reverse();
        names
    }

    /// Returns the path of an entry of this directory, relative to the root of the tree.
    #[must_use]
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut names = self.names();
        names.push(name);
        names.join(&b'/')
    }

    /// Returns the path of this directory, relative to the root of the tree. The path of the root
    /// is empty.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        self.names().join(&b'/')
    }
}

impl Leaf {
    /// Returns the path of the entry, relative to the root of the tree.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        self.directory.path_of(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_names_from_the_root_on() {
        let root = Directory::root(EntryAttributes::default());
        let below = root
            .inside(b"a".to_vec(), EntryAttributes::default())
            .inside(b"b".to_vec(), EntryAttributes::default());

        assert_eq!(
            (root.path().as_slice(), root.path_of(b"x")),
            (&b""[..], b"x".to_vec())
        );

        assert_eq!(
            (below.path(), below.path_of(b"\xff"), below.depth()),
            (b"a/b".to_vec(), b"a/b/\xff".to_vec(), 2)
        );
    }
}
