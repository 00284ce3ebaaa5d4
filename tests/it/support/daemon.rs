//! The built program as a daemon: a process on a free port, with everything it writes in one folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::process::{Child, Command};

use super::{
    http_client::{Dialect, HttpClient},
    processes,
    wire::{DaemonAddress, soon},
};

/// How long a start may take.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running daemon. Dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: DaemonAddress,
    log: PathBuf,
}

impl Daemon {
    /// Starts one on any free port, with more arguments, and waits until it says that it is ready.
    pub(crate) async fn start(ssh_config: &Path, folder: &Path, arguments: &[&str]) -> Self {
        Self::run(
            command(ssh_config, folder)
                .args(["--http", "0"])
                .args(arguments),
            folder,
        )
        .await
    }

    /// Runs a command that is a daemon in the end. The first address that it names is its place.
    pub(crate) async fn run(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("daemon.log");
        let stderr = File::create(&log).expect("a writable folder");

        let mut child = command
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("it is built");

        let started = Instant::now();

        loop {
            let text = fs::read_to_string(&log).expect("readable");
            if let Some(address) = text.lines().find_map(ready) {
                return Self {
                    child,
                    address,
                    log,
                };
            }

            let ended = child.try_wait().expect("a child of ours");
            assert!(
                ended.is_none() && started.elapsed() < START_LIMIT,
                "not ready: {ended:?} {text}"
            );

            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a client of the daemon.
    pub(crate) async fn client(&self, dialect: Dialect) -> HttpClient {
        HttpClient::connect(&self.address, dialect).await
    }

    /// Starts a client and connects the daemon's session `host`.
    pub(crate) async fn connected(&self, dialect: Dialect) -> HttpClient {
        let mut client = self.client(dialect).await;
        client
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();
        client
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it has written on stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("readable")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        assert!(
            processes::signal(name, &[self.pid().to_string()]),
            "SIG{name}"
        );
    }

    /// Sends it a signal that ends it; returns how it ended, and how long that took.
    pub(crate) async fn end(&mut self, signal: &str) -> (ExitStatus, Duration) {
        let started = Instant::now();
        self.signal(signal);
        let status = soon(self.child.wait()).await.expect("a child of ours");
        (status, started.elapsed())
    }
}

/// The program with its store, its state and its home in `folder`, and nothing from the environment of the tests.
pub(crate) fn command(ssh_config: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .arg("--ssh-config")
        .arg(ssh_config)
        .arg("--store")
        .arg(folder.join("sessions.json"));

    command.args(["--log", "trace"]);
    alone(&mut command, folder);

    command
}

/// The built program.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_mcp-ssh-sessions")
}

/// What `mcp-ssh-sessions status` says with these arguments: exit code, stdout and stderr.
pub(crate) async fn status(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program());
    output(alone(&mut command, folder).arg("status").args(arguments)).await
}

/// Runs a command to its end: exit code, stdout and stderr.
pub(crate) async fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let output = soon(command.stdin(Stdio::null()).kill_on_drop(true).output())
        .await
        .expect("it is built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn alone<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("MCP_SSH_") || name.starts_with("LISTEN_") || name.starts_with("npm_") {
            command.env_remove(&*name);
        }
    }

    command
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"))
}

fn ready(line: &str) -> Option<DaemonAddress> {
    let address = line
        .strip_prefix("mcp-ssh-sessions: ready on ")?
        .split(" and ")
        .next()?;

    if let Some(path) = address.strip_prefix("the Unix socket ") {
        return Some(DaemonAddress::Socket(path.into()));
    }

    let port = address.strip_suffix("/mcp")?.rsplit_once(':')?.1;
    Some(DaemonAddress::Tcp(port.parse().ok()?))
}
