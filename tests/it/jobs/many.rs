//! One command in many sessions.

use serde_json::{Value, json};

use crate::support::{fixture::TestHost, processes::running};

#[tokio::test]
async fn a_command_runs_in_all_sessions_at_once_and_each_answers() {
    let mut bench = TestHost::openssh().connect().await;

    for name in ["a", "b"] {
        bench
            .mcp
            .call("ssh_connect", json!({"host": "host", "name": name}))
            .await
            .ok();
    }

    // Each waits for the others: one after the other, none would ever end.
    let folder = bench.home.display().to_string();
    let command = format!(
        "cd '{folder}'; touch here.$$; while [ $(ls here.* | wc -l) -lt 3 ]; do sleep 0.05; done; echo \"$V\"; exit 2"
    );

    let arguments =
        json!({"command": command, "sessions": ["a", "host", "b", "a"], "env": {"V": "x"}});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();
    let outcomes = result.0["_meta"]["mcp-ssh-sessions/outcomes"]
        .as_array()
        .unwrap()
        .clone();

    let sessions: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome["session"].as_str().unwrap())
        .collect();

    assert_eq!(sessions, ["a", "host", "b"]);

    assert!(
        outcomes
            .iter()
            .all(|outcome| (&outcome["status"], &outcome["exitCode"])
                == (&json!("exited"), &json!(2)))
    );

    let blocks = result.blocks();
    assert_eq!(blocks, ["[sessions a, host, b]", "x\n", "[exit 2]"]);
}

#[tokio::test]
async fn a_session_that_fails_does_not_keep_the_others_from_answering() {
    let mut bench = TestHost::openssh().connect().await;
    let run = |sessions: Value| json!({"command": "echo ran", "sessions": sessions});
    let result = bench
        .mcp
        .call("ssh_exec", run(json!(["nobody", "host"])))
        .await
        .ok();

    let outcomes = &result.0["_meta"]["mcp-ssh-sessions/outcomes"];

    assert!(
        outcomes[0]["error"]
            .as_str()
            .unwrap()
            .contains("no session \"nobody\""),
        "{outcomes}"
    );

    assert_eq!(
        (&outcomes[1]["session"], &outcomes[1]["exitCode"]),
        (&json!("host"), &json!(0))
    );

    assert!(
        result.text().contains("hint: ") && result.text().contains("\nran\n"),
        "{}",
        result.text()
    );

    for (arguments, part) in [
        (run(json!(["nobody", "none"])), "no session \"none\""),
        (run(json!([])), "sessions names 1 to 200"),
        (
            json!({"command": "echo ran", "sessions": ["host"], "session": "host"}),
            "session is left out",
        ),
    ] {
        let refused = bench.mcp.call("ssh_exec", arguments).await;
        assert!(
            refused.is_error() && refused.text().contains(part),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn many_answers_share_one_answers_length_and_stop_together() {
    let mut bench = TestHost::openssh().connect().await;
    let mut sessions = vec!["host".to_owned()];

    for number in 0..5 {
        let name = format!("s{number}");
        bench
            .mcp
            .call("ssh_connect", json!({"host": "host", "name": name}))
            .await
            .ok();

        sessions.push(name);
    }

    let result = bench
        .mcp
        .call(
            "ssh_exec",
            json!({"command": "seq 100000", "sessions": sessions}),
        )
        .await
        .ok();

    assert!(result.text().len() <= 40_000, "{}", result.text().len());

    for outcome in result.0["_meta"]["mcp-ssh-sessions/outcomes"]
        .as_array()
        .unwrap()
    {
        assert_eq!(
            (&outcome["stdoutBytes"], &outcome["truncated"]),
            (&json!(588_895), &json!(true)),
            "{outcome}"
        );

        assert_eq!(
            std::fs::metadata(outcome["outputFile"].as_str().unwrap())
                .unwrap()
                .len(),
            588_895
        );
    }

    let arguments = json!({"command": "sleep 7310", "sessions": sessions, "waitMs": 500});
    let result = bench.mcp.call("ssh_exec", arguments).await.ok();
    let outcomes = result.0["_meta"]["mcp-ssh-sessions/outcomes"]
        .as_array()
        .unwrap()
        .clone();

    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome["status"] == "running"),
        "{outcomes:?}"
    );

    for outcome in &outcomes {
        bench
            .mcp
            .call("ssh_job", json!({"job": outcome["job"], "signal": "TERM"}))
            .await
            .ok();
    }

    assert_eq!(running(bench.sshd.port(), "7310"), [0; 0]);
}
