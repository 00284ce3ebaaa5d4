//! Running things on a remote host: commands, shells and jobs, their output, and stopping them.

pub mod detached;
pub mod exec;
pub mod exit_status;
pub(in crate::ssh) mod granted;
pub mod limits;
pub mod output;
pub mod remote_host;
pub(super) mod script;
pub(super) mod script_as_root;
pub(super) mod script_stream;
pub mod shell;
pub(super) mod signals;
pub mod spec;
mod stop_ladder;
pub mod sudo;
pub(super) mod unexpected_output;
