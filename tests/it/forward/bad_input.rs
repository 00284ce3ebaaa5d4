//! Wrong arguments, taken addresses and strangers: an error with one instruction, and no listener.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

use super::{
    ask, echo,
    tool::{connected, forward, list_with, port},
};
use crate::support::{
    fixture::ConnectedHost,
    open_sshd::OpenSshd,
    questions::{answer_question, client_with, result},
};

/// Makes each call, and expects an error with these words and a hint with those.
async fn each_is_refused(
    host: &mut ConnectedHost<OpenSshd>,
    rows: impl IntoIterator<Item = (Value, &str, &str)>,
) {
    for (arguments, message, hint) in rows {
        let result = forward(host, arguments.clone()).await;
        let text = result.text();
        assert!(result.is_error(), "{arguments}: {text}");

        let (said, hinted) = text.split_once("\nhint: ").expect("a hint");
        assert!(said.contains(message), "{arguments}: {text}");
        assert!(hinted.contains(hint), "{arguments}: {text}");
        assert_eq!(text.lines().count(), 2, "{arguments}: {text}");
    }

    let listed = forward(host, json!({})).await.ok();
    assert_eq!(listed.text(), "no forwards; open one with to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_has_an_error_and_an_instruction() {
    let mut host = connected().await;
    let long = format!("/{}", "a".repeat(200));
    let rows = [
        (
            json!({"to": "web"}),
            "to: \"web\" is not an address",
            "give to as a port, ",
        ),
        (
            json!({"to": 0}),
            "to: \"0\" is not a port",
            "give to as a port, ",
        ),
        (
            json!({"to": "::1:80"}),
            "has no brackets",
            "write it as in [::1]:5432",
        ),
        (
            json!({"to": long}),
            "the socket path has 201 bytes",
            "forward a port instead",
        ),
        (
            json!({"to": 80, "close": "f1"}),
            "`to` opens a forward",
            "make two calls",
        ),
        (
            json!({"listen": 80}),
            "belong to a forward that is opened",
            "give `to`",
        ),
        (
            json!({"close": "f1", "listen": 80}),
            "belong to a forward",
            "give `to`",
        ),
        (
            json!({"close": "f9"}),
            "there is no forward \"f9\"",
            "without parameters for the list",
        ),
        (
            json!({"close": 9}),
            "there is no forward \"9\"",
            "without parameters for the list",
        ),
        (
            json!({"close": "web"}),
            "there is no forward \"web\"",
            "without parameters",
        ),
        (
            json!({"to": 80, "session": "no"}),
            "there is no session \"no\"",
            "ssh_sessions",
        ),
        (
            json!({"session": "no"}),
            "there is no session \"no\"",
            "ssh_sessions",
        ),
        (
            json!({"to": 80, "direction": "up"}),
            "unknown variant `up`",
            "ssh_forward takes: ",
        ),
    ];

    each_is_refused(&mut host, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_to_listen_is_refused() {
    let mut host = connected().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = listener.local_addr().unwrap().port();
    let file = host.local("file");
    fs::write(&file, "precious").unwrap();
    let missing = host.local("missing/socket");
    let long = format!("/{}", "a".repeat(150));

    let rows = [
        (json!(taken), "is taken on this machine", "leave listen out"),
        (
            json!("0.0.0.0:8080"),
            "on loopback only, never on \"0.0.0.0\"",
            "give just the port",
        ),
        (json!("*:80"), "on loopback only", "give just the port"),
        (json!(70000), "\"70000\" is not a port", "leave listen out"),
        (
            json!("tmp/socket"),
            "is not a port or an absolute",
            "leave listen out",
        ),
        (json!(file), "exists already", "choose another path"),
        (
            json!(missing),
            "No such file or directory",
            "in a directory that exists",
        ),
        (
            json!(long),
            "the socket path has 151 bytes",
            "choose a shorter path",
        ),
    ];
    let rows =
        rows.map(|(listen, message, hint)| (json!({"to": 80, "listen": listen}), message, hint));

    each_is_refused(&mut host, rows).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_private_and_gone_when_closed() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut host = connected().await;
    let to = echo().await;
    let path = host.local("pg");
    let opened = forward(&mut host, json!({"to": to, "listen": path}))
        .await
        .ok();
    assert!(
        opened
            .text()
            .contains(&format!(" · {} → host ", path.display())),
        "{}",
        opened.text()
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"line").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"line");

    forward(&mut host, json!({"close": "1"})).await.ok();
    assert!(!path.exists());
}

/// Sockets at these paths are refused, and not created.
async fn refused(paths: &[&Path]) {
    let mut host = connected().await;
    for path in paths {
        let error = forward(&mut host, json!({"to": 80, "listen": path})).await;
        assert!(
            error.is_error() && error.text().contains("it is guarded, because"),
            "{}",
            error.text()
        );
        assert!(
            error.text().contains("hint: choose another path"),
            "{}",
            error.text()
        );
        assert!(fs::symlink_metadata(path).is_err(), "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_in_a_guarded_place_needs_the_person() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = folder.path().join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    symlink(&hooks, folder.path().join("linked")).unwrap();
    refused(&[
        &hooks.join("pre-push"),
        &folder.path().join("linked/pre-push"),
    ])
    .await;

    let host = connected().await;
    let forms = json!({"elicitation": {"form": {}}});
    let mut client = client_with(forms, &host.config, host.folder()).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "host"}))
        .await;
    client.finish(call).await.ok();

    let path = hooks.join("pre-push");
    for (allow, is_there) in [(false, false), (true, true)] {
        let call = client
            .begin_call("ssh_forward", json!({"to": "socks", "listen": path}))
            .await;
        let answer = json!({"action": "accept", "content": {"allow": allow}});
        let question = answer_question(&mut client, answer).await;
        let text = question["message"].as_str().unwrap();
        assert!(text.contains("create a socket that leads to"), "{text}");
        assert_eq!(result(&mut client, call).await.is_error(), !allow);
        assert_eq!(path.exists(), is_there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn socks_garbage_harms_nobody() {
    let mut host = connected().await;
    let listen = port(&forward(&mut host, json!({"to": "socks"})).await.ok());

    for garbage in [
        &b"\0\0\0\0"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x05\x00",
        b"\x05\xff",
        b"\x04\x01",
        &[0xff; 4096],
    ] {
        let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
        let _ = client.write_all(garbage).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
    }

    let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
    let to = echo().await;
    let mut request = b"\x05\x01\0\x05\x01\0\x01\x7f\0\0\x01".to_vec();
    request.extend(to.to_be_bytes());
    client.write_all(&request).await.unwrap();
    let mut reply = [0; 12];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply[3], 0);
    list_with(&mut host, " · 1 of 7 connections open · 6 failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_at_once_are_served() {
    let mut host = connected().await;
    let to = echo().await;
    let listen = port(&forward(&mut host, json!({"to": to})).await.ok());

    let clients: Vec<_> = (0..1000).map(|_| tokio::spawn(ask(listen))).collect();
    let mut open = Vec::new();
    for client in clients {
        open.push(client.await.unwrap());
    }

    let line = forward(&mut host, json!({})).await.ok().text();
    assert!(line.contains(" · 1000 of 1000 connections open"), "{line}");
    assert_eq!(host.exec("echo well", json!({})).await.stdout(), "well\n");
    drop(open);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_reset_and_counted_in_the_list() {
    use crate::support::other_user::as_other;
    use std::io::Read as _;

    let mut host = connected().await;
    let to = echo().await;
    let listen = port(&forward(&mut host, json!({"to": to})).await.ok());

    let read = tokio::task::spawn_blocking(move || {
        as_other(move || {
            let mut client = std::net::TcpStream::connect(("127.0.0.1", listen)).unwrap();
            client.read(&mut [0])
        })
    });
    let Some(read) = read.await.unwrap() else {
        return;
    };
    assert!(read.is_err());
    let line = forward(&mut host, json!({})).await.ok().text();
    assert!(
        line.ends_with(" · 1 of other or unknown users refused"),
        "{line}"
    );
}
