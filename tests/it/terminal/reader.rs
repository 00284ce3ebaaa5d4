//! What a reader sees of output that draws over itself, and of a command that is still running.

use serde_json::{Value, json};

use super::{job, pty, terminals};
use crate::support::{
    checks::{code, counted, plain, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// A progress bar of 20,000 steps, and the line it leaves.
const BAR: &str = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); printf '\\rstep %5d of 20000' $i; done; printf '\\ndone\\n'";
const BAR_LEFT: &str = "step 20000 of 20000\ndone\n";

fn assert_bar(result: &ToolResult) {
    assert_eq!(result.stdout(), BAR_LEFT);
    let raw = whole_output(result);
    assert!(
        raw.starts_with(b"\rstep     1 of 20000\rstep     2 of 20000"),
        "the file is not as it came"
    );

    assert_eq!(
        result.outcome()["stdoutBytes"].as_u64(),
        Some(raw.len() as u64)
    );

    assert_eq!(result.outcome()["truncated"], false);
}

#[tokio::test]
async fn a_progress_bar_is_shown_in_its_last_state_everywhere() {
    let mut bench = TestHost::openssh().connect().await;
    assert_bar(&bench.exec(BAR, plain()).await);
    assert_bar(&bench.shell(BAR, plain()).await);
    let on_stderr = bench.exec(&format!("{{ {BAR}; }} >&2"), plain()).await;
    assert_eq!(on_stderr.stderr(), BAR_LEFT);
    let unfinished = bench.exec(r"printf '10%%\r99%%'", plain()).await;
    assert_eq!(
        (unfinished.stdout().as_str(), code(&unfinished)),
        ("99%", Some(0))
    );
}

#[tokio::test]
async fn a_progress_bar_on_a_terminal_is_shown_in_its_last_state() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    assert_bar(&bench.exec(BAR, pty()).await);
}

#[tokio::test]
async fn output_that_does_not_draw_over_itself_is_exact() {
    let mut bench = TestHost::openssh().connect().await;
    for (command, expected) in [
        (r"printf 'dos\r\nlines\r\n'", "dos\r\nlines\r\n"),
        (r"printf 'a\0b\rc\n'", "a\0b\rc\n"),
        (r"printf ' \t\n\n'", " \t\n\n"),
    ] {
        for result in [
            bench.exec(command, plain()).await,
            bench.shell(command, plain()).await,
        ] {
            assert_eq!(result.stdout(), expected, "{command}");
            assert!(
                result.outcome()["outputFile"].is_null(),
                "{command}: a file for nothing"
            );
        }
    }
}

#[tokio::test]
async fn what_a_terminal_has_printed_is_read_by_offset() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    let count = "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); printf '\\033[32mnumber %d\\033[0m\\n' $i; done; read x";
    let result = bench.exec(count, json!({"pty": true, "waitMs": 0})).await;
    let job = job(&result);
    let expected = counted(9000, |number| format!("number {}\n", number + 1));
    let (mut offset, mut read) = (0, String::new());

    while read.len() < expected.len() {
        let part = bench
            .job(&job, json!({"offset": offset, "waitMs": 0}))
            .await;
        let next = part.outcome()["nextOffset"]
            .as_u64()
            .expect("a next offset");
        assert!(next >= offset && status(&part) == "running", "{part:?}");
        read.push_str(&part.stdout());
        offset = next;
    }

    let same = read
        .bytes()
        .zip(expected.bytes())
        .take_while(|(read, expected)| read == expected)
        .count();

    let around = |text: &str| {
        text.get(same.saturating_sub(20)..)
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect::<String>()
    };

    assert!(
        read == expected,
        "byte {same}: {:?} for {:?}",
        around(&read),
        around(&expected)
    );

    bench.give(&job, "\n").await;
}

#[tokio::test]
async fn progress_carries_the_latest_line_at_most_once_a_second() {
    assert_progress(TestHost::openssh().connect().await, plain()).await;
    if let Some(bench) = terminals().await {
        assert_progress(bench, pty()).await;
    }
}

async fn assert_progress(mut bench: ConnectedHost<OpenSshd>, mut arguments: Value) {
    let command = "for i in 1 2 3 4 5 6 7 8; do printf '\\r\\033[32mpart %d\\033[0m of 8' $i; sleep 0.4; done";
    arguments["command"] = command.into();
    let call = json!({"name": "ssh_exec", "arguments": arguments, "_meta": {"progressToken": "p"}});
    let id = bench.mcp.begin("tools/call", call).await;
    let (mut lines, mut values) = (Vec::new(), Vec::new());

    let answer = loop {
        let message = bench.mcp.message().await.expect("an answer");
        if message["id"] == id {
            break message;
        }

        assert_eq!(
            (&message["method"], &message["params"]["progressToken"]),
            (&json!("notifications/progress"), &json!("p"))
        );

        lines.push(
            message["params"]["message"]
                .as_str()
                .expect("a message")
                .to_owned(),
        );

        values.push(message["params"]["progress"].as_f64().expect("a number"));
    };

    let duration = answer["result"]["_meta"]["mcp-ssh-sessions/outcome"]["durationMs"]
        .as_u64()
        .unwrap();

    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("part ") && line.ends_with(" of 8")),
        "{lines:?}"
    );

    assert!(
        values.windows(2).all(|pair| pair[1] > pair[0]),
        "{values:?}"
    );

    assert!(
        (1..=duration / 1000 + 1).contains(&(lines.len() as u64)),
        "{lines:?} in {duration} ms"
    );
}

#[tokio::test]
async fn a_call_that_asked_for_no_progress_gets_none() {
    let mut bench = TestHost::openssh().connect().await;

    let id = bench
        .begin(
            "ssh_exec",
            "for i in 1 2 3; do echo $i; sleep 0.5; done",
            plain(),
        )
        .await;

    let message: Value = bench.mcp.message().await.expect("an answer");
    assert_eq!(message["id"], id, "{message}");
}
