//! What bounds a tree: a server may go on for ever.

/// What a tree may be, so that one without end does not take time and memory without end.
#[derive(Debug, Clone, Copy)]
pub struct TreeLimits {
    /// Entries in all.
    pub entries: usize,
    /// Bytes of all names.
    pub name_bytes: usize,
    /// Directories inside one another.
    pub depth: usize,
    /// Bytes of a directory's path, from the root on.
    pub path: usize,
    /// Entries that may fail before the rest is not tried any more.
    pub failures: usize,
}

/// The limits in force. (OpenSSH's sftp goes 64 directories deep.)
pub const LIMITS: TreeLimits = TreeLimits {
    entries: 1_000_000,
    name_bytes: 100_000_000,
    depth: 256,
    path: 16_384,
    failures: 100,
};

/// Why the rest of a tree is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It has no end, or none that is near.
    #[error("the tree has more than {0} entries")]
    Entries(usize),
    /// Its names alone fill the memory.
    #[error("the names of the tree have more than {0} bytes")]
    Names(usize),
    /// Every further one would fail too.
    #[error("{0} entries could not be moved, so the rest was not tried")]
    Failures(usize),
}
