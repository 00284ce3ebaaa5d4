//! What came of the transfer of a tree.

use std::fmt;

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
    /// The mode alone.
    pub modes: u64,
    /// The times alone.
    pub times: u64,
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
        self.modes += other.modes;
        self.times += other.times;
        self.size += other.size;
        self.in_place += other.in_place;
        self.temporary += other.temporary;
        self.relative += other.relative;
    }
}

/// For people: a part of a sentence for each thing, but for the lengths, which are told where it is told what was compared.
impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attributes,
            modes,
            times,
            in_place,
            temporary,
            relative,
            size: _,
        } = *self;

        let mut separator = "";

        for (count, one, many, what) in [
            (
                attributes,
                "entry",
                "entries",
                "without mode and times, which the server does not set",
            ),
            (
                modes,
                "entry",
                "entries",
                "without mode, which the server does not set",
            ),
            (
                times,
                "entry",
                "entries",
                "without times, which the server does not set",
            ),
            (
                in_place,
                "file",
                "files",
                "written in place, as the server renames nothing or takes no temporary files",
            ),
            (
                temporary,
                "temporary file (*.part)",
                "temporary files (*.part)",
                "left behind, as the server removes nothing",
            ),
            (
                relative,
                "link",
                "links",
                "with an absolute path, as the server keeps no relative ones",
            ),
        ] {
            if count > 0 {
                write!(f, "{separator}{} {what}", counted(count, one, many))?;
                separator = "; ";
            }
        }

        Ok(())
    }
}

/// A number with its noun.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
