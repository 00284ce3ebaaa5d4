//! Asks OpenSSH itself for the configuration of a destination: `ssh -G`.

use std::{
    io::ErrorKind,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::time::timeout;

use super::{fallback, target::Target};
use crate::{
    child,
    openssh::{effective_config::EffectiveConfig, option_support},
    ssh::{error::SshError, trace::StageTrace},
};

/// Time limit of `ssh -G`, which reads files and may run `Match exec` commands.
const MAX_RESOLVE_TIME: Duration = Duration::from_secs(10);

/// Resolves the target with `ssh -G`, for at most ten seconds or `limit`. Without an `ssh` program
/// the files are read by [`fallback`].
///
/// # Errors
/// `ssh` cannot be run, refuses the destination or takes too long, or the configuration is
/// unusable.
pub async fn resolve(target: &Target, limit: Duration) -> Result<EffectiveConfig, SshError> {
    resolve_recording(target, limit, &StageTrace::default()).await
}

/// Resolves the target as [`resolve`] does. A recording trace gets the files which were read, the
/// options which are set, and the options without effect.
///
/// # Errors
/// The errors of [`resolve`].
pub(in crate::ssh) async fn resolve_recording(
    target: &Target,
    limit: Duration,
    trace: &StageTrace,
) -> Result<EffectiveConfig, SshError> {
    let limit = limit.min(MAX_RESOLVE_TIME);

    let output = match ask(
        target,
        target.config_file.as_deref(),
        limit,
        trace.is_recording(),
    )
    .await?
    {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let config = fallback::read(target)?;
            config
                .notices
                .iter()
                .for_each(|notice| trace.detail(|| notice.clone()));

            return Ok(config);
        }
        Err(error) => return Err(SshError::ResolveRun(error)),
    };

    let destination = target.destination.as_str().to_owned();
    // With `-v`, stderr names the files which were read.
    let said = String::from_utf8_lossy(&output.stderr);
    if trace.is_recording() {
        said.lines()
            .filter_map(file_read)
            .for_each(|told| trace.detail(|| told));
    }

    // The messages of `-v` are left out of the error, which the user reads.
    if !output.status.success() {
        let message = said
            .lines()
            .filter(|line| !is_chatter(line))
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n");

        return Err(SshError::Resolve {
            destination,
            message: message.trim().to_owned(),
        });
    }

    let printed = String::from_utf8_lossy(&output.stdout);
    let config = EffectiveConfig::parse(&printed).map_err(|source| SshError::Config {
        destination,
        source,
    })?;

    if trace.is_recording() {
        // `ssh -G` prints defaults too. A second run without files shows which options the files
        // have set.
        let plain = ask(target, Some(Path::new("none")), limit, true).await?;
        let plain = plain.map(|output| output.stdout).unwrap_or_default();
        for option in option_support::set(&printed, &String::from_utf8_lossy(&plain)) {
            trace.detail(|| option);
        }

        config
            .notices
            .iter()
            .for_each(|notice| trace.detail(|| notice.clone()));
    }

    Ok(config)
}

/// Returns the file which a line of `ssh -v` names as read, or the matching block of a file.
fn file_read(line: &str) -> Option<String> {
    let said = line.strip_prefix("debug1: ")?.trim_end();
    match (
        said.strip_prefix("Reading configuration data "),
        said.split_once(": Applying options for "),
    ) {
        (Some(file), _) => Some(format!("reads {file}")),
        (None, Some((place, host))) => Some(format!("{place} applies (Host {host})")),
        (None, None) => None,
    }
}

/// Returns true for a line of `ssh -v` which is no error message.
fn is_chatter(line: &str) -> bool {
    line.starts_with("debug")
        || line.starts_with("OpenSSH_")
        || line.starts_with("Pseudo-terminal will not")
}

/// Runs `ssh -G`, with `-v` if `verbose`. The inner error means that `ssh` could not be started.
///
/// # Errors
/// `ssh` takes longer than `limit`.
async fn ask(
    target: &Target,
    config_file: Option<&Path>,
    limit: Duration,
    verbose: bool,
) -> Result<Result<Output, std::io::Error>, SshError> {
    let mut command = child::command("ssh");
    command.arg(if verbose { "-vG" } else { "-G" });
    if let Some(file) = config_file {
        command.arg("-F").arg(file);
    }

    if let Some(user) = &target.user {
        command.args(["-l", user]);
    }

    if let Some(port) = target.port {
        command.args(["-p", &port.to_string()]);
    }

    command
        .args(["--", target.destination.as_str()])
        .stdin(Stdio::null())
        .kill_on_drop(true);

    timeout(limit, command.output())
        .await
        .map_err(|_| SshError::Timeout {
            stage: "reading the SSH configuration with `ssh -G`",
            after: limit,
        })
}
