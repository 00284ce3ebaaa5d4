//! A command that is stopped is gone, it alone, and the result says so.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};

use serde_json::json;

use crate::support::{
    checks::{assert_stopped, eventually, plain, status},
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    processes::running,
};

/// Commands that live until they are stopped, with `sleep 7100` among their processes.
const ENDLESS: [&str; 9] = [
    "sleep 7100",
    "sleep 7100 | cat",
    "(sleep 7100 & sleep 7100 & wait)",
    "sh -c 'sh -c \"sleep 7100; true\"; true'; true",
    "trap '' INT TERM; while :; do sleep 7100; done",
    "setsid sh -c 'sleep 7100; true' | cat",
    "exec sleep 7100",
    "nohup sleep 7100",
    "sleep 7100 & while :; do :; done",
];

#[tokio::test]
async fn a_time_limit_ends_the_command_and_all_its_processes() {
    let mut bench = TestHost::openssh().connect().await;
    for command in ENDLESS {
        let started = Instant::now();
        let result = bench
            .exec(&format!("echo begun; {command}"), json!({"timeoutMs": 400}))
            .await;
        assert_stopped(&result, "timedOut", bench.sshd.port(), "7100");
        assert_eq!(result.stdout(), "begun\n", "{command}");

        assert!(
            result
                .status_line()
                .starts_with("[timed out and was stopped, its processes are gone"),
            "{result:?}"
        );

        assert!(
            started.elapsed().as_secs() < 20,
            "{command}: {:?}",
            started.elapsed()
        );
    }

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

#[tokio::test]
async fn a_command_that_floods_is_stopped_too() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench.exec("yes 7101", json!({"timeoutMs": 500})).await;
    assert_stopped(&result, "timedOut", bench.sshd.port(), "7101");
    assert!(result.outcome()["stdoutBytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_its_command() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();

    for command in ENDLESS {
        let call = bench.begin("ssh_exec", command, plain()).await;
        eventually("the command runs", || !running(port, "7100").is_empty()).await;
        bench.mcp.cancel(call).await;
        eventually("the command is gone", || running(port, "7100").is_empty()).await;
    }

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

#[tokio::test]
async fn a_command_with_a_slow_login_shell_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let shell = folder.path().join("sh");
    fs::write(&shell, "#!/bin/sh\nsleep 1\nexec /bin/sh \"$@\"\n").unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let login_shell = shell.to_str().unwrap().to_owned();

    let world = TestHost::fake_with(
        FakeSshdSettings {
            login_shell,
            honour_signals: false,
            ..FakeSshdSettings::default()
        },
        "",
    );

    let mut client = world.client().await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    client
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();

    let result = client
        .call(
            "ssh_exec",
            json!({"command": "sleep 7111", "timeoutMs": 200}),
        )
        .await
        .ok();

    assert_stopped(&result, "timedOut", world.sshd.port(), "7111");
}

#[tokio::test]
async fn stopping_one_command_leaves_every_other_alone() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();

    for command in [
        "setsid sleep 7102 >/dev/null 2>&1 </dev/null &",
        "nohup sleep 7102 >/dev/null 2>&1 </dev/null &",
        "sleep 7102 >/dev/null 2>&1 </dev/null & disown",
    ] {
        bench.exec(command, plain()).await;
    }

    let unaffected = bench.begin("ssh_exec", "sleep 7103", plain()).await;
    bench.shell("sleep 7102 &", plain()).await;
    let in_shell = bench
        .begin("ssh_shell", "sleep 7103", json!({"shell": "other"}))
        .await;

    eventually("all run", || {
        running(port, "7102").len() == 4 && running(port, "7103").len() == 2
    })
    .await;

    let result = bench
        .exec("trap '' INT TERM; sleep 7104", json!({"timeoutMs": 300}))
        .await;
    assert_stopped(&result, "timedOut", port, "7104");
    assert_eq!(
        (running(port, "7102").len(), running(port, "7103").len()),
        (4, 2)
    );

    for call in [unaffected, in_shell] {
        bench.mcp.cancel(call).await;
    }

    eventually("both are gone", || running(port, "7103").is_empty()).await;
    assert_eq!(running(port, "7102").len(), 4);
}

#[tokio::test]
async fn disconnecting_stops_what_runs() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();

    let exec = bench
        .begin(
            "ssh_exec",
            "trap '' INT TERM HUP; sleep 7105; sleep 7105",
            plain(),
        )
        .await;

    let shell = bench.begin("ssh_shell", "sleep 7105", plain()).await;
    eventually("both run", || running(port, "7105").len() == 2).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();

    for call in [exec, shell] {
        let result = bench.mcp.finish(call).await.ok();
        assert_stopped(&result, "cancelled", port, "7105");
    }
}

#[tokio::test]
async fn the_end_of_the_client_stops_what_runs() {
    let mut bench = TestHost::openssh().connect().await;
    let port = bench.sshd.port();

    bench
        .begin(
            "ssh_exec",
            "trap '' INT TERM HUP; sleep 7106; sleep 7106",
            plain(),
        )
        .await;

    bench.begin("ssh_shell", "sleep 7106", plain()).await;
    eventually("both run", || running(port, "7106").len() == 2).await;
    let took = bench.mcp.close().await;
    assert!(took.as_secs() < 5, "{took:?}");
    eventually("none is left", || running(port, "7106").is_empty()).await;
}

#[tokio::test]
async fn a_limit_that_is_not_reached_changes_nothing() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench
        .exec("sleep 0.2; echo done", json!({"timeoutMs": 60_000}))
        .await;

    assert_eq!(
        (status(&result), result.stdout().as_str()),
        ("exited", "done\n")
    );

    assert!(result.outcome().get("processGone").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_signals_makes_no_difference() {
    let mut bench = TestHost::fake_with_shell("/bin/sh").connect().await;
    for command in ENDLESS {
        let result = bench.exec(command, json!({"timeoutMs": 300})).await;
        assert_stopped(&result, "timedOut", bench.sshd.port(), "7100");
    }
}
