//! Searches of a tree: the pattern and the glob, and what the programs of a host print.

pub mod blocks;
mod extended;
pub mod file;
pub mod glob;
pub mod matches;
pub mod names;
pub mod pattern;
