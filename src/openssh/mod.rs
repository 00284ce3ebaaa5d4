//! The formats OpenSSH owns, read and written the way OpenSSH reads and writes them.
//!
//! Pure: text and bytes in, facts out. Nothing here opens a file, asks the environment, runs a program or
//! reads a clock; the caller brings the text of `ssh -G`, the bytes of the `known_hosts` files and the lookups.
//! Where a manual page and the behaviour of `ssh` differ, `ssh` is followed.

pub mod banner;
pub mod channel_options;
mod config_dump;
pub mod config_file;
pub mod destination;
pub mod effective_config;
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
