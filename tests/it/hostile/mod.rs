//! Peers that mean harm: servers that break SSH in every stage, and clients that break MCP. The program answers in time and in bounded memory, serves its
//! other sessions meanwhile, and rests afterwards.

mod before_keys;
mod channels;
mod client;
mod login;

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    hostile_sshd::{HostileSshd, Script},
    keys,
    mcp_client::ToolResult,
    program::Program,
};

/// Longer than any deadline of these tests on a busy machine: a call answers after 45 s, even if its shell is not ready.
const HANGS: Duration = Duration::from_secs(70);

/// What a call is given where the server never answers it, in milliseconds.
const SHORT_LIMIT_MS: u64 = 700;

/// What a call is given that the server ends by itself.
const LONG_LIMIT_MS: u64 = 20_000;

/// How long a call waits for a shell that does not start, in milliseconds.
const SHORT_WAIT_MS: u64 = 4_000;

/// By how much the process may grow, in KiB.
const GROWTH: u64 = 64 * 1024;

/// No answer is longer, in bytes: what a server says is cut.
const MAX_ANSWER_BYTES: usize = 32 * 1024;

/// How many rows are tried at once.
const AT_ONCE: usize = 6;

/// One server, and what the answers have to say about it; nothing, where it does not matter.
#[derive(Clone)]
struct Row {
    name: &'static str,
    says: &'static str,
    script: Script,
    /// Further lines of its `ssh_config` block.
    options: &'static str,
    password: Option<&'static str>,
    /// Whether a person is asked, who thinks for a while.
    askpass: bool,
    /// Whether the start of a shell is waited for as long as a call waits without `waitMs`.
    waits: bool,
}

fn row(name: &'static str, says: &'static str, script: Script) -> Row {
    Row {
        name,
        says,
        script,
        options: "",
        password: None,
        askpass: false,
        waits: false,
    }
}

/// Tries all rows: each with a process of its own, which also has a session with an honest server.
#[expect(
    clippy::print_stdout,
    reason = "what each row has cost, for who wants to know"
)]
async fn try_all(rows: Vec<Row>) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    keys::write_private_key(&key, &keys::ed25519(), None);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| (HostileSshd::start(row.script), row))
        .enumerate()
        .collect();

    let mut blocks = String::new();

    for (number, (sshd, row)) in &rows {
        write!(
            blocks,
            "Host evil{number}\nHostName 127.0.0.1\nPort {}\nUser agent\nIdentityFile {}\nServerAliveInterval 1\n\
             ServerAliveCountMax 2\n{}\n",
            sshd.port(),
            key.display(),
            row.options
        )
        .unwrap();
    }

    let world = TestHost::fake_with(FakeSshdSettings::default(), &blocks);
    let mut known = fs::read_to_string(world.folder().join("known_hosts")).unwrap();
    known.extend(rows.iter().map(|(_, (sshd, _))| sshd.known_hosts_line()));
    fs::write(world.folder().join("known_hosts"), known).unwrap();
    let config = &world.config;

    let tried = stream::iter(&rows).map(|(number, (_, row))| async move {
        let folder = tempfile::tempdir().unwrap();
        let mut victim = Victim::start(config, folder.path(), row).await;
        let tried = victim.meets(&format!("evil{number}"), row).await;
        let (calls, growth) = (victim.longest_call, victim.growth());
        println!("{growth:>7} KiB {:>5} ms  {}", calls.as_millis(), row.name);
        let bounded = if growth < GROWTH {
            Ok(())
        } else {
            Err(format!("it has grown by {growth} KiB"))
        };

        tried
            .and(bounded)
            .map_err(|complaint| format!("{}: {complaint}", row.name))
            .err()
    });

    let complaints: Vec<String> = tried
        .buffer_unordered(AT_ONCE)
        .filter_map(async |complaint| complaint)
        .collect()
        .await;

    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The program, with a session at an honest server.
struct Victim {
    program: Program,
    /// In KiB, before it met anybody.
    peak: u64,
    longest_call: Duration,
}

/// What is wrong, in words, unless all is well.
type Verdict<T = ()> = Result<T, String>;

fn ensure(good: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(complaint()) }
}

impl Victim {
    async fn start(config: &Path, folder: &Path, row: &Row) -> Self {
        let askpass = folder.join("askpass");
        fs::write(&askpass, "#!/bin/sh\nsleep 3\necho secret\n").unwrap();
        fs::set_permissions(&askpass, Permissions::from_mode(0o700)).unwrap();
        let environment = [
            ("SSH_ASKPASS", askpass.as_os_str()),
            ("SSH_ASKPASS_REQUIRE", "force".as_ref()),
        ];

        let environment = if row.askpass { &environment[..] } else { &[] };
        let program = Program::start_with(Some(config), folder, environment).await;

        let mut victim = Self {
            program,
            peak: 0,
            longest_call: Duration::ZERO,
        };

        victim
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .unwrap()
            .ok();

        victim.works("before").await.unwrap();
        victim.peak = victim.growth();

        victim
    }

    /// Connects to a hostile server, runs what it can there, and disconnects.
    async fn meets(&mut self, host: &str, row: &Row) -> Verdict {
        let ends = !["", "took longer than"].contains(&row.says);
        let mut connect =
            json!({"host": host, "timeoutMs": if ends { LONG_LIMIT_MS } else { SHORT_LIMIT_MS }});
        if let Some(password) = row.password {
            connect["password"] = json!(password);
        }

        let mut said = self.call("ssh_connect", connect).await?.text();
        self.works("ssh_connect").await?;

        for tool in ["ssh_exec", "ssh_shell"] {
            let mut command =
                json!({"session": host, "command": "echo \"$HOME\"", "timeoutMs": SHORT_LIMIT_MS});
            if !row.waits {
                command["waitMs"] = json!(SHORT_WAIT_MS);
            }

            said += "\n";
            said += &self.call(tool, command).await?.text();
            self.works(tool).await?;
        }

        ensure(said.contains(row.says), || {
            format!("{:?} is missing in {said:?}", row.says)
        })?;

        ensure(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), || {
            format!("controls: {said:?}")
        })?;

        self.call("ssh_disconnect", json!({"session": host}))
            .await?;
        self.works("ssh_disconnect").await?;

        rests(&[self.program.pid()]).await
    }

    /// A call that does not hang and whose answer is no flood.
    async fn call(&mut self, tool: &str, arguments: Value) -> Verdict<ToolResult> {
        let started = Instant::now();
        let call = self.program.call(tool, arguments);
        let answer = tokio::time::timeout(HANGS, call)
            .await
            .map_err(|_| format!("{tool} hangs"))?;
        self.longest_call = self.longest_call.max(started.elapsed());
        let text = answer.0.to_string();
        let start: String = text.chars().take(300).collect();
        ensure(text.len() < MAX_ANSWER_BYTES, || {
            format!("{tool} answers with {} bytes: {start}", text.len())
        })?;

        Ok(answer)
    }

    /// The honest session works.
    async fn works(&mut self, after: &str) -> Verdict {
        let answer = self
            .call(
                "ssh_exec",
                json!({"session": "box", "command": "echo honest"}),
            )
            .await?;

        ensure(answer.stdout() == "honest\n", || {
            format!("after {after}: {}", answer.text())
        })
    }

    /// By how much its memory was ever more than at first, in KiB. Nothing where there is no /proc.
    fn growth(&self) -> u64 {
        peak(self.program.pid()).saturating_sub(self.peak)
    }
}

/// Processes come to rest: there is a third of a second in which they compute for less than a tenth of it.
async fn rests(processes: &[u32]) -> Verdict {
    let ticks = || processes.iter().copied().map(ticks).sum::<u64>();
    let started = Instant::now();
    loop {
        let before = ticks();
        sleep(Duration::from_millis(300)).await;
        if ticks() - before <= 3 {
            return Ok(());
        }

        ensure(started.elapsed() < HANGS, || {
            "it does not come to rest".to_owned()
        })?;
    }
}

/// The processor time of a process, in hundredths of a second (proc(5)). Nothing where there is no /proc.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").unwrap_or_default().1.split(' ');
    fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

/// The most memory that a process ever had, in KiB. Nothing where there is no /proc.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next())
        .map_or(0, |number| number.parse().unwrap())
}
