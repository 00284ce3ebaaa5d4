//! Patches in the format of Codex's `apply_patch`, over one or more files.
//!
//! ```text
//! *** Begin Patch
//! *** Update File: src/app.py
//! *** Move to: src/main.py
//! @@ def greet():
//!      name = read()
//! -    print("Hi")
//! +    print("Hello")
//! *** Add File: notes.txt
//! +one line
//! *** Delete File: old.txt
//! *** End Patch
//! ```
//!
//! Unlike `apply_patch`, this module never guesses between several places, never overwrites a file
//! that a section adds or moves to, and never adds a newline at the end of a file.

mod apply;
mod hunk;
mod parse;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    nearest::Nearest,
    replace::{following, line_list},
};
use crate::foreign_text::escape_line;

/// Patch over one or more files, made by [`Patch::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    sections: Vec<Section>,
}

/// Change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Section {
    path: Vec<u8>,
    operation: Operation,
}

/// Kind of change, named by the header of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    Add(Vec<u8>),
    Delete,
    Update {
        move_to: Option<Vec<u8>>,
        hunks: Vec<Hunk>,
    },
}

/// Lines of a file that change together, with lines around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Hunk {
    /// Line of the patch at which the hunk begins, from 1.
    line: usize,
    /// Lines of the file after which the hunk is looked for, one after another.
    headers: Vec<Vec<u8>>,
    lines: Vec<HunkLine>,
    /// True if the hunk ends with the last line of the file.
    at_end: bool,
}

/// Line of a hunk, without a line end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HunkLine {
    Keep(Vec<u8>),
    Remove(Vec<u8>),
    Add(Vec<u8>),
}

/// Result of a patch, made by [`Patch::apply`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes of files, by path. Files that the patch leaves as they are have none.
    pub changes: Vec<Change>,
    /// Hunks whose lines were found only with leniency.
    pub lenient: Vec<LenientHunk>,
}

/// Change of one file by a patch. A rename is listed under its new path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The file does not exist and is created.
    Create {
        /// Path of the file.
        path: Vec<u8>,
        /// Content of the file.
        content: Vec<u8>,
    },
    /// The file exists and gets a new content.
    Write {
        /// Path of the file.
        path: Vec<u8>,
        /// New content of the file.
        content: Vec<u8>,
    },
    /// The file is renamed to a path that does not exist.
    Rename {
        /// Path of the file so far.
        from: Vec<u8>,
        /// New path of the file.
        to: Vec<u8>,
        /// New content, or `None` if the content stays.
        content: Option<Vec<u8>>,
    },
    /// The file is deleted.
    Delete {
        /// Path of the file.
        path: Vec<u8>,
    },
}

/// Hunk whose lines differ from those of the file in a way that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LenientHunk {
    /// Path of the file.
    pub path: Vec<u8>,
    /// Line of the patch at which the hunk begins, from 1.
    pub line: usize,
    /// Differences that were accepted.
    pub leniency: Leniency,
}

/// Differences between lines that are ignored, from strict to lenient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leniency {
    /// The lines are equal, byte for byte.
    Exact,
    /// A CR before the line end is ignored. Such matches are not reported.
    LineEnds,
    /// Whitespace at the end of a line is ignored.
    TrailingWhitespace,
    /// Whitespace at both ends of a line is ignored.
    Indentation,
}

impl fmt::Display for Leniency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Exact => "exactly",
            Self::LineEnds => "without regard to line ends",
            Self::TrailingWhitespace => "without regard to whitespace at the end of lines",
            Self::Indentation => "without regard to indentation",
        })
    }
}

/// Reason for which a patch is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The text is not in the format.
    #[error("line {line} of the patch: {reason}")]
    Syntax {
        /// Line of the patch, from 1.
        line: usize,
        /// Rule of the format that is violated.
        reason: &'static str,
    },
    /// A file that is updated or deleted does not exist.
    #[error("{} does not exist", escape_line(.0))]
    NoFile(Vec<u8>),
    /// A file that is added, or the target of a move, exists.
    #[error("{} exists already; use Update File to change it", escape_line(.0))]
    FileExists(Vec<u8>),
    /// A hunk does not fit the file.
    #[error("{}, hunk at line {line} of the patch: {problem}", escape_line(.path))]
    Hunk {
        /// Path of the file.
        path: Vec<u8>,
        /// Line of the patch at which the hunk begins, from 1.
        line: usize,
        /// Reason for which the hunk does not fit.
        problem: HunkProblem,
    },
}

/// Reason for which a hunk does not fit its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HunkProblem {
    /// A line after `@@` does not occur after the hunk before.
    #[error("the line \"{}\" after @@ was not found", escape_line(.0))]
    NoHeader(Vec<u8>),
    /// The kept and removed lines do not occur. The value is the most similar place, if any.
    #[error("its lines were not found{}", following(.0.as_deref()))]
    NotFound(Option<Box<Nearest>>),
    /// The lines occur, but only before the header or the hunk before.
    #[error("its lines occur only earlier in the file, at {}; put hunks in the order of the file",
        line_list(.0, 0))]
    OutOfOrder(Vec<usize>),
    /// The lines occur at several places.
    #[error("its lines were found {count} times: {}; add lines around them, or a line after @@",
        line_list(.lines, *.count))]
    FoundSeveralTimes {
        /// Number of places.
        count: usize,
        /// First lines of the first 20 places, from 1.
        lines: Vec<usize>,
    },
    /// The lines occur, but not at the end of the file.
    #[error("its lines are not the last lines of the file, as *** End of File says")]
    NotAtEnd,
    /// A hunk with a header has only added lines, so the place is not certain.
    #[error("it has only added lines; add a line of the file before or after them")]
    OnlyAdded,
}

impl Patch {
    /// Parses a patch. If its first line ends in CRLF, so do the others.
    ///
    /// # Errors
    /// Returns [`PatchError::Syntax`] with the first line that violates the format.
    pub fn parse(patch: &[u8]) -> Result<Self, PatchError> {
        parse::sections(patch).map(|sections| Self { sections })
    }

    /// Returns all paths that the patch names. [`apply`](Self::apply) needs the files among them.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<&[u8]> {
        self.sections
            .iter()
            .flat_map(|section| {
                let target = match &section.operation {
                    Operation::Update { move_to, .. } => move_to.as_deref(),
                    Operation::Add(_) | Operation::Delete => None,
                };
                [Some(section.path.as_slice()), target]
            })
            .flatten()
            .collect()
    }

    /// Replaces each path, so that different names of a file become the same.
    ///
    /// # Errors
    /// Returns the first error of `resolve`. The patch is then of no use.
    pub fn resolve<E>(
        &mut self,
        mut resolve: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        for section in &mut self.sections {
            section.path = resolve(&section.path)?;
            if let Operation::Update {
                move_to: Some(target),
                ..
            } = &mut section.operation
            {
                *target = resolve(target)?;
            }
        }

        Ok(())
    }

    /// Applies all sections in order to `files`, which maps each existing path to its content.
    ///
    /// Later sections see what earlier ones did. Lines that a hunk keeps stay byte for byte, and
    /// added lines take the line end of the line they replace or follow.
    ///
    /// # Errors
    /// Returns the first [`PatchError`]. No file is changed by this function in any case.
    pub fn apply(&self, files: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Applied, PatchError> {
        apply::apply(&self.sections, files)
    }
}
