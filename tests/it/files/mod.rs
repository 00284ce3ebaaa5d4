//! The tools that show remote files, against the real sshd.

mod edit;
// Other systems keep other things of a file.
#[cfg(target_os = "linux")]
mod edit_table;
mod no_commands;
mod paths;
mod read;
mod read_more;
mod scripts;
mod search;
mod search_limits;
// Servers of other makes are started there alone.
#[cfg(target_os = "linux")]
mod sftp_servers;
mod shown;
mod without_sftp;

use crate::support::mcp_client::ToolResult;

/// The line that says what was shown.
fn last_line(result: &ToolResult) -> String {
    result.text().lines().last().unwrap_or_default().to_owned()
}
