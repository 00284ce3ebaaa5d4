//! A command with a terminal is stopped with everything it has started.

use serde_json::json;

use super::{job, pty, terminals};
use crate::support::{
    checks::{assert_stopped, eventually},
    fixture::ConnectedHost,
    processes::running,
};

/// Commands that live until they are stopped, with `sleep 7430` among their processes.
const ENDLESS: [&str; 6] = [
    "sleep 7430",
    "trap '' INT TERM HUP; while :; do sleep 7430; done",
    "sleep 7430 & sleep 7430 | cat",
    "exec bash --norc -i -c 'set -m; sleep 7430 & sleep 7430'",
    // Job control, which interactive shells have: a process group for each job, here one whose parent has ended.
    "exec bash --norc -i -c 'set -m; (sleep 7430 &); sleep 7430'",
    "stty raw -echo; nohup sleep 7430",
];

#[tokio::test]
async fn a_time_limit_ends_it() {
    if let Some(bench) = terminals().await {
        at_the_time_limit(bench).await;
    }
}

pub(crate) async fn at_the_time_limit<S>(mut bench: ConnectedHost<S>) {
    for command in ENDLESS {
        let result = bench
            .exec(
                &format!("echo begun; {command}"),
                json!({"pty": true, "timeoutMs": 500}),
            )
            .await;

        assert_stopped(&result, "timedOut", bench.port, "7430");
        assert!(result.stdout().starts_with("begun\n"), "{result:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_it() {
    if let Some(bench) = terminals().await {
        when_given_up(bench).await;
    }
}

pub(crate) async fn when_given_up<S>(mut bench: ConnectedHost<S>) {
    let port = bench.port;
    for command in ENDLESS {
        let call = bench.begin("ssh_exec", command, pty()).await;
        eventually("the command runs", || !running(port, "7430").is_empty()).await;
        bench.mcp.cancel(call).await;
        eventually("the command is gone", || running(port, "7430").is_empty()).await;
    }
}

#[tokio::test]
async fn a_signal_to_its_job_ends_it() {
    if let Some(bench) = terminals().await {
        by_a_signal(bench).await;
    }
}

pub(crate) async fn by_a_signal<S>(mut bench: ConnectedHost<S>) {
    let port = bench.port;
    for command in ENDLESS {
        let job = job(&bench.exec(command, json!({"pty": true, "waitMs": 0})).await);
        eventually("the command runs", || !running(port, "7430").is_empty()).await;
        let result = bench.job(&job, json!({"signal": "INT"})).await;
        assert_eq!(
            result.outcome()["processGone"],
            true,
            "{command}: {result:?}"
        );

        assert_eq!(running(port, "7430"), [0; 0], "{command}");
    }
}

#[tokio::test]
async fn the_end_of_the_session_and_of_the_client_ends_it() {
    if let Some(bench) = terminals().await {
        at_the_end(bench).await;
    }
}

pub(crate) async fn at_the_end<S>(mut bench: ConnectedHost<S>) {
    let port = bench.port;
    for command in ENDLESS {
        bench.exec(command, json!({"pty": true, "waitMs": 0})).await;
    }

    eventually("the commands run", || {
        running(port, "7430").len() >= ENDLESS.len()
    })
    .await;

    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    eventually("the commands are gone", || running(port, "7430").is_empty()).await;
    bench
        .exec(ENDLESS[0], json!({"pty": true, "waitMs": 0}))
        .await;

    eventually("the command runs", || !running(port, "7430").is_empty()).await;
    bench.mcp.close().await;
    eventually("the command is gone", || running(port, "7430").is_empty()).await;
}
