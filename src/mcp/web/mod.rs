//! What every page over HTTP stands on: where it listens, and who may send a request.

pub(super) mod guard;
pub(super) mod html;
pub mod listen;
pub(super) mod newcomers;
pub(super) mod peer;
#[cfg(windows)]
pub(super) mod pipe;
pub(super) mod reply;
pub mod token;

/// Where MCP is served.
pub const MCP_PATH: &str = "/mcp";
