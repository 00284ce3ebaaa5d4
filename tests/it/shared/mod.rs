//! `--shared`: one daemon for all terminals, which comes and goes by itself.

mod lost;
mod places;
mod together;
mod versions;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{
    checks::eventually,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    processes,
    program::{Program, command},
};

/// A server, and a person whose terminals share one daemon. Dropping it kills that.
pub(crate) struct Shared {
    world: TestHost<FakeSshd>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self::with_world(TestHost::fake())
    }

    fn with_world(world: TestHost<FakeSshd>) -> Self {
        fs::create_dir(world.folder().join("run")).unwrap();
        Self { world }
    }

    /// A server that is in nobody's `known_hosts`.
    fn unknown() -> Self {
        let world = TestHost::fake_with(FakeSshdSettings::default(), "StrictHostKeyChecking ask");
        fs::remove_file(world.folder().join("known_hosts")).unwrap();
        Self::with_world(world)
    }

    fn folder(&self) -> &Path {
        self.world.folder()
    }

    /// Where the daemon's files are.
    fn address(&self) -> PathBuf {
        self.folder().join("run/mcp-ssh-sessions")
    }

    /// The file with this ending there.
    fn file(&self, ending: &str) -> PathBuf {
        let entries = fs::read_dir(self.address())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .into_iter()
            .find(|path| path.extension().is_some_and(|found| found == ending))
            .unwrap()
    }

    /// The program with `--shared`.
    fn command(&self) -> Command {
        let mut command = self.plain();
        command.arg("--shared");
        command
    }

    /// The program in the same surroundings.
    fn plain(&self) -> Command {
        let mut command = command(self.folder());
        command
            .env("XDG_RUNTIME_DIR", self.folder().join("run"))
            .arg("--ssh-config")
            .arg(&self.world.config);
        command
    }

    /// A terminal of its own, that has not initialized MCP.
    fn silent(&self) -> Program {
        Program::spawn(self.command(), self.folder())
    }

    /// A terminal of its own.
    pub(crate) async fn proxy(&self) -> Program {
        let mut proxy = self.silent();
        proxy.initialize().await;
        proxy
    }

    /// A daemon started by hand, which ends after this idle time, and what it says.
    async fn daemon(&self, idle: &str) -> (tokio::process::Child, String) {
        use tokio::io::AsyncBufReadExt as _;

        let mut command = self.plain();
        command.args(["shared-daemon", "--serve", "--idle", idle]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);

        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        tokio::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .await
            .unwrap();

        (child, line.trim().to_owned())
    }

    /// The daemons that run.
    fn daemons(&self) -> BTreeSet<u32> {
        let config = self.world.config.as_os_str().as_encoded_bytes();
        let has = |pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|byte| *byte == 0).collect();
            words.contains(&&b"--serve"[..]) && words.contains(&config)
        };

        processes::all()
            .into_iter()
            .filter(|pid| has(*pid))
            .collect()
    }

    /// The one that runs.
    pub(crate) fn only_daemon(&self) -> u32 {
        let daemons = self.daemons();
        assert_eq!(daemons.len(), 1, "{daemons:?}");
        daemons.first().copied().unwrap()
    }

    fn signal(&self, signal: &str) {
        let pids: Vec<_> = self.daemons().iter().map(u32::to_string).collect();
        assert!(processes::signal(signal, &pids));
    }

    /// Kills the daemon, and waits until it has let go of its sockets, which it does after its memory.
    async fn kill(&self) {
        let pid = self.only_daemon();
        self.signal("KILL");
        eventually("the daemon is dead", || processes::is_over(pid)).await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let pids: Vec<_> = self.daemons().iter().map(u32::to_string).collect();
        processes::signal("KILL", &pids);
    }
}

/// The text of an error, be it that of a request or that of a tool.
fn failure(answer: &Value) -> String {
    let text = answer
        .pointer("/error/message")
        .or_else(|| answer.pointer("/result/content/0/text"));
    let failed = answer["error"].is_object() || answer["result"]["isError"] == true;
    assert!(failed, "no error: {answer}");
    text.and_then(Value::as_str).unwrap().to_owned()
}
