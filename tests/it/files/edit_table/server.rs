//! Runs the rows of the table at one server, and tells what was otherwise than expected.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    folder::{self, Folder},
    row::{Expected, Row, Step},
};
use crate::support::{
    checks::skipped,
    fixture::ConnectedHost,
    mcp_client::{McpClient, ToolResult},
};

/// Time of the files before a call, in seconds since 1970.
pub(super) const OLD: u32 = 1_000_000_000;

/// No call of a row takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the rows have to know of a server.
#[derive(Clone, Copy)]
pub(super) struct Server {
    /// Name in messages.
    pub(super) name: &'static str,
    /// User and group that log in.
    pub(super) user: u32,
    /// All calls get `sudo: true`.
    pub(super) sudo: bool,
    pub(super) has_shell: bool,
    /// The server has the paths and the mounts of this machine.
    pub(super) sees_mounts: bool,
}

impl Server {
    /// A server that logs in whoever runs the tests, and has everything.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            user: geteuid().as_raw(),
            sudo: false,
            has_shell: true,
            sees_mounts: true,
        }
    }

    /// Reports whether edits are made by another user than root.
    pub(super) fn as_user(&self) -> bool {
        !self.as_root()
    }

    /// Reports whether edits are made by root.
    pub(super) fn as_root(&self) -> bool {
        self.user == 0 || self.sudo
    }

    /// The user of new files.
    fn writer(&self) -> u32 {
        if self.as_root() { 0 } else { self.user }
    }
}

/// Runs rows in folders below `home`, which the server calls `called`. Panics with all that was otherwise than expected.
pub(super) async fn run<S>(
    server: Server,
    bench: &mut ConnectedHost<S>,
    called: &str,
    rows: Vec<Row>,
) {
    let home = bench.remote("");
    let mut failures = Vec::new();
    for (number, row) in rows
        .iter()
        .enumerate()
        .filter(|(_, row)| (row.only)(&server))
    {
        // A name that a shell would take apart.
        let name = format!("it's {number}");
        let case = Case {
            server,
            row,
            folder: home.join(&name),
            called: format!("{called}/{name}"),
        };

        let found = case.run(&mut bench.mcp).await;
        let found = found
            .into_iter()
            .map(|what| format!("{} @ {}: {what}", row.name, server.name));
        failures.extend(found);
    }

    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A row at a server.
struct Case<'a> {
    server: Server,
    row: &'a Row,
    folder: PathBuf,
    /// Path of the folder for the server.
    called: String,
}

impl Case<'_> {
    /// Runs the row and returns what was otherwise than expected.
    async fn run(&self, mcp: &mut McpClient) -> Vec<String> {
        if !self.prepare() {
            skipped(&format!(
                "{} @ {}: not possible here",
                self.row.name, self.server.name
            ));
            return Vec::new();
        }

        let found = self.judge_steps(mcp).await;
        here(&self.folder, self.row.finally);

        found
    }

    async fn judge_steps(&self, mcp: &mut McpClient) -> Vec<String> {
        for step in &self.row.before {
            let result = match step {
                Step::Here(commands) => {
                    assert_eq!(here(&self.folder, commands), Some(0), "{}", self.row.name);
                    continue;
                }
                Step::Read(path) => self.call(mcp, "ssh_read", &json!({"path": path})).await,
                Step::Edit(arguments) => self.call(mcp, "ssh_edit", arguments).await,
                Step::Shell(command) => {
                    self.call(mcp, "ssh_shell", &json!({"command": command}))
                        .await
                }
            };
            match result {
                Some(result) if !result.is_error() => {}
                result => return vec![format!("a step before failed: {}", said(result.as_ref()))],
            }
        }

        let before = folder::look(&self.folder);
        let result = self.call(mcp, "ssh_edit", &self.row.call).await;

        self.judge(&before, result)
    }

    /// Makes the folder. Returns false if the row is not possible on this machine.
    fn prepare(&self) -> bool {
        fs::create_dir(&self.folder).unwrap();
        fs::write(self.folder.join("f"), "alpha\nbeta\ngamma\n").unwrap();
        fs::write(self.folder.join("other"), "other\n").unwrap();
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755)).unwrap();

        match here(&self.folder, self.row.given) {
            Some(0) => {}
            Some(75) => return false,
            // What only root can prepare.
            _ if !geteuid().is_root() => return false,
            status => panic!("{}: `given` ended with {status:?}", self.row.name),
        }

        settle(&self.folder, self.server.user);
        true
    }

    /// Calls a tool. Returns `None` if there is no answer.
    async fn call(&self, mcp: &mut McpClient, tool: &str, arguments: &Value) -> Option<ToolResult> {
        let mut arguments = self.with_folder(arguments);
        if self.server.sudo && tool != "ssh_shell" {
            arguments["sudo"] = true.into();
        }

        timeout(PATIENCE, mcp.call(tool, arguments)).await.ok()
    }

    /// Replaces `$D` in all texts.
    fn with_folder(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => text.replace("$D", &self.called).into(),
            Value::Object(object) => object
                .iter()
                .map(|(name, value)| (name.clone(), self.with_folder(value)))
                .collect(),
            other => other.clone(),
        }
    }

    /// Compares the answer and the folder with what was expected.
    fn judge(&self, before: &Folder, result: Option<ToolResult>) -> Vec<String> {
        let Some(result) = result else {
            return vec![format!("no answer within {PATIENCE:?}")];
        };

        let after = folder::look(&self.folder);
        let expected = &self.row.expected;
        let text = result.text();
        let mut found = Vec::new();
        if result.is_error() != expected.refused {
            let may_be_refused = expected.or_refused.is_some();
            found.extend((!result.is_error()).then(|| "not refused".to_owned()));
            found.extend((result.is_error() && !may_be_refused).then(|| "refused".to_owned()));
        }

        // A refused call changes nothing, so the rest of the expectation would only be repeated.
        let refused = Expected {
            says: expected.or_refused.clone().unwrap_or_default(),
            ..Expected::default()
        };
        let is_other = result.is_error() && !expected.refused;
        let expected = if is_other { &refused } else { expected };

        if result.is_error() && !text.contains("\nhint: ") {
            found.push("no hint".to_owned());
        }

        // Servers and programs write the same words differently.
        let lower = text.to_lowercase();
        let missing = expected.says.iter();
        let missing = missing.filter(|part| !lower.contains(&part.to_lowercase()));
        found.extend(missing.map(|part| format!("the answer does not say \"{part}\"")));
        found.extend(folder::differences(
            before,
            &after,
            expected,
            self.server.writer(),
        ));
        found.extend((!found.is_empty()).then(|| format!("the answer was: {text}")));

        found
    }
}

fn said(result: Option<&ToolResult>) -> String {
    result.map_or_else(|| "no answer".to_owned(), ToolResult::text)
}

/// Runs commands in a folder of this machine; returns their status.
fn here(folder: &Path, commands: &str) -> Option<i32> {
    let commands = format!("set -e; umask 022\n{commands}");
    let mut sh = Command::new("sh");
    sh.args(["-c", &commands])
        .current_dir(folder)
        .status()
        .unwrap()
        .code()
}

/// Gives what root has made to the user who logs in, and makes files old.
fn settle(path: &Path, user: u32) {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            settle(&entry.unwrap().path(), user);
        }
    }

    if metadata.uid() == 0 && user != 0 {
        let group = (metadata.gid() == 0).then_some(user);
        lchown(path, Some(user), group).unwrap();
        // The system takes setuid away with the old owner.
        if !metadata.is_symlink() {
            fs::set_permissions(path, metadata.permissions()).unwrap();
        }
    }

    // A file that nobody may change keeps its time.
    if metadata.is_file()
        && let Ok(file) = fs::File::open(path)
    {
        let _ = file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(OLD.into()));
    }
}
