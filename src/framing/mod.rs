//! Our protocol inside the remote shell: how a command is written, and how its output is separated
//! from ours. Pure functions on bytes.
//!
//! A frame is one command on the persistent shell. [`script`] writes it, [`decoder`] finds its end
//! in stdout and stderr, and both know it by a [`sentinel::Sentinel`] that no program on the other
//! side can guess. [`exec`] writes the script of a command on a channel of its own, and [`sudo`]
//! the script of a command as root. [`stop`] writes the script that ends a running command,
//! [`detached`] those for commands that live on the remote machine, [`digest`] the one that compares
//! a file, [`file_server`] the one that serves files, [`read_file`] those that show one, [`edit_file`]
//! those that change one, and [`search`] the one that searches a tree.

pub mod decoder;
pub mod detached;
pub mod digest;
mod driver;
pub mod edit_file;
pub mod exec;
pub mod file_probe;
pub mod file_server;
pub mod job_control_messages;
pub mod mentioned;
pub mod quoting;
pub mod read_file;
pub mod script;
pub mod search;
pub mod sentinel;
pub mod shell_kind;
pub mod snapshot;
pub mod stop;
pub mod stream;
pub mod sudo;
