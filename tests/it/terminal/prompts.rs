//! Programs that ask: noticed, answered, and not taken for one that merely pauses.

use std::{fs, time::Instant};

use serde_json::json;

use super::{has, job, pty, terminals};
use crate::support::{
    checks::{code, counted, status},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
};

/// More than a prompt needs to be noticed, and less than a call waits for a command by itself (45 s).
const NOTICED_MS: u64 = 20_000;

/// Asserts that the program is said to wait behind this prompt.
fn assert_asks(result: &ToolResult, prompt: &str) {
    let outcome = result.outcome();
    assert_eq!(status(result), "running", "{result:?}");

    assert_eq!(
        (
            outcome["awaitingInput"].as_bool(),
            outcome["prompt"].as_str()
        ),
        (Some(true), Some(prompt)),
        "{result:?}"
    );

    assert!(
        result.status_line().contains("waits for input at"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_program_that_asks_is_noticed_and_can_be_answered() {
    if let Some(bench) = terminals().await {
        asks_and_is_answered(bench).await;
    }
}

pub(crate) async fn asks_and_is_answered<S>(mut bench: ConnectedHost<S>) {
    let result = bench
        .exec(
            "printf 'Name? '; read name; echo \"Hello, $name\"; exit 4",
            pty(),
        )
        .await;

    assert_asks(&result, "Name?");
    assert_eq!(result.stdout(), "Name? ");
    assert!(
        result.outcome()["durationMs"].as_u64().unwrap() < NOTICED_MS,
        "{result:?}"
    );

    let result = bench.give(&job(&result), "Ann\n").await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("Ann\nHello, Ann\n", Some(4))
    );
}

#[tokio::test]
async fn an_answer_that_is_being_thought_about_is_not_asked_for_again() {
    let mut bench = TestHost::openssh().connect().await;
    let asking = "printf 'Name? '; read name; sleep 0.6; echo \"Hello, $name\"";
    let job = job(&bench.exec(asking, json!({"background": true})).await);
    assert_asks(&bench.job(&job, json!({})).await, "Name?");
    let result = bench.job(&job, json!({"input": "Ann\n"})).await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("Hello, Ann\n", Some(0)),
        "{result:?}"
    );
}

#[tokio::test]
async fn successive_questions_are_noticed_even_without_echo() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    let command = "stty -echo; printf 'Password: '; read a; printf '\\nAgain: '; read b; stty echo; echo; echo \"$a/$b\"";
    let result = bench.exec(command, pty()).await;
    assert_asks(&result, "Password:");
    let job = job(&result);
    let result = bench.give(&job, "s3cret\n").await;
    assert_asks(&result, "Again:");
    let result = bench.give(&job, "other\n").await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("s3cret/other\n", Some(0))
    );
}

#[tokio::test]
async fn a_background_command_without_terminal_takes_input_and_eof() {
    let mut bench = TestHost::openssh().connect().await;
    let asking = "printf 'Go on? ' >&2; read answer; echo \"[$answer]\"; cat; echo end";
    let job = job(&bench.exec(asking, json!({"background": true})).await);
    let result = bench.job(&job, json!({})).await;
    assert_asks(&result, "Go on?");
    let result = bench.give(&job, "yes\nmore\n").await;
    assert!(result.stdout().contains("[yes]\nmore\n"), "{result:?}");
    let result = bench.give(&job, "last\n\u{4}").await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("last\nend\n", Some(0))
    );

    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": job, "input": "x"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("has ended"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn a_command_with_empty_stdin_is_never_said_to_wait_for_input() {
    let mut bench = TestHost::openssh().connect().await;
    let result = bench
        .exec("printf 'Name? '; sleep 7420", json!({"waitMs": 4000}))
        .await;
    assert!(result.outcome()["awaitingInput"].is_null(), "{result:?}");
    let refused = bench
        .mcp
        .call("ssh_job", json!({"job": job(&result), "input": "x\n"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("stdin"),
        "{}",
        refused.text()
    );

    assert_eq!(
        status(&bench.job(&job(&result), json!({"signal": "KILL"})).await),
        "signaled"
    );
}

#[tokio::test]
async fn a_line_that_is_no_prompt_is_told_once_and_then_waited_behind() {
    let Some(mut bench) = terminals().await else {
        return;
    };

    let command = "printf 'step 1'; until [ -e one ]; do sleep 0.05; done; printf '\\rstep 2'; \
                   until [ -e two ]; do sleep 0.05; done; printf '\\nReally? '; read x";
    let result = bench.exec(command, json!({"pty": true, "cwd": "~"})).await;
    assert_asks(&result, "step 1");
    let job = job(&result);
    let started = Instant::now();
    let waiting = bench
        .mcp
        .begin_call("ssh_job", json!({"job": job, "waitMs": 5000}))
        .await;

    fs::write(bench.remote("one"), "").unwrap();
    let result = bench.mcp.finish(waiting).await.ok();
    assert!(
        started.elapsed().as_millis() >= 5000,
        "answered before its time: {result:?}"
    );

    assert_eq!(
        (status(&result), result.stdout().as_str()),
        ("running", "step 2")
    );

    let waiting = bench.mcp.begin_call("ssh_job", json!({"job": job})).await;
    fs::write(bench.remote("two"), "").unwrap();
    let result = bench.mcp.finish(waiting).await.ok();
    assert_asks(&result, "Really?");
    let answered = bench.give(&job, "\n").await;
    assert_eq!(code(&answered), Some(0), "{answered:?}");
}

#[tokio::test]
async fn a_prompt_is_the_end_of_a_line_however_long_the_line_is() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    let command = "printf '%3000s' ''; printf '\\033[1mGo?\\033[0m '; read x";
    for parameters in [pty(), json!({"background": true, "waitMs": 45000})] {
        let result = bench.exec(command, parameters).await;
        let prompt = result.outcome()["prompt"].as_str().expect("a prompt");
        assert!(prompt.ends_with("Go?") && prompt.len() <= 200, "{prompt:?}");
        assert_eq!(code(&bench.give(&job(&result), "\n").await), Some(0));
    }
}

#[tokio::test]
async fn keys_do_in_a_program_what_they_do_at_a_keyboard() {
    if let Some(bench) = terminals().await {
        takes_keys(bench).await;
    }
}

pub(crate) async fn takes_keys<S>(mut bench: ConnectedHost<S>) {
    // The keys of the terminal itself (termios(3)): erase, end of input, interrupt.
    let cat = job(&bench
        .exec("cat; echo ended", json!({"pty": true, "waitMs": 0}))
        .await);
    let result = bench.give(&cat, "abd\u{7f}c\n").await;
    assert!(result.stdout().ends_with("abc\nabc\n"), "{result:?}");
    let result = bench.give(&cat, "\u{4}").await;
    assert!(
        result.stdout().ends_with("ended\n") && code(&result) == Some(0),
        "{result:?}"
    );

    let trap = "trap 'echo caught; exit 7' INT; echo ready; read x";
    let interrupted = job(&bench.exec(trap, json!({"pty": true, "waitMs": 0})).await);
    bench.wait_for_output(&interrupted, "ready\n").await;
    let result = bench.give(&interrupted, "\u{3}").await;
    assert_eq!(
        (result.stdout().contains("caught\n"), code(&result)),
        (true, Some(7)),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_program_that_asks_its_terminal_is_answered() {
    let Some(mut bench) = terminals().await else {
        return;
    };
    let ask = r"stty raw -echo; printf 'ab\033[6n'; dd bs=1 count=6 2>/dev/null | od -An -c; stty sane; echo end";
    let result = bench.exec(ask, pty()).await;
    assert!(
        result.stdout().contains("033   [   1   ;   3   R\n"),
        "{result:?}"
    );

    assert!(result.stdout().ends_with("end\n"), "{result:?}");
}

#[tokio::test]
async fn bash_keeps_a_conversation_with_its_history() {
    if let Some(bench) = terminals().await {
        keeps_a_conversation(bench).await;
    }
}

pub(crate) async fn keeps_a_conversation<S>(mut bench: ConnectedHost<S>) {
    let result = bench
        .exec("PS1='% ' exec bash --norc --noprofile -i", pty())
        .await;
    assert_asks(&result, "%");
    let bash = job(&result);

    assert!(
        bench
            .give(&bash, "echo $((40+2))\n")
            .await
            .stdout()
            .ends_with("\n42\n% ")
    );

    let again = bench.give(&bash, "\u{1b}[A\n").await;
    assert!(again.stdout() == "echo $((40+2))\n42\n% ", "{again:?}");

    // The cursor back by two words, and one of them changed.
    let edited = bench
        .give(&bash, "echo one two\u{1b}b\u{1b}d\u{8}\u{8}\u{8}\u{8}1\n")
        .await;
    assert!(edited.stdout().ends_with("echo 1\n1\n% "), "{edited:?}");
    let sleeping = bench
        .job(&bash, json!({"input": "sleep 7421\n", "waitMs": 100}))
        .await;
    assert_eq!(status(&sleeping), "running");
    let awake = bench.give(&bash, "\u{3}").await;
    assert!(awake.stdout().ends_with("^C\n% "), "{awake:?}");
    let ended = bench.give(&bash, "exit 5\n").await;
    assert_eq!(
        (status(&ended), code(&ended)),
        ("exited", Some(5)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn full_screen_programs_can_be_read_and_used() {
    let Some(mut bench) = terminals().await else {
        return;
    };

    fs::write(
        bench.remote("text"),
        counted(100, |line| format!("line {}\n", line + 1)),
    )
    .unwrap();

    if has("less") {
        let result = bench
            .exec("less text", json!({"pty": true, "cwd": "~"}))
            .await;

        assert!(
            result.stdout().contains("line 1\nline 2\n") && result.stdout().contains("line 39\n"),
            "{result:?}"
        );

        assert!(
            !result.stdout().contains("line 41") && result.outcome()["awaitingInput"] == true,
            "{result:?}"
        );

        let less = job(&result);
        assert!(bench.give(&less, " ").await.stdout().contains("line 78\n"));
        assert_eq!(code(&bench.give(&less, "q").await), Some(0));
    }

    if has("vi") {
        let result = bench
            .exec("vi text", json!({"pty": true, "cwd": "~"}))
            .await;
        assert!(result.stdout().contains("line 1\nline 2\n"), "{result:?}");
        let vi = job(&result);
        let edited = bench.give(&vi, "ddOhello\u{1b}:wq\r").await;
        assert_eq!(code(&edited), Some(0), "{edited:?}");
        assert!(
            fs::read_to_string(bench.remote("text"))
                .unwrap()
                .starts_with("hello\nline 2\n")
        );
    }

    if has("python3") {
        let result = bench.exec("exec python3 -i -c ''", pty()).await;
        assert_asks(&result, ">>>");
        let python = job(&result);

        assert!(
            bench
                .give(&python, "6 * 7\r")
                .await
                .stdout()
                .contains("\n42\n")
        );

        assert_eq!(code(&bench.give(&python, "exit(3)\r").await), Some(3));
    }
}
