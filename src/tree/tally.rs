//! What came of the transfer of a tree.

/// What came of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Files that were moved.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
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
    /// Files, links and directories that are there, while the server has not kept something about them.
    pub unkept: Unkept,
    /// Entries that could not be moved, directories with all that is in them.
    pub failed: usize,
    /// Paths of the first of them, and why.
    pub failures: Vec<(Vec<u8>, String)>,
}

/// How many entries lack something besides their content, because of what the remote host does not do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unkept {
    /// Mode and times.
    pub attributes: u64,
    /// A length that can be compared: the server had said another one than the file has, or none.
    pub size: u64,
    /// The step in which the new file takes the place of the old one: it was written under its own name.
    pub in_place: u64,
    /// The removal of a temporary file, which is still there.
    pub temporary: u64,
    /// The relative path of a link: it was made absolute.
    pub relative: u64,
}

impl std::ops::AddAssign for Unkept {
    fn add_assign(&mut self, other: Self) {
        self.attributes += other.attributes;
        self.size += other.size;
        self.in_place += other.in_place;
        self.temporary += other.temporary;
        self.relative += other.relative;
    }
}
