//! The audit log: what agents did on which hosts, line by line. Pure: records and text in, lines
//! and findings out.

pub mod calls;
pub mod chain;
pub mod record;
mod text;
pub mod time;
pub mod verify;
