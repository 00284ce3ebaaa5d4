//! The tool `ssh_forward`: opens, lists and closes forwards, and says what the far side said.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{ask, echo};
use crate::support::{
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

pub(super) async fn connected() -> ConnectedHost<OpenSshd> {
    TestHost::openssh().connect().await
}

pub(super) async fn forward(host: &mut ConnectedHost<OpenSshd>, arguments: Value) -> ToolResult {
    host.mcp.call("ssh_forward", arguments).await
}

/// The list once it contains these words, which a count may reach a moment after its connection.
pub(super) async fn list_with(host: &mut ConnectedHost<OpenSshd>, words: &str) -> String {
    let mut list = String::new();
    for _ in 0..3000 {
        list = forward(host, json!({})).await.ok().text();
        if list.contains(words) {
            return list;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{words:?} is not in: {list}");
}

/// A port that nobody else takes, and at which nobody listens yet.
fn unused_port() -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&address.into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// The local port of an open forward.
pub(super) fn port(opened: &ToolResult) -> u16 {
    let listen = opened.structured()["forward"]["listen"].as_str().unwrap();
    listen.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A server that says `greeting` to each connection, answers what it gets with `answer`, and keeps it.
async fn server(greeting: &'static [u8], answer: &'static [u8]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&received);

    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let _ = stream.write_all(greeting).await;
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });

    (port, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_says_what_the_far_side_said() {
    let mut host = connected().await;

    let (speaks, received) = server(b"220 \x1b[2Jmail\r\n", b"500\r\n").await;
    let answer = forward(&mut host, json!({"to": speaks})).await.ok();
    let listen = port(&answer);
    assert_eq!(
        answer.text(),
        format!(
            "[f1 · 127.0.0.1:{listen} → host 127.0.0.1:{speaks} · it says \"220 \\u{{1b}}[2Jmail\"]"
        )
    );
    assert_eq!(answer.structured()["banner"], "220 \u{1b}[2Jmail");
    assert!(received.lock().unwrap().is_empty(), "it spoke first");

    let (web, received) = server(b"", b"HTTP/1.1 404 Not Found\r\n\r\n").await;
    let answer = forward(&mut host, json!({"to": format!("localhost:{web}")}))
        .await
        .ok();
    let listen = port(&answer);
    assert_eq!(
        answer.text(),
        format!("[f2 · http://127.0.0.1:{listen} → host localhost:{web}]")
    );
    assert_eq!(*received.lock().unwrap(), b"HEAD / HTTP/1.0\r\n\r\n");

    let (other, _) = server(b"", b"-ERR unknown command\r\n").await;
    let answer = forward(&mut host, json!({"to": other.to_string()}))
        .await
        .ok();
    assert!(
        answer.text().ends_with(" · it accepts connections]"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.structured()["answered"], true);

    let (_socket, nobody) = unused_port();
    let answer = forward(&mut host, json!({"to": nobody, "direction": "local"}))
        .await
        .ok();
    let listen = port(&answer);
    assert_eq!(
        answer.text(),
        format!(
            "[f4 · 127.0.0.1:{listen} → host 127.0.0.1:{nobody} · far end refuses: nothing answers there · the forward \
             stays open and tries each time]"
        )
    );
    assert_eq!(answer.structured()["answered"], false);

    let answer = forward(&mut host, json!({"to": "socks"})).await.ok();
    let listen = port(&answer);
    assert_eq!(
        answer.text(),
        format!("[f5 · socks5h://127.0.0.1:{listen} → host]")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_gets_no_request() {
    // A port at which only a database is usual, on any address of loopback.
    let Ok(listener) = TcpListener::bind("127.0.0.9:5432").await else {
        return;
    };
    let mut host = connected().await;
    let accepted = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        received
    });

    let answer = forward(&mut host, json!({"to": "127.0.0.9:5432"}))
        .await
        .ok();
    assert!(
        answer.text().ends_with(" · it accepts connections]"),
        "{}",
        answer.text()
    );
    assert_eq!(accepted.await.unwrap(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_is_listed_with_its_counts_until_it_is_closed() {
    let mut host = connected().await;
    let to = echo().await;
    let opened = forward(&mut host, json!({"to": to})).await.ok();
    let listen = port(&opened);
    drop(ask(listen).await);

    let line = list_with(&mut host, "0 of 1").await;
    let address = format!("127.0.0.1:{listen} → host 127.0.0.1:{to}");
    assert_eq!(
        line,
        format!("f1 · {address} · 0 of 1 connections open · 4 B out, 4 B in")
    );
    let sessions = host.mcp.call("ssh_sessions", json!({})).await.ok();
    assert!(
        sessions.text().contains(&format!("\n  {line}")),
        "{}",
        sessions.text()
    );
    assert_eq!(sessions.structured()["forwards"][0]["id"], "f1");

    let again = forward(&mut host, json!({"to": to})).await.ok();
    assert!(again.text().starts_with("[f1 · "), "{}", again.text());
    assert!(again.text().contains(" · already open"), "{}", again.text());
    assert_eq!(again.structured()["isNew"], false);

    let closed = forward(&mut host, json!({"close": "f1"})).await.ok();
    assert!(
        closed.text().starts_with(&format!("closed f1 · {address}")),
        "{}",
        closed.text()
    );
    let error = TcpStream::connect(("127.0.0.1", listen)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let empty = forward(&mut host, json!({})).await.ok();
    assert_eq!(empty.text(), "no forwards; open one with to");
    assert_eq!(empty.structured(), &json!({"forwards": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_forwards_of_one_session_are_closed() {
    let mut host = connected().await;
    host.mcp
        .connect(json!({"host": "host", "name": "other"}))
        .await;
    let mut ports = Vec::new();
    for session in ["host", "other", "other"] {
        let opened = forward(
            &mut host,
            json!({"to": "socks", "listen": null, "session": session}),
        );
        let opened = opened.await.ok();
        if !ports.contains(&port(&opened)) {
            ports.push(port(&opened));
        }
    }
    assert_eq!(ports.len(), 2, "the same forward is opened once");

    let listed = forward(&mut host, json!({"session": "other"})).await.ok();
    assert_eq!(listed.text().lines().count(), 1);
    let closed = forward(&mut host, json!({"close": "all", "session": "other"}))
        .await
        .ok();
    assert!(
        closed.text().starts_with("closed f2 · "),
        "{}",
        closed.text()
    );
    assert_eq!(
        forward(&mut host, json!({}))
            .await
            .ok()
            .text()
            .lines()
            .count(),
        1
    );
    let closed = forward(&mut host, json!({"close": "ALL"})).await.ok();
    assert!(
        closed.text().starts_with("closed f1 · "),
        "{}",
        closed.text()
    );
    let closed = forward(&mut host, json!({"close": "all"})).await.ok();
    assert_eq!(closed.text(), "no forwards were open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_ends_with_its_session() {
    for end in ["disconnect", "forget", "replace"] {
        let mut host = connected().await;
        let to = echo().await;
        let listen = port(&forward(&mut host, json!({"to": to})).await.ok());
        let mut open = ask(listen).await;

        let (tool, arguments) = match end {
            "disconnect" => ("ssh_disconnect", json!({"session": "host"})),
            "forget" => ("ssh_disconnect", json!({"session": "host", "forget": true})),
            _ => ("ssh_connect", json!({"host": "host", "port": host.port})),
        };
        host.mcp.call(tool, arguments).await.ok();

        let error = TcpStream::connect(("127.0.0.1", listen)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{end}");
        assert!(open.read(&mut [0]).await.is_err(), "{end}");
        assert_eq!(
            forward(&mut host, json!({})).await.ok().text(),
            "no forwards; open one with to",
            "{end}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_connected_is_not_called_open() {
    let mut host = connected().await;
    let to = echo().await;
    let listen = port(&forward(&mut host, json!({"to": to})).await.ok());
    host.sshd.kill_connections();

    let line = list_with(&mut host, "reconnecting").await;
    assert!(line.ends_with(" · reconnecting"), "{line}");

    drop(ask(listen).await);
    let line = forward(&mut host, json!({})).await.ok().text();
    assert!(
        !line.contains("reconnecting") && !line.contains("reset"),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_is_not_a_reset() {
    let mut host = connected().await;
    let (socket, nobody) = unused_port();
    let listen = port(&forward(&mut host, json!({"to": nobody})).await.ok());

    let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
    assert_eq!(
        client.read(&mut [0]).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let refused = " · far end refuses: nothing answers there · 0 of 1 connections open · 1 failed";
    assert!(list_with(&mut host, refused).await.ends_with(refused));

    // The server comes up: the next connection passes, and the list says so.
    socket.listen(1).unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
    let (mut far, _) = socket.accept().unwrap();
    std::io::Write::write_all(&mut far, b"up").unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    let line = forward(&mut host, json!({})).await.ok().text();
    assert!(!line.contains("refuses"), "{line}");
}
