//! What the store holds, without the sessions that it is about.

#[path = "../../src/session/name.rs"]
pub mod name;
#[path = "../../src/session/saved.rs"]
pub mod saved;
