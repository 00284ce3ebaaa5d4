//! The command `mcp-ssh-sessions doctor` without a host, which checks this installation.

mod clients;
mod openssh;
mod report;
mod state;

use std::path::PathBuf;

use serde::Serialize;

use crate::{session::settings_file::SettingsFile, setup::machine::UserMachine};

/// How a part of the installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckHealth {
    /// It works.
    Good,
    /// It is not there, and need not be.
    Absent,
    /// It does not work, or will not when it is needed.
    Bad,
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallationCheck {
    /// What was checked. Part of the interface to programs.
    name: &'static str,
    health: CheckHealth,
    /// What was found, as one line.
    summary: String,
    /// One instruction, if there is something to fix or to gain.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Result of all checks, made by [`examine`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstallationReport {
    version: &'static str,
    works: bool,
    checks: Vec<InstallationCheck>,
}

/// What is known of the shared daemon.
#[derive(Debug)]
pub enum DaemonState {
    /// None runs.
    Absent,
    /// One answers.
    Answers {
        /// Its version.
        version: String,
    },
    /// One listens, but is of no use.
    Fails(String),
}

/// Files that the user has chosen.
#[derive(Debug)]
pub struct ChosenFiles {
    /// Configuration for `ssh -F`. `None`: the usual files.
    pub ssh_config: Option<PathBuf>,
    /// Saved sessions. `None`: the home directory is not known.
    pub store: Option<PathBuf>,
    /// Settings file.
    pub settings: SettingsFile,
}

impl InstallationCheck {
    fn good(name: &'static str, summary: impl Into<String>) -> Self {
        Self::new(name, CheckHealth::Good, summary.into(), None)
    }

    fn absent(name: &'static str, summary: impl Into<String>, fix: Option<&str>) -> Self {
        Self::new(name, CheckHealth::Absent, summary.into(), fix)
    }

    fn bad(name: &'static str, summary: impl Into<String>, fix: &str) -> Self {
        Self::new(name, CheckHealth::Bad, summary.into(), Some(fix))
    }

    fn new(name: &'static str, health: CheckHealth, summary: String, fix: Option<&str>) -> Self {
        Self {
            name,
            health,
            summary,
            fix: fix.map(str::to_owned),
        }
    }
}

/// Checks this installation. Nothing is changed. The servers of the clients are started only to
/// tell their version.
pub async fn examine(files: &ChosenFiles, daemon: DaemonState) -> InstallationReport {
    let machine = UserMachine::of_this_user();
    let mut checks = vec![state::program()];
    checks.push(openssh::program().await);
    checks.extend(openssh::configuration(files.ssh_config.clone()).await);
    checks.push(openssh::agent().await);
    checks.push(state::store(files.store.clone()));
    checks.push(state::settings(&files.settings));
    checks.push(state::daemon(daemon));

    match machine {
        Ok(machine) => checks.extend(clients::all(&machine).await),
        Err(error) => checks.push(InstallationCheck::bad(
            "clients",
            error.to_string(),
            "set HOME",
        )),
    }

    InstallationReport {
        version: env!("CARGO_PKG_VERSION"),
        works: checks.iter().all(|check| check.health != CheckHealth::Bad),
        checks,
    }
}
