//! The request with which a front asks the shared daemon to speak MCP in lines, and its answer.

/// Where a front asks the daemon to speak MCP in lines.
pub(super) const PATH: &str = "/shared";
/// What it asks to upgrade to (RFC 9110, section 7.8).
pub(super) const PROTOCOL: &str = "mcp-ssh-sessions";
/// The header with the version of the program at either end.
pub(super) const VERSION_HEADER: &str = "mcp-ssh-sessions-version";
/// The header with the working directory of a front.
pub(super) const DIRECTORY_HEADER: &str = "mcp-ssh-sessions-directory";

/// This program's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
