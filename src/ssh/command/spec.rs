//! The description of a command.

use std::time::Duration;

/// Command to run on a host, with everything that the command gets. Made by a tool from the
/// parameters of a call, and passed on unchanged from there.
#[derive(Debug, Clone, Default)]
pub struct CommandSpec {
    /// Text of the command, in the language of the shell that runs the command. Blank, and with
    /// [`pty`](Self::pty), for a shell channel.
    pub command: String,
    /// Working directory; `None` is the home directory, as with `ssh`.
    pub cwd: Option<String>,
    /// Environment variables to add, as pairs of name and value.
    pub env: Vec<(String, String)>,
    /// First bytes of stdin; `None` if the call gives no stdin.
    pub stdin: Option<Vec<u8>>,
    /// True if stdin stays open for input from later calls. Else end of file follows
    /// [`stdin`](Self::stdin).
    pub takes_input: bool,
    /// True if the command gets a terminal. Then stdout and stderr are one stream, and no end of
    /// file follows the input.
    pub pty: bool,
    /// True if the command runs as root, through sudo.
    pub sudo: bool,
    /// Time limit of the command; `None` means without limit.
    pub limit: Option<Duration>,
    /// Number of commands that share an answer, and so the space for output; 0 counts as 1.
    pub share: usize,
}

impl CommandSpec {
    /// Returns true for a shell channel: the server starts what it starts for `ssh -tt host`, such as
    /// a login shell, the command line of a device, or a menu.
    #[must_use]
    pub fn is_shell_channel(&self) -> bool {
        self.pty && self.command.trim().is_empty()
    }

    /// Returns the command as lists show it.
    #[must_use]
    pub fn title(&self) -> String {
        if self.is_shell_channel() {
            "(shell channel)".to_owned()
        } else {
            self.command.clone()
        }
    }

    /// Returns the environment variables as pairs of borrowed texts.
    pub(super) fn env(&self) -> Vec<(&str, &str)> {
        self.env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}
