//! What the tests of commands and transfers share: a connected client, and what a look at the process table says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use crate::support::dropbear::Dropbear;
#[cfg(target_os = "linux")]
use crate::support::other_sshd::{Make, OtherSshd};
use crate::support::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys,
    mcp_client::{McpClient, ToolResult},
    open_sshd::{OpenSshd, OpenSshdSettings},
    processes,
};

/// How long anything that is polled for may take: long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client with one connected session, and the server behind it.
pub(crate) struct Bench<S> {
    /// Before the server, so that it goes first.
    pub(crate) mcp: McpClient,
    pub(crate) sshd: S,
    /// The server's port.
    pub(crate) port: u16,
    /// The client's configuration, in which the server is `host`.
    pub(crate) config: PathBuf,
    /// The remote home; the person's own is not touched.
    pub(crate) home: PathBuf,
    /// For what a test writes on this machine.
    pub(crate) folder: TempDir,
}

/// A real sshd whose log-ins have a temporary folder as their home, and a client connected to it.
pub(crate) async fn open() -> Bench<OpenSshd> {
    open_with(|_| {}).await
}

/// The same with other settings.
pub(crate) async fn open_with(change: impl FnOnce(&mut OpenSshdSettings)) -> Bench<OpenSshd> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();

    let mut settings = OpenSshdSettings {
        max_sessions: 300,
        sftp: format!("internal-sftp -d {}", home.display()),
        extra_config: format!("SetEnv HOME={}", home.display()),
        ..OpenSshdSettings::default()
    };

    change(&mut settings);
    let sshd = OpenSshd::start(&settings);
    let config = sshd.write_ssh_config("host", "");
    let mcp = connected(&config, folder.path()).await;

    Bench {
        mcp,
        port: sshd.port(),
        sshd,
        config,
        home,
        folder,
    }
}

/// Dropbear whose log-ins have a temporary folder as their home and this login shell, and a client connected to it.
#[cfg(target_os = "linux")]
pub(crate) async fn dropbear(login_shell: &Path) -> Bench<Dropbear> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let sshd = Dropbear::start(&home, login_shell);
    let config = sshd.write_ssh_config("host");
    let mcp = connected(&config, folder.path()).await;

    Bench {
        mcp,
        port: sshd.port(),
        sshd,
        config,
        home,
        folder,
    }
}

/// A server of another make whose relative paths begin at a temporary folder, and a client connected to it.
#[cfg(target_os = "linux")]
pub(crate) async fn other(make: Make) -> Bench<OtherSshd> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let sshd = OtherSshd::start(&make, &home);
    let config = sshd.write_ssh_config("host", "");
    let mcp = connected(&config, folder.path()).await;

    Bench {
        mcp,
        port: sshd.port(),
        sshd,
        config,
        home,
        folder,
    }
}

/// The in-process server with this login shell, and a client connected to it.
pub(crate) async fn fake(login_shell: &str) -> Bench<FakeSshd> {
    let login_shell = login_shell.to_owned();
    fake_with(FakeSshdSettings {
        login_shell,
        max_sessions: 300,
        ..FakeSshdSettings::default()
    })
    .await
}

/// The same with these settings.
pub(crate) async fn fake_with(settings: FakeSshdSettings) -> Bench<FakeSshd> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let key = keys::ed25519();
    let path = folder.path().join("id_ed25519");
    keys::write_private_key(&path, &key, None);
    let authorized_keys = vec![key.public_key().clone()];
    let sshd = FakeSshd::start(FakeSshdSettings {
        authorized_keys,
        home: Some(home.clone()),
        ..settings
    });

    let config = sshd.write_ssh_config(
        folder.path(),
        "host",
        &format!("IdentityFile {}", path.display()),
    );

    let mcp = connected(&config, folder.path()).await;

    Bench {
        mcp,
        port: sshd.port(),
        sshd,
        config,
        home,
        folder,
    }
}

async fn connected(config: &Path, folder: &Path) -> McpClient {
    let mut mcp = McpClient::start(config, folder).await;
    mcp.call("ssh_connect", json!({"host": "host"})).await.ok();
    mcp
}

impl<S> Bench<S> {
    /// `ssh_exec` of a command, with further parameters.
    pub(crate) async fn exec(&mut self, command: &str, more: Value) -> ToolResult {
        self.mcp
            .call("ssh_exec", with_command(command, more))
            .await
            .ok()
    }

    /// `ssh_shell` of a command, with further parameters.
    pub(crate) async fn shell(&mut self, command: &str, more: Value) -> ToolResult {
        self.mcp
            .call("ssh_shell", with_command(command, more))
            .await
            .ok()
    }

    /// Begins a call of `tool` with a command.
    pub(crate) async fn begin(&mut self, tool: &str, command: &str, more: Value) -> u64 {
        self.mcp.begin_call(tool, with_command(command, more)).await
    }

    /// `~` of the log-in, written out.
    pub(crate) fn remote(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// A path on this machine.
    pub(crate) fn local(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn with_command(command: &str, mut more: Value) -> Value {
    more["command"] = command.into();
    more
}

/// `{}`: no further parameters.
pub(crate) fn plain() -> Value {
    json!({})
}

/// The exit code of a result; `None` where there is none.
pub(crate) fn code(result: &ToolResult) -> Option<i64> {
    result.outcome()["exitCode"].as_i64()
}

/// The outcome's `status`.
pub(crate) fn status(result: &ToolResult) -> &str {
    result.outcome()["status"].as_str().unwrap_or_default()
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "after {PATIENCE:?}, still not so: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The processes of log-ins to `port` that have `word` among their arguments.
pub(crate) fn running(port: u16, word: &str) -> Vec<u32> {
    let has_word = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == word.as_bytes())
    };

    processes::of_connections_to(port)
        .into_iter()
        .filter(has_word)
        .collect()
}

/// Asserts that a stopped command says so, and that none of its processes is left.
pub(crate) fn assert_stopped(result: &ToolResult, how: &str, port: u16, word: &str) {
    assert_eq!(status(result), how, "{result:?}");
    assert_eq!(
        (result.outcome()["processGone"].as_bool(), code(result)),
        (Some(true), None),
        "{result:?}"
    );
    assert_eq!(running(port, word), [0; 0], "{result:?}");
}

/// The content of the file with the whole output.
pub(crate) fn whole_output(result: &ToolResult) -> Vec<u8> {
    fs::read(
        result.outcome()["outputFile"]
            .as_str()
            .expect("an output file"),
    )
    .unwrap()
}

/// Random bytes.
pub(crate) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// The texts that `write` makes of 0, 1, 2 …, one behind the other.
pub(crate) fn counted(to: u32, write: impl Fn(u32) -> String) -> String {
    (0..to).map(write).collect()
}

/// Says that a test could not be run here.
#[expect(
    clippy::print_stderr,
    reason = "for the person who reads the tests' output"
)]
pub(crate) fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}
