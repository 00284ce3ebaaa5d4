//! Daemons and terminals of different versions.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    thread,
};

use serde_json::json;

use super::{Shared, failure};
use crate::support::{
    checks::eventually,
    wire::{DaemonAddress, Wire, ask, request},
};

/// What a front of this version says first.
fn knock(version: &str) -> String {
    let headers = [
        ("Host", "localhost"),
        ("Connection", "upgrade"),
        ("Upgrade", "mcp-ssh-sessions"),
        ("Mcp-Ssh-Sessions-Version", version),
    ];
    request("GET", "/shared", &headers, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_daemon_gives_way_and_ends_with_its_last_client() {
    let shared = Shared::new();
    let (mut daemon, _) = shared.daemon("20000").await;
    let mut old = shared.proxy().await;
    old.call("ssh_connect", json!({"host": "box"})).await.ok();
    old.call("ssh_shell", json!({"command": "kept=here"}))
        .await
        .ok();

    let job = old
        .call(
            "ssh_exec",
            json!({"command": "sleep 61.25", "background": true}),
        )
        .await
        .ok()
        .text();

    let socket = shared.file("sock");
    let answer = ask(&DaemonAddress::Socket(socket.clone()), knock("99.0.0"))
        .await
        .unwrap();
    assert_eq!(answer.status, 410);
    for part in ["gives way to version 99.0.0", "(1)", "running jobs (1)"] {
        assert!(answer.body.contains(part), "{part}: {}", answer.body);
    }

    assert!(!socket.exists());

    // The new one has its own sessions; what was there goes on undisturbed.
    let mut new = shared.proxy().await;
    assert_eq!(shared.daemons().len(), 2);
    assert_eq!(
        new.call("ssh_sessions", json!({})).await.ok().structured()["sessions"][0]["state"],
        "saved"
    );

    assert_eq!(
        old.call("ssh_shell", json!({"command": "echo $kept"}))
            .await
            .stdout(),
        "here\n"
    );

    assert!(shared.world.runs("61.25"), "{job}");
    let listed = old.call("ssh_job", json!({})).await.ok().text();
    let id = listed
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 8)
        .unwrap()
        .to_owned();

    old.call("ssh_job", json!({"job": id, "signal": "KILL"}))
        .await
        .ok();

    assert!(daemon.try_wait().unwrap().is_none());
    old.close().await;
    assert_eq!(daemon.wait().await.unwrap().code(), Some(0));
    new.call("ssh_exec", json!({"command": "true"})).await.ok();
    assert!(socket.exists());
}

#[tokio::test]
async fn a_daemon_serves_proxies_of_its_own_and_earlier_versions() {
    let shared = Shared::new();
    let _front = shared.proxy().await;
    let address = DaemonAddress::Socket(shared.file("sock"));

    for version in [env!("CARGO_PKG_VERSION"), "0.0.1", "no version"] {
        let mut wire = Wire::connect(&address).await;
        wire.send(knock(version)).await;
        let answer = wire.head().await.unwrap();
        assert_eq!(
            (answer.status, answer.header("upgrade")),
            (101, Some("mcp-ssh-sessions")),
            "{version}"
        );
    }

    shared.only_daemon();
}

#[tokio::test]
async fn a_proxy_starts_a_daemon_only_where_an_older_one_gave_way() {
    let shared = Shared::new();

    // To learn the name.
    let mut proxy = shared.proxy().await;
    shared.kill().await;
    let socket = shared.file("sock");
    let words = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let other = answering(&socket, words);
    let said = failure(&proxy.request("tools/list", json!({})).await);
    assert!(said.contains("is not a shared daemon"), "{said}");
    other.join().unwrap();
    let words = b"HTTP/1.1 410 Gone\r\nContent-Length: 9\r\n\r\ngave way\n".to_vec();
    let old = answering(&socket, words);
    assert!(proxy.request("tools/list", json!({})).await["result"].is_object());
    old.join().unwrap();
    eventually("it is said", || proxy.log().contains("gave way")).await;
    shared.only_daemon();
}

/// A daemon that answers its first client with these bytes, and removes its socket before.
fn answering(socket: &std::path::Path, words: Vec<u8>) -> thread::JoinHandle<()> {
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).unwrap();
    let socket = socket.to_owned();

    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        fs::remove_file(socket).unwrap();
        stream.write_all(&words).unwrap();
    })
}
