//! Where each client keeps its configuration.

use std::path::PathBuf;

use super::client::Client;

/// Folders of this user, from which the places of all configurations follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFolders {
    /// Home directory.
    pub home: PathBuf,
    /// Folder of application settings: `$XDG_CONFIG_HOME` or `~/.config`, on macOS
    /// `~/Library/Application Support`, on Windows `%APPDATA%`.
    pub config: PathBuf,
    /// Folder of Zed's settings. It is `~/.config/zed` on macOS, too.
    pub zed: PathBuf,
    /// `CLAUDE_CONFIG_DIR`, if set.
    pub claude: Option<PathBuf>,
    /// `CODEX_HOME`, if set.
    pub codex: Option<PathBuf>,
    /// `GEMINI_CLI_HOME`, if set.
    pub gemini: Option<PathBuf>,
}

impl UserFolders {
    /// Returns the file in which the client looks for MCP servers of this user.
    #[must_use]
    pub fn servers_file(&self, client: Client) -> PathBuf {
        match client {
            Client::ClaudeCode => self
                .claude
                .as_ref()
                .unwrap_or(&self.home)
                .join(".claude.json"),
            Client::Codex => self.folder(client).join("config.toml"),
            Client::VsCode => self.config.join("Code").join("User").join("mcp.json"),
            Client::Cursor => self.folder(client).join("mcp.json"),
            Client::Gemini | Client::Zed => self.folder(client).join("settings.json"),
        }
    }

    /// Returns the file in which the client looks for hooks of this user. `None`: the client has no
    /// hooks that this program could answer.
    #[must_use]
    pub fn hooks_file(&self, client: Client) -> Option<PathBuf> {
        match client {
            Client::ClaudeCode => Some(self.folder(client).join("settings.json")),
            Client::Codex => Some(self.folder(client).join("hooks.json")),
            Client::VsCode | Client::Cursor | Client::Gemini | Client::Zed => None,
        }
    }

    /// Returns the client's own folder. A client that was used has one.
    #[must_use]
    pub fn folder(&self, client: Client) -> PathBuf {
        let below = |folder: &Option<PathBuf>, name: &str| {
            folder.clone().unwrap_or_else(|| self.home.join(name))
        };

        match client {
            Client::ClaudeCode => below(&self.claude, ".claude"),
            Client::Codex => below(&self.codex, ".codex"),
            Client::VsCode => self.config.join("Code"),
            Client::Cursor => self.home.join(".cursor"),
            Client::Gemini => self.gemini.as_ref().unwrap_or(&self.home).join(".gemini"),
            Client::Zed => self.zed.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders() -> UserFolders {
        UserFolders {
            home: "/home/me".into(),
            config: "/home/me/.config".into(),
            zed: "/home/me/.config/zed".into(),
            claude: None,
            codex: None,
            gemini: None,
        }
    }

    #[test]
    fn configurations_are_where_the_clients_document_them() {
        let folders = folders();
        let files = Client::ALL.map(|client| folders.servers_file(client));
        assert_eq!(
            files.each_ref().map(|file| file.to_str().unwrap()),
            [
                "/home/me/.claude.json",
                "/home/me/.codex/config.toml",
                "/home/me/.config/Code/User/mcp.json",
                "/home/me/.cursor/mcp.json",
                "/home/me/.gemini/settings.json",
                "/home/me/.config/zed/settings.json",
            ]
        );
    }

    #[test]
    fn a_folder_that_the_user_has_chosen_is_used() {
        let folders = UserFolders {
            claude: Some("/c".into()),
            codex: Some("/x".into()),
            gemini: Some("/g".into()),
            ..folders()
        };
        let file = |client| folders.servers_file(client);

        assert_eq!(file(Client::ClaudeCode), PathBuf::from("/c/.claude.json"));
        assert_eq!(file(Client::Codex), PathBuf::from("/x/config.toml"));
        assert_eq!(
            file(Client::Gemini),
            PathBuf::from("/g/.gemini/settings.json")
        );
        assert_eq!(
            folders.hooks_file(Client::ClaudeCode),
            Some("/c/settings.json".into())
        );
    }
}
