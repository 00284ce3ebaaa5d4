//! The port of a server in the status line of the command that started it, with the call that reaches it.

use std::fs;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    checks::eventually,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// The address as Vite prints it, with the colours inside.
const VITE: &str = r"printf '  \033[32m➜\033[39m  \033[1mLocal\033[22m:   \033[36mhttp://localhost:\033[1m5173\033[22m/\033[39m\n'";
/// Ends a wait, since the job is at a prompt then.
const PROMPT: &str = "printf 'next? '; read -r line";

/// Runs a command that prints with `print`, and then waits for input.
async fn printing(host: &mut ConnectedHost<OpenSshd>, print: &str) -> ToolResult {
    let command = format!("{print}; {PROMPT}");
    let more = json!({"background": true, "waitMs": 60_000});
    host.exec(&command, more).await
}

#[tokio::test]
async fn a_server_is_named_once_with_the_call_that_reaches_it() {
    let mut host = TestHost::openssh().connect().await;
    let more = format!("{PROMPT}; {VITE}; echo 'Listening on :6000'");
    let begun = printing(&mut host, &format!("{VITE}; {more}")).await;
    let line = begun.status_line();
    let hint = " · port 5173: ssh_forward(to: 5173)]";
    assert!(
        line.starts_with("[running · ") && line.ends_with(hint),
        "{line}"
    );

    let job = begun.outcome()["job"].as_str().unwrap();
    let input = json!({"job": job, "input": "\n", "waitMs": 60_000});
    let line = host.mcp.call("ssh_job", input).await.ok().status_line();
    assert!(
        line.ends_with(" · port 6000: ssh_forward(to: 6000)]"),
        "{line}"
    );
    assert!(!line.contains("5173"), "{line}");

    let again = json!({"job": job, "offset": 0, "waitMs": 0});
    let again = host.mcp.call("ssh_job", again).await.ok();
    assert!(
        again.stdout().contains("http://localhost:5173/"),
        "{again:?}"
    );
    assert!(!again.status_line().contains("port"), "{again:?}");
}

#[tokio::test]
async fn an_open_forward_is_named_in_place_of_the_call() {
    let mut host = TestHost::openssh().connect().await;
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello\n").await;
        }
    });

    let opened = host.mcp.call("ssh_forward", json!({"to": port})).await.ok();
    let forward = &opened.structured()["forward"];
    let url = forward["url"].as_str().unwrap().to_owned();
    let line = printing(&mut host, &format!("echo http://localhost:{port}"))
        .await
        .status_line();
    assert!(
        line.ends_with(&format!(" · port {port}: {url} (f1)]")),
        "{line}"
    );

    host.mcp
        .call("ssh_forward", json!({"close": "f1"}))
        .await
        .ok();
    let line = printing(&mut host, &format!("echo http://localhost:{port}"))
        .await
        .status_line();
    assert!(
        line.ends_with(&format!(" · port {port}: ssh_forward(to: {port})]")),
        "{line}"
    );
}

#[tokio::test]
async fn an_ended_command_is_believed_about_its_background() {
    let mut host = TestHost::openssh().connect().await;
    for (command, is_named) in [
        (
            "sleep 1 >/dev/null 2>&1 & echo 'listening on port 8080'",
            true,
        ),
        (
            "sleep 1 >/dev/null 2>&1 & echo 'listening on port 8080' >&2",
            true,
        ),
        (
            "sleep 1 >/dev/null 2>&1 & echo 'listening on port 8080'; false",
            false,
        ),
        ("echo 'listening on port 8080'", false),
        (
            "sleep 1 >/dev/null 2>&1 & echo 'port 9]: ssh_forward(to: 9)'",
            false,
        ),
    ] {
        let line = host.exec(command, json!({})).await.status_line();
        let hint = "port 8080: ssh_forward(to: 8080)";
        assert_eq!(line.contains(hint), is_named, "{command}: {line}");
        assert_eq!(line.contains("ssh_forward"), is_named, "{command}: {line}");
    }
}

#[tokio::test]
async fn a_server_in_the_background_of_a_shell_is_named() {
    let mut host = TestHost::openssh().connect().await;
    let (go, done) = (host.remote("go"), host.remote("done"));
    let (go_path, done_path) = (go.display(), done.display());
    let server = format!(
        "(until test -e '{go_path}'; do sleep 0.02; done; echo 'listening on :8081'; touch '{done_path}') &"
    );
    let begun = host.shell(&server, json!({})).await;
    assert!(!begun.text().contains("8081"), "{begun:?}");

    fs::write(&go, "").unwrap();
    eventually("it has printed", || done.exists()).await;
    let next = host.shell("true", json!({})).await;
    let hint = "port 8081: ssh_forward(to: 8081)";
    assert!(next.status_line().contains(hint), "{next:?}");
}

#[tokio::test]
async fn the_session_is_named_unless_it_is_the_default() {
    let mut host = TestHost::openssh().connect().await;
    let other = json!({"host": "host", "name": "other"});
    host.mcp.connect(other).await.ok();

    let command = format!("echo 'listening on :8080'; {PROMPT}");
    let call = |sessions: serde_json::Value| {
        let mut call = json!({"command": command, "background": true, "waitMs": 60_000});
        call.as_object_mut()
            .unwrap()
            .extend(sessions.as_object().unwrap().clone());
        call
    };

    let one = call(json!({"session": "other"}));
    let line = host.mcp.call("ssh_exec", one).await.ok().status_line();
    let hint = "port 8080: ssh_forward(to: 8080, session: \"other\")]";
    assert!(line.ends_with(hint), "{line}");

    let both = host
        .mcp
        .call("ssh_exec", call(json!({"sessions": ["host", "other"]})))
        .await
        .ok();
    let hint = "port 8080: ssh_forward(to: 8080, session)]";
    assert!(both.status_line().ends_with(hint), "{both:?}");
    assert_eq!(both.text().matches("ssh_forward").count(), 1, "{both:?}");
}
