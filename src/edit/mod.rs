//! Reads, searches and edits the bytes of a file. Pure: bytes and values in, facts out.
//!
//! A file is bytes, not text. An edit changes only the bytes that the caller named, so line ends, a
//! byte order mark and bytes that are not UTF-8 stay.

pub mod diff;
mod display;
pub mod encoded_text;
mod encoding;
pub mod kind;
mod lines;
pub mod listing;
pub mod nearest;
pub mod page;
pub mod patch;
pub mod replace;
pub mod search;
