//! The built program, as an MCP client starts it: a process with pipes.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::support::{checks::eventually, fixture::TestHost, mcp_client::ToolResult, processes};

/// No answer and no end of a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A second is promised; a busy machine may take this much.
const SECONDS: Duration = Duration::from_secs(8);

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

    /// Runs this command, with its stderr in `folder`.
    pub(crate) fn spawn(mut command: Command, folder: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("stderr.log"))
            .expect("a writable folder");

        command
            .args(["--log", "trace"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
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

    /// Sends bytes and then a ping, and reads meanwhile, but only after `rest`; returns how many messages came before the
    /// answer to the ping.
    pub(crate) async fn survives(&mut self, bytes: &[u8], rest: Duration) -> usize {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let write = async {
            stdin.write_all(bytes).await.expect("the program reads");
            let ping = b"\n{\"jsonrpc\": \"2.0\", \"id\": \"last\", \"method\": \"ping\"}\n";
            stdin.write_all(ping).await.expect("the program reads");
        };

        let read = async {
            tokio::time::sleep(rest).await;

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

    async fn end(&mut self) -> (ExitStatus, Duration) {
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
        "MCP_SSH_SHARED",
        "SSH_AUTH_SOCK",
    ] {
        command.env_remove(name);
    }

    command
}

/// Runs the program to its end without input.
async fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output();

    let Output {
        status,
        stdout,
        stderr,
    } = timeout(PATIENCE, output).await.unwrap().unwrap();

    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[tokio::test]
async fn help_and_version_go_to_stdout() {
    let (status, stdout, stderr) = run(&["--version"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(
        stdout,
        concat!("mcp-ssh-sessions ", env!("CARGO_PKG_VERSION"), "\n")
    );

    let (status, stdout, stderr) = run(&["--help"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));

    for option in [
        "--ssh-config",
        "--store",
        "--log",
        "MCP_SSH_CONFIG",
        "MCP_SSH_STORE",
        "MCP_SSH_LOG",
    ] {
        assert!(stdout.contains(option), "{option} is missing: {stdout}");
    }
}

#[tokio::test]
async fn a_wrong_option_gets_one_line_and_status_2() {
    for (arguments, part) in [
        (vec!["--bogus"], "--bogus"),
        (vec!["--log", "loud"], "loud"),
        (vec!["--store"], "--store"),
        (vec!["surplus"], "surplus"),
        (vec!["--log", "warn", "--log", "warn"], "--log"),
    ] {
        let (status, stdout, stderr) = run(&arguments).await;
        assert_eq!(
            (status, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{arguments:?}: {stderr}"
        );

        assert!(
            stderr.starts_with("mcp-ssh-sessions: ") && stderr.contains(part),
            "{arguments:?}: {stderr}"
        );
    }
}

#[tokio::test]
async fn stdin_that_ends_before_hello_ends_the_program_with_success() {
    // Several times: what ends first, the reading or the serving, is a matter of luck.
    for _ in 0..10 {
        assert_eq!(
            run(&["--log", "warn"]).await,
            (Some(0), String::new(), String::new())
        );
    }
}

#[tokio::test]
async fn stdin_that_ends_after_hello_ends_the_program_with_success() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(Path::new("/dev/null"), folder.path()).await;
    let (status, took) = program.close().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < SECONDS, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_ending_signal_stops_the_command_and_the_program() {
    let world = TestHost::fake();
    for (number, signal) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        let mut program = Program::start(&world.config, world.folder()).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        let marker = format!("3{number}.5");

        program
            .begin(
                "tools/call",
                json!({"name": "ssh_exec", "arguments": {"command": format!("sleep {marker}")}}),
            )
            .await;

        eventually("the command runs", || world.runs(&marker)).await;
        assert!(processes::signal(
            signal,
            &[program.child.id().unwrap().to_string()]
        ));

        let (status, took) = program.end().await;
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(took < SECONDS, "SIG{signal}: {took:?}");
        eventually("the command is gone", || !world.runs(&marker)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_stdin_stops_the_running_command_and_the_program() {
    let world = TestHost::fake();
    for (tool, marker) in [("ssh_exec", "30.25"), ("ssh_shell", "30.75")] {
        let mut program = Program::start(&world.config, world.folder()).await;
        program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        let command = format!("sleep {marker} & sleep {marker}; echo after");

        program
            .begin(
                "tools/call",
                json!({"name": tool, "arguments": {"command": command}}),
            )
            .await;

        eventually("the command runs", || world.runs(marker)).await;
        let (status, took) = program.close().await;
        assert_eq!(status.code(), Some(0), "{tool}");
        assert!(took < SECONDS, "{tool}: {took:?}");
        eventually("the command is gone", || !world.runs(marker)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_carries_json_rpc_alone_whatever_is_logged() {
    let world = TestHost::fake();
    let mut program = Program::start(&world.config, world.folder()).await;

    // `request` parses every line.
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(
        program
            .call("ssh_connect", json!({"host": "nowhere.invalid"}))
            .await
            .is_error()
    );

    assert_eq!(
        program
            .call("ssh_exec", json!({"command": "echo out; echo err >&2"}))
            .await
            .stdout(),
        "out\n"
    );

    assert!(program.request("bogus", json!({})).await["error"].is_object());
    assert_eq!(program.close().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_option_has_an_environment_twin() {
    let world = TestHost::fake();
    let store = world.folder().join("elsewhere/store.json");
    let mut command = command(world.folder());
    command
        .env("MCP_SSH_CONFIG", &world.config)
        .env("MCP_SSH_STORE", &store)
        .env("MCP_SSH_LOG", "off");

    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);

    let mut child = command.spawn().unwrap();
    let (stdin, stdout) = (
        child.stdin.take(),
        BufReader::new(child.stdout.take().unwrap()).lines(),
    );

    let mut program = Program {
        child,
        stdin,
        stdout,
        next_id: 0,
        folder: world.folder().to_owned(),
    };

    program.initialize().await;
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    assert!(fs::read_to_string(store).unwrap().contains("\"box\""));
}
