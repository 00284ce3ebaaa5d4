//! File formats and command output of OpenSSH, read and written as OpenSSH does.
//!
//! The module is pure. Nothing here opens a file, reads the environment or a clock, or runs a
//! program; the caller provides the text of `ssh -G` and the bytes of the `known_hosts` files. If a
//! manual page and the behaviour of `ssh` differ, the code follows `ssh`.

pub mod banner;
pub mod channel_options;
mod config_dump;
pub mod config_file;
pub mod destination;
pub mod effective_config;
pub mod forwardings;
pub mod host_names;
pub mod identification;
pub mod known_hosts;
pub mod option_support;
pub mod preamble;
pub mod revoked_keys;
pub mod tokens;

mod algorithm_list;
pub mod identity_agent;
mod ip_qos;
mod path_list;
mod wire;
