//! Named sessions, the product's central concept.
//!
//! [`registry`] holds all sessions of a process and finds one by name. [`live`] is one session with
//! its connection and shells. [`saved`] is the part of a session that the [`store`] keeps.
//! [`reconnect`] decides whether a call reuses or opens a connection.

pub mod approvals;
pub mod audit_call;
pub mod audit_log;
pub mod caller;
pub mod causes;
pub mod detached;
pub mod edits;
pub mod error;
pub mod host_names;
pub mod job;
pub mod jobs;
pub mod live;
pub mod name;
pub mod name_pattern;
pub mod reconnect;
pub mod registry;
pub mod saved;
mod servers;
pub mod settings_file;
pub mod shell_name;
pub mod shown_files;
pub mod status;
pub mod store;
pub mod transfers;
pub mod work;
