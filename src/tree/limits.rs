//! Limits of a tree, because a hostile server can present a tree without end.

/// Limits for the size of a tree, which bound the time and memory of a transfer.
#[derive(Debug, Clone, Copy)]
pub struct TreeLimits {
    /// Number of entries in total.
    pub entries: usize,
    /// Length of all names together, in bytes.
    pub name_bytes: usize,
    /// Depth of nested directories.
    pub depth: usize,
    /// Length of a directory's path relative to the root, in bytes.
    pub path: usize,
    /// Number of failed entries after which the rest is not tried.
    pub failures: usize,
}

/// Limits of every transfer. For comparison, OpenSSH's sftp stops 64 directories deep.
pub const LIMITS: TreeLimits = TreeLimits {
    entries: 1_000_000,
    name_bytes: 100_000_000,
    depth: 256,
    path: 16_384,
    failures: 100,
};

/// Reason for which a tree is not moved to the end. The value is the limit or count reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The tree has too many entries.
    #[error("the tree has more than {0} entries")]
    Entries(usize),
    /// The names of the tree are too long in total.
    #[error("the names of the tree have more than {0} bytes")]
    Names(usize),
    /// Too many entries have failed, so the rest would probably fail too.
    #[error("{0} entries could not be moved, so the rest was not tried")]
    Failures(usize),
}
