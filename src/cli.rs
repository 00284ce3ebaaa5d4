//! What the user typed.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Persistent SSH sessions as MCP tools for AI coding agents.
///
/// Serves the Model Context Protocol on standard input and output; an MCP client starts it. Sessions are kept in
/// ~/.ssh-mcp-sessions.json, without passwords.
#[derive(Debug, Parser)]
#[command(name = "mcp-ssh-sessions", version, max_term_width = 100)]
pub struct Options {
    /// SSH configuration file, passed on as `ssh -F`
    #[arg(long, value_name = "FILE", env = "MCP_SSH_CONFIG")]
    pub ssh_config: Option<PathBuf>,
    /// File of saved sessions [default: ~/.ssh-mcp-sessions.json]
    #[arg(long, value_name = "FILE", env = "MCP_SSH_STORE")]
    pub store: Option<PathBuf>,
    /// What to log on standard error
    #[arg(long, value_name = "LEVEL", env = "MCP_SSH_LOG", default_value = "warn", ignore_case = true)]
    pub log: LogLevel,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may be wrong.
    Warn,
    /// Sessions coming and going.
    Info,
    /// Each call.
    Debug,
    /// Everything there is.
    Trace,
}

impl Options {
    /// The store's path: the one given, else the documented one in the home directory.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| dirs::home_dir().unwrap_or_default().join(".ssh-mcp-sessions.json"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_store_is_where_the_documentation_says() {
        let options = Options::parse_from(["mcp-ssh-sessions"]);
        assert_eq!(options.store_path(), dirs::home_dir().unwrap().join(".ssh-mcp-sessions.json"));
        assert_eq!(options.log, LogLevel::Warn);
        let options = Options::parse_from(["mcp-ssh-sessions", "--store", "/x/y.json", "--log", "DEBUG"]);
        assert_eq!((options.store_path(), options.log), (PathBuf::from("/x/y.json"), LogLevel::Debug));
    }
}
