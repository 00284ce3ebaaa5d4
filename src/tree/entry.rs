//! What is in a tree. Names are bytes, as file systems and SFTP have them.

use std::sync::Arc;

/// One name in the listing of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name alone.
    pub name: Vec<u8>,
    /// What it names, links not followed.
    pub what: EntryKind,
    /// Its mode and time.
    pub attributes: EntryAttributes,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file of so many bytes.
    File(u64),
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Special,
}

/// What is kept of an entry besides its content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EntryAttributes {
    /// The permission bits (`07777`), if they are known.
    pub mode: Option<u32>,
    /// When it was last written to, in seconds since 1970, as version 3 of SFTP carries it.
    pub modified: Option<u32>,
}

/// A directory of a tree.
#[derive(Debug)]
pub struct Directory {
    /// The one that it is in; `None` for the root.
    parent: Option<Arc<Directory>>,
    name: Vec<u8>,
    depth: usize,
    /// Its mode and time.
    pub attributes: EntryAttributes,
}

/// What a tree has besides directories: a file or a link.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Where it is.
    pub directory: Arc<Directory>,
    /// The name alone.
    pub name: Vec<u8>,
    /// Which of the two.
    pub kind: LeafKind,
    /// Its mode and time.
    pub attributes: EntryAttributes,
}

/// What a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A symbolic link.
    Link,
}

impl Directory {
    /// The root of a tree.
    #[must_use]
    pub fn root(attributes: EntryAttributes) -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            name: Vec::new(),
            depth: 0,
            attributes,
        })
    }

    /// A directory in this one.
    #[must_use]
    pub fn inside(self: &Arc<Self>, name: Vec<u8>, attributes: EntryAttributes) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            name,
            depth: self.depth + 1,
            attributes,
        })
    }

    /// How many directories are above it in the tree; the root has none.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The names from the root down to this one; none for the root.
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

    /// The path of a name in this directory, from the root of the tree on.
    #[must_use]
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut names = self.names();
        names.push(name);
        names.join(&b'/')
    }

    /// The path of this directory, from the root of the tree on; empty for the root.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        self.names().join(&b'/')
    }
}

impl Leaf {
    /// Its path, from the root of the tree on.
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
