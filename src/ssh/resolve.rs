//! Asks OpenSSH itself what a destination means: `ssh -G`.

use std::{io::ErrorKind, path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{error::SshError, without_ssh};
use crate::openssh::{destination::Destination, effective_config::EffectiveConfig};

/// `ssh -G` reads files and may run `Match exec` commands; it asks no network.
const LONGEST: Duration = Duration::from_secs(10);

/// What is to be connected: the destination as typed, and the options that win over the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host, alias or `ssh://` address.
    pub destination: Destination,
    /// `User`, as `ssh -l`.
    pub user: Option<String>,
    /// `Port`, as `ssh -p`.
    pub port: Option<u16>,
    /// The configuration file, as `ssh -F`; `None` is the person's own.
    pub config_file: Option<PathBuf>,
}

impl Target {
    /// What a person gives to `ssh` in a shell to reach the same.
    pub(super) fn arguments(&self) -> String {
        let file =
            self.config_file.iter().map(|file| format!("-F '{}' ", file.display().to_string().replace('\'', r"'\''")));
        let port = self.port.iter().map(|port| format!("-p {port} "));
        let user = self.user.iter().map(|user| format!("-l '{user}' "));
        file.chain(port).chain(user).collect::<String>() + self.destination.as_str()
    }
}

/// Runs `ssh -G` for the target, for ten seconds or `limit` if that is less. Where there is no `ssh`, reads the files as
/// [`without_ssh`] can.
///
/// # Errors
/// `ssh` cannot be run, refuses, takes too long, or prints a configuration without host or user.
pub async fn resolve(target: &Target, limit: Duration) -> Result<EffectiveConfig, SshError> {
    let limit = limit.min(LONGEST);
    let mut command = Command::new("ssh");
    command.arg("-G");
    if let Some(file) = &target.config_file {
        command.arg("-F").arg(file);
    }
    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }
    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", target.destination.as_str()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output())
        .await
        .map_err(|_| SshError::Timeout { stage: "reading the SSH configuration with `ssh -G`", after: limit })?;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => return without_ssh::read(target),
        Err(error) => return Err(SshError::ResolveRun(error)),
    };
    let destination = target.destination.as_str().to_owned();
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(SshError::Resolve { destination, message });
    }
    EffectiveConfig::parse(&String::from_utf8_lossy(&output.stdout))
        .map_err(|source| SshError::Config { destination, source })
}
