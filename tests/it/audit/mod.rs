//! The audit log: what is in it, what never is, and what becomes of it when several processes write, a disk is full, the
//! program is killed, or somebody changes it.

mod allowed;
mod calls;
mod changed;
mod disks;
mod processes;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    fixture::TestHost,
    program::{Program, command},
};

/// A host, and a settings file that turns its audit log on.
struct Audited<S> {
    host: TestHost<S>,
    settings: PathBuf,
    log: PathBuf,
}

impl<S> Audited<S> {
    /// Has the calls recorded in a folder of this host. `more` are further lines of the section.
    fn new(host: TestHost<S>, more: &str) -> Self {
        let log = host.local("audit/audit.jsonl");
        Self::in_file(host, log, more)
    }

    /// Does the same with this file.
    fn in_file(host: TestHost<S>, log: PathBuf, more: &str) -> Self {
        let settings = host.local("settings.toml");
        let section = format!("[audit]\nfile = '{}'\n{more}\n", log.display());
        fs::write(&settings, section).unwrap();

        Self {
            host,
            settings,
            log,
        }
    }

    /// Starts the program with these settings.
    async fn program(&self) -> Program {
        let settings = ("MCP_SSH_SETTINGS", self.settings.as_os_str());
        Program::start_with(Some(&self.host.config), self.host.folder(), &[settings]).await
    }

    /// Starts the program and connects its session `host`.
    async fn connected(&self) -> Program {
        let mut program = self.program().await;
        let host = serde_json::json!({"host": "host"});
        program.call("ssh_connect", host).await.ok();
        program
    }

    /// The lines of the log.
    fn records(&self) -> Vec<Value> {
        let lines = fs::read_to_string(&self.log).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The last line of the end of a call.
    fn last_end(&self) -> Value {
        let end = self
            .records()
            .into_iter()
            .rfind(|line| line["event"] == "end");
        end.unwrap()
    }

    /// Runs the command `audit`, and returns its exit status, and what it prints on stdout and stderr.
    async fn audit(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let settings = ["--settings".as_ref(), self.settings.as_os_str()];
        audit(self.host.folder(), &settings, arguments).await
    }
}

/// Runs the command `audit` after these options.
async fn audit(folder: &Path, options: &[&OsStr], arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(folder)
        .args(options)
        .arg("audit")
        .args(arguments)
        .output()
        .await
        .unwrap();

    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}
