//! Servers whose SFTP starts and then fails at every path, as that of Twisted's Unix users does.

use std::fs;

use serde_json::json;

use crate::{
    support::{
        checks::random,
        fake_sshd::{FakeSshd, FakeSshdSettings},
        fixture::TestHost,
    },
    transfer::{
        hostile::faults::{FAILURE, INIT, status},
        trees::servers::{Names, PLAIN, all_arrives},
    },
};

/// Starts such a server, with this shell for the commands.
pub(crate) fn failing_at_paths(login_shell: &str) -> TestHost<FakeSshd> {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-Twisted_26.10.0",
        login_shell: login_shell.to_owned(),
        fault: Some(Box::new(|| {
            Box::new(|asked, honest| {
                let is_start = asked.kind == INIT;
                Some(if is_start {
                    honest
                } else {
                    status(
                        asked.id,
                        FAILURE,
                        b"'Account' object has no attribute 'path'",
                    )
                })
            })
        })),
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "")
}

#[tokio::test]
async fn all_arrives_where_sftp_fails_at_every_path() {
    all_arrives(
        failing_at_paths("/bin/sh").connect().await,
        PLAIN,
        Names::Bytes,
    )
    .await;
}

#[tokio::test]
async fn files_are_shown_where_sftp_fails_at_every_path() {
    let mut bench = failing_at_paths("/bin/sh").connect().await;
    let path = bench.remote("app.conf");
    fs::write(&path, "port = 8080\n").unwrap();

    let read = bench.read(path.to_str().unwrap(), json!({})).await.ok();
    assert!(read.text().contains("1\tport = 8080"), "{}", read.text());

    let edit = json!({"path": path, "oldText": "8080", "newText": "9090"});
    bench.mcp.call("ssh_edit", edit).await.ok();
    assert_eq!(fs::read_to_string(&path).unwrap(), "port = 9090\n");

    let search = json!({"path": bench.home, "pattern": "port"});
    let found = bench.mcp.call("ssh_search", search).await.ok();
    assert!(found.text().contains("9090"), "{}", found.text());
}

#[tokio::test]
async fn a_failure_at_every_path_without_a_shell_is_told() {
    let mut bench = failing_at_paths("/bin/false").connect().await;
    let (file, target) = (bench.local("file"), bench.remote("target"));
    fs::write(&file, random(1_000)).unwrap();

    let sent = bench.try_upload(&file, target.to_str().unwrap()).await;
    assert!(
        sent.is_error() && sent.text().contains("object has no attribute"),
        "{}",
        sent.text()
    );
    let read = bench.read(target.to_str().unwrap(), json!({})).await;
    assert!(read.is_error(), "{}", read.text());
}
