//! Transfers with hosts that have no SFTP: their `/bin/sh` and its programs move the files.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::trees::servers::{Names, PLAIN, all_arrives};
use crate::support::{
    checks::skipped,
    fixture::{ConnectedHost, TestHost},
    open_sshd::{OpenSshd, OpenSshdSettings},
    programs,
};

/// A server without SFTP whose `/bin/sh` is this program, and whose `PATH` has these programs only.
/// `None`, aloud, where this user cannot mount.
async fn host_with(shell: &Path, tools: &Path) -> Option<ConnectedHost<OpenSshd>> {
    let script = format!(
        "mount --bind {} /bin/sh && exec \"$@\"",
        fs::canonicalize(shell).unwrap().display()
    );
    let before = ["unshare", "-m", "busybox", "sh", "-c", &script, "sh"].map(str::to_owned);
    let works = Command::new(&before[0])
        .args(&before[1..])
        .arg("true")
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        skipped("may not mount for an sshd alone");
        return None;
    }

    let bench = TestHost::openssh_with(|settings: &mut OpenSshdSettings| {
        settings.before = before.to_vec();
        settings.sftp = String::new();
        // The first line with SetEnv wins.
        settings.extra_config = format!("{} PATH={}", settings.extra_config, tools.display());
    });
    Some(bench.connect().await)
}

/// A folder with links to these programs, by the names that they are called by.
fn tools(programs: &[&str], of: impl Fn(&str) -> PathBuf) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in programs {
        symlink(of(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn busybox(_: &str) -> PathBuf {
    programs::shell("busybox")
}

fn installed(name: &str) -> PathBuf {
    programs::shell(name)
}

const ALL: [&str; 19] = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "dd",
    "head",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sha256sum",
    "sleep",
    "stat",
    "tail",
    "touch",
    "wc",
];

fn without(left_out: &[&str]) -> Vec<&'static str> {
    ALL.into_iter()
        .filter(|name| !left_out.contains(name))
        .collect()
}

#[tokio::test]
async fn all_arrives_without_a_subsystem() {
    let bench = TestHost::openssh_with(|settings| settings.sftp = String::new());
    all_arrives(bench.connect().await, PLAIN, Names::Bytes).await;
}

#[tokio::test]
async fn all_arrives_where_the_server_of_sftp_is_missing() {
    let bench = TestHost::openssh_with(|settings| settings.sftp = "/missing".into());
    all_arrives(bench.connect().await, PLAIN, Names::Bytes).await;
}

#[tokio::test]
async fn all_arrives_by_busybox() {
    let tools = tools(&ALL, busybox);
    if let Some(bench) = host_with(&busybox(""), tools.path()).await {
        all_arrives(bench, PLAIN, Names::Bytes).await;
    }
}

#[tokio::test]
async fn all_arrives_by_every_shell() {
    for shell in ["dash", "bash", "mksh", "ksh", "zsh"] {
        println!("{shell}");
        let tools = tools(&ALL, installed);
        if let Some(bench) = host_with(&installed(shell), tools.path()).await {
            all_arrives(bench, PLAIN, Names::Bytes).await;
        }
    }
}

#[tokio::test]
async fn all_arrives_without_most_programs() {
    for (left_out, is_busybox) in [
        (&["dd", "sha256sum"][..], false),
        (&["dd"], true),
        (&["head", "tail"], true),
        (&["stat", "head", "sha256sum", "readlink"], false),
        (&["stat"], true),
    ] {
        let (shell, of): (_, fn(&str) -> PathBuf) = if is_busybox {
            (busybox(""), busybox)
        } else {
            (installed("dash"), installed)
        };
        let tools = tools(&without(left_out), of);
        if let Some(bench) = host_with(&shell, tools.path()).await {
            all_arrives(bench, PLAIN, Names::Bytes).await;
        }
    }
}
