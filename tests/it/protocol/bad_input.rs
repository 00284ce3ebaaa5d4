//! What a client may send by mistake: the server says so, lives, and serves the next call.

use std::path::Path;

use serde_json::{Value, json};

use super::NO_CONFIG;
use crate::support::{checks::assert_refused, fixture::TestHost, mcp_client::McpClient};

async fn assert_alive(client: &mut McpClient, after: &str) {
    assert_eq!(
        client.request("ping", json!({})).await["result"],
        json!({}),
        "after {after}"
    );

    assert!(
        !client.call("ssh_sessions", json!({})).await.is_error(),
        "after {after}"
    );
}

#[tokio::test]
async fn garbage_on_stdin_does_not_end_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;
    let deep = "[".repeat(100_000);
    let long = format!("\"{}\"", "x".repeat(3_000_000));

    for line in [
        b"garbage".as_slice(),
        b"",
        b"\r",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\"text\"",
        b"\xff\xfe\x00\x01",
        b"{\"jsonrpc\": \"2.0\"}",
        b"{\"jsonrpc\": \"1.0\", \"id\": 1, \"method\": \"ping\"}",
        b"{\"jsonrpc\": \"2.0\", \"id\": {}, \"method\": \"ping\"}",
        b"{\"jsonrpc\": \"2.0\", \"id\": 900, \"result\": {}}",
        b"{\"jsonrpc\": \"2.0\", \"id\": 901, \"error\": {\"code\": 1, \"message\": \"m\"}}",
        b"{\"jsonrpc\": \"2.0\", \"method\": \"notifications/bogus\"}",
        b"{\"jsonrpc\": \"2.0\", \"method\": \"notifications/cancelled\", \"params\": {\"requestId\": 902}}",
        b"[{\"jsonrpc\": \"2.0\", \"id\": 903, \"method\": \"ping\"}]",
        deep.as_bytes(),
        long.as_bytes(),
    ] {
        client.send_raw(&[line, b"\n"].concat()).await;
        let shown: String = String::from_utf8_lossy(line).chars().take(60).collect();
        assert_alive(&mut client, &shown).await;
    }
}

#[tokio::test]
async fn requests_that_are_not_served_are_refused_by_their_method() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;

    for (method, params, code) in [
        ("bogus/method", json!({}), -32601),
        ("prompts/get", json!({"name": "p"}), -32602),
        (
            "resources/read",
            json!({"uri": "file:///etc/passwd"}),
            -32002,
        ),
        (
            "resources/read",
            json!({"uri": "ssh-sessions://output/../../etc/passwd"}),
            -32002,
        ),
        (
            "resources/subscribe",
            json!({"uri": "file:///etc/passwd"}),
            -32601,
        ),
        ("logging/setLevel", json!({"level": "debug"}), -32601),
        ("tasks/get", json!({"taskId": "t"}), -32601),
        (
            "tools/call",
            json!({"name": "ssh_bogus", "arguments": {}}),
            -32602,
        ),
        (
            "tools/call",
            json!({"name": "ssh_exec", "arguments": "text"}),
            -32602,
        ),
        ("tools/call", json!({"arguments": {}}), -32602),
        ("tools/call", json!({"name": 7}), -32602),
    ] {
        let answer = client.request(method, params).await;
        assert_eq!(answer["error"]["code"], code, "{method}: {answer}");
        assert_alive(&mut client, method).await;
    }

    let answer = client
        .request("resources/read", json!({"uri": "file:///etc/passwd"}))
        .await;

    assert_eq!(
        answer["error"]["data"],
        json!({"uri": "file:///etc/passwd"})
    );

    let answer = client
        .request("tools/call", json!({"name": "ssh_bogus"}))
        .await;

    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("ssh_bogus"),
        "{answer}"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
async fn wrong_arguments_fail_with_the_parameter_and_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(Path::new(NO_CONFIG), folder.path()).await;
    let connect =
        "ssh_connect takes: host, keyPath, name, passphrase, password, port, timeoutMs, user";
    let exec = "ssh_exec takes: background, command, cwd, detach, env";

    for (tool, arguments, parts) in [
        ("ssh_connect", json!({}), ["host", connect]),
        (
            "ssh_connect",
            json!({"host": 7}),
            ["parameter host", connect],
        ),
        (
            "ssh_connect",
            json!({"host": null}),
            ["parameter host", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "colour": "red"}),
            ["unknown parameter \"colour\"", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "Host": "h"}),
            ["unknown parameter \"Host\"", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "port": "22x"}),
            ["parameter port", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "port": 65536}),
            ["parameter port", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "port": -1}),
            ["parameter port", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "port": 0}),
            ["port must be between 1 and 65535", "leave out port"],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "password": 48_151_623}),
            ["parameter password", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "user": "a", "username": "b"}),
            ["\"user\" is given twice", connect],
        ),
        (
            "ssh_connect",
            json!({"host": "h", "keyPath": "a", "key_path": "b"}),
            ["\"keyPath\" is given twice", connect],
        ),
        ("ssh_exec", json!({}), ["command", exec]),
        (
            "ssh_exec",
            json!({"command": ["ls"]}),
            ["parameter command", exec],
        ),
        (
            "ssh_exec",
            json!({"command": ""}),
            ["the command is empty", "hint"],
        ),
        (
            "ssh_exec",
            json!({"command": " \n\t"}),
            ["the command is empty", "hint"],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "timeoutMs": 0}),
            ["parameter timeoutMs", "between 1 and 86400000"],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "timeoutMs": 1e12}),
            ["parameter timeoutMs", exec],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "timeoutMs": "1s"}),
            ["parameter timeoutMs", exec],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "env": {"A": ["b"]}}),
            ["parameter env.A", exec],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "env": ["A=1"]}),
            ["parameter env", exec],
        ),
        (
            "ssh_exec",
            json!({"command": "ls", "session": "a", "name": "b"}),
            ["\"session\" is given twice", exec],
        ),
        (
            "ssh_shell",
            json!({"command": "ls", "cwd": "/"}),
            ["unknown parameter \"cwd\"", "ssh_shell takes: "],
        ),
        (
            "ssh_upload",
            json!({"localPath": "/a"}),
            ["remotePath", "ssh_upload takes: exclude, localPath,"],
        ),
        (
            "ssh_download",
            json!({"remotePath": "/a"}),
            ["localPath", "ssh_download takes: "],
        ),
        (
            "ssh_sessions",
            json!({"session": "a"}),
            ["unknown parameter \"session\"", "ssh_sessions takes: hosts"],
        ),
        (
            "ssh_reconnect",
            json!({"host": "a"}),
            [
                "unknown parameter \"host\"",
                "ssh_reconnect takes: fresh, session",
            ],
        ),
        (
            "ssh_disconnect",
            json!({"forget": "yes"}),
            ["parameter forget", "ssh_disconnect takes: forget, session"],
        ),
        (
            "ssh_set_default",
            json!({}),
            ["session", "ssh_set_default takes: session"],
        ),
        (
            "ssh_set_default",
            json!({"session": "nobody"}),
            ["no session \"nobody\"", "ssh_connect"],
        ),
    ] {
        let refused = client.call(tool, arguments.clone()).await;
        assert_refused(&refused, &parts);
        assert!(
            !refused.text().contains("48151623"),
            "a password: {}",
            refused.text()
        );

        assert_alive(&mut client, &format!("{tool} {arguments}")).await;
    }

    // No arguments at all are as good as none.
    let answer = client
        .request("tools/call", json!({"name": "ssh_sessions"}))
        .await;
    assert!(answer["result"]["isError"] != true, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_spelling_reaches_the_tool() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let (key, port) = (world.key().clone(), world.sshd.port());
    let by_parts = json!({
        "host": "127.0.0.1", "name": "s", "username": "agent", "port": port, "key_path": key, "timeout_ms": 20_000,
    });
    let connected = client.call("ssh_connect", by_parts).await.ok();
    assert_eq!(connected.structured()["session"]["user"], "agent");
    let local = world.folder().join("local");
    std::fs::write(&local, "content").unwrap();

    let calls: [(&str, Value); 8] = [
        (
            "ssh_exec",
            json!({"name": "s", "command": "true", "timeout_ms": 20_000}),
        ),
        (
            "ssh_shell",
            json!({"name": "s", "command": "true", "timeout_ms": 20_000}),
        ),
        (
            "ssh_upload",
            json!({"name": "s", "local_path": local, "remote_path": "remote"}),
        ),
        (
            "ssh_download",
            json!({"name": "s", "remote_path": "remote", "local_path": world.folder().join("back")}),
        ),
        ("ssh_set_default", json!({"name": "s"})),
        ("ssh_reconnect", json!({"name": "s"})),
        ("ssh_disconnect", json!({"name": "s"})),
        (
            "ssh_exec",
            json!({"session": null, "command": "true", "cwd": null, "env": null, "timeoutMs": null}),
        ),
    ];

    for (tool, arguments) in calls {
        client.call(tool, arguments).await.ok();
    }

    assert_eq!(
        std::fs::read_to_string(world.folder().join("back")).unwrap(),
        "content"
    );

    let stopped = client
        .call(
            "ssh_exec",
            json!({"command": "sleep 60", "timeout_ms": 200}),
        )
        .await
        .ok();

    assert_eq!(
        stopped.outcome()["status"],
        "timedOut",
        "{}",
        stopped.text()
    );
}
