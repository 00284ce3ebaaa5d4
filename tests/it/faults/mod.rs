//! Links that break at every stage, servers that come back or do not, disks that are full, and an end in the middle: nothing
//! hangs, no command runs twice, no file is half, and the next call works by itself.

mod calls;
mod connecting;
mod disks;
mod killed;
// The server's processes are found in /proc.
#[cfg(target_os = "linux")]
mod killed_edits;
mod loss;
mod servers;

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    link::{Break, Direction, Link},
    mcp_client::{McpClient, ToolResult},
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// Longer than any deadline of these tests on a busy machine, and far shorter than a minute of the default keepalives.
const HANGS: Duration = Duration::from_secs(40);

/// A stall is noticed within three seconds.
const ATTENTIVE: &str = "ServerAliveInterval 1\nServerAliveCountMax 2";

/// How many rows are tried at once.
const AT_ONCE: usize = 8;

/// A real sshd, to which many lines lead.
struct Rig {
    sshd: OpenSshd,
    /// The remote home.
    home: PathBuf,
    folder: TempDir,
    lines: AtomicUsize,
}

/// A client with its own link to the server; it is not connected yet.
struct Line {
    mcp: McpClient,
    link: Link,
    config: PathBuf,
    folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::with(OpenSshdSettings {
            max_startups: "200",
            ..OpenSshdSettings::default()
        })
    }

    fn with(settings: OpenSshdSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let extra_config = format!("SetEnv HOME={}\n{}", home.display(), settings.extra_config);
        let sftp = format!("internal-sftp -d {}", home.display());
        let sshd = OpenSshd::start(&OpenSshdSettings {
            sftp,
            extra_config,
            ..settings
        });

        Self {
            sshd,
            home,
            folder,
            lines: AtomicUsize::new(0),
        }
    }

    async fn line(&self) -> Line {
        self.line_with(ATTENTIVE).await
    }

    async fn line_with(&self, options: &str) -> Line {
        let link = Link::to(self.sshd.port(), Duration::ZERO, &[]).await;
        let number = self.lines.fetch_add(1, Ordering::SeqCst);
        let alias = format!("line{number}");
        let through = format!(
            "Port {}\nHostKeyAlias [127.0.0.1]:{}\n{options}",
            link.port(),
            self.sshd.port()
        );

        let config = self.sshd.write_ssh_config(&alias, &through);
        let blocks = fs::read_to_string(&config)
            .unwrap()
            .replacen(&alias, "host", 1);
        fs::write(&config, blocks).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mcp = McpClient::start(&config, folder.path()).await;

        Line {
            mcp,
            link,
            config,
            folder,
        }
    }

    async fn connected(&self) -> Line {
        let mut line = self.line().await;
        line.call("ssh_connect", json!({"host": "host"})).await.ok();
        line
    }
}

impl Line {
    /// A call that does not hang.
    async fn call(&mut self, tool: &str, arguments: Value) -> ToolResult {
        let call = self.mcp.call(tool, arguments.clone());
        let answer = tokio::time::timeout(HANGS, call).await;
        answer.unwrap_or_else(|_| panic!("{tool} {arguments} hangs"))
    }

    /// The next call works, whatever was before.
    async fn works(&mut self, tool: &str) {
        let next = self.call(tool, json!({"command": "echo next"})).await.ok();
        assert_eq!(next.stdout(), "next\n", "{}", next.text());
    }

    /// The same, when nobody has been told yet of a break that came with the end of the call before, or after it: the
    /// command may have been sent into it, and then that is said once.
    async fn works_once_told(&mut self, tool: &str) {
        self.link.keep_whole();
        let next = self.call(tool, json!({"command": "echo next"})).await.ok();

        if next.outcome()["status"] == "connectionLost" {
            assert!(
                next.status_line().contains("may have run"),
                "{}",
                next.text()
            );
        } else {
            assert_eq!(next.stdout(), "next\n", "{}", next.text());
        }

        self.works(tool).await;
    }

    /// How many bytes have passed up and down.
    fn passed(&self) -> [u64; 2] {
        [Direction::Up, Direction::Down].map(|direction| self.link.passed_so_far(direction))
    }
}

/// Where a connection breaks: after so many bytes of what a good call takes this way.
#[derive(Debug, Clone, Copy)]
struct BreakPoint {
    direction: Direction,
    after: u64,
    how: Break,
}

/// After these shares (in percent) of the bytes that a good call takes up and down, in each way and manner.
fn break_points(good: [u64; 2], shares: &[u64], manners: &[Break]) -> Vec<BreakPoint> {
    let mut break_points = Vec::new();
    for how in manners {
        for (direction, bytes) in [Direction::Up, Direction::Down].into_iter().zip(good) {
            break_points.extend(shares.iter().map(|share| BreakPoint {
                direction,
                after: bytes * share / 100,
                how: *how,
            }));
        }
    }

    break_points
}

/// Tries all rows, several at a time.
async fn each<Row, Tried: Future<Output = ()>>(rows: Vec<Row>, try_row: impl Fn(Row) -> Tried) {
    stream::iter(rows)
        .map(try_row)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

/// An error that says what to do.
fn assert_helpful(refused: &ToolResult) {
    assert!(
        refused.is_error() && refused.text().contains("hint: "),
        "{}",
        refused.text()
    );
}

/// How often a command has noted itself in a file.
fn runs(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}
