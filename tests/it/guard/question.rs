//! The person is asked where the client can show a form, once a path and session.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{KEY, assert_guarded, write};
use crate::support::{
    fixture::{ConnectedHost, TestHost},
    mcp_client::{McpClient, ToolResult},
    open_sshd::OpenSshd,
    questions::{answer_question, client_with, next_question, reply, result, stateless},
};

fn forms() -> Value {
    json!({"elicitation": {"form": {}}})
}

fn accept() -> Value {
    json!({"action": "accept", "content": {"allow": true}})
}

fn upload(local: &Path, remote: &str) -> Value {
    json!({"localPath": local, "remotePath": remote})
}

fn download(remote: &str, local: &Path) -> Value {
    json!({"localPath": local, "remotePath": remote})
}

/// A server with a file, and on this machine a private key and a repository.
async fn world() -> ConnectedHost<OpenSshd> {
    let bench = TestHost::openssh().connect().await;
    write(&bench.local("key"), KEY);
    write(&bench.local("repository/.git/hooks/pre-commit"), "# mine\n");
    write(&bench.remote("file"), "new");
    bench
}

async fn client(bench: &ConnectedHost<OpenSshd>, capabilities: Value) -> McpClient {
    let mut client = client_with(capabilities, &bench.config, bench.folder()).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "host"}))
        .await;
    client.finish(call).await.ok();
    client
}

#[tokio::test]
async fn what_the_person_allows_is_moved_and_not_asked_about_again() {
    let bench = world().await;
    let mut client = client(&bench, forms()).await;
    let (key, hook) = (
        bench.local("key"),
        bench.local("repository/.git/hooks/pre-commit"),
    );

    let call = client.begin_call("ssh_upload", upload(&key, "key")).await;
    let question = answer_question(&mut client, accept()).await;
    let text = question["message"].as_str().unwrap();
    let path = key.canonicalize().unwrap().display().to_string();

    for part in [
        &path,
        "send this to",
        "@127.0.0.1",
        "a private key (OpenSSH)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let allow = &question["requestedSchema"]["properties"]["allow"];
    assert_eq!(
        (&allow["type"], &allow["default"]),
        (&json!("boolean"), &json!(false))
    );

    result(&mut client, call).await.ok();
    assert_eq!(fs::read_to_string(bench.remote("key")).unwrap(), KEY);

    // By any of its names.
    std::os::unix::fs::symlink("key", bench.local("link")).unwrap();

    for again in [
        key.clone(),
        bench.local("link"),
        bench.local("repository/../key"),
    ] {
        let call = client
            .begin_call("ssh_upload", upload(&again, "again"))
            .await;
        result(&mut client, call).await.ok();
    }

    // The other way is another question.
    let call = client
        .begin_call("ssh_download", download("file", &hook))
        .await;
    let question = answer_question(&mut client, accept()).await;
    let text = question["message"].as_str().unwrap();
    for part in ["pre-commit", "write what comes from", "version control"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    result(&mut client, call).await.ok();
    assert_eq!(fs::read_to_string(&hook).unwrap(), "new");
    let call = client
        .begin_call("ssh_download", download("file", &hook))
        .await;
    result(&mut client, call).await.ok();

    // And so is another session.
    let call = client
        .begin_call("ssh_connect", json!({"host": "host", "name": "other"}))
        .await;
    client.finish(call).await.ok();
    let mut arguments = upload(&key, "other");
    arguments["session"] = json!("other");
    let call = client.begin_call("ssh_upload", arguments).await;
    answer_question(&mut client, json!({"action": "decline"})).await;
    assert_guarded(&result(&mut client, call).await, "the user refused");
}

#[tokio::test]
async fn anything_but_a_yes_is_a_no_and_is_asked_about_again() {
    let bench = world().await;
    let mut client = client(&bench, forms()).await;
    let hook = bench.local("repository/.git/hooks/pre-commit");

    for answer in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept"}),
        json!({"action": "accept", "content": {"allow": false}}),
        json!({"action": "accept", "content": {"allow": "true"}}),
        json!({"action": "accept", "content": {"trust": true}}),
    ] {
        for (tool, arguments) in [
            ("ssh_upload", upload(&bench.local("key"), "key")),
            ("ssh_download", download("file", &hook)),
        ] {
            let call = client.begin_call(tool, arguments).await;
            answer_question(&mut client, answer.clone()).await;
            assert_guarded(&result(&mut client, call).await, "the user refused");
        }
    }

    assert!(!bench.remote("key").exists());
    assert_eq!(fs::read_to_string(&hook).unwrap(), "# mine\n");
}

#[tokio::test]
async fn a_tree_that_the_person_allows_is_moved_whole() {
    let bench = world().await;
    let mut client = client(&bench, forms()).await;
    write(&bench.local("backup/.ssh/id"), KEY);
    let call = client
        .begin_call("ssh_upload", upload(&bench.local("backup/.ssh"), "keys"))
        .await;
    answer_question(&mut client, accept()).await;
    let moved = result(&mut client, call).await.ok();
    assert!(moved.structured()["leftOut"].is_null(), "{moved:?}");
    assert_eq!(fs::read_to_string(bench.remote("keys/id")).unwrap(), KEY);

    let hooks = bench.local("repository/.git/hooks");
    write(&bench.remote("hooks/new"), "new");
    let call = client
        .begin_call("ssh_download", download("hooks/.", &hooks))
        .await;
    let (id, question) = next_question(&mut client).await;
    assert!(
        question["message"].as_str().unwrap().contains(".git/hooks"),
        "{question}"
    );

    assert!(
        !hooks.join("new").exists(),
        "nothing is written before the answer"
    );

    reply(&mut client, &id, accept()).await;
    result(&mut client, call).await.ok();
    assert_eq!(fs::read_to_string(hooks.join("new")).unwrap(), "new");
}

#[tokio::test]
async fn a_client_without_forms_is_told_how_to_go_on() {
    let bench = world().await;
    for capabilities in [json!({}), json!({"elicitation": {"url": {}}})] {
        let mut client = client(&bench, capabilities).await;
        for (tool, arguments, hint) in [
            ("ssh_upload", upload(&bench.local("key"), "key"), "scp"),
            (
                "ssh_download",
                download("file", &bench.local("repository/.git/config")),
                "another place",
            ),
        ] {
            let call = client.begin_call(tool, arguments).await;
            let refused = result(&mut client, call).await;
            assert_guarded(&refused, "the user cannot be asked");
            assert!(refused.text().contains(hint), "{}", refused.text());
        }
    }
}

/// A call of a client without `initialize`, with the answers that it is asked for.
async fn stateless_call(
    client: &mut McpClient,
    capabilities: &Value,
    mut call: Value,
    answers: &[(&str, Value)],
) -> ToolResult {
    for (method, answer) in answers {
        let asked = client
            .request("tools/call", stateless(capabilities, call.clone()))
            .await["result"]
            .clone();

        assert_eq!(asked["resultType"], "input_required", "{asked}");
        assert_eq!(
            asked["inputRequests"]["person"]["method"], *method,
            "{asked}"
        );

        call["inputResponses"] = json!({"person": answer});
        call["requestState"] = asked["requestState"].clone();
    }

    ToolResult(
        client
            .request("tools/call", stateless(capabilities, call))
            .await["result"]
            .clone(),
    )
}

#[tokio::test]
async fn a_client_without_server_requests_comes_back_with_the_answer() {
    let bench = world().await;
    let mut client = McpClient::start_silent(&bench.config, bench.folder());
    let connect = json!({"name": "ssh_connect", "arguments": {"host": "host"}});
    stateless_call(&mut client, &forms(), connect, &[])
        .await
        .ok();

    let call = json!({"name": "ssh_upload", "arguments": upload(&bench.local("key"), "key")});
    let ask = |answer: Value| [("elicitation/create", answer)];

    for no in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!(null),
    ] {
        let refused = stateless_call(&mut client, &forms(), call.clone(), &ask(no)).await;
        assert_guarded(&refused, "the user refused");
    }

    assert!(!bench.remote("key").exists());
    stateless_call(&mut client, &forms(), call.clone(), &ask(accept()))
        .await
        .ok();

    stateless_call(&mut client, &forms(), call.clone(), &[])
        .await
        .ok();

    assert_eq!(fs::read_to_string(bench.remote("key")).unwrap(), KEY);

    let hook = json!({"name": "ssh_download", "arguments": download("file", &bench.local("repository/.git/hooks/x"))});
    assert_guarded(
        &stateless_call(&mut client, &json!({}), hook, &[]).await,
        "the user cannot be asked",
    );
}

/// The next request of the server is for the folders of the client, which are these.
async fn answer_roots(client: &mut McpClient, folders: &[&Path]) {
    let question = client.message().await.expect("the server asks");
    assert_eq!(question["method"], "roots/list", "{question}");
    client
        .send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": roots(folders)}))
        .await;
}

fn roots(folders: &[&Path]) -> Value {
    let uri =
        |folder: &&Path| json!({"uri": format!("file://{}", folder.display()).replace(' ', "%20")});
    json!({"roots": folders.iter().map(uri).collect::<Vec<_>>()})
}

#[tokio::test]
async fn outside_the_folders_of_the_client_every_path_is_a_question() {
    let bench = world().await;
    let (inside, outside) = (bench.local("in here"), bench.local("outside"));
    write(&inside.join("deep/file"), "inside");
    write(&outside.join("file"), "outside");
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    let capabilities = json!({"elicitation": {"form": {}}, "roots": {"listChanged": true}});
    let mut client = client(&bench, capabilities.clone()).await;

    for (path, asked) in [
        (inside.join("deep/file"), false),
        (inside.join("deep"), false),
        (inside.join("../outside/file"), true),
        (inside.join("link/file"), true),
        (outside.clone(), true),
    ] {
        let remote = if path.is_dir() { "tree" } else { "copy" };
        let call = client.begin_call("ssh_upload", upload(&path, remote)).await;
        answer_roots(&mut client, &[&inside]).await;

        if asked {
            let question = answer_question(&mut client, json!({"action": "decline"})).await;
            assert!(
                question["message"]
                    .as_str()
                    .unwrap()
                    .contains("outside the folders"),
                "{question}"
            );

            assert_guarded(&result(&mut client, call).await, "outside the folders");
        } else {
            result(&mut client, call).await.ok();
        }
    }

    for (path, asked) in [(inside.join("new"), false), (outside.join("new"), true)] {
        let call = client
            .begin_call("ssh_download", download("file", &path))
            .await;
        answer_roots(&mut client, &[&inside]).await;
        if asked {
            answer_question(&mut client, accept()).await;
        }

        result(&mut client, call).await.ok();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    // What is guarded is guarded inside, too; what commands have printed is not outside.
    let call = client
        .begin_call("ssh_download", download("file", &inside.join(".mcp.json")))
        .await;
    answer_roots(&mut client, &[&inside]).await;
    answer_question(&mut client, json!({"action": "decline"})).await;
    assert_guarded(&result(&mut client, call).await, "agents and their tools");
    let call = client
        .begin_call("ssh_exec", json!({"command": "seq 100000"}))
        .await;

    let output = result(&mut client, call).await.ok().outcome()["outputFile"]
        .as_str()
        .unwrap()
        .to_owned();

    let call = client
        .begin_call("ssh_upload", upload(Path::new(&output), "printed"))
        .await;
    answer_roots(&mut client, &[&inside]).await;
    result(&mut client, call).await.ok();

    // In the revision without requests of the server.
    let mut stateless = McpClient::start_silent(&bench.config, bench.folder());
    let connect = json!({"name": "ssh_connect", "arguments": {"host": "host"}});
    stateless_call(&mut stateless, &capabilities, connect, &[])
        .await
        .ok();

    let call = |path: &Path| json!({"name": "ssh_upload", "arguments": upload(path, "copy")});
    let list = || ("roots/list", roots(&[&inside]));

    stateless_call(
        &mut stateless,
        &capabilities,
        call(&inside.join("deep/file")),
        &[list()],
    )
    .await
    .ok();

    let answers = [list(), ("elicitation/create", json!({"action": "cancel"}))];

    let refused = stateless_call(
        &mut stateless,
        &capabilities,
        call(&outside.join("file")),
        &answers,
    )
    .await;

    assert_guarded(&refused, "outside the folders");
}

#[tokio::test]
async fn a_client_that_does_not_say_where_it_works_is_not_held_to_it() {
    let bench = world().await;
    write(&bench.local("file"), "x");
    let mut client = client(&bench, json!({"roots": {}})).await;
    let call = client
        .begin_call("ssh_upload", upload(&bench.local("file"), "copy"))
        .await;
    let question = client.message().await.expect("the server asks");
    let error = json!({"code": -32603, "message": "no"});
    client
        .send(&json!({"jsonrpc": "2.0", "id": question["id"], "error": error}))
        .await;

    result(&mut client, call).await.ok();
}
