//! Plans the transfer of a directory tree: which entries are moved, and in which order. The module
//! is pure: listings go in, and work comes out.

pub mod entry;
pub mod excludes;
pub mod limits;
pub mod name;
pub mod plan;
pub mod tally;
