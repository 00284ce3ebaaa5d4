//! The daemon: every way of speaking MCP over HTTP, who is kept out, and how it ends.

mod approve;
mod cancelled;
mod ending;
mod evil;
#[cfg(target_os = "linux")]
mod listen;
#[cfg(target_os = "linux")]
mod outsiders;
mod smuggled;
mod socket;
mod status;
mod token;
#[cfg(target_os = "linux")]
mod users;
mod watch;

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    daemon::Daemon,
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    wire::{self, DaemonAddress, ask},
};

/// The revisions with sessions.
const WITH_SESSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// A daemon that knows no server, for what needs none.
async fn bare(arguments: &[&str]) -> (Daemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ssh_config");
    fs::write(&config, "").unwrap();
    (
        Daemon::start(&config, folder.path(), arguments).await,
        folder,
    )
}

/// What `GET /health` answers.
async fn health(address: &DaemonAddress) -> Value {
    let answer = ask(
        address,
        wire::request("GET", "/health", &[("Host", &address.host())], ""),
    )
    .await
    .unwrap();

    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json")),
        "{answer:?}"
    );

    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn every_revision_with_sessions_is_spoken_over_streamable_http() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    for version in WITH_SESSIONS {
        let mut client = daemon.connected(Dialect::Session(version)).await;
        let tools = client.request("tools/list", json!({})).await;
        assert_eq!(
            tools["result"]["tools"].as_array().unwrap().len(),
            14,
            "{version}"
        );

        let said = client
            .call("ssh_exec", json!({"command": "echo said"}))
            .await
            .ok();

        assert_eq!(said.stdout(), "said\n", "{version}");

        let ended = client.send("DELETE", &[]).await.answer().await.unwrap();
        assert_eq!((ended.status, ended.body.as_str()), (204, ""), "{version}");
        let events = [("Accept", "text/event-stream")];

        for (what, status) in [
            (
                "POST",
                client
                    .notify("notifications/initialized", json!({}))
                    .await
                    .status,
            ),
            (
                "GET",
                client
                    .send("GET", &events)
                    .await
                    .answer()
                    .await
                    .unwrap()
                    .status,
            ),
        ] {
            assert_eq!(
                status, 404,
                "{what} after the end of a session of {version}"
            );
        }
    }
}

#[tokio::test]
async fn the_revision_without_sessions_is_spoken_over_streamable_http() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let mut client = daemon.client(Dialect::Stateless).await;
    let found = client.request("server/discover", json!({})).await["result"].clone();
    assert_eq!(
        found["supportedVersions"].as_array().unwrap().len(),
        WITH_SESSIONS.len() + 1
    );

    assert_eq!(
        found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "mcp-ssh-sessions"
    );

    let tools = client.request("tools/list", json!({})).await["result"].clone();

    assert_eq!(
        (
            tools["tools"].as_array().unwrap().len(),
            &tools["resultType"]
        ),
        (14, &json!("complete"))
    );

    client
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    let said = client
        .call("ssh_exec", json!({"command": "echo said"}))
        .await
        .ok();

    assert_eq!(
        (said.stdout().as_str(), &said.0["resultType"]),
        ("said\n", &json!("complete"))
    );

    // There is no session, so there is nothing to open or to end.
    for method in ["GET", "DELETE"] {
        let refused = client
            .send(method, &[("Accept", "text/event-stream")])
            .await
            .answer()
            .await
            .unwrap();
        assert_eq!(refused.status, 405, "{method}");
    }
}

#[tokio::test]
async fn http_with_sse_is_spoken_at_the_same_address() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;

    // The client checks the `endpoint` event, the 202 of each POST, and that answers come on the stream.
    let mut client = daemon.connected(Dialect::Legacy).await;
    let tools = client.request("tools/list", json!({})).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 14);

    // Two at once: the quick one is not held up by the slow one.
    let gate = host.folder().join("gate");
    let wait = format!(
        "until test -e {}; do sleep 0.02; done; echo slow",
        gate.display()
    );

    let slow = client
        .begin_call("ssh_exec", json!({"command": wait}))
        .await;

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo quick"}))
            .await
            .stdout(),
        "quick\n"
    );

    fs::write(gate, "").unwrap();
    assert_eq!(client.finish(slow).await.stdout(), "slow\n");
}

#[tokio::test]
async fn a_client_that_only_looks_around_gets_no_event_stream() {
    let (daemon, _folder) = bare(&[]).await;
    let host = daemon.address.host();

    for headers in [
        vec![("Accept", "*/*"), ("MCP-Protocol-Version", "2024-11-05")],
        vec![("Accept", "text/html")],
        vec![],
    ] {
        let headers = [vec![("Host", host.as_str())], headers].concat();
        let answer = ask(&daemon.address, wire::request("GET", "/mcp", &headers, ""))
            .await
            .unwrap();
        assert_eq!(answer.status, 406, "{headers:?}: {answer:?}");
    }

    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server/mcp",
        "/register",
    ] {
        let answer = ask(
            &daemon.address,
            wire::request("GET", path, &[("Host", &host)], ""),
        )
        .await
        .unwrap();
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn all_clients_share_sessions_shells_and_the_default() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let [session, stateless, legacy] = Dialect::KINDS;
    let mut clients = [
        daemon.connected(session).await,
        daemon.client(stateless).await,
        daemon.client(legacy).await,
    ];

    for (number, client) in clients.iter_mut().enumerate() {
        // The default session, and the shell as the client before left it.
        let before = if number == 0 {
            "no".to_owned()
        } else {
            format!("/tmp client {}", number - 1)
        };

        let command = format!("echo \"${{client:-no}}\"; cd /tmp; client=\"$PWD client {number}\"");
        let result = client
            .call("ssh_shell", json!({"command": command}))
            .await
            .ok();

        assert_eq!(result.stdout(), format!("{before}\n"));
        assert_eq!(result.outcome()["cwd"], "/tmp");
    }

    // A second session, made the default by one client and named by no other.
    clients[1]
        .call("ssh_connect", json!({"host": "host", "name": "second"}))
        .await
        .ok();

    clients[2]
        .call("ssh_set_default", json!({"session": "second"}))
        .await
        .ok();

    let result = clients[0]
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();

    assert_eq!(result.outcome()["session"], "second");
    assert_eq!(health(&daemon.address).await["sessions"], 2);
    let connections = host.sshd.log().matches("Accepted publickey").count();
    assert_eq!(connections, 2, "one connection a session, whoever asks");
}

#[tokio::test]
async fn health_shows_only_status_version_sessions_and_uptime() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let at_first = health(&daemon.address).await;
    assert_eq!(
        (&at_first["status"], &at_first["sessions"]),
        (&json!("ok"), &json!(0))
    );

    assert_eq!(at_first["version"], env!("CARGO_PKG_VERSION"));

    assert_eq!(
        (
            at_first["uptime"].is_u64(),
            at_first.as_object().unwrap().len()
        ),
        (true, 4),
        "{at_first}"
    );

    daemon.connected(Dialect::Stateless).await;
    assert_eq!(health(&daemon.address).await["sessions"], 1);
}

#[tokio::test]
async fn many_clients_on_all_transports_each_get_their_own_answers() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    daemon.connected(Dialect::Stateless).await;

    let clients = (0..20).map(|client| {
        let (address, dialect) = (daemon.address.clone(), Dialect::KINDS[client % 3]);
        tokio::spawn(async move {
            let mut mcp = HttpClient::connect(&address, dialect).await;
            for number in 0..10 {
                let command =
                    format!("echo {client}.{number}; echo {number}.{client} >&2; exit {number}");
                let result = mcp.call("ssh_exec", json!({"command": command})).await.ok();
                let answer = (
                    result.stdout(),
                    result.stderr(),
                    result.outcome()["exitCode"].clone(),
                );

                let expected = (
                    format!("{client}.{number}\n"),
                    format!("{number}.{client}\n"),
                    json!(number),
                );

                assert_eq!(answer, expected, "{dialect:?}");
            }
        })
    });

    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }

    assert_eq!(health(&daemon.address).await["sessions"], 1);
}
