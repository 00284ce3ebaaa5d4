//! Other users of the machine.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    mem::MaybeUninit,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use rustix::process::geteuid;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::process::Command;

use super::health;
use crate::support::{
    checks::{eventually, skipped},
    daemon::{self, Daemon},
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    other_user::{OTHER, as_other},
    wire::{DaemonAddress, request},
};

/// How long a stranger waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a client behaves after it has sent its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Waits,
    HalfCloses,
    Leaves,
    /// Says nothing until the daemon has looked at who is there.
    ComesLate,
}

const MANNERS: [Manner; 4] = [
    Manner::Waits,
    Manner::HalfCloses,
    Manner::Leaves,
    Manner::ComesLate,
];

/// What the daemon answers to these bytes; empty when it hangs up.
fn answer(address: &DaemonAddress, text: &str, manner: Manner) -> String {
    let mut stream = match address {
        DaemonAddress::Tcp(port) => Socket::from(TcpStream::connect(("127.0.0.1", *port)).unwrap()),
        DaemonAddress::Socket(path) => Socket::from(UnixStream::connect(path).unwrap()),
    };

    if manner == Manner::ComesLate {
        // Connections are accepted in their order, and each is looked at before it is answered.
        assert!(!answer(address, text, Manner::Waits).is_empty());
    }

    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(text.as_bytes());

    match manner {
        Manner::Leaves => return String::new(),
        Manner::HalfCloses => drop(stream.shutdown(Shutdown::Write)),
        Manner::Waits | Manner::ComesLate => {}
    }

    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A call of a tool.
fn calling(address: &DaemonAddress, name: &str) -> String {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });

    let params = json!({"name": "ssh_set_default", "arguments": {"session": name}, "_meta": meta});
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();

    let headers = [
        ("Host", &*address.host()),
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "ssh_set_default"),
        ("Connection", "close"),
    ];

    request("POST", "/mcp", &headers, &body)
}

/// A daemon at a port and at a socket that everybody may connect to.
async fn reachable() -> (Daemon, Vec<DaemonAddress>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("mcp.sock");
    let path = socket.to_str().unwrap();
    let daemon = Daemon::start(Path::new("/dev/null"), folder.path(), &["--socket", path]).await;

    // As if its owner had opened it: the kernel's word on who is there still counts.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let places = vec![daemon.address.clone(), DaemonAddress::Socket(socket)];
    (daemon, places, folder)
}

#[tokio::test]
async fn another_user_is_refused_on_every_route() {
    let (daemon, places, _folder) = reachable().await;
    for address in &places {
        let host = address.host();
        let headers = [("Host", host.as_str()), ("Connection", "close")];
        let events = [
            ("Host", host.as_str()),
            ("Connection", "close"),
            ("Accept", "text/event-stream"),
        ];

        for text in [
            request("GET", "/health", &headers, ""),
            request("GET", "/status", &headers, ""),
            request("POST", "/link", &headers, ""),
            request("GET", "/", &headers, ""),
            request("GET", "/events", &headers, ""),
            request("POST", "/stop", &headers, "key=0&job=0"),
            request("GET", "/mcp", &events, ""),
            request("DELETE", "/mcp", &headers, ""),
            calling(address, "stranger"),
        ] {
            for manner in MANNERS {
                let (address, text) = (address.clone(), text.clone());
                let Some(refused) = as_other(move || answer(&address, &text, manner)) else {
                    continue;
                };
                let refused = refused.split("\r\n").next().unwrap().to_owned();

                // Who ends its side is gone for all that the daemon knows, and may be told nothing.
                let left =
                    matches!(manner, Manner::Leaves | Manner::HalfCloses) && refused.is_empty();
                assert!(
                    left || refused == "HTTP/1.1 403 Forbidden",
                    "{manner:?}: {refused}"
                );
            }

            assert_eq!(health(address).await["status"], "ok");
        }

        // The very call that was refused to others is served to this user.
        assert!(
            answer(address, &calling(address, "own"), Manner::Waits).starts_with("HTTP/1.1 200 ")
        );
    }

    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test]
async fn many_strangers_keep_nobody_out_and_most_are_dropped_silently() {
    /// How many are told that they are refused, at once.
    const ANSWERED: usize = 32;

    let (_daemon, places, _folder) = reachable().await;
    let [tcp, socket] = [places[0].clone(), places[1].clone()];
    let DaemonAddress::Socket(path) = socket.clone() else {
        panic!("a socket")
    };
    let port = tcp.port();

    let held = as_other(move || {
        let connect = |_| {
            let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
            [
                Socket::from(tcp),
                Socket::from(UnixStream::connect(&path).unwrap()),
            ]
        };

        let mut held: Vec<Socket> = (0..100).flat_map(connect).collect();

        for stranger in &mut held {
            let _ = stranger.write_all(
                format!("GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n").as_bytes(),
            );
            stranger.set_nonblocking(true).unwrap();
        }

        held
    });

    for address in [&tcp, &socket] {
        assert_eq!(health(address).await["status"], "ok");
        let mut client = HttpClient::connect(address, Dialect::Legacy).await;
        client.call("ssh_sessions", json!({})).await.ok();
    }

    let Some(mut held) = held else { return };

    let is_open = |stranger: &&Socket| {
        stranger
            .peek(&mut [MaybeUninit::uninit()])
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };

    eventually("most are dropped", || {
        held.iter().filter(is_open).count() <= ANSWERED
    })
    .await;

    // The others have not just been slow for too long: they are answered once their requests are whole.
    let mut answered = 0;

    for stranger in &mut held {
        stranger.set_nonblocking(false).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stranger
            .write_all(b"\r\n")
            .and_then(|()| stranger.read_to_end(&mut answer));
        answered += usize::from(answer.starts_with(b"HTTP/1.1 403 "));
    }

    assert!(
        (1..=ANSWERED).contains(&answered),
        "{answered} were answered"
    );
}

#[tokio::test]
async fn an_unopened_socket_refuses_connections_of_another_user() {
    let (_daemon, places, _folder) = reachable().await;
    let DaemonAddress::Socket(path) = places[1].clone() else {
        panic!("a socket")
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let of_other = path.clone();
    if let Some(connected) = as_other(move || UnixStream::connect(of_other).map(drop)) {
        assert_eq!(connected.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    assert!(UnixStream::connect(&path).is_ok());
}

#[tokio::test]
async fn status_sends_nothing_to_what_is_not_of_its_own_user() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "correct-horse-battery-staple").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let token = token.to_str().unwrap();

    // The second address stands for all, and leads to the first.
    for listen in ["127.0.0.1", "0.0.0.0"] {
        // Somebody else has taken the port.
        let listener = as_other(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let is_other = listener.is_some();
        let listener = listener.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port().to_string();

        let hear = move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = [0; 4096];
            stream.read(&mut received).unwrap_or_default()
        };

        // A connection belongs to whoever takes it in.
        let asked = thread::spawn(move || {
            if is_other {
                as_other(hear).unwrap()
            } else {
                hear()
            }
        });

        let arguments = ["--http", &port, "--listen", listen, "--token-file", token];
        let (code, stdout, stderr) = daemon::status(folder.path(), &arguments).await;
        let received = asked.join().unwrap();
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{stderr}"
        );

        if is_other {
            assert!(stderr.contains("another user"), "{stderr}");
            assert_eq!(received, 0, "bytes were sent to a stranger");
        } else {
            assert!(received > 0, "this user is asked");
        }
    }
}

#[tokio::test]
async fn status_run_by_another_user_gets_nothing_from_the_daemon() {
    if !geteuid().is_root() {
        skipped("only root can become another user");
    }

    let (daemon, _, folder) = reachable().await;

    // Where the other user may run it.
    let program = folder.path().join("mcp-ssh-sessions");
    fs::copy(daemon::program(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["status", "--http", &daemon.address.port().to_string()])
        .current_dir("/")
        .stdin(Stdio::null());

    if geteuid().is_root() {
        command.uid(OTHER).gid(OTHER);
    }

    let (code, stdout, stderr) = daemon::output(&mut command).await;

    if geteuid().is_root() {
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{stderr}"
        );
        assert!(stderr.contains("another user"), "{stderr}");
    } else {
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    }
}

/// A connection to a port of 127.0.0.1, from a port that is given or from any free one.
fn connected(from: u16, port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, from)).into())
        .unwrap();

    socket
        .connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        .unwrap();

    socket
}

#[tokio::test]
async fn a_call_of_a_user_who_left_is_not_taken_for_the_next_ones() {
    let host = TestHost::openssh();
    let daemon = host.daemon(&[]).await;
    let address = daemon.address.clone();
    let mut client = daemon.connected(Dialect::Stateless).await;
    client
        .call("ssh_connect", json!({"host": "host", "name": "second"}))
        .await
        .ok();

    client
        .call("ssh_set_default", json!({"session": "host"}))
        .await
        .ok();

    // The daemon takes nobody in until both have come.
    let stat = format!("/proc/{}/stat", daemon.pid());

    let stopped = || {
        fs::read_to_string(&stat)
            .unwrap()
            .rsplit(')')
            .next()
            .unwrap()
            .starts_with(" T")
    };

    daemon.signal("STOP");
    eventually("it stands still", stopped).await;
    let (port, text) = (address.port(), calling(&address, "second"));

    let left = as_other(move || {
        let mut stranger = connected(0, port);
        stranger.write_all(text.as_bytes()).unwrap();

        // Its end is reset; what it sent is delivered all the same.
        stranger.set_linger(Some(Duration::ZERO)).unwrap();

        stranger.local_addr().unwrap().as_socket().unwrap().port()
    });

    let Some(from) = left else { return };
    let mut follower = connected(from, port);
    daemon.signal("CONT");

    // It came later, and is served.
    let headers = [("Host", &*address.host()), ("Connection", "close")];
    follower
        .write_all(request("GET", "/health", &headers, "").as_bytes())
        .unwrap();

    let mut answer = String::new();
    follower.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let sessions = client
        .call("ssh_sessions", json!({}))
        .await
        .ok()
        .structured()["sessions"]
        .clone();

    let default = sessions
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["default"] == true)
        .unwrap();

    assert_eq!(
        default["name"], "host",
        "the call of another user was run: {sessions}"
    );
}
