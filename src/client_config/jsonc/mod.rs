//! JSON with comments and trailing commas, changed as text.

mod change;
mod find;
mod place;
mod write;

pub(super) use self::{
    change::{append, insert, missing, prune, remove, remove_member, replace},
    find::{JsonDocument, strings},
    write::Node,
};

#[cfg(test)]
mod tests;
