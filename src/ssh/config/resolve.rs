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

    let file = target.config_file.as_deref();
    let Some(output) = run_ssh(target, file, limit, trace.is_recording()).await? else {
        let config = fallback::read(target)?;
        add_notices(&config, trace);

        return Ok(config);
    };

    let destination = target.destination.as_str().to_owned();
    // With `-v`, stderr names the files which were read.
    let stderr = String::from_utf8_lossy(&output.stderr);
    if trace.is_recording() {
        stderr
            .lines()
            .filter_map(file_read)
            .for_each(|file| trace.detail(|| file));
    }

    // The messages of `-v` are left out of the error, which the user reads.
    if !output.status.success() {
        let message = stderr
            .lines()
            .filter(|line| !is_debug_output(line))
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n");

        return Err(SshError::Resolve {
            destination,
            message: message.trim().into(),
        });
    }

    let dump = String::from_utf8_lossy(&output.stdout);
    let config = EffectiveConfig::parse(&dump).map_err(|source| SshError::Config {
        destination,
        source,
    })?;

    if trace.is_recording() {
        // `ssh -G` prints defaults too. A second run without files shows which options the files
        // have set.
        let defaults = run_ssh(target, Some(Path::new("none")), limit, true).await?;
        let defaults = defaults.map(|output| output.stdout).unwrap_or_default();
        for option in option_support::set(&dump, &String::from_utf8_lossy(&defaults)) {
            trace.detail(|| option);
        }

        add_notices(&config, trace);
    }

    Ok(config)
}

/// Adds the notices of the configuration to the trace.
fn add_notices(config: &EffectiveConfig, trace: &StageTrace) {
    let of_forwards = config.forwardings.notices();
    for notice in config.notices.iter().chain(&of_forwards) {
        trace.detail(|| notice.clone());
    }
}

/// Returns the file which a line of `ssh -v` names as read, or the matching block of a file.
fn file_read(line: &str) -> Option<String> {
    let message = line.strip_prefix("debug1: ")?.trim_end();
    match (
        message.strip_prefix("Reading configuration data "),
        message.split_once(": Applying options for "),
    ) {
        (Some(file), _) => Some(format!("reads {file}")),
        (None, Some((block, host))) => Some(format!("{block} applies (Host {host})")),
        (None, None) => None,
    }
}

/// Returns true for a line of `ssh -v` which is no error message.
fn is_debug_output(line: &str) -> bool {
    line.starts_with("debug")
        || line.starts_with("OpenSSH_")
        || line.starts_with("Pseudo-terminal will not")
}

/// Runs `ssh -G`, with `-v` if `verbose`. Returns `None` if there is no `ssh` program.
///
/// # Errors
/// `ssh` cannot be started, or takes longer than `limit`.
async fn run_ssh(
    target: &Target,
    config_file: Option<&Path>,
    limit: Duration,
    verbose: bool,
) -> Result<Option<Output>, SshError> {
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

    let result = timeout(limit, command.output())
        .await
        .map_err(|_| SshError::Timeout {
            stage: "reading the SSH configuration with `ssh -G`",
            after: limit,
        })?;

    match result {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SshError::ResolveRun(error)),
    }
}
