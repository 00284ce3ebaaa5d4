//! The question to the person: what it shows, how long an answer holds, and who is asked.

use std::time::Duration;

use serde_json::{Value, json};

use super::{World, answer, call, forms, is_refused, of_registry};
use crate::support::{
    clock,
    mcp_client::{McpClient, ToolResult},
    questions::{next_question, reply, result, stateless},
};

const ASK: &str = "[host.host]\nrun = 'ask'\n[host.third]\nrun = 'ask'";

async fn connected(world: &World) -> McpClient {
    let mut client = world.client(forms()).await;
    client.connect(json!({"host": "host"})).await;
    client
}

#[tokio::test]
async fn a_question_shows_all_that_the_command_gets() {
    let world = World::new(ASK);
    let mut client = connected(&world).await;
    let command = format!("cat; {}\u{1b}[2J", world.leaving("mark"));
    let arguments = json!({
        "session": "host", "command": command, "cwd": "/tmp",
        "env": {"A": "b\nc"}, "stdin": "typed",
    });

    let call = client.begin_call("ssh_exec", arguments).await;
    let (id, question) = next_question(&mut client).await;
    let text = question["message"].as_str().unwrap();

    for part in [
        "The agent wants to run this command",
        "on host (",
        "@127.0.0.1, port ",
        "run = \"ask\" in [host.host]",
        "In the directory: /tmp",
        "With the variable: A=b\\nc",
        "It reads 5 bytes from stdin: typed",
        "\n\ncat; touch ",
        "\\u{1b}[2J",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");

    let field = &question["requestedSchema"]["properties"]["answer"];
    assert_eq!(
        field["enum"],
        json!(["once", "for this conversation", "no"])
    );
    assert_eq!(field["default"], "no");
    assert!(
        !world.host.remote("mark").exists(),
        "nothing runs before the answer"
    );

    reply(&mut client, &id, answer("once")).await;
    let ran = result(&mut client, call).await.ok();
    assert_eq!(ran.stdout(), "typed");
}

#[tokio::test]
async fn anything_but_a_known_yes_is_a_no() {
    let world = World::new(ASK);
    let mut client = connected(&world).await;
    let arguments = json!({"session": "host", "command": world.leaving("mark")});

    for no in [
        answer("no"),
        answer("yes"),
        answer(""),
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"answer": true}}),
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
    ] {
        let (questions, refused) = call(&mut client, "ssh_exec", arguments.clone(), &no).await;
        assert_eq!(questions.len(), 1, "a no is asked about again");
        assert!(
            refused.text().contains("was answered with no"),
            "{}",
            refused.text()
        );
    }
    assert!(!world.host.remote("mark").exists());
}

#[tokio::test]
async fn a_yes_for_the_conversation_holds_for_the_same_act_alone() {
    let world = World::new(ASK);
    let registry = world.registry();
    let mut client = of_registry(registry.clone(), forms()).await;
    let mut other = of_registry(registry, forms()).await;
    let yes = answer("for this conversation");
    let exec = |command: &str, more: Value| {
        let mut arguments = json!({"session": "host", "command": command});
        let more = more.as_object().unwrap().clone();
        arguments.as_object_mut().unwrap().extend(more);
        arguments
    };

    let (questions, ran) = call(&mut client, "ssh_exec", exec("true", json!({})), &yes).await;
    ran.ok();
    assert_eq!(questions.len(), 1);

    for (more, asked) in [
        (json!({}), 0),
        (json!({"timeoutMs": 60000}), 0),
        (json!({"cwd": "/"}), 1),
        (json!({"env": {"A": "b"}}), 1),
        (json!({"stdin": "x"}), 1),
        (json!({"pty": true}), 1),
        (json!({"sudo": true}), 1),
        (json!({"session": "third"}), 1),
    ] {
        let arguments = exec("true", more.clone());
        let (questions, _) = call(&mut client, "ssh_exec", arguments, &answer("no")).await;
        assert_eq!(questions.len(), asked, "{more}");
    }

    let arguments = exec("true ", json!({}));
    let (questions, _) = call(&mut client, "ssh_exec", arguments, &answer("no")).await;
    assert_eq!(questions.len(), 1, "another text");

    let (questions, _) = call(
        &mut client,
        "ssh_shell",
        exec("true", json!({})),
        &answer("no"),
    )
    .await;
    assert_eq!(questions.len(), 1, "another tool");

    let (questions, _) = call(
        &mut other,
        "ssh_exec",
        exec("true", json!({})),
        &answer("no"),
    )
    .await;
    assert_eq!(questions.len(), 1, "another conversation");
}

#[tokio::test]
async fn several_sessions_are_one_question() {
    let world = World::new(ASK);
    let mut client = world.client(forms()).await;
    let arguments = |name: &str| json!({"sessions": ["host", "free", "third"], "command": format!("echo $$ > {}-$$", world.host.remote(name).display())});
    let left = |name: &str| {
        let files = std::fs::read_dir(&world.host.home).unwrap();
        files
            .filter(|file| {
                let found = file.as_ref().unwrap().file_name();
                found.to_string_lossy().starts_with(name)
            })
            .count()
    };

    let (questions, ran) = call(&mut client, "ssh_exec", arguments("yes"), &answer("once")).await;
    let [question] = questions.as_slice() else {
        panic!("{questions:?}")
    };
    assert!(
        question.contains("on host (") && question.contains("on third ("),
        "{question}"
    );
    assert!(!question.contains("on free ("), "{question}");
    assert_eq!(left("yes"), 3, "{}", ran.text());

    // The one that needs no yes runs.
    let (questions, ran) = call(&mut client, "ssh_exec", arguments("no"), &answer("no")).await;
    assert_eq!(questions.len(), 1);
    assert_eq!(left("no"), 1, "{}", ran.text());
    assert_eq!(
        ran.text().matches("was answered with no").count(),
        2,
        "{}",
        ran.text()
    );
}

#[tokio::test]
async fn an_upload_to_several_hosts_is_one_question() {
    let world = World::new(ASK);
    let mut client = world.client(forms()).await;
    let source = world.host.local("source");
    std::fs::write(&source, "content").unwrap();
    let target = world.host.remote("target");
    let arguments =
        json!({"localPath": source, "remotePath": target, "sessions": ["host", "third"]});

    let (questions, refused) =
        call(&mut client, "ssh_upload", arguments.clone(), &answer("no")).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    assert!(refused.is_error() && !target.exists(), "{}", refused.text());

    let (questions, copied) = call(&mut client, "ssh_upload", arguments, &answer("once")).await;
    assert_eq!(questions.len(), 1, "{questions:?}");
    assert!(!copied.is_error() && target.exists(), "{}", copied.text());
}

#[tokio::test]
async fn a_person_who_does_not_answer_has_not_agreed() {
    let world = World::new(ASK);
    let mut client = connected(&world).await;
    let arguments = json!({"session": "host", "command": world.leaving("mark")});

    let call = client.begin_call("ssh_exec", arguments).await;
    let (id, _) = next_question(&mut client).await;
    clock::pass(Duration::from_secs(116)).await;
    let refused = client.finish(call).await;
    assert!(
        refused.text().contains("did not answer in time"),
        "{}",
        refused.text()
    );
    assert!(is_refused(&refused));

    // Too late.
    reply(&mut client, &id, answer("once")).await;
    client.call("ssh_sessions", json!({})).await.ok();
    assert!(!world.host.remote("mark").exists());
}

#[tokio::test]
async fn a_question_of_a_cancelled_call_is_withdrawn() {
    let world = World::new(ASK);
    let mut client = connected(&world).await;
    let arguments = json!({"session": "host", "command": world.leaving("mark")});

    let call = client.begin_call("ssh_exec", arguments).await;
    let (id, _) = next_question(&mut client).await;
    client.cancel(call).await;

    let withdrawn = client.message().await.unwrap();
    assert_eq!(
        withdrawn["method"], "notifications/cancelled",
        "{withdrawn}"
    );
    assert_eq!(withdrawn["params"]["requestId"], id, "{withdrawn}");
    assert!(!world.host.remote("mark").exists());
}

#[tokio::test]
async fn a_client_that_cannot_ask_learns_how_to_go_on() {
    let world = World::new(ASK);
    for capabilities in [json!({}), json!({"elicitation": {"url": {}}})] {
        let mut client = world.client(capabilities).await;
        let arguments = json!({"session": "host", "command": world.leaving("mark")});
        let refused = client.call("ssh_exec", arguments).await;
        for part in [
            "the person has to agree first (run = \"ask\" in [host.host]",
            "settings.toml",
            "hint: have them do it themselves",
        ] {
            assert!(refused.text().contains(part), "{part}: {}", refused.text());
        }
    }
    assert!(!world.host.remote("mark").exists());
}

/// A call of a client without `initialize`, with an answer if it is asked.
async fn stateless_call(
    client: &mut McpClient,
    mut call: Value,
    response: Option<Value>,
) -> ToolResult {
    if let Some(response) = response {
        let asked = client
            .request("tools/call", stateless(&forms(), call.clone()))
            .await;
        let asked = asked["result"].clone();
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let request = &asked["inputRequests"]["person"];
        assert_eq!(request["method"], "elicitation/create", "{asked}");
        call["inputResponses"] = json!({"person": response});
        call["requestState"] = asked["requestState"].clone();
    }

    let answered = client
        .request("tools/call", stateless(&forms(), call))
        .await;
    ToolResult(answered["result"].clone())
}

#[tokio::test]
async fn a_client_without_server_requests_comes_back_with_the_answer() {
    let world = World::new(ASK);
    let mut client = McpClient::with_registry(world.registry());
    let connect = json!({"name": "ssh_connect", "arguments": {"host": "host"}});
    stateless_call(&mut client, connect, None).await.ok();

    let arguments = json!({"session": "host", "command": world.leaving("mark")});
    let exec = json!({"name": "ssh_exec", "arguments": arguments});
    for no in [answer("no"), json!({"action": "decline"}), json!(null)] {
        let refused = stateless_call(&mut client, exec.clone(), Some(no)).await;
        assert!(
            refused.text().contains("was answered with no"),
            "{}",
            refused.text()
        );
    }
    assert!(!world.host.remote("mark").exists());

    let yes = answer("for this conversation");
    stateless_call(&mut client, exec.clone(), Some(yes))
        .await
        .ok();
    assert!(world.host.remote("mark").exists());
    stateless_call(&mut client, exec, None).await.ok();
}

#[tokio::test]
async fn what_is_typed_into_an_allowed_command_is_not_asked_about() {
    let world = World::new(ASK);
    let mut client = connected(&world).await;
    let arguments =
        json!({"session": "host", "command": "read line; echo got $line", "background": true});
    let (questions, started) = call(&mut client, "ssh_exec", arguments, &answer("once")).await;
    assert!(
        questions[0].contains("what the agent types while it runs"),
        "{questions:?}"
    );

    let job = started.ok().outcome()["job"].clone();
    let feed = json!({"job": job, "input": "it\n"});
    let (questions, ended) = call(&mut client, "ssh_job", feed, &answer("no")).await;
    assert!(questions.is_empty(), "{questions:?}");
    assert!(ended.text().contains("got it"), "{}", ended.text());
}
