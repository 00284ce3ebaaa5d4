//! Secrets that the person types into a page of ours, which the client only opens.

use std::fs;

use russh::MethodKind;
use serde_json::{Value, json};

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    mcp_client::{McpClient, ToolResult},
    page::Page,
    questions::{client_with, reply, result, stateless},
};

/// What the encoding of a form could damage.
const SECRET: &str = " a+b&c=d%41<e>\"f'; fünf €\u{1f511} ";

fn pages() -> Value {
    json!({"elicitation": {"url": {}}})
}

pub(super) async fn client_of(world: &TestHost<FakeSshd>) -> McpClient {
    client_with(pages(), &world.config, world.folder()).await
}

fn accept() -> Value {
    json!({"action": "accept"})
}

fn passwords(world: &TestHost<FakeSshd>) -> usize {
    world
        .sshd
        .attempts()
        .iter()
        .filter(|method| **method == "password")
        .count()
}

/// A server that lets in by password alone, with more lines in the `ssh_config`.
fn with_password(extra: &str) -> TestHost<FakeSshd> {
    let settings = FakeSshdSettings {
        password: Some(SECRET.to_owned()),
        ..FakeSshdSettings::default()
    };
    let world = TestHost::fake_with(settings, extra);
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    world
}

#[tokio::test]
async fn a_typed_password_is_used_as_typed_and_shown_to_nobody() {
    let world = with_password("");
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    assert!(
        page.message.starts_with("Password for agent@127.0.0.1: "),
        "{}",
        page.message
    );

    let shown = page.get().await;
    assert_eq!(shown.status, 200);

    for part in [
        "<strong>agent@127.0.0.1</strong>",
        "agent@127.0.0.1&#39;s password: ",
        "type=\"password\"",
    ] {
        assert!(shown.body.contains(part), "{part}: {}", shown.body);
    }

    reply(&mut client, &id, accept()).await;
    page.type_in(SECRET).await;
    let connected = result(&mut client, call).await.ok();
    assert_eq!(connected.structured()["session"]["authMethod"], "password");
    page.assert_gone().await;

    // It is known by now, and nobody is asked again.
    world.sshd.drop_connections();
    let call = client
        .begin_call("ssh_exec", json!({"command": "echo again"}))
        .await;
    let again = result(&mut client, call).await.ok();
    assert_eq!((again.stdout().as_str(), passwords(&world)), ("again\n", 2));
    let listed = client.call("ssh_sessions", json!({})).await;
    for told in [connected.0, again.0, listed.0, world.store()] {
        assert!(!told.to_string().contains("fünf"), "{told}");
    }

    client.close().await;

    // Another process does not know it.
    let mut later = client_of(&world).await;
    later
        .begin_call("ssh_exec", json!({"command": "true"}))
        .await;

    Page::next(&mut later).await;
}

#[tokio::test]
async fn the_person_may_be_faster_than_the_client() {
    let world = with_password("");
    for late in [Some(accept()), Some(json!({"action": "cancel"})), None] {
        let mut client = client_of(&world).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        let (id, page) = Page::next(&mut client).await;
        page.type_in(SECRET).await;

        // The client need not wait for the person any more.
        let mut messages = [
            client.message().await.unwrap(),
            client.message().await.unwrap(),
        ];

        messages.sort_by_key(|message| message["id"] == call);
        let [cancelled, done] = messages;
        assert_eq!(
            (&cancelled["method"], &cancelled["params"]["requestId"]),
            (&json!("notifications/cancelled"), &id)
        );

        assert_eq!(done["id"], call, "{done}");
        ToolResult(done["result"].clone()).ok();
        if let Some(late) = late {
            reply(&mut client, &id, late).await;
        }

        client
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();

        client.close().await;
    }
}

#[tokio::test]
async fn a_client_that_waits_is_told_when_the_person_is_done() {
    let world = with_password("");
    for fields in [
        [("answer0", SECRET), ("x", "")],
        [("answer0", ""), ("refuse", "1")],
    ] {
        let mut client = client_of(&world).await;
        client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;

        let (id, page) = Page::next(&mut client).await;
        reply(&mut client, &id, accept()).await;

        // Answered in order: the acceptance has arrived.
        client.request("ping", json!({})).await;
        assert_eq!(page.post(&fields).await.status, 200);

        loop {
            let message = client.message().await.unwrap();
            if message["method"] == "notifications/elicitation/complete" {
                assert_eq!(message["params"], json!({"elicitationId": page.id}));
                break;
            }

            assert!(message["result"].is_object(), "{message}");
        }

        client.close().await;
    }
}

#[tokio::test]
async fn whoever_does_not_want_to_answer_is_asked_no_more() {
    let world = with_password("");

    for answer in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"wrong": true}),
        accept(),
    ] {
        let mut client = client_of(&world).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        let (id, page) = Page::next(&mut client).await;
        reply(&mut client, &id, answer.clone()).await;

        if answer == accept() {
            let refused = page.post(&[("answer0", SECRET), ("refuse", "1")]).await;
            assert!(refused.body.contains("Nothing was sent"), "{refused:?}");
        }

        let error = result(&mut client, call).await;
        assert_refused(&error, &["agent@127.0.0.1", "permission denied"]);
        page.assert_gone().await;
        assert_eq!(passwords(&world), 0, "{answer}");
    }

    // A client that cannot show it after all.
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    client.send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "no browser"}})).await;
    assert_refused(&result(&mut client, call).await, &["permission denied"]);
    page.assert_gone().await;
}

#[tokio::test]
async fn a_wrong_password_is_asked_for_as_often_as_configured() {
    for (extra, times) in [("", 3), ("NumberOfPasswordPrompts 2", 2)] {
        let world = with_password(extra);
        let mut client = client_of(&world).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        let mut paths = std::collections::HashSet::new();

        for time in 0..times {
            let (id, page) = Page::next(&mut client).await;
            reply(&mut client, &id, accept()).await;

            assert_eq!(
                page.get()
                    .await
                    .body
                    .contains("Permission denied, please try again."),
                time > 0
            );

            assert!(paths.insert(page.path.clone()), "a page is for one answer");
            page.type_in("wrong").await;
        }

        assert_refused(&result(&mut client, call).await, &["permission denied"]);
        assert_eq!(passwords(&world), times);
    }
}

#[tokio::test]
async fn a_passphrase_is_asked_for_only_if_the_server_accepts_the_key() {
    let world = TestHost::fake();
    let key = russh::keys::load_secret_key(world.key(), None).unwrap();
    keys::write_private_key(&world.key(), &key, Some(SECRET));
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    reply(&mut client, &id, accept()).await;
    let file = world.key().display().to_string();
    assert!(page.message.starts_with(&format!(
        "Passphrase of the key file {file} for agent@127.0.0.1: "
    )));

    let html = page.get().await.body;
    assert!(
        html.contains(&format!("<code>{file}</code>")) && html.contains("sends it nowhere"),
        "{html}"
    );

    page.type_in(SECRET).await;
    assert_eq!(
        result(&mut client, call).await.ok().structured()["session"]["authMethod"],
        "publickey"
    );

    // Another key, which the server does not know.
    keys::write_private_key(&world.key(), &keys::ed25519(), Some(SECRET));
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;

    result(&mut client, call)
        .await
        .is_error()
        .then_some(())
        .expect("refused without a question");
}

#[tokio::test]
async fn a_servers_own_words_are_text_and_nothing_else() {
    let settings = FakeSshdSettings {
        rounds: vec![vec![
            (
                "<script>alert(1)</script>\"'&amp;\u{1b}[2J\r\n\tCode: ",
                false,
                "1 2&3",
            ),
            ("</label><input name=answer0 value=x>Colour: ", true, "bläu"),
        ]],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "PubkeyAuthentication no");
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    reply(&mut client, &id, accept()).await;

    // The client, whose words the model may read, is told nothing of what the server says.
    assert!(
        page.message
            .starts_with("Answers to the server's questions for agent@127.0.0.1: "),
        "{}",
        page.message
    );

    let html = page.get().await.body;

    for part in [
        "<p>The server says:</p><blockquote>Two steps\nHave your token ready.</blockquote><p>It asks:</p>",
        "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;amp;\u{241b}[2J\n\tCode: </label>\
         <input id=\"answer0\" name=\"answer0\" type=\"password\"",
        "&lt;/label&gt;&lt;input name=answer0 value=x&gt;Colour: </label><input id=\"answer1\" name=\"answer1\" \
         type=\"text\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }

    assert_eq!(
        (html.matches("<input").count(), html.contains("<script")),
        (2, false),
        "{html}"
    );

    let incomplete = page.post(&[("answer0", "1 2&3")]).await;
    assert_eq!(incomplete.status, 400, "{incomplete:?}");

    // In whatever order they come.
    assert_eq!(
        page.post(&[("answer1", "bläu"), ("answer0", "1 2&3")])
            .await
            .status,
        200
    );

    let connected = result(&mut client, call).await.ok();
    assert_eq!(
        connected.structured()["session"]["authMethod"],
        "keyboard-interactive"
    );
}

#[tokio::test]
async fn a_client_with_forms_only_is_never_asked_for_a_secret() {
    let world = with_password("");
    for capabilities in [
        json!({}),
        json!({"elicitation": {}}),
        json!({"elicitation": {"form": {}}}),
    ] {
        let mut client = client_with(capabilities, &world.config, world.folder()).await;
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        assert_refused(&result(&mut client, call).await, &["permission denied"]);
    }

    assert_eq!(passwords(&world), 0);
}

#[tokio::test]
async fn other_calls_go_on_meanwhile_and_cancelling_closes_the_page() {
    let (world, other) = (with_password(""), TestHost::fake());
    let known = world.sshd.known_hosts_line() + &other.sshd.known_hosts_line();
    fs::write(world.folder().join("known_hosts"), known).unwrap();
    let config = fs::read_to_string(&world.config).unwrap();
    let easy = format!(
        "Host easy\nHostName 127.0.0.1\nUser agent\nPort {}\nIdentityFile {}\n",
        other.sshd.port(),
        other.key().display()
    );

    fs::write(&world.config, easy + &config).unwrap();
    let mut client = client_of(&world).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "box"}))
        .await;
    let (id, page) = Page::next(&mut client).await;
    client.call("ssh_sessions", json!({})).await.ok();
    client
        .call("ssh_connect", json!({"host": "easy"}))
        .await
        .ok();

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo hi", "session": "easy"}))
            .await
            .stdout(),
        "hi\n"
    );

    assert_eq!(page.get().await.status, 200, "still there");

    client.cancel(call).await;
    let cancelled = client.message().await.unwrap();
    assert_eq!(
        (&cancelled["method"], &cancelled["params"]["requestId"]),
        (&json!("notifications/cancelled"), &id)
    );

    page.assert_gone().await;

    // The same after the client has said that the person looks at it, and when the server gives up.
    for server_leaves in [false, true] {
        let call = client
            .begin_call("ssh_connect", json!({"host": "box"}))
            .await;
        let (id, page) = Page::next(&mut client).await;
        reply(&mut client, &id, accept()).await;
        client.request("ping", json!({})).await;

        if server_leaves {
            world.sshd.drop_connections();
            assert!(result(&mut client, call).await.is_error());
        } else {
            client.cancel(call).await;
        }

        page.assert_gone().await;
    }

    assert_eq!(passwords(&world), 0);
}

/// The result of a call of the revision without `initialize`.
async fn called(client: &mut McpClient, params: &Value) -> Value {
    client
        .request("tools/call", stateless(&pages(), params.clone()))
        .await["result"]
        .clone()
}

/// The page in a result that asks for input, and the call that comes back with this answer.
fn asked(call: &Value, asks: &Value, answer: &Value) -> (Page, Value) {
    assert_eq!(asks["resultType"], "input_required", "{asks}");
    let question = &asks["inputRequests"]["person"];
    assert_eq!(question["method"], "elicitation/create");
    let mut again = call.clone();
    again["inputResponses"] = json!({"person": answer});
    again["requestState"] = asks["requestState"].clone();
    (Page::from_params(&question["params"]), again)
}

#[tokio::test]
async fn a_client_without_server_requests_may_return_early_or_late() {
    let world = with_password("");
    let call = json!({"name": "ssh_connect", "arguments": {"host": "box"}});
    for (answer, typed_first, opens) in [
        (accept(), true, true),
        (accept(), false, true),
        (json!({"action": "decline"}), true, true),
        (json!({"action": "decline"}), false, false),
        (json!({"action": "cancel"}), false, false),
    ] {
        let mut client = McpClient::start_silent(&world.config, world.folder());
        let asks = called(&mut client, &call).await;
        let (page, again) = asked(&call, &asks, &answer);
        if typed_first {
            page.type_in(SECRET).await;
        }

        let retry = client.begin("tools/call", stateless(&pages(), again)).await;

        if opens && !typed_first {
            // The call waits with its client.
            client
                .request("tools/list", stateless(&pages(), json!({})))
                .await;
            page.type_in(SECRET).await;
        }

        let result = client.finish(retry).await;
        assert_eq!(
            !result.is_error(),
            opens,
            "{answer} {typed_first}: {result:?}"
        );

        if !opens {
            assert_refused(&result, &["permission denied"]);
        }

        page.assert_gone().await;
        client.close().await;
    }
}

#[tokio::test]
async fn two_questions_of_a_call_are_two_results_that_ask_in_turn() {
    let settings = FakeSshdSettings {
        rounds: vec![vec![("Code: ", false, "123456")]],
        steps: vec![MethodKind::PublicKey, MethodKind::KeyboardInteractive],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    let key = russh::keys::load_secret_key(world.key(), None).unwrap();
    keys::write_private_key(&world.key(), &key, Some(SECRET));
    let call = json!({"name": "ssh_connect", "arguments": {"host": "box"}});
    let mut client = McpClient::start_silent(&world.config, world.folder());
    let first = called(&mut client, &call).await;
    let (page, again) = asked(&call, &first, &accept());
    assert!(
        page.message.starts_with("Passphrase of the key file "),
        "{}",
        page.message
    );

    page.type_in(SECRET).await;
    let second = called(&mut client, &again).await;
    let (page, again) = asked(&call, &second, &accept());

    assert!(
        page.message
            .starts_with("Answers to the server's questions "),
        "{}",
        page.message
    );

    assert_ne!(first["requestState"], second["requestState"]);
    page.type_in("123456").await;
    let connected = ToolResult(called(&mut client, &again).await).ok();
    assert_eq!(
        connected.structured()["session"]["authMethod"],
        "publickey,keyboard-interactive"
    );
}
