//! The built program, as an MCP client starts it: a process with pipes.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{mcp_client::ToolResult, processes};

/// No answer and no end of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running program. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    next_id: u64,
    folder: PathBuf,
}

impl Program {
    /// Starts the program with its store, its state and its stderr in `folder`, and initializes MCP.
    pub(crate) async fn start(ssh_config: &Path, folder: &Path) -> Self {
        let mut program = Self::start_silent(ssh_config, folder, &folder.join("sessions.json"));
        program.initialize().await;
        program
    }

    /// the same without initializing, with the store somewhere else.
    pub(crate) fn start_silent(ssh_config: &Path, folder: &Path, store: &Path) -> Self {
        let mut command = command(folder);
        command
            .arg("--ssh-config")
            .arg(ssh_config)
            .arg("--store")
            .arg(store);
        Self::spawn(command, folder)
    }

    /// Starts the program with more environment variables, and initializes MCP; without an `ssh_config` it finds its own.
    pub(crate) async fn start_with(
        ssh_config: Option<&Path>,
        folder: &Path,
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let mut command = command(folder);
        command.envs(environment.iter().copied());
        if let Some(file) = ssh_config {
            command.arg("--ssh-config").arg(file);
        }

        let mut program = Self::spawn(command, folder);
        program.initialize().await;

        program
    }

    /// Runs this command with a full log in `folder`.
    pub(crate) fn spawn(mut command: Command, folder: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("stderr.log"))
            .expect("a writable folder");

        command.args(["--log", "trace"]).stderr(log);
        Self::spawn_unlogged(command, folder)
    }

    /// Runs this command without an option for its log.
    pub(crate) fn spawn_unlogged(mut command: Command, folder: &Path) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);

        let mut child = command.spawn().expect("the program is built");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();

        Self {
            child,
            stdin,
            stdout,
            next_id: 0,
            folder: folder.to_owned(),
        }
    }

    /// `initialize` and `notifications/initialized`.
    pub(crate) async fn initialize(&mut self) {
        let client = json!({"name": "test", "version": "0"});
        let initialize_params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let answer = self.request("initialize", initialize_params).await;
        assert!(answer["result"].is_object(), "{answer}");
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
    }

    /// Sends a request and waits for its answer; anything else on stdout fails the test.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params).await;
        let answer = self.message().await;
        assert_eq!(
            (&answer["jsonrpc"], &answer["id"]),
            (&json!("2.0"), &json!(id)),
            "{answer}"
        );

        answer
    }

    /// The next message on stdout, where nothing else may be.
    pub(crate) async fn message(&mut self) -> Value {
        let line = timeout(PATIENCE, self.stdout.next_line())
            .await
            .expect("an answer in time")
            .expect("readable");
        serde_json::from_str(&line.expect("the program is alive")).expect("JSON alone on stdout")
    }

    /// Sends a request without waiting for its answer; returns its id.
    pub(crate) async fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        self.send(
            &json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}),
        )
        .await;
        self.next_id
    }

    /// A call of a tool and its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> ToolResult {
        let answer = self
            .request("tools/call", json!({"name": tool, "arguments": arguments}))
            .await;
        assert!(answer["error"].is_null(), "a JSON-RPC error: {answer}");
        ToolResult(answer["result"].clone())
    }

    /// Sends a line as it is.
    pub(crate) async fn garbage(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .expect("the program reads");
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stdin
            .as_mut()
            .expect("stdin is open")
            .write_all(bytes)
            .await
            .expect("the program reads");
    }

    /// Sends bytes and then a ping, and reads meanwhile, but only after the first answer has come and `may_read` is over;
    /// returns how many messages came before the answer to the ping.
    pub(crate) async fn survives(
        &mut self,
        bytes: &[u8],
        may_read: impl Future<Output = ()>,
    ) -> usize {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let write = async {
            stdin.write_all(bytes).await.expect("the program reads");
            let ping = b"\n{\"jsonrpc\": \"2.0\", \"id\": \"last\", \"method\": \"ping\"}\n";
            stdin.write_all(ping).await.expect("the program reads");
        };

        let read = async {
            let first = self.stdout.get_mut().fill_buf();
            timeout(PATIENCE, first)
                .await
                .expect("an answer in time")
                .expect("readable");
            may_read.await;

            for messages in 0.. {
                let line = timeout(PATIENCE, self.stdout.next_line())
                    .await
                    .expect("an answer in time")
                    .expect("readable");

                let message: Value = serde_json::from_str(&line.expect("it is alive"))
                    .expect("JSON alone on stdout");
                if message["id"] == "last" {
                    return messages;
                }
            }

            0
        };

        tokio::join!(write, read).1
    }

    /// All that it and its predecessors in this folder wrote on stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stderr.log")).expect("readable")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends it a signal and waits until it is gone, however it ends.
    pub(crate) async fn signal_and_forget(mut self, signal: &str) {
        assert!(processes::signal(signal, &[self.pid().to_string()]));
        self.end().await;
    }

    /// Closes its stdin and waits for its end.
    pub(crate) async fn close(mut self) -> (ExitStatus, Duration) {
        self.stdin = None;
        self.end().await
    }

    /// Sends it a signal and waits for its end; returns how long that took.
    pub(crate) async fn signal(mut self, signal: &str) -> Duration {
        assert!(processes::signal(
            signal,
            &[self.child.id().expect("it runs").to_string()]
        ));
        let (status, took) = self.end().await;
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        took
    }

    /// Waits for the end of the process; returns its status and how long that took.
    pub(crate) async fn end(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let status = timeout(PATIENCE, self.child.wait())
            .await
            .expect("an end in time")
            .expect("a child of ours");
        (status, started.elapsed())
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin
            .write_all(format!("{message}\n").as_bytes())
            .await
            .expect("the program reads");
    }
}

/// The built program, at home in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ssh-sessions"));
    command
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"));

    for name in [
        "MCP_SSH_CONFIG",
        "MCP_SSH_STORE",
        "MCP_SSH_LOG",
        "MCP_SSH_SETTINGS",
        "MCP_SSH_SHARED",
        "SSH_AUTH_SOCK",
        "XDG_CONFIG_HOME",
    ] {
        command.env_remove(name);
    }

    command
}
