//! However a command is stopped, over whichever server: afterwards none of its processes is left, and the shell lives.

pub(crate) mod honest;
#[cfg(target_os = "linux")]
mod reused;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, eventually, plain, status},
    fixture::{ConnectedHost, TestHost},
    processes::running,
    program::Program,
};

/// Commands that do not end by themselves. `{W}` is a number by which their `sleep`s are found.
const ENDLESS: [(&str, &str); 16] = [
    ("one process", "sleep {W}; echo no"),
    (
        "children of children",
        "sh -c 'sh -c \"sleep {W}; true\"; true'; true",
    ),
    ("a pipeline", "sleep {W} | cat | cat; echo no"),
    ("a subshell", "(sleep {W} & sleep {W} & wait); echo no"),
    ("command substitution", "x=$(sleep {W}); echo no"),
    ("a loop", "while :; do sleep {W}; done; echo no"),
    ("nohup", "nohup sleep {W}; echo no"),
    (
        "nohup in the background",
        "nohup sleep {W} >/dev/null 2>&1 & wait; echo no",
    ),
    ("setsid", "setsid sleep {W} & wait; echo no"),
    (
        "setsid of a shell",
        "setsid sh -c 'sleep {W}; true' | cat; echo no",
    ),
    (
        "a process group of its own",
        "bash -c 'set -m; sleep {W} & wait'; echo no",
    ),
    (
        "INT and TERM are ignored",
        "(trap '' INT TERM HUP; sleep {W}; sleep {W}); echo no",
    ),
    (
        "INT is ignored behind a pipe",
        "sh -c 'trap \"\" INT; sleep {W}; sleep {W}' | cat; echo no",
    ),
    (
        "a stopped process",
        "sleep {W} & sleep 0.2; kill -STOP $!; wait; echo no",
    ),
    ("a zombie", "sh -c 'sleep 0 & exec sleep {W}'; echo no"),
    (
        "replaced by exec",
        "sh -c 'exec sh -c \"sleep {W}; exec sleep {W}\"'; echo no",
    ),
];

/// The tools that run commands. Each command of a shell has a shell of its own.
const TOOLS: [&str; 2] = ["ssh_exec", "ssh_shell"];

/// The arguments of every call, with its tool and its number.
fn calls(more: &Value) -> Vec<(&'static str, Value, String)> {
    let mut calls = Vec::new();
    for (tool, first) in TOOLS.into_iter().zip([7300, 7400]) {
        for (number, (name, command)) in (first..).zip(ENDLESS) {
            let word = number.to_string();
            let mut arguments = more.clone();
            arguments["command"] = format!("echo begun; {}", command.replace("{W}", &word)).into();
            if tool == "ssh_shell" {
                arguments["shell"] = name.into();
            }

            calls.push((tool, arguments, word));
        }
    }

    calls
}

/// Waits until each call's processes are there.
async fn all_run(port: u16, calls: &[(&str, Value, String)]) {
    for (tool, arguments, word) in calls {
        eventually(&format!("{tool} runs {arguments}"), || {
            !running(port, word).is_empty()
        })
        .await;
    }
}

/// Waits until none is left.
async fn all_gone(port: u16, calls: &[(&str, Value, String)]) {
    for (tool, arguments, word) in calls {
        eventually(&format!("{tool} has ended {arguments}"), || {
            running(port, word).is_empty()
        })
        .await;
    }
}

impl<S> ConnectedHost<S> {
    /// Begins all of them, in shells with state to keep, and waits until all run.
    async fn endless(&mut self, more: &Value) -> Vec<(u64, Value, String)> {
        let mut states = Vec::new();

        for (name, _) in ENDLESS {
            states.push(
                self.begin("ssh_shell", "cd /usr/lib; V=kept", json!({"shell": name}))
                    .await,
            );
        }

        for state in states {
            self.mcp.finish(state).await.ok();
        }

        let calls = calls(more);
        let mut begun = Vec::new();

        for (tool, arguments, word) in &calls {
            begun.push((
                self.mcp.begin_call(tool, arguments.clone()).await,
                arguments.clone(),
                word.clone(),
            ));
        }

        all_run(self.port, &calls).await;

        begun
    }

    /// The results of calls that have been stopped, each of which says that nothing is left.
    async fn assert_all_stopped(&mut self, begun: Vec<(u64, Value, String)>, how: &str) {
        for (call, arguments, word) in begun {
            let result = self.mcp.finish(call).await.ok();
            assert_eq!(
                (status(&result), code(&result)),
                (how, None),
                "{arguments}: {result:?}"
            );

            assert_eq!(
                result.outcome()["processGone"],
                true,
                "{arguments}: {result:?}"
            );

            assert_eq!(running(self.port, &word), [0; 0], "{arguments}: {result:?}");
            assert!(
                result.stdout().starts_with("begun\n"),
                "{arguments}: {result:?}"
            );
        }
    }

    /// Every shell is the one it was, and in step.
    async fn assert_shells_live(&mut self) {
        for (name, _) in ENDLESS {
            let result = self
                .shell("echo $V $PWD; echo e >&2", json!({"shell": name}))
                .await;
            let seen = (result.stdout(), result.stderr());
            assert_eq!(
                seen,
                ("kept /usr/lib\n".to_owned(), "e\n".to_owned()),
                "{name}: {result:?}"
            );

            assert!(
                result.outcome().get("notice").is_none(),
                "{name}: {result:?}"
            );
        }
    }
}

/// By a time limit.
pub(crate) async fn at_the_time_limit<S>(mut bench: ConnectedHost<S>) {
    let begun = bench.endless(&json!({"timeoutMs": 10_000})).await;
    bench.assert_all_stopped(begun, "timedOut").await;
    bench.assert_shells_live().await;
}

/// By the client, which gives the calls up.
pub(crate) async fn when_cancelled<S>(mut bench: ConnectedHost<S>) {
    for (call, ..) in bench.endless(&plain()).await {
        bench.mcp.cancel(call).await;
    }
    all_gone(bench.port, &calls(&plain())).await;
    bench.assert_shells_live().await;
}

/// By `ssh_disconnect`, which ends the shells too.
pub(crate) async fn when_disconnected<S>(mut bench: ConnectedHost<S>) {
    let begun = bench.endless(&plain()).await;
    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    bench.assert_all_stopped(begun, "cancelled").await;
    let port = bench.port;
    eventually("the shells have ended", || {
        running(port, "--norc").is_empty()
    })
    .await;
}

/// By the end of the client's stdin.
pub(crate) async fn when_the_client_goes_away<S>(mut bench: ConnectedHost<S>) {
    bench.endless(&plain()).await;
    let port = bench.port;
    let took = bench.mcp.close().await;
    assert!(took < Duration::from_secs(12), "{took:?}");
    all_gone(port, &calls(&plain())).await;
}

/// By the end of the program, which is told to end.
pub(crate) async fn when_the_program_is_ended<S>(bench: ConnectedHost<S>) {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&bench.config, bench.folder()).await;
        program
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        let calls = calls(&plain());
        for (tool, arguments, _) in &calls {
            program
                .begin("tools/call", json!({"name": tool, "arguments": arguments}))
                .await;
        }

        all_run(bench.port, &calls).await;
        let took = program.signal(signal).await;
        assert!(took < Duration::from_secs(12), "SIG{signal}: {took:?}");
        all_gone(bench.port, &calls).await;
    }
}

#[tokio::test]
async fn commands_are_stopped_at_their_time_limit() {
    at_the_time_limit(TestHost::openssh().connect().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_they_are_cancelled() {
    when_cancelled(TestHost::openssh().connect().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_their_session_is_disconnected() {
    when_disconnected(TestHost::openssh().connect().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_the_client_goes_away() {
    when_the_client_goes_away(TestHost::openssh().connect().await).await;
}

#[tokio::test]
async fn commands_are_stopped_when_the_program_is_ended() {
    when_the_program_is_ended(TestHost::openssh().connect().await).await;
}
