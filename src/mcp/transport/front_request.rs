//! The HTTP request with which a stdio proxy asks the shared daemon to speak MCP in lines.

/// Path of the request.
pub(super) const PATH: &str = "/shared";
/// Protocol in the `Upgrade` header (RFC 9110, section 7.8). The header with the daemon's proof has
/// the same name.
pub(super) const PROTOCOL: &str = "mcp-ssh-sessions";
/// Name of the header with the program version of the sender. Both ends send this header.
pub(super) const VERSION_HEADER: &str = "mcp-ssh-sessions-version";
/// Name of the header with the working directory of the stdio proxy.
pub(super) const DIRECTORY_HEADER: &str = "mcp-ssh-sessions-directory";

/// Version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
