//! `processGone` says what is known: `true`, `false`, or `null`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    checks::{assert_stopped, code, eventually, plain, status},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    processes::{self, running},
};

const ALIVE: &str = "SOME OF ITS PROCESSES ARE STILL RUNNING";
const NOT_KNOWN: &str = "whether its processes are gone is not known";

/// A server whose log-ins run the scripts that we send to `/bin/sh` in this way. The folder is that of the login shell.
async fn running_scripts_with(way: &str) -> (ConnectedHost<FakeSshd>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().join("sh");
    fs::write(
        &shell,
        format!("#!/bin/sh\ncase $2 in 'exec /bin/sh') {way};; *) exec /bin/sh \"$@\";; esac\n"),
    )
    .unwrap();

    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();

    (
        TestHost::fake_with_shell(shell.to_str().unwrap())
            .connect()
            .await,
        folder,
    )
}

/// A server with one channel, to which no second connection can be made.
async fn alone(honour_signals: bool) -> ConnectedHost<FakeSshd> {
    loop {
        let mut bench = TestHost::fake_with(
            FakeSshdSettings {
                max_sessions: 1,
                honour_signals,
                ..FakeSshdSettings::default()
            },
            "",
        )
        .connect()
        .await;

        bench.exec("true", plain()).await;
        bench.sshd.refuse_connections(true).await;

        // A second one may have been made while the first had its only channel in use.
        if bench.sshd.connections() == 1 {
            return bench;
        }
    }
}

fn assert_says(result: &ToolResult, gone: &Value, words: &str) {
    assert_eq!(
        (status(result), code(result)),
        ("timedOut", None),
        "{result:?}"
    );
    assert_eq!(&result.outcome()["processGone"], gone, "{result:?}");
    assert!(result.status_line().contains(words), "{result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_signalled_is_said_to_live() {
    // As with what sudo runs.
    let (mut bench, _shell) = running_scripts_with("kill() { false; }; . /dev/stdin").await;
    let result = bench.exec("sleep 7601", json!({"timeoutMs": 400})).await;
    assert_says(&result, &json!(false), ALIVE);
    assert_eq!(running(bench.port, "7601").len(), 1);
    let result = bench.shell("sleep 7602", json!({"timeoutMs": 400})).await;
    assert_says(&result, &json!(false), ALIVE);
    assert_eq!(running(bench.port, "7602").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_known_where_processes_cannot_be_listed() {
    let (mut bench, _shell) =
        running_scripts_with("sed s,/proc,/nowhere,g | PATH=/nowhere /bin/sh").await;

    for (tool, word) in [("ssh_exec", "7603"), ("ssh_shell", "7604")] {
        let call = bench
            .begin(tool, &format!("sleep {word}"), json!({"timeoutMs": 400}))
            .await;
        let result = bench.mcp.finish(call).await.ok();
        assert_says(&result, &Value::Null, NOT_KNOWN);
        eventually("the signal requests have worked", || {
            running(bench.port, word).is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_known_where_there_is_no_second_channel() {
    let mut bench = alone(false).await;
    let result = bench.exec("sleep 7605", json!({"timeoutMs": 400})).await;
    assert_says(&result, &Value::Null, NOT_KNOWN);
    assert_eq!(running(bench.port, "7605").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn signal_requests_are_used_where_there_is_no_second_channel() {
    let mut bench = alone(true).await;
    for command in ["sleep 7606", "trap '' INT; sleep 7606; sleep 7606"] {
        let result = bench.exec(command, json!({"timeoutMs": 400})).await;
        assert_says(&result, &Value::Null, NOT_KNOWN);
        eventually("it is gone", || running(bench.port, "7606").is_empty()).await;
    }

    bench.shell("V=kept", plain()).await;
    let result = bench
        .shell("sleep 7607; echo no", json!({"timeoutMs": 400}))
        .await;
    assert_says(&result, &Value::Null, NOT_KNOWN);
    assert_eq!(running(bench.port, "7607"), [0; 0]);
    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "kept\n");
}

/// What leaves its parents while it runs: it is stopped where its session shows whose it is, and else not said to be gone.
pub(crate) async fn what_got_away<S>(mut bench: ConnectedHost<S>, own_session: bool) {
    let left = "sh -c 'sleep 7608 >/dev/null 2>&1 & true'";
    let daemon = "sh -c 'setsid sleep 7608 >/dev/null 2>&1 </dev/null & true'";
    for (tool, away, stopped) in [
        ("ssh_exec", left, own_session),
        ("ssh_shell", left, false),
        ("ssh_exec", daemon, false),
        ("ssh_shell", daemon, false),
    ] {
        let call = bench
            .begin(
                tool,
                &format!("{away}; sleep 7609"),
                json!({"timeoutMs": 1500}),
            )
            .await;

        let result = bench.mcp.finish(call).await.ok();

        if stopped {
            assert_stopped(&result, "timedOut", bench.port, "7608");
        } else {
            assert_says(&result, &Value::Null, NOT_KNOWN);

            // Nothing that may be another command's is touched, and it is no matter of the next command.
            assert_eq!(running(bench.port, "7608").len(), 1, "{tool}: {away}");
            let call = bench
                .begin(tool, "sleep 7609", json!({"timeoutMs": 500}))
                .await;

            assert_stopped(
                &bench.mcp.finish(call).await.ok(),
                "timedOut",
                bench.port,
                "7609",
            );
        }

        assert_eq!(running(bench.port, "7609"), [0; 0], "{tool}: {away}");
        let left: Vec<_> = running(bench.port, "7608")
            .iter()
            .map(u32::to_string)
            .collect();

        processes::signal("KILL", &left);
        eventually("it is gone", || running(bench.port, "7608").is_empty()).await;
    }
}

#[tokio::test]
async fn what_got_away_is_not_said_to_be_gone() {
    what_got_away(TestHost::openssh().connect().await, true).await;
}
