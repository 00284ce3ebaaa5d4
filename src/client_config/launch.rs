//! The command by which a client starts this program.

use super::client::Client;

/// Name of this program and of its npm package.
const PROGRAM: &str = "mcp-ssh-sessions";

/// Name of our entry in a client's configuration.
pub const SERVER_NAME: &str = "ssh";

/// Command and arguments by which a client starts an MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Launch {
    /// Program: a path, or a name that is looked up in `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Launch {
    /// Creates a launch command.
    pub fn new<'a>(command: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            command: command.to_owned(),
            args: args.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Returns true if this starts our program: directly, or as an npm package in any version.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        std::iter::once(&self.command)
            .chain(&self.args)
            .any(|word| is_our_program(word))
    }

    /// Returns true if one of the arguments is `argument`.
    #[must_use]
    pub fn has(&self, argument: &str) -> bool {
        self.args.iter().any(|own| own == argument)
    }

    /// Returns this command with one more argument at the end.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.args.push(argument.to_owned());
        self
    }

    /// Returns the command as one line for a shell, with quotes where they are needed.
    #[must_use]
    pub fn shell_line(&self) -> String {
        let words = std::iter::once(&self.command).chain(&self.args);
        words
            .map(|word| shell_word(word))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Returns the arguments of the client's own program that adds this server for this user.
    /// `None`: the client has no such command.
    #[must_use]
    pub fn add_arguments(&self, client: Client) -> Option<Vec<String>> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut arguments: Vec<String> = match client {
            Client::ClaudeCode => owned(&["mcp", "add", "--scope", "user", SERVER_NAME, "--"]),
            Client::Codex => owned(&["mcp", "add", SERVER_NAME, "--"]),
            Client::VsCode => return Some(vec!["--add-mcp".to_owned(), self.vscode_json()]),
            // What follows the second `--` is not taken for options of Gemini CLI.
            Client::Gemini => owned(&["mcp", "add", "--scope", "user", SERVER_NAME]),
            Client::Cursor | Client::Zed => return None,
        };

        arguments.push(self.command.clone());
        if client == Client::Gemini && !self.args.is_empty() {
            arguments.push("--".to_owned());
        }

        arguments.extend(self.args.iter().cloned());
        Some(arguments)
    }

    /// Returns the argument of `code --add-mcp`.
    fn vscode_json(&self) -> String {
        serde_json::json!({ "name": SERVER_NAME, "command": self.command, "args": self.args })
            .to_string()
    }
}

/// Returns true if the word is a path or a name of this program, or of its npm package.
fn is_our_program(word: &str) -> bool {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let ended = name.strip_prefix(PROGRAM);
    ended.is_some_and(|ending| matches!(ending, "" | ".exe" | ".cmd" | ".js"))
}

/// Quotes a word for a shell if it needs quotes.
fn shell_word(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@=+,\\".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }

    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npx() -> Launch {
        Launch::new("npx", ["-y", "mcp-ssh-sessions"])
    }

    #[test]
    fn our_program_is_recognised_in_each_spelling() {
        let ours = [
            Launch::new("mcp-ssh-sessions", []),
            Launch::new("/usr/local/bin/mcp-ssh-sessions", ["--shared"]),
            Launch::new(r"C:\Tools\mcp-ssh-sessions.exe", []),
            Launch::new("npx", ["-y", "mcp-ssh-sessions@0.1.0"]),
            Launch::new("cmd", ["/c", "npx", "-y", "mcp-ssh-sessions"]),
            Launch::new(
                "node",
                ["/x/node_modules/mcp-ssh-sessions/bin/mcp-ssh-sessions.js"],
            ),
        ];
        for launch in ours {
            assert!(launch.is_ours(), "{launch:?}");
        }

        let others = [
            Launch::new("npx", ["-y", "ssh-mcp"]),
            Launch::new("mcp-ssh-sessions-of-others", []),
            Launch::new("npx", ["@others/mcp-ssh"]),
        ];
        for launch in others {
            assert!(!launch.is_ours(), "{launch:?}");
        }
    }

    #[test]
    fn each_client_with_a_command_gets_it() {
        let line = |client| {
            let arguments = npx().with("--shared").add_arguments(client)?;
            Some(arguments.join(" "))
        };
        let rows = [
            (
                Client::ClaudeCode,
                Some("mcp add --scope user ssh -- npx -y mcp-ssh-sessions --shared"),
            ),
            (
                Client::Codex,
                Some("mcp add ssh -- npx -y mcp-ssh-sessions --shared"),
            ),
            (
                Client::Gemini,
                Some("mcp add --scope user ssh npx -- -y mcp-ssh-sessions --shared"),
            ),
            (Client::Cursor, None),
            (Client::Zed, None),
        ];
        for (client, expected) in rows {
            assert_eq!(line(client).as_deref(), expected);
        }

        let code = npx().add_arguments(Client::VsCode).unwrap();
        assert_eq!(code[0], "--add-mcp");
        let json: serde_json::Value = serde_json::from_str(&code[1]).unwrap();
        assert_eq!(json["name"], "ssh");
        assert_eq!(json["args"][1], "mcp-ssh-sessions");
    }

    #[test]
    fn a_shell_line_quotes_what_needs_it() {
        let launch = Launch::new("/opt/my tools/x", ["it's", "", "-y"]);
        assert_eq!(launch.shell_line(), r"'/opt/my tools/x' 'it'\''s' '' -y");
    }
}
