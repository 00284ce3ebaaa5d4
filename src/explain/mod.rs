//! The command `mcp-ssh-sessions settings HOST`, which explains what the settings allow on a host.

mod json;
mod text;

use std::{path::PathBuf, sync::Arc};

use crate::{
    session::{
        host_names::HostOnRoute,
        live::CONNECT_LIMIT,
        settings_file::{SettingsFile, SettingsFileError},
    },
    settings::{Operation, Settings},
    ssh::{config::target::Target, error::SshError},
};

/// Kinds of work, and the tools that do it. Tools that look at this program only are always there.
const WORK: [(Operation, &str, &[&str]); 5] = [
    (
        Operation::Connect,
        "connect",
        &["ssh_connect", "ssh_reconnect"],
    ),
    (
        Operation::Read,
        "read",
        &["ssh_read", "ssh_search", "ssh_download"],
    ),
    (
        Operation::Run,
        "run",
        &["ssh_exec", "ssh_shell", "ssh_edit", "ssh_upload"],
    ),
    (Operation::Sudo, "sudo", &["any tool with sudo"]),
    (Operation::Forward, "forward", &["ssh_forward"]),
];

/// Explanation of what the settings allow on a host.
#[derive(Debug)]
pub struct Explanation {
    /// Host as the person gave it.
    host: String,
    /// Path of the settings file; `None` if there is no place for one.
    file: Option<PathBuf>,
    content: Content,
}

/// What the settings file says.
#[derive(Debug)]
enum Content {
    /// It cannot be used.
    Unusable(SettingsFileError),
    /// It can be used, or there is none.
    Usable {
        /// True if there is a file.
        is_there: bool,
        settings: Arc<Settings>,
        names: HostOnRoute,
    },
}

impl Explanation {
    /// Reads the settings file and finds the names of the host, as a call would. `host` is the host
    /// as the person gave it. Nobody is contacted but the name servers.
    ///
    /// # Errors
    /// The SSH configuration is unusable, so that no call would reach the host.
    pub async fn of(host: &str, target: &Target, file: &SettingsFile) -> Result<Self, SshError> {
        let content = match file.current() {
            Err(error) => Content::Unusable(error),
            Ok(found) => {
                let is_there = found.is_some();
                let settings = found.unwrap_or_default();
                let names = HostOnRoute::planned(target, &settings, CONNECT_LIMIT).await?;

                Content::Usable {
                    is_there,
                    settings,
                    names,
                }
            }
        };

        Ok(Self {
            host: host.to_owned(),
            file: file.path().map(PathBuf::from),
            content,
        })
    }

    /// Returns true unless the settings file cannot be used.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self.content, Content::Usable { .. })
    }
}
