//! Commands that wait for their shell, and signals that have an effect.

use serde_json::json;

use crate::support::{
    checks::{code, eventually, plain, status},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::running,
};

/// Starts a command that holds the shell, and returns its job.
async fn held(bench: &mut ConnectedHost<OpenSshd>, shell: &str, word: &str) -> String {
    let result = bench
        .shell(
            &format!("sleep {word}"),
            json!({"shell": shell, "waitMs": 0}),
        )
        .await;

    let port = bench.sshd.port();
    eventually("it runs", || !running(port, word).is_empty()).await;

    result.outcome()["job"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_waiting_command_names_the_one_that_holds_the_shell() {
    let mut bench = TestHost::openssh().connect().await;
    bench.shell("cd /tmp", plain()).await;
    let first = held(&mut bench, "main", "7310").await;
    let marker = bench.remote("ran");
    let wanted = format!("touch '{}'", marker.display());
    let second = bench.shell(&wanted, json!({"waitMs": 100})).await;
    let line = second.status_line();
    assert!(
        line.starts_with(&format!("[queued behind job {first}, not begun · job ")),
        "{line}"
    );

    for part in ["another shell", "ssh_exec", &format!("stop job {first}")] {
        assert!(line.contains(part), "{part:?}: {line}");
    }

    assert_eq!(
        (status(&second), second.outcome()["queuedBehind"].as_str()),
        ("running", Some(first.as_str()))
    );

    let second = second.outcome()["job"].as_str().unwrap().to_owned();
    let listed = bench.mcp.call("ssh_job", plain()).await.ok().text();
    assert!(
        listed.contains(&format!("{second}: queued, "))
            && listed.contains(&format!("{first}: running, ")),
        "{listed}"
    );

    // What holds the shell is not queued; another shell is free, as is ssh_exec.
    let holder = bench.job(&first, json!({"waitMs": 0})).await;
    assert!(
        holder.status_line().starts_with("[running · "),
        "{}",
        holder.text()
    );

    assert_eq!(
        bench
            .shell("echo free", json!({"shell": "other"}))
            .await
            .stdout(),
        "free\n"
    );

    assert_eq!(bench.exec("echo free", plain()).await.stdout(), "free\n");
    assert!(!marker.exists());

    // Stopping what holds it, as is said, lets the next one run.
    bench.job(&first, json!({"signal": "INT"})).await;
    let ran = bench.job(&second, plain()).await;

    assert_eq!(
        (status(&ran), code(&ran)),
        ("exited", Some(0)),
        "{}",
        ran.text()
    );

    assert!(marker.exists());
}

#[tokio::test]
async fn a_cancelled_queued_command_ends_at_once_and_never_runs() {
    let mut bench = TestHost::openssh().connect().await;
    let first = held(&mut bench, "main", "7311").await;
    let marker = bench.remote("ran");
    let wanted = format!("touch '{}'", marker.display());

    // By a signal, with and without an offset; and by a call that is given up.
    for arguments in [
        json!({"signal": "TERM"}),
        json!({"signal": "9", "offset": 0}),
        json!({"signal": "ctrl-c"}),
    ] {
        let queued = bench.shell(&wanted, json!({"waitMs": 0})).await.outcome()["job"]
            .as_str()
            .unwrap()
            .to_owned();

        let ended = bench.job(&queued, arguments.clone()).await;
        assert_eq!(status(&ended), "cancelled", "{arguments}: {}", ended.text());
        assert!(
            ended.status_line().contains("it was not run"),
            "{arguments}: {}",
            ended.text()
        );
    }

    let call = bench.begin("ssh_shell", &wanted, plain()).await;
    let queued = bench.shell("echo behind", json!({"waitMs": 0})).await;
    assert!(
        queued.status_line().starts_with("[queued behind job "),
        "{}",
        queued.text()
    );

    bench.mcp.cancel(call).await;
    assert_eq!(
        status(&bench.job(&first, json!({"waitMs": 0})).await),
        "running"
    );

    bench.job(&first, json!({"signal": "INT"})).await;
    let behind = queued.outcome()["job"].as_str().unwrap().to_owned();
    assert_eq!(bench.job(&behind, plain()).await.stdout(), "behind\n");
    assert!(!marker.exists());
}

#[tokio::test]
async fn a_signal_is_waited_for_until_it_has_its_effect() {
    let mut bench = TestHost::openssh().connect().await;
    let loops = "trap 'sleep 0.3; echo cleaned; exit 7' INT TERM; trap 'echo again' USR1; echo ready; while :; do sleep 0.05; done";

    for arguments in [
        json!({"signal": "INT", "offset": 0}),
        json!({"signal": "SIGTERM", "offset": 6}),
        json!({"signal": "^C"}),
        json!({"signal": 15, "offset": "0"}),
    ] {
        let job = bench.start(loops, json!({"background": true})).await;
        bench.wait_for_output(&job, "ready\n").await;
        let ended = bench.job(&job, arguments.clone()).await;

        assert_eq!(
            (status(&ended), code(&ended)),
            ("exited", Some(7)),
            "{arguments}: {}",
            ended.text()
        );

        assert!(
            ended.stdout().ends_with("cleaned\n"),
            "{arguments}: {}",
            ended.text()
        );
    }

    let job = bench.start(loops, json!({"background": true})).await;
    bench.wait_for_output(&job, "ready\n").await;
    let reply = bench
        .job(&job, json!({"signal": "USR1", "offset": 6}))
        .await;

    assert_eq!(
        (status(&reply), reply.stdout().as_str()),
        ("running", "again\n"),
        "{}",
        reply.text()
    );

    for (signal, part) in [
        ("BOOM", "signals: INT"),
        ("10", "signals: INT"),
        ("ctrl-d", "\\u0004"),
    ] {
        let refused = bench
            .mcp
            .call("ssh_job", json!({"job": job, "signal": signal}))
            .await;

        assert!(
            refused.is_error() && refused.text().contains(part),
            "{signal}: {}",
            refused.text()
        );
    }

    bench.job(&job, json!({"signal": "KILL"})).await;
}

#[tokio::test]
async fn input_that_lacks_its_newline_is_said_to() {
    let mut bench = TestHost::openssh().connect().await;
    let ask = "printf 'Go on? '; read answer; echo \"got $answer\"; sleep 30";
    for terminal in [false, true] {
        let job = bench
            .start(ask, json!({"background": true, "pty": terminal}))
            .await;
        bench.wait_for_output(&job, "Go on? ").await;
        let answer = bench
            .job(&job, json!({"input": "yes", "waitMs": 2500}))
            .await;

        assert!(
            answer
                .status_line()
                .contains("the input has no newline at its end"),
            "{terminal}: {}",
            answer.text()
        );

        let answer = bench.job(&job, json!({"input": "\n"})).await;
        assert!(
            answer.stdout().contains("got yes\n"),
            "{terminal}: {}",
            answer.text()
        );

        assert!(
            !answer.status_line().contains("newline"),
            "{terminal}: {}",
            answer.text()
        );

        bench.job(&job, json!({"signal": "KILL"})).await;
    }
}
