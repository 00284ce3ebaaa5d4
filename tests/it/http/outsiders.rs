//! Others on this machine where a token decides who is served.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::support::{
    checks::eventually,
    daemon::{self, Daemon},
    http_client::{Dialect, HttpClient},
    other_user::as_other,
    wire::{DaemonAddress, ask, request},
};

const SECRET: &str = "correct-horse-battery-staple";

/// A daemon with a token, the path of the link that it printed, and the folder in which it writes.
async fn with_token(arguments: &[&str]) -> (Daemon, String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = daemon::command(Path::new("/dev/null"), folder.path());
    command
        .args(["--http", "0"])
        .args(arguments)
        .env("MCP_SSH_TOKEN", SECRET);

    let daemon = Daemon::run(&mut command, folder.path()).await;
    eventually("there is a link", || daemon.log().contains("/?key=")).await;
    let log = daemon.log();
    let (_, link) = log.split_once("/?key=").unwrap();
    let link = format!("/?key={}", link.split(' ').next().unwrap());
    (daemon, link, folder)
}

/// The first address of this machine that is not on loopback, if it has one. Nothing is sent to find it.
fn address_in_network() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[tokio::test]
async fn a_networked_daemons_link_is_useless_to_another_local_user() {
    for listen in ["0.0.0.0", "::", "127.0.0.1"] {
        if listen == "::" && TcpListener::bind("[::]:0").is_err() {
            continue;
        }

        let (daemon, link, _folder) = with_token(&["--listen", listen]).await;
        let address = &daemon.address;
        let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
        if listen != "127.0.0.1" {
            addresses.extend(address_in_network());
        }

        if listen == "::" {
            addresses.push(Ipv6Addr::LOCALHOST.into());
        }

        let headers = [("Host", &*address.host()), ("Connection", "close")];
        let text = request("GET", &link, &headers, "");

        for ip in addresses {
            let (address, text) = (SocketAddr::new(ip, address.port()), text.clone());

            let received = as_other(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                let mut received = String::new();
                stream.read_to_string(&mut received).unwrap();

                received
            });

            let Some(received) = received else { return };
            assert!(
                received.starts_with("HTTP/1.1 403 ") && received.contains("another user"),
                "{listen} {ip}: {received}"
            );
        }

        let own = ask(address, &text).await.unwrap();
        assert!(
            own.status == 200 && own.body.contains("Welcome"),
            "{listen}: {own:?}"
        );
    }
}

#[tokio::test]
async fn the_link_is_useless_to_another_user_over_an_open_socket() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("mcp.sock");
    let (_daemon, link, _home) = with_token(&["--socket", socket.to_str().unwrap()]).await;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();

    let text = request(
        "GET",
        &link,
        &[("Host", "localhost"), ("Connection", "close")],
        "",
    );

    let (path, sent) = (socket.clone(), text.clone());

    let received = as_other(move || {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut received = String::new();
        stream.read_to_string(&mut received).unwrap();

        received
    });

    assert!(received.is_none_or(
        |received| received.starts_with("HTTP/1.1 403 ") && received.contains("another user")
    ));

    assert_eq!(
        ask(&DaemonAddress::Socket(socket), &text)
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn half_sent_heads_do_not_keep_out_who_knows_the_token() {
    // As many as there may be connections at all.
    const MANY: usize = 768;

    let limit = getrlimit(Resource::Nofile);

    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .unwrap();

    let (daemon, _, _folder) = with_token(&[]).await;
    let port = daemon.address.port();

    let begin_many = move || {
        let begin = |_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ");
            stream.set_nonblocking(true).unwrap();

            stream
        };
        (0..MANY).map(begin).collect::<Vec<TcpStream>>()
    };

    let held = as_other(begin_many).unwrap_or_else(begin_many);
    let token = format!("Bearer {SECRET}");
    let headers = [("Host", &*daemon.address.host()), ("Authorization", &token)];
    let answer = ask(&daemon.address, request("GET", "/health", &headers, ""))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");

    // They have made room, and have not just been slow for too long.
    let is_held = |stream: &&TcpStream| {
        stream
            .peek(&mut [0])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };

    let still = held.iter().filter(is_held).count();
    assert!(still < MANY / 2, "{still} of them are still there");
}

#[tokio::test]
async fn who_has_shown_the_token_stays_while_many_others_come() {
    let (daemon, _, _folder) = with_token(&[]).await;
    let address = daemon.address.clone();
    let mut client = HttpClient::connect_with(&address, Dialect::Legacy, Some(SECRET)).await;
    let port = address.port();
    let begin_many = move || {
        (0..300)
            .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
            .collect::<Vec<_>>()
    };

    let held = as_other(begin_many).unwrap_or_else(begin_many);

    // Over the stream of events that was opened before.
    client.call("ssh_sessions", json!({})).await.ok();
    drop(held);
}
