//! Persistent SSH sessions as MCP tools.
//!
//! [`mcp`] is the only module that knows MCP, and [`ssh`] is the only one that knows SSH.
//! [`session`] stands between the two and holds the sessions of the product. [`doctor`] explains to
//! the user how [`ssh`] reaches a host, or why it does not, and checks this installation.
//! [`explain`] says what may be done on a host, and [`audit_command`] what was done. [`hook`]
//! answers a client that is about to call a tool, and [`completions`] a shell. [`setup`] adds the
//! server to AI clients.
//! [`client_config`], [`openssh`], [`framing`], [`sftp`], [`tree`], [`edit`], [`forward`],
//! `policy`, [`settings`], [`audit`], [`capture`], [`render`] and [`foreign_text`] are pure: these
//! do no I/O and read no clock.

pub mod audit;
pub mod audit_command;
pub mod capture;
mod child;
pub mod cli;
pub mod client_config;
pub mod completions;
pub mod doctor;
pub mod edit;
pub mod event;
pub mod explain;
pub mod foreign_text;
pub mod forward;
pub mod framing;
pub mod hook;
mod local;
mod lock;
pub mod mcp;
pub mod openssh;
pub mod password;
mod peer;
mod policy;
mod random;
pub mod render;
pub mod session;
pub mod settings;
pub mod setup;
pub mod sftp;
pub mod ssh;
pub mod tree;
