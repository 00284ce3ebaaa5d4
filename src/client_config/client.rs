//! The clients that can be set up.

/// An AI client that can start this program as an MCP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// Claude Code, by Anthropic.
    ClaudeCode,
    /// Codex, by `OpenAI`: the command line, the IDE extension and the app share one file.
    Codex,
    /// Visual Studio Code, by Microsoft.
    VsCode,
    /// Cursor, by Anysphere.
    Cursor,
    /// Gemini CLI, by Google.
    Gemini,
    /// Zed, by Zed Industries.
    Zed,
}

impl Client {
    /// All clients, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::ClaudeCode,
        Self::Codex,
        Self::VsCode,
        Self::Cursor,
        Self::Gemini,
        Self::Zed,
    ];

    /// Returns the name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::VsCode => "VS Code",
            Self::Cursor => "Cursor",
            Self::Gemini => "Gemini CLI",
            Self::Zed => "Zed",
        }
    }

    /// Returns the name for the command line and for programs.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude",
            Self::Codex => "codex",
            Self::VsCode => "vscode",
            Self::Cursor => "cursor",
            Self::Gemini => "gemini",
            Self::Zed => "zed",
        }
    }

    /// Returns the client with this [`id`](Self::id).
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|client| client.id() == id)
    }

    /// Returns the names of the client's program, as it may be found in a folder of `PATH`.
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeCode => &["claude"],
            Self::Codex => &["codex"],
            Self::VsCode => &["code"],
            Self::Cursor => &["cursor"],
            Self::Gemini => &["gemini"],
            // Some distributions have another program of the name `zed`.
            Self::Zed => &["zed", "zeditor"],
        }
    }

    /// Returns the key of the table of MCP servers in the client's configuration.
    #[must_use]
    pub fn servers_key(self) -> &'static str {
        match self {
            Self::ClaudeCode | Self::Cursor | Self::Gemini => "mcpServers",
            Self::Codex => "mcp_servers",
            Self::VsCode => "servers",
            Self::Zed => "context_servers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_found_by_its_id() {
        for client in Client::ALL {
            assert_eq!(Client::from_id(client.id()), Some(client));
        }
        assert_eq!(Client::from_id("emacs"), None);
    }
}
