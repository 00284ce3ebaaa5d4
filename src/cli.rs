//! Command line: options, subcommands and environment variables.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint, builder::FalseyValueParser};

use crate::{audit, client_config::client::Client, local::home::home};

/// Persistent SSH sessions as MCP tools for AI coding agents.
///
/// Serves the Model Context Protocol on standard input and output; an MCP client starts it. With --http or --socket it
/// serves all clients from one daemon, with a status page; --shared starts such a daemon when needed. Sessions are saved
/// in ~/.ssh-mcp-sessions.json, without passwords.
#[derive(Debug, Parser)]
#[command(name = "mcp-ssh-sessions", version, max_term_width = 100)]
pub struct Options {
    /// SSH configuration file, passed on as `ssh -F`
    #[arg(long, value_name = "FILE", env = "MCP_SSH_CONFIG", global = true)]
    pub ssh_config: Option<PathBuf>,
    /// File of saved sessions [default: ~/.ssh-mcp-sessions.json]
    #[arg(long, value_name = "FILE", env = "MCP_SSH_STORE", global = true)]
    pub store: Option<PathBuf>,
    /// File of what the person allows [default: settings.toml in mcp-ssh-sessions in the configuration directory]
    #[arg(long, value_name = "FILE", env = "MCP_SSH_SETTINGS", global = true)]
    pub settings: Option<PathBuf>,
    /// Level of the log on standard error
    #[arg(
        long,
        value_name = "LEVEL",
        env = "MCP_SSH_LOG",
        default_value = "warn",
        ignore_case = true,
        global = true
    )]
    pub log: LogLevel,
    /// Share sessions, shells and jobs with every process started with --shared; the daemon starts and stops automatically
    #[arg(long, env = "MCP_SSH_SHARED", value_parser = FalseyValueParser::new(), global = true)]
    pub shared: bool,
    /// Serve HTTP on this port, at /mcp; 0 takes any free one
    #[arg(long, value_name = "PORT", env = "MCP_SSH_HTTP", global = true)]
    pub http: Option<u16>,
    /// Address to serve HTTP on [default: loopback, IPv4 and IPv6]; any other address needs a token
    #[arg(long, value_name = "ADDRESS", env = "MCP_SSH_LISTEN", global = true)]
    pub listen: Option<IpAddr>,
    /// Serve HTTP on a Unix socket, for its owner only
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", env = "MCP_SSH_SOCKET", global = true)]
    pub socket: Option<PathBuf>,
    /// File with the bearer token that HTTP clients must send [or the token itself in `MCP_SSH_TOKEN`]
    #[arg(long, value_name = "FILE", env = "MCP_SSH_TOKEN_FILE", global = true)]
    pub token_file: Option<PathBuf>,
    /// Open the status page of this daemon, or with `status` of a running one
    #[arg(long, global = true)]
    pub open: bool,
    /// Command to run instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands other than serving.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Show the status of a running daemon (by default the shared one, else port 7722)
    ///
    /// --socket, --http and --listen name another daemon.
    Status {
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Explain why a host does or does not connect; without a host, check this installation
    ///
    /// With a host, does what `ssh_connect` would do, up to a real log-in by key or certificate and a few harmless
    /// probes. Saves nothing, asks nothing, and sends no password. The exit status is 0 if the host would connect and 1
    /// if not.
    ///
    /// Without a host, checks ssh, the agent, known hosts, saved sessions, the configurations of AI clients and the
    /// shared daemon, and says what to fix. The exit status is 1 if something does not work.
    Doctor {
        /// Host, alias, user@host, ssh:// address, or the name of a saved session
        #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
        host: Option<String>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Explain what the settings allow on a host, and which section says so
    ///
    /// Nobody is contacted but the name servers. The exit status is 1 if the settings file cannot be used, so that
    /// nothing would be done on any host.
    Settings {
        /// Host, alias, user@host, ssh:// address, or the name of a saved session
        #[arg(value_name = "HOST", value_hint = ValueHint::Hostname)]
        host: String,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Answer a client that is about to call a tool, as its hook (`PreToolUse`)
    ///
    /// Reads the hook's JSON of Claude Code or Codex from standard input. With a settings file, the answer lets the call
    /// go, has the client ask the person, or denies it. Without one, nothing is printed.
    Hook,
    /// Show the audit log: what was done on which host, by which client, and who allowed it
    ///
    /// One line for each call, the oldest first. The section [audit] of the settings turns the log on.
    #[command(args_conflicts_with_subcommands = true)]
    Audit(AuditArguments),
    /// Add this server to the AI clients of this user: shows the changes, and makes them after a yes
    ///
    /// With --shared, the clients start it with --shared. The clients are named claude, codex, vscode, cursor, gemini
    /// and zed.
    Setup(SetupArguments),
    /// Print the script that completes command lines in a shell
    ///
    /// The script completes options, commands, the hosts of the SSH configuration and saved sessions. The manual says
    /// where each shell looks for it.
    Completions {
        /// Shell
        #[arg(value_name = "SHELL")]
        shell: CompletedShell,
    },
    /// Say what can stand at the cursor, for the script of a shell
    #[command(hide = true)]
    Complete {
        /// Word at the cursor
        #[arg(long, default_value = "")]
        word: String,
        /// Words before the cursor, without the name of the program
        #[arg(last = true)]
        before: Vec<OsString>,
    },
    /// Run the daemon of --shared
    #[command(hide = true)]
    SharedDaemon {
        /// Serve in this process
        #[arg(long)]
        serve: bool,
        /// End after this time without clients and jobs, in milliseconds
        #[arg(long, value_name = "MILLISECONDS", default_value_t = 3_600_000)]
        idle: u64,
    },
}

/// Arguments of the command `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AuditArguments {
    /// Only calls for this session, alias, host name or address
    #[arg(long, value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub host: Option<String>,
    /// Only calls of this tool, such as `ssh_exec` or exec
    #[arg(long, value_name = "TOOL")]
    pub tool: Option<String>,
    /// Only calls from this time on: 2026-11-30, "2026-11-30 14:05" (both UTC), RFC 3339, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<String>,
    /// Only calls before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<String>,
    /// Print JSON, for programs: a line for each call
    #[arg(long)]
    pub json: bool,
    /// File of the log [default: that of the settings]
    #[arg(long, value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,
    /// Command to run instead of showing the log
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// Arguments of the command `setup`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SetupArguments {
    /// Clients to set up [default: all that are installed]
    #[arg(value_name = "CLIENT", value_parser = parse_client)]
    pub clients: Vec<Client>,
    /// Make the changes without asking
    #[arg(long)]
    pub yes: bool,
    /// Take back what setup has changed
    #[arg(long, conflicts_with = "hook")]
    pub undo: bool,
    /// Add the hook, by which Claude Code and Codex follow the settings, too
    #[arg(long)]
    pub hook: bool,
}

/// Commands for the audit log other than showing it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check that no line of the audit log was changed, removed, added or moved
    ///
    /// The exit status is 0 if none was and 1 if one was. Lines that are missing at the end show only with --head.
    Verify {
        /// Head of the log at some time, which one of the lines must have
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

/// Reads a time for a filter of the audit log.
///
/// # Errors
/// The text is not a time.
fn time(text: &str) -> Result<String, String> {
    let now = chrono::DateTime::from(std::time::SystemTime::now());
    let forms = "give a date as 2026-11-30, a time as \"2026-11-30 14:05\", or a time ago as 2h";

    audit::time::parse(text, now).ok_or_else(|| format!("it is not a time; {forms}"))
}

/// Parses the name of a client.
fn parse_client(name: &str) -> Result<Client, String> {
    Client::from_id(name).ok_or_else(|| {
        let known = Client::ALL.map(Client::id).join(", ");
        format!("the clients are {known}")
    })
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

/// Shell whose command lines can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// GNU Bash.
    Bash,
    /// Elvish.
    Elvish,
    /// fish.
    Fish,
    /// Windows `PowerShell` and pwsh.
    #[value(name = "powershell", alias = "pwsh")]
    PowerShell,
    /// Z shell.
    Zsh,
}

impl Options {
    /// Returns the path of the Unix socket; `None` on systems without Unix sockets or if no path is
    /// given.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        #[cfg(unix)]
        return self.socket.clone();
        #[cfg(not(unix))]
        None
    }

    /// Returns the path of the store: the given path, or else the documented path in the home
    /// directory. Returns `None` if the home directory is not known.
    #[must_use]
    pub fn store_path(&self) -> Option<PathBuf> {
        self.store
            .clone()
            .or_else(|| Some(home()?.join(".ssh-mcp-sessions.json")))
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
        assert_eq!(
            options.store_path(),
            Some(home().unwrap().join(".ssh-mcp-sessions.json"))
        );

        assert_eq!(options.log, LogLevel::Warn);
        let options =
            Options::parse_from(["mcp-ssh-sessions", "--store", "/x/y.json", "--log", "DEBUG"]);
        assert_eq!(
            (options.store_path(), options.log),
            (Some(PathBuf::from("/x/y.json")), LogLevel::Debug)
        );
    }
}
