//! Stopping what runs in shells of root and of other users.

use serde_json::{Value, json};

use super::{
    as_root,
    shell::{as_other, assert_of, with_password},
    stop::{assert_stopped, stubborn, stubborn_in_shell},
};
use crate::support::{
    checks::{eventually, plain, status},
    sudo_host::{PASSWORD, SudoHostSettings},
};

#[tokio::test]
async fn a_command_is_stopped_as_its_user_and_the_shell_stays() {
    for (rule, defaults, more) in [
        ("ALL=(ALL) ALL", "", as_root(plain())),
        ("ALL=(ALL) ALL", "Defaults use_pty", as_other()),
        ("ALL=(www-data) ALL", "", as_other()),
        ("ALL=(ALL) NOPASSWD: ALL", "", as_root(plain())),
    ] {
        let settings = SudoHostSettings {
            rule,
            defaults,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = with_password(settings).await else {
            return;
        };

        // All at once, each in a shell of its own.
        let mut calls = Vec::new();
        for which in 0..3 {
            let word = format!("77.{which}");
            let mut parameters = more.clone();
            parameters["shell"] = word.clone().into();
            bench.shell("V=kept", parameters.clone()).await;
            parameters["timeoutMs"] = 2000.into();
            let command = format!("echo on; {}", stubborn_in_shell(&word)[which]);
            calls.push((bench.begin("ssh_shell", &command, parameters).await, word));
        }

        for (call, word) in calls {
            let result = bench.mcp.finish(call).await.ok();
            assert_eq!(result.stdout(), "on\n", "{result:?}");
            assert_stopped(&bench, &result, "timedOut", &word);
            let mut parameters = more.clone();
            parameters["shell"] = word.into();
            let after = bench.shell("echo $V", parameters).await;
            assert_eq!(after.stdout(), "kept\n", "{rule}: {after:?}");
        }
    }
}

#[tokio::test]
async fn where_nobody_becomes_root_again_nothing_is_promised() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    bench.shell("V=kept; cd /usr", as_root(plain())).await;
    let limit = as_root(json!({"timeoutMs": 2000}));
    let call = bench.begin("ssh_shell", "sleep 81.5", limit).await;
    eventually("it runs", || !bench.sshd.running("81.5").is_empty()).await;
    bench.sshd.allow("", "");

    let result = bench.mcp.finish(call).await.ok();
    assert_eq!(status(&result), "timedOut", "{result:?}");
    let gone = bench.sshd.running("81.5").is_empty();
    assert!(
        gone || result.outcome()["processGone"] != true,
        "{result:?}"
    );
    assert_eq!(bench.shell("echo own", plain()).await.stdout(), "own\n");

    bench.sshd.allow("ALL=(ALL) ALL", "");
    let anew = bench.shell("pwd", as_root(plain())).await;
    assert_eq!(anew.stdout(), "/usr\n", "{anew:?}");
}

#[tokio::test]
async fn a_shell_that_computes_is_stopped_as_its_user() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    bench.shell("V=kept", as_root(plain())).await;
    let looping = json!({"timeoutMs": 1000});
    let result = bench.shell("while :; do :; done", as_root(looping)).await;
    assert_eq!(status(&result), "timedOut", "{result:?}");
    let after = bench.shell("echo $V", as_root(plain())).await;
    assert_eq!(after.stdout(), "kept\n", "{after:?}");
}

#[tokio::test]
async fn a_shell_of_root_ends_with_call_session_and_program() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };

    for end in ["cancel", "disconnect", "program"] {
        let call = bench
            .begin("ssh_shell", &stubborn("78.5")[1], as_root(plain()))
            .await;
        eventually("it runs", || !bench.sshd.running("78.5").is_empty()).await;

        match end {
            "cancel" => bench.mcp.cancel(call).await,
            "disconnect" => {
                bench.mcp.call("ssh_disconnect", json!({})).await.ok();
                let result = bench.mcp.finish(call).await.ok();
                assert_stopped(&bench, &result, "cancelled", "78.5");
            }
            _ => {
                let next = bench.client().await;
                std::mem::replace(&mut bench.mcp, next).close().await;
            }
        }

        eventually("it is stopped", || bench.sshd.running("78.5").is_empty()).await;
        if end != "cancel" {
            eventually("sudo has ended", || bench.sshd.running("sudo").is_empty()).await;
            let parameters = json!({"host": "host", "password": PASSWORD});
            bench.mcp.call("ssh_connect", parameters).await.ok();
        }
    }
}

#[tokio::test]
async fn signals_reach_a_command_of_root() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    let command = "trap 'echo usr1' USR1; echo on; for _ in {1..600}; do sleep 0.1; done";
    let started = bench
        .shell(
            &format!("bash -c {command:?}"),
            as_root(json!({"waitMs": 500})),
        )
        .await;
    let job = started.outcome()["job"].as_str().unwrap().to_owned();
    assert_of(&started, "root");
    eventually("it runs", || !bench.sshd.running("0.1").is_empty()).await;

    let reply = bench
        .job(&job, json!({"signal": "USR1", "waitMs": 0}))
        .await;
    assert_eq!(status(&reply), "running", "{reply:?}");
    loop {
        let reply = bench.job(&job, json!({"offset": 0, "waitMs": 100})).await;
        assert_eq!(status(&reply), "running", "{reply:?}");
        if reply.stdout().ends_with("usr1\n") {
            break;
        }
    }

    let stopped = bench.job(&job, json!({"signal": "TERM"})).await;
    assert_eq!(stopped.outcome()["processGone"], true, "{stopped:?}");
}

#[tokio::test]
async fn a_sudo_that_has_forgotten_the_password_stops_too() {
    let settings = SudoHostSettings {
        defaults: "Defaults timestamp_type=global",
        ..SudoHostSettings::default()
    };
    let Some(mut bench) = with_password(settings).await else {
        return;
    };

    // sudo does not ask for these any more, and so has not said which password is right.
    bench.root("true", plain()).await.ok();
    bench.shell("V=kept", as_root(plain())).await;
    let stubborn = &stubborn("79.5")[1];
    let shell = bench.begin("ssh_shell", stubborn, as_root(json!({"timeoutMs": 3000})));
    let shell = shell.await;
    let exec = bench.begin("ssh_exec", stubborn, as_root(json!({"timeoutMs": 3000})));
    let exec = exec.await;
    eventually("both run", || bench.sshd.running("79.5").len() >= 2).await;
    bench.exec("sudo -K", plain()).await;

    for call in [shell, exec] {
        let result = bench.mcp.finish(call).await.ok();
        assert_eq!(
            (status(&result), &result.outcome()["processGone"]),
            ("timedOut", &Value::Bool(true)),
            "{result:?}"
        );
    }
    assert_eq!(bench.sshd.running("79.5"), [0; 0]);
}
