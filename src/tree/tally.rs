//! Results of the transfer of a tree.

use std::fmt;

/// Counts of a tree's entries by result. A failed or omitted directory counts as one entry with its
/// whole content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of files moved.
    pub files: u64,
    /// Length of the moved files together, in bytes.
    pub bytes: u64,
    /// Number of links created.
    pub links: u64,
    /// Number of directories which now exist, whether created or found.
    pub directories: u64,
    /// Number of files and links skipped because both sides are equal.
    pub unchanged: u64,
    /// Number of devices, sockets and pipes, which are never moved.
    pub special: u64,
    /// Number of guarded entries of this machine, which were left out.
    pub left_out: usize,
    /// Paths of the first entries left out, with the reasons.
    pub named_left_out: Vec<(Vec<u8>, String)>,
    /// Numbers of entries which exist now but lack a property on the server.
    pub unkept: Unkept,
    /// Number of entries which could not be moved.
    pub failed: usize,
    /// Paths of the first failed entries, with the reasons.
    pub failures: Vec<(Vec<u8>, String)>,
}

/// Numbers of entries which lack a property besides their content, because the remote host does not
/// support the property.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unkept {
    /// Entries without mode and times.
    pub attributes: u64,
    /// Entries without mode, but with times.
    pub modes: u64,
    /// Entries without times, but with mode.
    pub times: u64,
    /// Files whose length could not be verified. The server had reported another length than the
    /// content has, or none.
    pub size: u64,
    /// Files written under their final name, instead of replacing the old file atomically.
    pub in_place: u64,
    /// Temporary files which the server did not remove.
    pub temporary: u64,
    /// Links whose relative target was made absolute.
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

/// Prints a part of a sentence for each property. Lengths are left out; they are reported where the
/// comparison is.
impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No `..`: a new property must not be forgotten here.
        let Self {
            attributes,
            modes,
            times,
            in_place,
            temporary,
            relative,
            size: _,
        } = *self;

        // Zeros are left out, so that a complete transfer prints an empty text.
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
                "written in place, because the server does not rename files or accepts no temporary files",
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

/// Returns a number with the noun in the right form, such as `1 file` or `2 files`.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
