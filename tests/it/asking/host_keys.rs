//! Unknown host keys, where the person can be asked.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    mcp_client::{McpClient, ToolResult},
    questions::{answer_question, client_with, stateless},
};

/// A server that is in nobody's `known_hosts`.
fn unknown(policy: &str) -> TestHost<FakeSshd> {
    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        &format!("StrictHostKeyChecking {policy}"),
    );
    fs::remove_file(world.folder().join("known_hosts")).unwrap();
    world
}

fn known_hosts(world: &TestHost<FakeSshd>) -> String {
    fs::read_to_string(world.folder().join("known_hosts")).unwrap_or_default()
}

async fn client_of(world: &TestHost<FakeSshd>, capabilities: Value) -> McpClient {
    client_with(capabilities, &world.config, world.folder()).await
}

fn forms() -> Value {
    json!({"elicitation": {"form": {}}})
}

#[tokio::test]
async fn a_trusted_key_is_saved_and_not_asked_about_again() {
    let world = unknown("ask");
    // Before there were modes, a client that could show forms declared nothing more.
    for (capabilities, asked) in [(json!({"elicitation": {}}), true), (forms(), false)] {
        let mut client = client_of(&world, capabilities).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;

        if asked {
            let trust = json!({"action": "accept", "content": {"trust": true}});
            let question = answer_question(&mut client, trust).await;
            let text = question["message"].as_str().unwrap();
            let fingerprint = world
                .sshd
                .host_public_key()
                .fingerprint(russh::keys::HashAlg::Sha256)
                .to_string();

            for part in [
                &format!("[127.0.0.1]:{}", world.sshd.port()),
                "ssh-ed25519",
                &fingerprint,
                "known_hosts",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }

            assert_eq!(
                question["requestedSchema"]["properties"]["trust"]["type"],
                "boolean"
            );

            assert_eq!(
                question["requestedSchema"]["properties"]["trust"]["default"],
                false
            );
        }

        client.finish(call).await.ok();
        assert_eq!(known_hosts(&world), world.sshd.known_hosts_line());
        client.close().await;
    }
}

#[tokio::test]
async fn a_key_that_is_not_trusted_is_refused_and_not_saved() {
    let world = unknown("ask");
    for answer in [
        json!({"action": "accept", "content": {"trust": false}}),
        json!({"action": "accept", "content": {"trust": "true"}}),
        json!({"action": "accept", "content": {}}),
        json!({"action": "accept"}),
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
    ] {
        let mut client = client_of(&world, forms()).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        answer_question(&mut client, answer.clone()).await;
        assert_refused(&client.finish(call).await, &["is not known"]);
        assert_eq!(known_hosts(&world), "", "{answer}");
        assert_eq!(world.sshd.commands(), [""; 0]);
    }
}

#[tokio::test]
async fn nobody_is_asked_if_nobody_can_be_or_ssh_would_not_ask() {
    for (policy, capabilities, part) in [
        ("ask", json!({}), "is not known"),
        ("ask", json!({"elicitation": {"url": {}}}), "is not known"),
        ("yes", forms(), "is not known"),
    ] {
        let world = unknown(policy);
        let mut client = client_of(&world, capabilities).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;

        assert_refused(
            &ToolResult(client.message().await.unwrap()["result"].clone()),
            &[part],
        );

        assert_eq!(call, 2, "the answer was the next message");
    }

    // A key that has changed is never a question.
    let world = unknown("ask");
    fs::write(
        world.folder().join("known_hosts"),
        world.sshd.known_hosts_line(),
    )
    .unwrap();

    world.sshd.replace_host_key();
    let mut client = client_of(&world, forms()).await;
    client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;

    assert_refused(
        &ToolResult(client.message().await.unwrap()["result"].clone()),
        &["HAS CHANGED"],
    );
}

#[tokio::test]
async fn any_call_that_connects_asks_and_runs_its_command_once() {
    let world = unknown("ask");
    let mut client = client_of(&world, forms()).await;

    // Saved, without being connected.
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;

    answer_question(
        &mut client,
        json!({"action": "accept", "content": {"trust": true}}),
    )
    .await;

    client.finish(call).await.ok();
    client.close().await;
    fs::remove_file(world.folder().join("known_hosts")).unwrap();

    let mut client = client_of(&world, forms()).await;

    let call = client
        .begin_call(
            "ssh_exec",
            json!({"command": "echo once", "session": "box"}),
        )
        .await;

    answer_question(
        &mut client,
        json!({"action": "accept", "content": {"trust": true}}),
    )
    .await;

    assert_eq!(client.finish(call).await.ok().stdout(), "once\n");

    assert_eq!(
        world
            .sshd
            .commands()
            .iter()
            .filter(|command| command.contains("echo once"))
            .count(),
        1
    );
}

#[tokio::test]
async fn a_client_without_server_requests_comes_back_with_the_answer() {
    let world = unknown("ask");
    for (response, trusted) in [
        (json!({"person": {"action": "decline"}}), false),
        (
            json!({"other": {"action": "accept", "content": {"trust": true}}}),
            false,
        ),
        (
            json!({"person": {"action": "accept", "content": {"trust": true}}}),
            true,
        ),
    ] {
        let mut client = McpClient::start_silent(&world.config, world.folder());
        let call = json!({"name": "ssh_connect", "arguments": {"host": "box"}});
        let asked = client
            .request("tools/call", stateless(&forms(), call.clone()))
            .await["result"]
            .clone();

        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let question = &asked["inputRequests"]["person"];
        assert_eq!(
            (&question["method"], &question["params"]["mode"]),
            (&json!("elicitation/create"), &json!("form"))
        );

        let mut again = call;
        again["inputResponses"] = response.clone();
        again["requestState"] = asked["requestState"].clone();

        // The word is for this tool alone.
        let mut other = again.clone();
        other["name"] = json!("ssh_exec");
        let refused = client
            .request("tools/call", stateless(&forms(), other))
            .await["result"]
            .clone();

        assert_refused(&ToolResult(refused), &["not answered in time"]);

        let result = ToolResult(
            client
                .request("tools/call", stateless(&forms(), again.clone()))
                .await["result"]
                .clone(),
        );

        assert_eq!(!result.is_error(), trusted, "{response}: {result:?}");
        assert_eq!(known_hosts(&world).is_empty(), !trusted, "{response}");

        // And for once.
        let refused = client
            .request("tools/call", stateless(&forms(), again))
            .await["result"]
            .clone();

        assert_refused(&ToolResult(refused), &["not answered in time"]);
    }
}

#[tokio::test]
async fn the_answer_is_for_the_very_key_that_was_shown() {
    let world = unknown("ask");
    let mut client = client_of(&world, forms()).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let question = client.message().await.unwrap();

    // While the person looks, the server is replaced by another one.
    let shown = world.sshd.known_hosts_line();
    world.sshd.replace_host_key();
    world.sshd.drop_connections();
    let trust = json!({"action": "accept", "content": {"trust": true}});
    client
        .send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": trust}))
        .await;

    assert!(client.finish(call).await.is_error());
    assert!(
        !known_hosts(&world).contains(world.sshd.known_hosts_line().trim()),
        "{}",
        known_hosts(&world)
    );

    // Whether the first key was saved or not, the second is not taken for it.
    fs::write(world.folder().join("known_hosts"), shown).unwrap();
    client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;

    assert_refused(
        &ToolResult(client.message().await.unwrap()["result"].clone()),
        &["HAS CHANGED"],
    );
}
