//! The product's noun: named sessions.
//!
//! [`registry`] finds one, [`live`] is one with its connection and shells, [`saved`] is what the [`store`] keeps of it,
//! [`reconnect`] decides what a call does to a session that is not connected.

pub mod caller;
pub mod causes;
pub mod detached;
pub mod error;
pub mod job;
pub mod jobs;
pub mod live;
pub mod name;
pub mod reconnect;
pub mod registry;
pub mod saved;
pub mod status;
pub mod store;
pub mod transfers;
