//! The state of a shell survives the loss of its connection, and is kept while nobody waits.

mod kept;
mod others;
mod quiet;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    checks::{eventually, plain},
    clock,
    fixture::ConnectedHost,
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// The state is asked for a quarter of a second after a command.
const ASKED_AFTER: Duration = Duration::from_millis(260);

/// How long it then takes to come, mostly.
const TAKING: Duration = Duration::from_millis(300);

/// Longer than this it does not take anywhere.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// Ends the connections, but not the shells: they end by themselves.
async fn lose(bench: &mut ConnectedHost<OpenSshd>) {
    bench.sshd.kill_connections();
    eventually("the connections have ended", || {
        bench.sshd.serving().is_empty()
    })
    .await;

    // A command that is sent before that is known is cut off.
    let known_within = Instant::now() + MAX_PAUSE;

    while bench.mcp.call("ssh_sessions", json!({})).await.structured()["sessions"][0]["state"]
        == "connected"
    {
        assert!(Instant::now() < known_within, "the loss is not noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs commands in a shell, leaves it alone, loses the connection, and runs another. No one can see from outside when
/// the state is kept: where the notice says that it was not in time, all of it is done again with a longer pause.
async fn over_a_loss(
    bench: &mut ConnectedHost<OpenSshd>,
    before: &[&str],
    after: &str,
) -> ToolResult {
    let mut pause = TAKING;
    loop {
        for command in before {
            bench.shell(command, plain()).await;
        }

        leave_alone(pause).await;
        lose(bench).await;
        let result = bench.shell(after, plain()).await;
        if in_time(&result) || pause > MAX_PAUSE {
            return result;
        }

        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        pause *= 2;
    }
}

/// Whether the state of after the last command was kept.
fn in_time(result: &ToolResult) -> bool {
    notice(result).contains("restored: ") && !notice(result).contains("what the last")
}

fn notice(result: &ToolResult) -> &str {
    result.outcome()["notice"].as_str().unwrap_or_default()
}

/// The parameters for a named shell.
fn named(shell: &str) -> Value {
    json!({"shell": shell, "timeoutMs": 30_000})
}

/// Leaves a shell alone until its state is asked for, which takes no time here, and then for `pause`, in which the state
/// comes. That is a fixed time, because no one can see from outside when it has come.
async fn leave_alone(pause: Duration) {
    clock::pass(ASKED_AFTER).await;
    tokio::time::sleep(pause).await;
}
