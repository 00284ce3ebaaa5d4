//! What this machine has: clients, programs, and the way in which this program was started.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::error::SetupError;
use crate::{
    client_config::{client::Client, launch::Launch, place::UserFolders},
    local::home::home,
};

/// Name of this program.
const PROGRAM: &str = "mcp-ssh-sessions";

/// Endings of programs. Windows looks for each of them.
const ENDINGS: &[&str] = if cfg!(windows) {
    &[".exe", ".cmd", ".bat"]
} else {
    &[""]
};

/// Folders of this user, and those of `PATH`.
#[derive(Debug)]
pub struct UserMachine {
    /// Folders from which the places of configurations follow.
    pub folders: UserFolders,
    path: Vec<PathBuf>,
}

impl UserMachine {
    /// Reads the environment.
    ///
    /// # Errors
    /// The home directory is not known.
    pub fn of_this_user() -> Result<Self, SetupError> {
        let home = home().ok_or(SetupError::NoHome)?;
        let chosen = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .filter(|folder| folder.is_absolute())
        };

        let config = dirs::config_dir()
            .filter(|folder| folder.is_absolute())
            .unwrap_or_else(|| home.join(".config"));
        let zed = if cfg!(windows) {
            config.join("Zed")
        } else {
            // Zed looks here on macOS, too.
            let config = chosen("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
            config.join("zed")
        };

        // A relative entry leads to a folder of whoever owns the working directory.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .collect();

        Ok(Self {
            folders: UserFolders {
                home,
                config,
                zed,
                claude: chosen("CLAUDE_CONFIG_DIR"),
                codex: chosen("CODEX_HOME"),
                gemini: chosen("GEMINI_CLI_HOME"),
            },
            path,
        })
    }

    /// Returns true if the client's program or its folder is there.
    #[must_use]
    pub fn has(&self, client: Client) -> bool {
        self.program_of(client).is_some()
            || self.folders.folder(client).is_dir()
            || self.folders.servers_file(client).exists()
    }

    /// Returns the program of a client.
    #[must_use]
    pub fn program_of(&self, client: Client) -> Option<PathBuf> {
        let mut names = client.programs().iter();
        names.find_map(|name| {
            // Of two programs of the name `zed`, that in `sbin` belongs to the ZFS file system.
            let is_sbin = |folder: &Path| folder.ends_with("sbin");
            self.find(name, |folder| client == Client::Zed && is_sbin(folder))
        })
    }

    /// Returns the command by which a client has to start this program.
    #[must_use]
    pub fn launch(&self, client: Client) -> Launch {
        let is_npx = env::var_os("npm_command").is_some_and(|command| command == "exec");
        match (is_npx, client) {
            // Claude Code on Windows does not start `npx.cmd` by itself.
            (true, Client::ClaudeCode) if cfg!(windows) => {
                Launch::new("cmd", ["/c", "npx", "-y", PROGRAM])
            }
            (true, _) => Launch::new("npx", ["-y", PROGRAM]),
            (false, _) => Launch::new(&self.own_program().to_string_lossy(), []),
        }
    }

    /// Returns the path of this program that lasts longest: a name in `PATH` that leads to it, as a
    /// package manager keeps it over updates, else the file itself.
    #[must_use]
    pub fn own_program(&self) -> PathBuf {
        let own = env::current_exe().unwrap_or_else(|_| PROGRAM.into());
        let real = own.canonicalize().unwrap_or_else(|_| own.clone());
        let is_npm = real.iter().any(|part| part == "node_modules");
        let installed = self.find(PROGRAM, |folder| folder.ends_with("node_modules/.bin"));

        // npm's own file in `PATH` is a script, which starts the program from its folder.
        installed
            .filter(|found| {
                let found = found.canonicalize().unwrap_or_default();
                found == real || (is_npm && found.iter().any(|part| part == "node_modules"))
            })
            .unwrap_or(own)
    }

    /// Finds the program that a client would start by this command.
    #[must_use]
    pub fn find_command(&self, command: &str) -> Option<PathBuf> {
        let path = Path::new(command);
        if path.is_absolute() {
            return is_program(path).then(|| path.to_owned());
        }
        self.find(command, |_| false)
    }

    /// Finds a program in `PATH`, except in some folders.
    fn find(&self, name: &str, skips: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let folders = self.path.iter().filter(|folder| !skips(folder));
        folders
            .flat_map(|folder| {
                ENDINGS
                    .iter()
                    .map(move |ending| folder.join(format!("{name}{ending}")))
            })
            .find(|file| is_program(file))
    }
}

/// Returns true if the file can be executed.
fn is_program(file: &Path) -> bool {
    let Ok(found) = file.metadata() else {
        return false;
    };

    #[cfg(unix)]
    let may_run = {
        use std::os::unix::fs::PermissionsExt as _;
        found.permissions().mode() & 0o111 != 0
    };
    #[cfg(not(unix))]
    let may_run = true;

    found.is_file() && may_run
}
