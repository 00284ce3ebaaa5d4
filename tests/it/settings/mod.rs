//! The settings file: what it says about a host, and files that cannot be used.

mod bad_files;
mod connections;
mod explained;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::process::Command;

use crate::support::daemon;

/// A person with an `ssh_config` and a home in which the settings file has its usual place.
struct Person {
    folder: tempfile::TempDir,
}

/// What the program said, and its exit status.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Person {
    fn new(ssh_config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ssh_config"), ssh_config).unwrap();

        Self { folder }
    }

    /// The usual place of the settings file.
    fn file(&self) -> PathBuf {
        let folder = self.folder.path().join(if cfg!(target_os = "macos") {
            "Library/Application Support/mcp-ssh-sessions"
        } else {
            ".config/mcp-ssh-sessions"
        });
        fs::create_dir_all(&folder).unwrap();

        folder.join("settings.toml")
    }

    fn write(&self, settings: &str) {
        fs::write(self.file(), settings).unwrap();
    }

    fn command(&self) -> Command {
        daemon::command(&self.folder.path().join("ssh_config"), self.folder.path())
    }

    /// What `settings` says of a host, in words.
    async fn settings(&self, host: &str) -> Said {
        self.said(self.command().args(["settings", host])).await
    }

    /// What `settings --json` says of a host.
    async fn json(&self, host: &str) -> Value {
        let said = self
            .said(self.command().args(["settings", host, "--json"]))
            .await;
        serde_json::from_str(&said.text).expect("JSON")
    }

    async fn said(&self, command: &mut Command) -> Said {
        let (code, out, err) = daemon::output(command).await;
        let text = out + &err;
        assert!(
            !text.contains(|letter: char| letter.is_control() && letter != '\n'),
            "{text:?}"
        );

        Said { code, text }
    }
}

impl Said {
    #[track_caller]
    fn has(&self, code: i32, lines: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for line in lines {
            assert!(self.text.contains(line), "no {line:?} in:\n{}", self.text);
        }
    }
}

/// The names of a host in the JSON, as `kind:name`.
fn names(host: &Value) -> String {
    let names = host["names"].as_array().unwrap().iter();
    let shown = names.map(|name| {
        format!(
            "{}:{}",
            name["kind"].as_str().unwrap(),
            name["name"].as_str().unwrap()
        )
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The verdicts about connect, read, run, sudo and forward in the JSON.
fn verdicts(explanation: &Value) -> String {
    let work = explanation["work"].as_array().unwrap().iter();
    let verdicts = work.map(|work| work["verdict"].as_str().unwrap());
    verdicts.collect::<Vec<_>>().join(" ")
}

/// Sets the mode of a file or folder.
fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
