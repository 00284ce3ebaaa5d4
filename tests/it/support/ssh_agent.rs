//! A real ssh-agent.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::checks::eventually;

/// An agent on a socket of its own. Dropping it kills it.
pub(crate) struct SshAgent {
    process: Child,
    socket: PathBuf,
}

impl SshAgent {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(socket: &Path) -> Self {
        let mut command = Command::new("ssh-agent");

        command
            .arg("-D")
            .arg("-a")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());

        let process = command.spawn().expect("the OpenSSH client is installed");
        eventually("the agent listens", || socket.exists()).await;

        Self {
            process,
            socket: socket.to_owned(),
        }
    }

    /// Adds the key of this file, and the certificate beside it.
    pub(crate) fn add(&self, key: &Path, options: &[&str]) {
        let mut command = Command::new("ssh-add");

        command
            .arg("-q")
            .args(options)
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null());

        let output = command.output().expect("the OpenSSH client is installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
