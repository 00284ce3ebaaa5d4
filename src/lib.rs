//! Persistent SSH sessions as MCP tools.
//!
//! [`mcp`] is the only folder that knows MCP and JSON, [`ssh`] the only one that knows SSH. Between them stands
//! [`session`], the product's noun; [`doctor`] explains to a person what [`ssh`] does. [`openssh`], [`framing`],
//! [`sftp`], [`tree`], [`policy`], [`capture`] and [`render`] are pure: bytes and state in, facts out.

pub mod capture;
pub mod child;
pub mod cli;
pub mod doctor;
pub mod framing;
mod local;
pub mod mcp;
pub mod openssh;
pub mod password;
pub mod policy;
pub mod render;
pub mod session;
pub mod sftp;
pub mod ssh;
pub mod tree;
