//! Calls that are given up, calls that are fetched later, and calls that say nothing for long.

use serde_json::json;

use crate::support::{
    checks::eventually,
    fixture::TestHost,
    http_client::{Dialect, HttpClient, Pending},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
    wire::Wire,
};

/// Begins a command that never ends, and waits until it runs.
async fn endless(
    host: &TestHost<OpenSshd>,
    client: &mut HttpClient,
    tool: &str,
    marker: &str,
) -> Pending {
    let pending = client
        .begin_call(tool, json!({"command": format!("sleep {marker}")}))
        .await;
    eventually("the command runs", || host.runs(marker)).await;
    pending
}

#[tokio::test]
async fn closing_the_stream_of_a_call_stops_its_command_and_no_other() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut unaffected = daemon.connected(Dialect::Stateless).await;
    let kept = endless(&host, &mut unaffected, "ssh_exec", "7300").await;
    let mut given_up = Vec::new();

    for (number, dialect) in Dialect::KINDS.into_iter().enumerate() {
        for (tool, number) in [("ssh_exec", number), ("ssh_shell", number + 3)] {
            let marker = format!("731{number}");
            let mut client = daemon.client(dialect).await;
            let call = json!({"command": format!("sleep {marker}"), "shell": marker});
            let arguments = if tool == "ssh_exec" {
                json!({"command": call["command"]})
            } else {
                call
            };

            let pending = client.begin_call(tool, arguments).await;
            eventually("the command runs", || host.runs(&marker)).await;
            given_up.push((dialect, marker, client, pending));
        }
    }

    let mut sessions = Vec::new();

    for (dialect, marker, mut client, mut pending) in given_up {
        if let (Dialect::Session(_), Some(wire)) = (dialect, &mut pending.wire) {
            // The beginning of the stream must have come through for it to be one that could be resumed.
            wire.head().await.unwrap();
            wire.event().await.unwrap();
        }

        drop(pending);

        if dialect == Dialect::Legacy {
            drop(client);
        } else {
            assert!(
                client.request("tools/list", json!({})).await["result"].is_object(),
                "the client goes on"
            );
            sessions.push(client);
        }

        eventually(&format!("{marker}, over {dialect:?}, is gone"), || {
            !host.runs(&marker)
        })
        .await;
    }

    assert!(host.runs("7300"), "nobody gave that one up");
    drop(kept);
    eventually("it is gone too", || !host.runs("7300")).await;

    assert_eq!(
        unaffected
            .call("ssh_exec", json!({"command": "echo alive"}))
            .await
            .stdout(),
        "alive\n"
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_any_answer_stops_its_command_too() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Session("2025-11-25")).await;
    let pending = endless(&host, &mut client, "ssh_exec", "7320").await;
    drop(pending);
    eventually("the command is gone", || !host.runs("7320")).await;
}

#[tokio::test]
async fn the_end_of_a_session_stops_what_runs_in_it() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Session("2025-11-25")).await;
    let _pending = endless(&host, &mut client, "ssh_exec", "7330").await;

    assert_eq!(
        client
            .send("DELETE", &[])
            .await
            .answer()
            .await
            .unwrap()
            .status,
        204
    );

    eventually("the command is gone", || !host.runs("7330")).await;
}

#[tokio::test]
async fn a_notification_that_a_call_is_cancelled_stops_its_command() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    daemon.connected(Dialect::Stateless).await;

    for (dialect, marker) in [
        (Dialect::Session("2025-11-25"), "7340"),
        (Dialect::Legacy, "7341"),
    ] {
        let mut client = daemon.client(dialect).await;
        let pending = endless(&host, &mut client, "ssh_exec", marker).await;
        let params = json!({"requestId": pending.id, "reason": "test"});

        assert_eq!(
            client
                .notify("notifications/cancelled", params)
                .await
                .status,
            202
        );

        eventually("the command is gone", || !host.runs(marker)).await;
        let again = client
            .call("ssh_exec", json!({"command": "echo again"}))
            .await
            .ok();

        assert_eq!(again.stdout(), "again\n", "{dialect:?}");
    }
}

#[tokio::test]
async fn a_stream_that_broke_off_is_resumed_and_has_the_answer() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Session("2025-11-25")).await;
    let gate = host.folder().join("gate");
    let command = format!(
        "until test -e {}; do sleep 0.05; done; echo fetched 7350",
        gate.display()
    );

    let mut pending = client
        .begin_call("ssh_exec", json!({"command": command}))
        .await;
    let wire = pending.wire.as_mut().unwrap();
    assert_eq!(wire.head().await.unwrap().status, 200);
    let mut last = wire.event().await.unwrap().id;
    assert!(!last.is_empty(), "the first event says where to resume");

    // Twice, and for longer than a stream that is left alone would be kept.
    for _ in 0..2 {
        pending.wire = None;
        let mut wire = resume(&client, &last).await;
        let silence = tokio::time::timeout(std::time::Duration::from_secs(3), wire.event()).await;

        if let Ok(Some(event)) = silence {
            assert!(event.data.is_empty(), "not yet: {event:?}");
            if !event.id.is_empty() {
                last = event.id;
            }
        }

        pending.wire = Some(wire);
    }

    pending.wire = None;
    let mut wire = resume(&client, &last).await;
    std::fs::write(&gate, "").unwrap();
    let answer = wire
        .message(pending.id, &mut client.others)
        .await
        .expect("the answer");

    assert_eq!(
        ToolResult(answer["result"].clone()).ok().stdout(),
        "fetched 7350\n"
    );
}

async fn resume(client: &HttpClient, last: &str) -> Wire {
    let mut wire = client
        .send(
            "GET",
            &[("Accept", "text/event-stream"), ("Last-Event-ID", last)],
        )
        .await;

    let head = wire.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream")),
        "{head:?}"
    );

    wire
}

#[tokio::test]
async fn an_answer_that_was_missed_is_fetched_later() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Session("2025-11-25")).await;
    let done = host.folder().join("done");
    let command = format!("sleep 0.5; echo missed; touch {}", done.display());
    let mut pending = client
        .begin_call("ssh_exec", json!({"command": command}))
        .await;
    let mut wire = pending.wire.take().unwrap();
    wire.head().await.unwrap();
    let last = wire.event().await.unwrap().id;
    drop(wire);
    eventually("the command has ended", || done.exists()).await;
    let mut wire = resume(&client, &last).await;
    let answer = wire
        .message(pending.id, &mut client.others)
        .await
        .expect("the answer");

    assert_eq!(
        ToolResult(answer["result"].clone()).ok().stdout(),
        "missed\n"
    );
}

#[tokio::test]
async fn a_quiet_call_of_the_stateless_revision_shows_that_it_lives() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.connected(Dialect::Stateless).await;
    let gate = host.folder().join("gate");
    let command = format!(
        "until test -e {}; do sleep 0.05; done; echo done",
        gate.display()
    );

    let mut quiet = client
        .begin_call("ssh_exec", json!({"command": command}))
        .await;
    let params = json!({"name": "ssh_exec", "arguments": {"command": command}, "_meta": {"progressToken": "p"}});
    let mut asking = client.begin("tools/call", params).await;

    // While the commands wait: headers for the one, a sign of life for the other.
    let wire = quiet.wire.as_mut().unwrap();
    let head = wire.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("content-type")),
        (200, Some("text/event-stream")),
        "{head:?}"
    );

    let wire_asking = asking.wire.as_mut().unwrap();
    assert_eq!(wire_asking.head().await.unwrap().status, 200);

    let progress = loop {
        let event = wire_asking.event().await.unwrap();
        if !event.data.is_empty() {
            break serde_json::from_str::<serde_json::Value>(&event.data).unwrap();
        }
    };

    assert_eq!(progress["method"], "notifications/progress");
    assert_eq!(progress["params"]["progressToken"], "p");
    assert!(
        progress["params"]["progress"].as_f64().unwrap() > 0.0,
        "{progress}"
    );

    std::fs::write(&gate, "").unwrap();

    for (wire, id) in [(wire, quiet.id), (wire_asking, asking.id)] {
        let answer = wire
            .message(id, &mut client.others)
            .await
            .expect("the answer");
        assert_eq!(ToolResult(answer["result"].clone()).ok().stdout(), "done\n");
    }
}
