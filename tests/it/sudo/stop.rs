//! Stopping what belongs to root.

use std::time::Duration;

use serde_json::{Value, json};

use super::as_root;
use crate::{
    sudo::open,
    support::{
        checks::{code, eventually, plain, status},
        fixture::{ConnectedHost, TestHost},
        mcp_client::ToolResult,
        page::Page,
        sudo_host::{PASSWORD, SudoHost, SudoHostSettings},
    },
};

/// A second is promised; a busy machine may take this much.
const SECONDS: Duration = Duration::from_secs(8);

/// Commands that do not end of themselves; `word` is an argument of each of their processes.
pub(super) fn stubborn(word: &str) -> [String; 5] {
    [
        format!("sleep {word}"),
        format!("trap '' INT TERM; sleep {word}; sleep {word}"),
        format!("(trap '' INT TERM HUP; sleep {word} & sleep {word}) | cat"),
        format!("setsid sh -c 'trap \"\" INT TERM; sleep {word}'; :"),
        format!("nohup sleep {word} > /dev/null 2>&1 & sleep {word}"),
    ]
}

/// Commands that do not end of themselves, and leave the shell its traps.
pub(super) fn stubborn_in_shell(word: &str) -> [String; 3] {
    [
        format!("sleep {word}"),
        format!("(trap '' INT TERM; sleep {word}; sleep {word})"),
        format!("setsid sh -c 'trap \"\" INT TERM; sleep {word}'; :"),
    ]
}

pub(super) fn assert_stopped(
    bench: &ConnectedHost<SudoHost>,
    result: &ToolResult,
    how: &str,
    word: &str,
) {
    assert_eq!(status(result), how, "{result:?}");
    assert_eq!(
        (result.outcome()["processGone"].as_bool(), code(result)),
        (Some(true), None),
        "{result:?}"
    );
    assert_eq!(bench.sshd.running(word), [0; 0], "{result:?}");
}

#[tokio::test]
async fn a_command_of_root_is_stopped_at_its_limit_with_its_children() {
    for (rule, defaults, more, commands) in [
        ("ALL=(ALL) ALL", "", plain(), 0..5),
        (
            "ALL=(ALL) ALL",
            "Defaults use_pty",
            json!({"pty": true}),
            1..3,
        ),
        (
            "ALL=(ALL) ALL",
            "Defaults !use_pty",
            json!({"pty": true}),
            1..3,
        ),
        ("ALL=(ALL) NOPASSWD: ALL", "", plain(), 1..2),
    ] {
        let settings = SudoHostSettings {
            rule,
            defaults,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = TestHost::sudo_with_password(settings).await else {
            return;
        };

        // All at once: each takes the whole ladder of signals.
        let mut calls = Vec::new();

        for which in commands {
            let word = format!("71.{which}");
            let command = format!("echo on; {}", stubborn(&word)[which]);
            let mut parameters = as_root(more.clone());
            parameters["timeoutMs"] = 3000.into();
            calls.push((
                bench.begin("ssh_exec", &command, parameters).await,
                command,
                word,
            ));
        }

        for (call, command, word) in calls {
            let result = bench.mcp.finish(call).await.ok();
            assert_eq!(
                result.stdout().replace('\r', ""),
                "on\n",
                "{command}: {result:?}"
            );

            assert_stopped(&bench, &result, "timedOut", &word);
        }

        assert_eq!(bench.sshd.running("sudo"), [0; 0]);
    }
}

#[tokio::test]
async fn a_command_of_root_is_stopped_if_call_or_session_ends() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    for disconnect in [false, true] {
        let call = bench
            .begin("ssh_exec", &stubborn("72.5")[1], as_root(plain()))
            .await;
        eventually("it runs", || !bench.sshd.running("72.5").is_empty()).await;

        if disconnect {
            bench.mcp.call("ssh_disconnect", json!({})).await.ok();
            let result = bench.mcp.finish(call).await.ok();
            assert_stopped(&bench, &result, "cancelled", "72.5");
        } else {
            bench.mcp.cancel(call).await;
            eventually("it is stopped", || bench.sshd.running("72.5").is_empty()).await;
            eventually("sudo has ended", || bench.sshd.running("sudo").is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_command_of_root_does_not_outlive_the_program() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    for command in [0, 1] {
        bench
            .begin("ssh_exec", &stubborn("76.5")[command], as_root(plain()))
            .await;

        eventually("it runs", || !bench.sshd.running("76.5").is_empty()).await;
        let next = bench.client().await;
        let took = std::mem::replace(&mut bench.mcp, next).close().await;
        assert!(took < SECONDS, "{took:?}");
        eventually("it is stopped", || bench.sshd.running("76.5").is_empty()).await;
        bench
            .mcp
            .call("ssh_connect", json!({"host": "host", "password": PASSWORD}))
            .await
            .ok();
    }
}

#[tokio::test]
async fn signals_reach_a_job_of_root() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };
    let command = "trap 'echo usr1' USR1; trap '' INT; echo on; while :; do sleep 0.1; done";
    for signal in ["TERM", "INT", "KILL"] {
        let started = bench.root(command, json!({"background": true})).await.ok();
        let job = started.outcome()["job"].clone();

        for (send, seen) in [(None, "on\n"), (Some("USR1"), "usr1\n")] {
            let mut look = json!({"job": job, "waitMs": 100, "signal": send});
            let mut seen_so_far = String::new();
            loop {
                seen_so_far += &bench.mcp.call("ssh_job", look.clone()).await.ok().stdout();
                if seen_so_far == seen {
                    break;
                }

                assert!(seen.starts_with(&seen_so_far), "{seen_so_far}");
                look["signal"] = Value::Null;
            }
        }

        let stopped = bench
            .mcp
            .call("ssh_job", json!({"job": job, "signal": signal}))
            .await
            .ok();

        assert_eq!(
            stopped.outcome()["processGone"],
            true,
            "{signal}: {stopped:?}"
        );

        assert!(
            ["signaled", "exited"].contains(&status(&stopped)),
            "{signal}: {stopped:?}"
        );

        assert_eq!(bench.sshd.running("sudo"), [0; 0]);
    }
}

#[tokio::test]
async fn where_nobody_becomes_root_again_what_is_left_is_told() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    for (command, gone) in [
        ("exec sleep 74.5", true),
        ("trap '' INT TERM; sleep 74.5; sleep 74.5", false),
    ] {
        let call = bench
            .begin("ssh_exec", command, as_root(json!({"timeoutMs": 3000})))
            .await;
        eventually("it runs", || !bench.sshd.running("74.5").is_empty()).await;
        bench.sshd.allow("", "");
        let result = bench.mcp.finish(call).await.ok();
        assert_eq!(status(&result), "timedOut");
        assert_eq!(
            result.outcome()["processGone"],
            Value::Bool(gone),
            "{result:?}"
        );

        assert_eq!(bench.sshd.running("74.5").is_empty(), gone, "{result:?}");
        bench.sshd.allow("ALL=(ALL) ALL", "");
    }
}

#[tokio::test]
async fn a_sudo_that_asks_is_gone_with_its_question() {
    let pages = json!({"elicitation": {"url": {}}});
    for (more, cancel) in [
        (plain(), true),
        (json!({"pty": true}), true),
        (plain(), false),
    ] {
        let Some(mut bench) = open(SudoHostSettings::default(), pages.clone(), plain()).await
        else {
            return;
        };

        let call = bench
            .begin("ssh_exec", "echo ran > ran", as_root(more))
            .await;
        let (_, page) = Page::next(&mut bench.mcp).await;
        assert!(!bench.sshd.running("sudo").is_empty());

        if cancel {
            bench.mcp.cancel(call).await;
        } else {
            bench.mcp.call("ssh_disconnect", json!({})).await.ok();
            let result = bench.mcp.finish(call).await.ok();
            assert_eq!(status(&result), "cancelled", "{result:?}");
            assert_eq!(result.outcome()["processGone"], true, "{result:?}");
            assert!(result.status_line().contains("had not begun"), "{result:?}");
        }

        page.assert_gone().await;
        eventually("sudo is gone", || bench.sshd.running("sudo").is_empty()).await;
        assert!(!bench.remote("ran").exists());
    }
}
