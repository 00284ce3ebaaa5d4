//! Daemons that end while they are needed.

use serde_json::json;

use super::{Shared, failure};
use crate::support::{
    checks::{assert_refused, eventually},
    mcp_client::ToolResult,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_is_an_error_for_each_call_and_the_next_works() {
    let shared = Shared::new();
    let mut fronts = Vec::new();
    for _ in 0..4 {
        fronts.push(shared.proxy().await);
    }

    fronts[0]
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    let mut calls = Vec::new();

    for (number, proxy) in fronts.iter_mut().enumerate() {
        let marker = format!("5{number}.25");
        let arguments = json!({"command": format!("sleep {marker}")});

        calls.push(
            proxy
                .begin(
                    "tools/call",
                    json!({"name": "ssh_exec", "arguments": arguments}),
                )
                .await,
        );

        eventually("the command runs", || shared.world.runs(&marker)).await;
    }

    let killed = shared.only_daemon();
    shared.kill().await;

    for (proxy, call) in fronts.iter_mut().zip(calls) {
        let answer = proxy.message().await;
        assert_eq!(answer["id"], call);
        let result = ToolResult(answer["result"].clone());

        assert_refused(
            &result,
            &[
                "the shared daemon ended",
                "look what a command has done",
                ".log",
            ],
        );
    }

    assert!(shared.daemons().is_empty(), "nobody needs one");

    for proxy in &mut fronts {
        assert_eq!(
            proxy
                .call("ssh_exec", json!({"command": "echo works"}))
                .await
                .stdout(),
            "works\n"
        );
    }

    assert_ne!(shared.only_daemon(), killed);

    // Each command was sent once.
    for marker in ["50.25", "51.25", "52.25", "53.25"] {
        assert_eq!(shared.world.received(marker), 1, "{marker}");
    }
}

#[tokio::test]
async fn a_terminated_daemon_stops_its_work_and_the_next_call_works() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();
    let arguments = json!({"command": "sleep 54.25"});

    let call = proxy
        .begin(
            "tools/call",
            json!({"name": "ssh_exec", "arguments": arguments}),
        )
        .await;

    eventually("the command runs", || shared.world.runs("54.25")).await;

    shared.signal("TERM");
    assert_eq!(proxy.message().await["id"], call);
    eventually("it is gone", || {
        shared.daemons().is_empty() && !shared.world.runs("54.25")
    })
    .await;

    assert_eq!(
        proxy
            .call("ssh_exec", json!({"command": "echo works"}))
            .await
            .stdout(),
        "works\n"
    );
}

#[tokio::test]
async fn a_lost_daemons_question_is_withdrawn_and_its_answer_dropped() {
    let shared = Shared::unknown();
    let mut proxy = shared.silent();
    let initialize_params = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"form": {}}},
        "clientInfo": {"name": "test", "version": "0"},
    });

    proxy.request("initialize", initialize_params).await;
    proxy
        .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;

    let connect = json!({"name": "ssh_connect", "arguments": {"host": "box"}});
    let first = proxy.begin("tools/call", connect.clone()).await;
    let question = proxy.message().await;
    shared.kill().await;
    let cancelled = proxy.message().await;
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &question["id"])
    );

    let answer = proxy.message().await;
    assert_eq!(answer["id"], first);
    assert!(failure(&answer).contains("the shared daemon ended"));

    let second = proxy.begin("tools/call", connect).await;
    let again = proxy.message().await;
    assert_eq!(again["method"], "elicitation/create", "{again}");
    assert_ne!(again["id"], question["id"]);
    let say = |id: &serde_json::Value, trust: bool| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"trust": trust}}});

    // A yes that comes late, and then the answer to what was asked.
    proxy.send(&say(&question["id"], true)).await;
    proxy.send(&say(&again["id"], false)).await;
    let answer = proxy.message().await;
    assert_eq!(answer["id"], second);
    assert!(failure(&answer).contains("is not known"), "{answer}");
    assert!(!shared.folder().join("known_hosts").exists());
}
