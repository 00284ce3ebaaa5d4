//! Starts and ends the local command of `ProxyCommand`, whose stdin and stdout carry the SSH
//! connection.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
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
    foreign_text::ForeignText,
    lock::lock,
    openssh::effective_config::EffectiveConfig,
    ssh::{config::expand::expand_command_option, error::SshError, trace::StageTrace},
};

/// Byte stream through a `ProxyCommand`: reads come from the command's stdout, writes go to the
/// command's stdin.
pub(in crate::ssh) type CommandStream = Join<ChildStdout, ChildStdin>;

/// Size of the stderr text after which no more is kept, in bytes.
const MAX_COMPLAINT_BYTES: u64 = 4096;

/// Time limit for reading the rest of stderr after a command has failed.
const COMPLAINT_LIMIT: Duration = Duration::from_millis(300);

/// A running `ProxyCommand`, returned by [`start_command`]. Dropping `process` ends the command.
pub(in crate::ssh) struct ProxyCommand {
    /// Stream which carries the SSH connection.
    pub(in crate::ssh) stream: CommandStream,
    /// Process which serves the stream.
    pub(in crate::ssh) process: ProxyProcess,
}

/// Process of a [`ProxyCommand`], with the text read from stderr so far. On Unix, a drop sends
/// SIGHUP to the process group and then kills the command. Elsewhere, a drop kills the command.
pub(in crate::ssh) struct ProxyProcess {
    #[cfg_attr(not(unix), expect(dead_code, reason = "it ends with this"))]
    child: Child,
    /// Beginning of stderr, up to about [`MAX_COMPLAINT_BYTES`].
    complaint: Arc<Mutex<Vec<u8>>>,
    /// Task which reads stderr; `None` if the process has no stderr pipe.
    stderr_task: Option<JoinHandle<()>>,
}

impl ProxyProcess {
    /// Returns the text which the command printed on stderr, after waiting up to 300 ms for the
    /// rest.
    pub(in crate::ssh) async fn complaint(mut self) -> ForeignText {
        if let Some(stderr_task) = self.stderr_task.take() {
            let _ = timeout(COMPLAINT_LIMIT, stderr_task).await;
        }

        ForeignText::from(lock(&self.complaint).trim_ascii())
    }
}

/// Sends SIGHUP to the whole process group, so each part of a pipeline gets the signal. `ssh` ends
/// its proxy command with SIGHUP too.
#[cfg(unix)]
impl Drop for ProxyProcess {
    fn drop(&mut self) {
        use nix::{
            sys::signal::{Signal, killpg},
            unistd::Pid,
        };

        // Without an id the process has ended, and its number may belong to another process by now.
        if let Some(group) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGHUP);
        }
    }
}

/// Starts a `ProxyCommand` as OpenSSH does: the user's shell runs `exec COMMAND`.
///
/// # Errors
/// `ProxyUseFdpass` is set, a token has no value, or the shell cannot be started.
pub(in crate::ssh) fn start_command(
    template: &str,
    config: &EffectiveConfig,
    destination: &str,
    trace: &StageTrace,
) -> Result<ProxyCommand, SshError> {
    // With `ProxyUseFdpass` the command would hand over a connected socket, not carry the bytes
    // (`ssh_config(5)`).
    if config.proxy_use_fdpass {
        return Err(SshError::Unsupported {
            option: "ProxyUseFdpass",
            value: "yes".to_owned(),
        });
    }

    let line = expand_command_option("ProxyCommand", template, config, destination)?;
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
    let complaint = Arc::new(Mutex::new(Vec::new()));

    // Stderr is read to its end, even beyond the limit: a full pipe would block the command.
    let stderr_task = child.stderr.take().map(|mut stderr| {
        let collected = Arc::clone(&complaint);
        tokio::spawn(async move {
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stderr.read(&mut bytes).await {
                let mut collected = lock(&collected);
                if (collected.len() as u64) < MAX_COMPLAINT_BYTES {
                    collected.extend_from_slice(bytes.get(..length).unwrap_or_default());
                }
            }
        })
    });

    Ok(ProxyCommand {
        stream: join(stdout, stdin),
        process: ProxyProcess {
            child,
            complaint,
            stderr_task,
        },
    })
}

/// Returns the command which runs `line` in the user's shell: `$SHELL`, or `/bin/sh` if unset.
#[cfg(not(windows))]
fn shell(line: &str) -> Command {
    let shell = std::env::var_os("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| "/bin/sh".into());
    let mut command = child::command(shell);
    command.args(["-c", &format!("exec {line}")]);

    // A process group of its own allows a drop to end the whole pipeline. It also keeps Ctrl-C in a
    // terminal from ending the connection before this process ends.
    command.process_group(0);

    command
}

/// Returns the command which runs `line` in `cmd`. The line is passed raw: `cmd` takes the text
/// between the outer quotes as is, whereas `args` would escape quotes for a C program.
#[cfg(windows)]
fn shell(line: &str) -> Command {
    let mut command = child::command("cmd");
    command.raw_arg(format!("/D /S /C \"{line}\""));
    command
}
