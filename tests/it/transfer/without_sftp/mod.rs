//! Transfers with hosts that have no SFTP: their `/bin/sh` and its programs move the files.

pub(crate) mod failing_paths;
mod failures;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    between_hosts::TwoHosts,
    mode, set_mode,
    trees::servers::{Names, PLAIN, all_arrives},
};
use crate::support::{
    checks::random,
    disk::names,
    fixture::{ConnectedHost, TestHost},
    open_sshd::{OpenSshd, OpenSshdSettings},
    programs,
};

/// Words before a command that sees this file in another place; `None`, aloud, where this user cannot mount.
pub(super) fn with_mount(from: &Path, to: &str) -> Option<Vec<String>> {
    let from = fs::canonicalize(from).unwrap();
    programs::with_mounts(&format!("mount --bind {} {to}", from.display()))
}

/// A server without SFTP whose `/bin/sh` is this program, and whose `PATH` has these programs only.
/// `None`, aloud, where this user cannot mount.
pub(super) async fn host_with(shell: &Path, tools: &Path) -> Option<ConnectedHost<OpenSshd>> {
    let before = with_mount(shell, "/bin/sh")?;
    let bench = TestHost::openssh_with(|settings: &mut OpenSshdSettings| {
        settings.before = before;
        settings.sftp = String::new();
        // The first line with SetEnv wins.
        settings.extra_config = format!("{} PATH={}", settings.extra_config, tools.display());
    });
    Some(bench.connect().await)
}

/// A folder with links to these programs, by the names that they are called by.
pub(super) fn tools(programs: &[&str], of: impl Fn(&str) -> PathBuf) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in programs {
        symlink(of(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn busybox(_: &str) -> PathBuf {
    programs::shell("busybox")
}

pub(super) fn installed(name: &str) -> PathBuf {
    programs::shell(name)
}

pub(super) const ALL: [&str; 20] = [
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
    "printf",
    "readlink",
    "rm",
    "sha256sum",
    "sleep",
    "stat",
    "tail",
    "touch",
    "wc",
];

pub(super) fn without(left_out: &[&str]) -> Vec<&'static str> {
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

#[tokio::test]
async fn all_arrives_over_dropbear_without_its_server_of_sftp() {
    let Some(before) = with_mount(Path::new("/bin/false"), "/usr/lib/sftp-server") else {
        return;
    };
    let host = TestHost::dropbear_after(&before, &programs::shell("sh"));
    all_arrives(host.connect().await, PLAIN, Names::Bytes).await;
}

#[tokio::test]
async fn a_copy_between_hosts_needs_sftp_on_neither_side() {
    for (web, db) in [("", "internal-sftp"), ("internal-sftp", ""), ("", "")] {
        let host = |sftp: &str| {
            TestHost::openssh_at(|settings, home| {
                settings.sftp = match sftp {
                    "" => String::new(),
                    sftp => format!("{sftp} -d {}", home.display()),
                }
            })
        };
        let mut hosts = TwoHosts::of(host(web), host(db)).await;
        let (from, to) = (hosts.web.remote("tree"), hosts.db.remote("copy"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/-file\n"), random(600_000)).unwrap();
        symlink("sub/../else", from.join("link")).unwrap();

        let copied = hosts.up("~/tree", "copy", json!({})).await.ok();
        assert!(
            copied.text().contains("by /bin/sh, without SFTP"),
            "{}",
            copied.text()
        );
        assert_eq!(
            fs::read(to.join("sub/-file\n")).unwrap(),
            fs::read(from.join("sub/-file\n")).unwrap()
        );
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("sub/../else")
        );

        let copied = hosts.down("tree/sub/-file\n", "~/alone").await.ok();
        assert!(
            copied.text().contains("SHA-256 verified, by /bin/sh"),
            "{}",
            copied.text()
        );
        assert_eq!(names(&hosts.db.home), ["alone", "copy"]);
        assert_eq!(names(&hosts.web.home), ["tree"]);
    }
}

#[tokio::test]
async fn content_and_modes_arrive_without_stat() {
    for (shell, of) in [
        (installed("dash"), installed as fn(&str) -> PathBuf),
        (busybox(""), busybox),
    ] {
        let tools = tools(&without(&["stat", "sha256sum"]), of);
        let Some(mut bench) = host_with(&shell, tools.path()).await else {
            return;
        };
        let tree = bench.local("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        for (name, length) in [("a\nb", 10), ("sub/-é", 700_000), ("sub/ ", 0)] {
            fs::write(tree.join(name), random(length)).unwrap();
            set_mode(&tree.join(name), 0o640);
        }
        symlink("sub/ x", tree.join("sub/link")).unwrap();

        let (up, down) = (bench.remote("up"), bench.local("down"));
        bench.try_upload(&tree, up.to_str().unwrap()).await.ok();
        bench.try_download(up.to_str().unwrap(), &down).await.ok();

        for copy in [&up, &down] {
            for name in ["a\nb", "sub/-é", "sub/ "] {
                let (one, other) = (tree.join(name), copy.join(name));
                assert!(
                    fs::read(&one).unwrap() == fs::read(&other).unwrap(),
                    "{name}"
                );
                assert_eq!(mode(&other), 0o640, "{name}");
            }
            assert_eq!(
                fs::read_link(copy.join("sub/link")).unwrap(),
                Path::new("sub/ x")
            );
        }
        assert_eq!(names(&bench.home), ["up"]);
    }
}
