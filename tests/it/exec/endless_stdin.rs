//! Servers that never tell a program that its stdin has ended, as libssh's example does not.

use std::fs;

use serde_json::json;

use crate::support::{
    checks::{assert_stopped, code, plain, random, status},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
};

async fn open() -> ConnectedHost<FakeSshd> {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-libssh_0.10.6",
        withholds_eof: true,
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "").connect().await
}

#[tokio::test]
async fn a_command_is_stopped_without_the_end_of_stdin() {
    let mut bench = open().await;
    let sleeps = bench.exec("sleep 7431", json!({"timeoutMs": 500})).await;
    assert_stopped(&sleeps, "timedOut", bench.port, "7431");

    let job = bench.start("sleep 7432", json!({"background": true})).await;
    let ended = bench.job(&job, json!({"signal": "TERM"})).await;
    assert_stopped(&ended, "signaled", bench.port, "7432");
}

#[tokio::test]
async fn a_detached_job_runs_without_the_end_of_stdin() {
    let mut bench = open().await;
    let more = json!({"detach": true, "waitMs": 60_000, "stdin": "in\u{0}put"});
    let whole = bench.exec("head -c 6; exit 3", more).await;
    assert_eq!(
        (whole.stdout().as_str(), code(&whole)),
        ("in\u{0}put", Some(3)),
        "{whole:?}"
    );

    let asks = "read -r line; echo \"got $line\"";
    let job = bench.start(asks, json!({"detach": true})).await;
    let fed = bench.job(&job, json!({"stdin": "a line\n"})).await;
    assert_eq!(fed.stdout(), "got a line\n", "{fed:?}");
    assert_eq!(status(&bench.job(&job, plain()).await), "exited");

    let job = bench.start("sleep 7433", json!({"detach": true})).await;
    let ended = bench.job(&job, json!({"signal": "INT"})).await;
    assert_stopped(&ended, "signaled", bench.port, "7433");
}

#[tokio::test]
async fn a_file_is_compared_without_the_end_of_stdin() {
    let mut bench = open().await;
    let (file, target) = (bench.local("file"), bench.remote("target"));
    fs::write(&file, random(70_000)).unwrap();
    // Then it is known that the server takes several channels.
    bench.exec("true", plain()).await;

    let sent = bench.try_upload(&file, target.to_str().unwrap()).await.ok();
    assert!(sent.text().contains("SHA-256 verified"), "{}", sent.text());
}
