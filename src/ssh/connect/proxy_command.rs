//! Hosts that are reached through something else: `ProxyJump` and `ProxyCommand`.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, Join, join},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    child,
    openssh::effective_config::EffectiveConfig,
    render::is_line_unsafe,
    ssh::{config::expand::expand_command_option, error::SshError, trace::StageTrace},
};

/// What a `ProxyCommand` prints and reads.
pub(in crate::ssh) type CommandStream = Join<ChildStdout, ChildStdin>;

/// How much of what a proxy command complains about is kept, in bytes.
const MAX_COMPLAINT_BYTES: u64 = 4096;

/// How long a command that has failed may take to say why.
const COMPLAINT_LIMIT: Duration = Duration::from_millis(300);

/// A running `ProxyCommand`: its stdin and stdout are the connection. It is killed when dropped.
pub(in crate::ssh) struct ProxyCommand {
    pub(in crate::ssh) stream: CommandStream,
    pub(in crate::ssh) process: ProxyProcess,
}

/// The process of a [`ProxyCommand`] and what it says on stderr.
pub(in crate::ssh) struct ProxyProcess {
    #[cfg_attr(not(unix), expect(dead_code, reason = "it ends with this"))]
    child: Child,
    complaint: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl ProxyProcess {
    /// What the command said on stderr, if it says so by now.
    pub(in crate::ssh) async fn complaint(mut self) -> String {
        if let Some(listening) = self.listening.take() {
            let _ = timeout(COMPLAINT_LIMIT, listening).await;
        }

        self.complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trim()
            .to_owned()
    }
}

/// `ssh` ends its proxy command by SIGHUP; here the commands of a pipeline get it too. What ignores that is killed.
#[cfg(unix)]
impl Drop for ProxyProcess {
    fn drop(&mut self) {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };

        // Without an id it has ended, and another process may have its number.
        if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGHUP);
        }
    }
}

/// Starts a `ProxyCommand` as OpenSSH does: `exec` of it by the user's shell.
///
/// # Errors
/// `ProxyUseFdpass`, a token without a value, or a shell that cannot be run.
pub(in crate::ssh) fn start_command(
    template: &str,
    config: &EffectiveConfig,
    typed: &str,
    trace: &StageTrace,
) -> Result<ProxyCommand, SshError> {
    if config.proxy_use_fdpass {
        return Err(SshError::Unsupported {
            option: "ProxyUseFdpass",
            value: "yes".to_owned(),
        });
    }

    let line = expand_command_option("ProxyCommand", template, config, typed)?;
    trace.detail(|| format!("runs: {line}"));
    let failed = |source| SshError::ProxyCommand {
        command: line.clone(),
        source,
    };

    let mut child = shell(&line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;

    let no_pipe = || std::io::Error::other("it has no pipe");
    let stdin = child.stdin.take().ok_or_else(no_pipe).map_err(failed)?;
    let stdout = child.stdout.take().ok_or_else(no_pipe).map_err(failed)?;
    let complaint = Arc::new(Mutex::new(String::new()));

    let listening = child.stderr.take().map(|mut stderr| {
        let kept = Arc::clone(&complaint);
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
                let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if (kept.len() as u64) < MAX_COMPLAINT_BYTES {
                    kept.extend(
                        text.chars()
                            .filter(|letter| *letter == '\n' || !is_line_unsafe(*letter)),
                    );
                }
            }
        })
    });

    Ok(ProxyCommand {
        stream: join(stdout, stdin),
        process: ProxyProcess {
            child,
            complaint,
            listening,
        },
    })
}

#[cfg(not(windows))]
fn shell(line: &str) -> Command {
    let shell = std::env::var_os("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".into());
    let mut command = child::command(shell);
    command.args(["-c", &format!("exec {line}")]);

    // A group of its own, so that all of it can be ended, and so that Ctrl-C in a terminal ends us and not the connection.
    command.process_group(0);

    command
}

/// `cmd` takes what is between the outer quotes as it stands, while `args` would escape the quotes in it for a C program.
#[cfg(windows)]
fn shell(line: &str) -> Command {
    let mut command = child::command("cmd");
    command.raw_arg(format!("/D /S /C \"{line}\""));
    command
}
