//! One target a file: `run` tries one input, and panics where what has to hold does not.

pub mod config;
pub mod forward;
pub mod frames;
pub mod known_hosts;
pub mod matches;
pub mod page;
pub mod patch;
pub mod read_file;
pub mod render;
pub mod replace;
pub mod search;
pub mod sftp;
pub mod store;
