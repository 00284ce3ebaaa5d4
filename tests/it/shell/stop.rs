//! A command of a persistent shell is stopped; the shell stays as it is, and so do its earlier jobs.

use std::time::Instant;

use serde_json::json;

use crate::support::{
    checks::{assert_stopped, code, eventually, plain, status},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::running,
};

/// Commands that live until they are stopped, with `sleep 7500` among their processes or none at all.
const ENDLESS: [&str; 11] = [
    "sleep 7500; echo no",
    "sleep 7500 | cat; echo no",
    "(sleep 7500 | cat); echo no",
    "while :; do sleep 0.05; done; echo no",
    "while :; do :; done; echo no",
    "f() { sleep 7500; f; }; f; echo no",
    "sh -c 'trap \"\" INT; sleep 7500; sleep 7500'; echo no",
    "(trap '' INT TERM; sleep 7500; sleep 7500); echo no",
    "x=$(sleep 7500); echo no",
    "cat <(sleep 7500); echo no",
    "for i in 1 2 3; do sleep 7500; done; echo no",
];

/// State to keep, with a job in the background.
async fn prepare(bench: &mut ConnectedHost<OpenSshd>) {
    bench
        .shell(
            "cd /usr/lib; V=kept; f() { echo f; }; sleep 7501 & J=$!",
            plain(),
        )
        .await;
}

/// What `prepare` left, and the next command is in step.
async fn assert_kept(bench: &mut ConnectedHost<OpenSshd>, after: &str) {
    let result = bench
        .shell("echo $V $PWD; kill -0 $J && echo job; echo e >&2", plain())
        .await;

    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("kept /usr/lib\njob\n", "e\n"),
        "{after}"
    );

    assert!(
        result.outcome().get("notice").is_none(),
        "{after}: {result:?}"
    );

    assert_eq!(running(bench.sshd.port(), "7501").len(), 1, "{after}");
}

#[tokio::test]
async fn a_time_limit_stops_the_command_and_keeps_the_shell() {
    let mut bench = TestHost::openssh().connect().await;
    prepare(&mut bench).await;

    for command in ENDLESS {
        let started = Instant::now();
        let result = bench
            .shell(&format!("echo begun; {command}"), json!({"timeoutMs": 400}))
            .await;
        assert_stopped(&result, "timedOut", bench.sshd.port(), "7500");
        assert_eq!(result.stdout(), "begun\n", "{command}");
        assert!(
            started.elapsed().as_secs() < 20,
            "{command}: {:?}",
            started.elapsed()
        );

        assert_kept(&mut bench, command).await;
    }
}

#[tokio::test]
async fn a_flood_is_stopped_and_the_shell_kept() {
    let mut bench = TestHost::openssh().connect().await;
    prepare(&mut bench).await;
    for command in ["yes 7500", "while :; do echo flood; done", "yes 7500 >&2"] {
        let result = bench.shell(command, json!({"timeoutMs": 500})).await;
        assert_stopped(&result, "timedOut", bench.sshd.port(), "7500");
        assert_kept(&mut bench, command).await;
    }
}

#[tokio::test]
async fn a_shell_that_ignores_the_interrupt_is_stopped_all_the_same() {
    let mut bench = TestHost::openssh().connect().await;
    for command in [
        "trap '' INT; sleep 7500",
        "trap '' INT TERM; while :; do :; done",
        "kill -STOP $$; echo no",
    ] {
        bench.shell("cd /usr/lib", plain()).await;
        let started = Instant::now();
        let result = bench.shell(command, json!({"timeoutMs": 400})).await;
        assert_stopped(&result, "timedOut", bench.sshd.port(), "7500");
        assert!(
            started.elapsed().as_secs() < 30,
            "{command}: {:?}",
            started.elapsed()
        );

        let next = bench.shell("trap - INT; pwd", plain()).await;
        assert_eq!(
            (next.stdout().as_str(), next.stderr().as_str()),
            ("/usr/lib\n", ""),
            "{command}"
        );
    }
}

#[tokio::test]
async fn a_flood_that_ignores_every_signal_is_stopped() {
    let mut bench = TestHost::openssh().connect().await;
    let flood = "trap '' INT TERM URG; while :; do echo flood; done";

    let id = bench
        .mcp
        .begin_call(
            "ssh_shell",
            json!({"command": flood, "timeoutMs": 400, "waitMs": 110_000}),
        )
        .await;

    let unaffected = bench
        .mcp
        .call("ssh_exec", json!({"command": "echo beside"}))
        .await
        .ok();

    assert_eq!(unaffected.stdout(), "beside\n");
    let result = bench.mcp.finish(id).await.ok();
    assert_stopped(&result, "timedOut", bench.sshd.port(), "7500");
    assert_eq!(bench.shell("echo next", plain()).await.stdout(), "next\n");
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_command_and_keeps_the_shell() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();
    prepare(&mut bench).await;

    for command in [
        "sleep 7500; echo no",
        "(trap '' INT TERM; sleep 7500; sleep 7500) | cat; echo no",
    ] {
        let call = bench.begin("ssh_shell", command, plain()).await;
        eventually("the command runs", || !running(port, "7500").is_empty()).await;
        bench.mcp.cancel(call).await;
        eventually("the command is gone", || running(port, "7500").is_empty()).await;
        assert_kept(&mut bench, command).await;
    }
}

#[tokio::test]
async fn a_command_that_is_given_up_while_it_waits_is_never_run() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();
    let first = bench.begin("ssh_shell", "sleep 7502; V=1", plain()).await;
    eventually("the first runs", || !running(port, "7502").is_empty()).await;
    let second = bench.begin("ssh_shell", "V=2", plain()).await;
    let third = bench.begin("ssh_shell", "echo ${V-unset}", plain()).await;
    bench.mcp.cancel(second).await;
    bench.mcp.cancel(first).await;
    let result = bench.mcp.finish(third).await.ok();
    assert_eq!(result.stdout(), "unset\n", "{result:?}");
}

#[tokio::test]
async fn only_the_command_s_own_processes_are_stopped() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();
    bench
        .shell("sleep 7503 & (sleep 7503; :) & setsid sleep 7503 & nohup sleep 7503 2>/dev/null & true", plain())
        .await;

    bench
        .shell(
            "sh -c 'sleep 7503 & sleep 7503 & wait' & disown; true",
            plain(),
        )
        .await;

    let exec = bench.begin("ssh_exec", "sleep 7503", plain()).await;
    let other = bench
        .begin("ssh_shell", "sleep 7503", json!({"shell": "other"}))
        .await;
    eventually("all run", || running(port, "7503").len() == 8).await;

    // What the command itself put into the background goes with it.
    let result = bench
        .shell("sleep 7504 & sleep 7504", json!({"timeoutMs": 400}))
        .await;
    assert_stopped(&result, "timedOut", port, "7504");
    assert_eq!(running(port, "7503").len(), 8, "{result:?}");
    for call in [exec, other] {
        bench.mcp.cancel(call).await;
    }

    eventually("those two are gone", || running(port, "7503").len() == 6).await;
}

#[tokio::test]
async fn a_limit_that_is_not_reached_changes_nothing() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench
        .shell("sleep 0.2; echo done; false", json!({"timeoutMs": 60_000}))
        .await;

    assert_eq!(
        (status(&result), code(&result), result.stdout().as_str()),
        ("exited", Some(1), "done\n")
    );

    assert!(result.outcome().get("processGone").is_none());
}
