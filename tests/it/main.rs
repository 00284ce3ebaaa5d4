//! The integration tests: one binary, against an in-process SSH server and the real sshd.
#![cfg(unix)]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may say what it takes for granted"
)]

mod asking;
mod audit;
mod authentication;
mod channels;
mod completions;
mod configuration;
mod detached;
mod doctor;
// Its library to preload is one for Linux.
#[cfg(target_os = "linux")]
mod dropbear;
mod exec;
mod faults;
mod files;
mod forward;
mod gate;
mod guard;
mod host_keys;
mod hostile;
mod http;
mod jobs;
mod names;
mod one_command;
mod protocol;
mod proxy;
mod remembered;
mod sessions;
mod settings;
#[cfg(unix)]
mod setup;
// It is found in /proc.
#[cfg(target_os = "linux")]
mod shared;
mod shell;
mod stop;
mod store;
mod sudo;
mod support;
mod terminal;
mod transfer;
mod windows;
mod words;
