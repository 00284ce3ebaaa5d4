//! What came of the transfer of a tree.

/// What came of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were moved.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Files of these that ended elsewhere than their server had said, or of which it had said no length: their copies
    /// have what was read, and nothing to be compared with.
    pub unsure: u64,
    /// Links that were made.
    pub links: u64,
    /// Directories that were made or were there already.
    pub directories: u64,
    /// Files and links that were left as they are, because both sides are the same.
    pub unchanged: u64,
    /// Devices, sockets and pipes.
    pub special: u64,
    /// Entries that were left out because this machine trusts them, directories with all that is in them.
    pub left_out: usize,
    /// Paths of the first of them, and why.
    pub named_left_out: Vec<(Vec<u8>, String)>,
    /// Entries that could not be moved, directories with all that is in them.
    pub failed: usize,
    /// Paths of the first of them, and why.
    pub failures: Vec<(Vec<u8>, String)>,
}
