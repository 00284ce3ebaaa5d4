//! What every page over HTTP stands on: where it listens, and who may send a request.

pub(super) mod guard;
pub mod listen;
pub(super) mod newcomers;
pub(super) mod peer;
pub(super) mod reply;
pub mod token;
