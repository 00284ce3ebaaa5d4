//! The base of all pages over HTTP: listeners, access checks and replies.

pub(super) mod guard;
pub mod listen;
pub(super) mod newcomers;
#[cfg(windows)]
pub(super) mod pipe;
pub(super) mod reply;
pub mod token;

/// Path of MCP on every HTTP listener.
pub const MCP_PATH: &str = "/mcp";
