//! What of a directory tree is moved, and in which order. Pure: listings in, work out.

pub mod entry;
pub mod excludes;
pub mod limits;
pub mod name;
pub mod plan;
pub mod tally;
