//! What OpenSSH contributes: its program, configuration, agent and known hosts.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use super::InstallationCheck;
use crate::{
    child,
    local::home::home,
    openssh::{destination::Destination, effective_config::split_paths},
    ssh::{
        config::{resolve::resolve, target::Target},
        error::Audience,
    },
};

/// Time limit of each program.
const PROGRAM_LIMIT: Duration = Duration::from_secs(10);

/// Checks that there is an `ssh` program.
pub(super) async fn program() -> InstallationCheck {
    match run("ssh", &["-V"]).await {
        Some(ended) if ended.status.success() => {
            let words = String::from_utf8_lossy(&ended.stderr);
            InstallationCheck::good("ssh", words.trim())
        }
        Some(ended) => InstallationCheck::bad(
            "ssh",
            format!("`ssh -V` ends with {}", ended.status),
            "reinstall the OpenSSH client",
        ),
        None => InstallationCheck::bad(
            "ssh",
            "there is no ssh program, so only a part of ssh_config is understood",
            "install the OpenSSH client (Debian: apt-get install openssh-client)",
        ),
    }
}

/// Checks that the configuration can be read, for a host that needs no entry in it, and the files
/// of known hosts that it names.
pub(super) async fn configuration(config_file: Option<PathBuf>) -> [InstallationCheck; 2] {
    let file = config_file.as_ref().map_or_else(
        || "the usual files".to_owned(),
        |file| file.display().to_string(),
    );
    let Ok(destination) = Destination::parse("localhost") else {
        return [InstallationCheck::good("ssh_config", file), known_hosts("")];
    };

    let target = Target {
        destination,
        user: None,
        port: None,
        config_file,
    };
    match resolve(&target, PROGRAM_LIMIT).await {
        Ok(config) => [
            InstallationCheck::good("ssh_config", file),
            known_hosts(&config.user_known_hosts_files),
        ],
        Err(error) => {
            let hint = error.hint(Audience::Person {
                ssh: &target.arguments(),
            });
            [
                InstallationCheck::bad("ssh_config", error.to_string(), &hint),
                known_hosts(""),
            ]
        }
    }
}

/// Checks that the agent of the environment answers.
pub(super) async fn agent() -> InstallationCheck {
    if env::var_os("SSH_AUTH_SOCK").is_none() && !cfg!(windows) {
        return InstallationCheck::absent("agent", "none (SSH_AUTH_SOCK is not set)", None);
    }

    // The exit status is 1 without keys and 2 without an agent (ssh-add(1)).
    let Some(ended) = run("ssh-add", &["-l"]).await else {
        return InstallationCheck::absent(
            "agent",
            "not examined, because there is no ssh-add program",
            None,
        );
    };
    let output = String::from_utf8_lossy(&ended.stdout);
    match ended.status.code() {
        Some(0) => {
            let keys = output.lines().count();
            InstallationCheck::good(
                "agent",
                format!("{keys} {}", if keys == 1 { "key" } else { "keys" }),
            )
        }
        Some(1) => InstallationCheck::absent(
            "agent",
            "answers, and has no keys",
            Some("to log in with a key from the agent, add it with ssh-add"),
        ),
        _ if cfg!(windows) => InstallationCheck::absent("agent", "none runs", None),
        _ => InstallationCheck::bad(
            "agent",
            "does not answer at SSH_AUTH_SOCK",
            "start the agent again, or unset SSH_AUTH_SOCK where the client is started",
        ),
    }
}

/// Checks the first of these files (`UserKnownHostsFile`), to which new keys are added. Without
/// one, that is the usual file.
fn known_hosts(files: &str) -> InstallationCheck {
    let files = split_paths(files, |path| Path::new(path).exists());
    let first = files.first().map_or("~/.ssh/known_hosts", String::as_str);
    let file = match (first.strip_prefix("~/"), home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(first),
    };

    if let Some(open) = open_to_others(&file) {
        return InstallationCheck::bad(
            "known_hosts",
            format!("other users may change {}", open.display()),
            &format!("run: chmod go-w {}", open.display()),
        );
    }

    match fs::read(&file) {
        Ok(content) => {
            let lines = content
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::trim_ascii)
                .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
                .count();
            let noun = if lines == 1 { "key" } else { "keys" };
            InstallationCheck::good(
                "known_hosts",
                format!("{lines} {noun} in {}", file.display()),
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => InstallationCheck::absent(
            "known_hosts",
            format!("there is no {} yet", file.display()),
            Some("the first connection to each host asks you about its key"),
        ),
        Err(error) => InstallationCheck::bad(
            "known_hosts",
            format!("cannot read {}: {error}", file.display()),
            "make the file readable for you",
        ),
    }
}

/// Returns the file, or its folder, if group or others may write to it.
#[cfg(unix)]
fn open_to_others(file: &Path) -> Option<&Path> {
    use std::os::unix::fs::PermissionsExt as _;
    [Some(file), file.parent()]
        .into_iter()
        .flatten()
        .find(|path| {
            path.metadata()
                .is_ok_and(|found| found.permissions().mode() & 0o022 != 0)
        })
}

/// Returns `None`: Windows keeps the profile of a user for that user.
#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<&Path> {
    None
}

/// Runs a program without input. `None`: it cannot be started, or takes too long.
pub(super) async fn run(
    program: impl AsRef<std::ffi::OsStr>,
    arguments: &[&str],
) -> Option<Output> {
    let running = child::command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    tokio::time::timeout(PROGRAM_LIMIT, running)
        .await
        .ok()?
        .ok()
}
