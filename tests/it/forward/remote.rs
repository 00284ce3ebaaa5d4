//! Remote forwards against the real sshd: the host listens, and connections lead to this machine.

use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

use mcp_ssh_sessions::{
    forward::{
        address::ConnectAddress,
        listen::ListenAddress,
        refusal::ListenRefusal,
        request::ForwardRequest,
        state::{ForwardDirection, ForwardWay},
    },
    session::{
        caller::Caller,
        live::{
            LiveSession,
            forwards::{ForwardError, forward::Forward},
        },
        registry::SessionRegistry,
        work::Connecting,
    },
    ssh::forward::remote::RemoteListenError,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    time::timeout,
};

use super::{AsyncStream, PATIENCE, ask, echo, free_port};
use crate::support::{
    checks::{eventually, random},
    fixture::{self, TestHost, host_of, registry},
    link::{Break, Direction, Link},
    mcp_client::McpClient,
    open_sshd::OpenSshd,
    questions::{answer_question, client_with, result},
    ssh_agent::SshAgent,
};

/// A session and its registry.
pub(super) struct Lender {
    pub(super) registry: Arc<SessionRegistry>,
    pub(super) session: Arc<LiveSession>,
}

impl Lender {
    /// Connects the session `host` of this configuration.
    pub(super) async fn connect(config: &Path) -> Self {
        let registry = registry(config);
        let session = fixture::session(&registry, "host").await;

        Self { registry, session }
    }

    /// Lends an address of this machine to the host, which listens at `listen`.
    pub(super) async fn lend(
        &self,
        to: &str,
        listen: Option<&str>,
    ) -> Result<Arc<Forward>, ForwardError> {
        let request = ForwardRequest {
            to: ConnectAddress::parse(to).unwrap(),
            listen: listen.map(|listen| ListenAddress::parse(listen).unwrap()),
            direction: ForwardDirection::Remote,
        };
        let host = host_of(&self.session).await;
        let permit = self.session.permit(request, &Caller::default()).await;
        let forwards = &self.registry.forwards;
        let opened = forwards
            .open(&self.session, &host, permit.unwrap(), None)
            .await;
        opened.map(|(forward, _)| forward)
    }
}

/// The port at which the host listens.
pub(super) fn port(forward: &Forward) -> u16 {
    match forward.state().listen {
        ListenAddress::Port(port) => port.get(),
        ListenAddress::Socket(path) => panic!("a port, not {path}"),
    }
}

/// A port at which nobody listens, and which nobody takes meanwhile: it is bound.
fn closed_port() -> (std::net::UdpSocket, u16) {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    (taken, port)
}

/// Sends, ends this direction, and only then gets an answer, which is whole.
async fn converse(mut client: impl AsyncStream, mut server: impl AsyncStream) {
    let content = random(10 * 1024 * 1024);
    let sent = content.clone();

    let serving = tokio::spawn(async move {
        let mut question = Vec::new();
        server.read_to_end(&mut question).await.unwrap();
        server.write_all(&sent).await.unwrap();
        question
    });

    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer == content, "{} bytes", answer.len());
    assert_eq!(serving.await.unwrap(), b"question");
}

/// Connects at the host and expects that nobody serves the connection.
async fn assert_refused(at: u16) {
    let Ok(mut client) = TcpStream::connect(("127.0.0.1", at)).await else {
        return;
    };
    let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

/// Nobody listens at the port of the host.
fn is_free(at: u16) -> bool {
    let connected = std::net::TcpStream::connect(("127.0.0.1", at));
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// The state of the only forward, as the list shows it.
fn line(lender: &Lender) -> String {
    lender.registry.forwards.list()[0].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_half_closes_pass_both_ways() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().port();
    let forward = lender.lend(&to.to_string(), None).await.unwrap();
    let at = port(&forward);
    // The host is this machine, so the same number is taken.
    assert_ne!(at, to);

    for server_ends_first in [false, true] {
        let client = TcpStream::connect(("127.0.0.1", at)).await.unwrap();
        let server = listener.accept().await.unwrap().0;
        if server_ends_first {
            converse(server, client).await;
        } else {
            converse(client, server).await;
        }
    }

    eventually("the connections have ended", || {
        forward.state().counts.open == 0
    })
    .await;
    let counts = forward.state().counts;
    assert_eq!((counts.accepted, counts.reset, counts.failed), (2, 0, 0));
    let all = 10 * 1024 * 1024 + 8;
    assert_eq!((counts.bytes_to, counts.bytes_from), (all, all));
    let begins = format!("f1 · host 127.0.0.1:{at} → this machine 127.0.0.1:{to} · 0 of 2");
    assert!(line(&lender).starts_with(&begins), "{}", line(&lender));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_on_both_sides_are_connected() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let (to, at) = (host.local("agent"), host.remote("at"));
    let _agent = SshAgent::start(&to).await;

    let forward = lender
        .lend(to.to_str().unwrap(), Some(at.to_str().unwrap()))
        .await
        .unwrap();
    let mut client = UnixStream::connect(&at).await.unwrap();
    // The request for the keys, of which the agent has none.
    client.write_all(b"\0\0\0\x01\x0b").await.unwrap();
    let mut answer = [0; 9];
    let read = timeout(PATIENCE, client.read_exact(&mut answer)).await;
    read.unwrap().unwrap();
    assert_eq!(&answer, b"\0\0\0\x05\x0c\0\0\0\0");

    // The host has its file again, so that the same path can be lent again.
    forward.close().await;
    assert!(UnixStream::connect(&at).await.is_err());
    lender
        .lend(to.to_str().unwrap(), Some(at.to_str().unwrap()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_at_this_end_refuses_the_client_and_is_listed() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let ((_to, to), at) = (closed_port(), free_port());
    let forward = lender
        .lend(&to.to_string(), Some(&at.to_string()))
        .await
        .unwrap();
    // The number that was asked for.
    assert_eq!(port(&forward), at);

    assert_refused(at).await;
    eventually("it is counted", || forward.state().counts.failed == 1).await;
    let refuses = " · this machine refuses: nothing answers there · 0 of 1";
    assert!(line(&lender).contains(refuses), "{}", line(&lender));

    let listener = TcpListener::bind(("127.0.0.1", to)).await.unwrap();
    let client = TcpStream::connect(("127.0.0.1", at)).await.unwrap();
    let server = listener.accept().await.unwrap().0;
    converse(client, server).await;
    assert_eq!(forward.state().way, ForwardWay::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_why_the_host_does_not_listen_is_known() {
    let refuses = |option: &'static str| {
        TestHost::openssh_with(|settings| settings.extra_config.push_str(&["\n", option].concat()))
    };
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = busy.local_addr().unwrap().port();

    for (host, listen, expected) in [
        (refuses("AllowTcpForwarding no"), None, "forbids"),
        (refuses("AllowTcpForwarding local"), Some(taken), "forbids"),
        (refuses("PermitListen none"), None, "forbids"),
        (TestHost::openssh(), Some(taken), "is taken"),
    ] {
        let lender = Lender::connect(&host.config).await;
        let listen = listen.map(|port| port.to_string());
        let error = lender.lend("3000", listen.as_deref()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(lender.registry.forwards.list().is_empty());
    }
    drop(busy);

    let host = refuses("AllowStreamLocalForwarding no");
    let lender = Lender::connect(&host.config).await;
    let error = lender.lend("3000", Some("/tmp/x")).await.unwrap_err();
    assert!(
        matches!(
            error,
            ForwardError::RemoteListen(RemoteListenError::Refused(ListenRefusal::Socket))
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_disconnecting_end_what_the_host_listens_at() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let to = echo().await.to_string();

    for disconnects in [false, true] {
        let forward = lender.lend(&to, None).await.unwrap();
        let at = port(&forward);
        let mut client = ask(at).await;

        if disconnects {
            let registry = &lender.registry;
            registry.disconnect(Some("host"), false).await.unwrap();
        } else {
            forward.close().await;
        }
        assert!(lender.registry.forwards.list().is_empty());
        let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        eventually("the host listens no more", || is_free(at)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_listens_again_after_each_lost_link() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let forward = lender.lend(&echo().await.to_string(), None).await.unwrap();
    let at = port(&forward);

    for round in 1..=3 {
        let mut client = ask(at).await;
        host.sshd.kill_connections();
        let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

        // Nobody calls anything.
        eventually("the host listens again", || {
            forward.state().way == ForwardWay::Open
        })
        .await;
        assert_eq!(port(&forward), at);
        eventually("the reset is counted", || {
            forward.state().counts.reset == round
        })
        .await;
    }

    drop(ask(at).await);
    assert_eq!(forward.state().counts.accepted, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_dead_link_is_asked_for_until_it_is_free() {
    let host = TestHost::openssh_with(|settings| {
        settings.extra_config += "\nClientAliveInterval 5\nClientAliveCountMax 1";
    });
    let link = Link::to(host.port, Duration::ZERO, &[]).await;
    let through = format!(
        "Port {}\nHostKeyAlias [127.0.0.1]:{}\nServerAliveInterval 1\nServerAliveCountMax 1",
        link.port(),
        host.port
    );
    let lender = Lender::connect(&host.sshd.write_ssh_config("host", &through)).await;
    let forward = lender.lend(&echo().await.to_string(), None).await.unwrap();
    let at = port(&forward);
    drop(ask(at).await);

    // The server does not notice that this link is dead, and holds the port.
    link.break_after(Direction::Down, 1, Break::Stall);
    eventually("the host refuses", || {
        matches!(forward.state().way, ForwardWay::NotListening(_))
    })
    .await;
    let refuses = format!("host refuses: port {at} on the host is taken");
    assert!(line(&lender).contains(&refuses) || forward.state().way == ForwardWay::Open);

    eventually("the host listens again", || {
        forward.state().way == ForwardWay::Open
    })
    .await;
    assert_eq!(port(&forward), at);
    drop(ask(at).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_log_in_takes_the_port_along() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let forward = lender.lend(&echo().await.to_string(), None).await.unwrap();
    let at = port(&forward);
    let mut old = ask(at).await;

    let caller = Caller::default();
    let permit = lender.session.permit(Connecting, &caller).await.unwrap();
    let session = &lender.session;
    session
        .reconnect(true, None, &permit, &caller)
        .await
        .unwrap();

    // The old connection lives on, because bytes still pass over it.
    old.write_all(b"more").await.unwrap();
    old.read_exact(&mut [0; 4]).await.unwrap();
    drop(old);
    eventually("the old connection has gone", || {
        host.sshd.serving().len() <= 2 && forward.state().way == ForwardWay::Open
    })
    .await;
    drop(ask(at).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_for_good_is_shown_and_the_next_call_helps() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let forward = lender.lend(&echo().await.to_string(), None).await.unwrap();
    let at = port(&forward);

    let keys = host.sshd.dir().join("authorized_keys");
    let kept = std::fs::read(&keys).unwrap();
    std::fs::write(&keys, "").unwrap();
    host.sshd.kill_connections();
    eventually("it waits for a call", || {
        matches!(forward.state().way, ForwardWay::Disconnected(_))
    })
    .await;
    assert!(
        line(&lender).contains("not connected: "),
        "{}",
        line(&lender)
    );

    std::fs::write(&keys, kept).unwrap();
    host_of(&lender.session).await;
    eventually("the host listens again", || {
        forward.state().way == ForwardWay::Open
    })
    .await;
    drop(ask(at).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_and_many_clients_delay_nothing_else() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let stalled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalls = lender
        .lend(&stalled.local_addr().unwrap().port().to_string(), None)
        .await
        .unwrap();
    let forward = lender.lend(&echo().await.to_string(), None).await.unwrap();
    let at = port(&forward);

    let mut flooding = TcpStream::connect(("127.0.0.1", port(&stalls)))
        .await
        .unwrap();
    let _unread = stalled.accept().await.unwrap().0;
    let content = random(16 * 1024 * 1024);
    let written = timeout(PATIENCE, flooding.write_all(&content)).await;
    written.unwrap().unwrap();

    let clients = futures_util::future::join_all((0..300).map(|_| ask(at))).await;
    assert_eq!(forward.state().counts.open, 300);
    let connected = host_of(&lender.session).await;
    assert!(connected.answers(Duration::from_secs(10)).await);
    drop(clients);
    eventually("all have ended", || forward.state().counts.open == 0).await;
    assert_eq!(forward.state().counts.reset, 0);
    assert_eq!(stalls.state().counts.open, 1);
}

/// The reply of a SOCKS proxy at the host, and the connection.
async fn by_socks(at: u16, name: &str, to: u16, more: &[u8]) -> (Option<u8>, TcpStream) {
    let mut client = TcpStream::connect(("127.0.0.1", at)).await.unwrap();
    let mut request = b"\x05\x01\0\x05\x01\0\x03".to_vec();
    request.push(u8::try_from(name.len()).unwrap());
    request.extend(name.as_bytes());
    request.extend(to.to_be_bytes());
    request.extend(more);
    client.write_all(&request).await.unwrap();

    let mut reply = [0; 12];
    let read = timeout(PATIENCE, client.read_exact(&mut reply)).await;
    let code = read.unwrap().ok().map(|_| reply[3]);
    (code, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_client_at_the_host_reaches_what_this_machine_reaches() {
    let host = TestHost::openssh();
    let lender = Lender::connect(&host.config).await;
    let forward = lender.lend("socks", None).await.unwrap();
    let at = port(&forward);
    let to = echo().await;

    let (code, mut client) = by_socks(at, "localhost", to, b"").await;
    assert_eq!(code, Some(0));
    client.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");

    let (_taken, closed) = closed_port();
    for (name, to, more, expected) in [
        // This program's own port is closed to hosts.
        ("localhost", 7722, &b""[..], Some(2)),
        ("127.0.0.1", closed, b"", Some(4)),
        ("no.such.name.invalid", to, b"", Some(4)),
        // A client that does not wait for the reply could block the link.
        ("localhost", to, b"early", None),
    ] {
        let (code, mut client) = by_socks(at, name, to, more).await;
        assert_eq!(code, expected, "{name}:{to}");
        let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{name}:{to}: {read:?}");
    }
    assert!(
        line(&lender).contains("socks5h://127.0.0.1"),
        "{}",
        line(&lender)
    );
}

pub(super) fn forms() -> Value {
    json!({"elicitation": {"form": {}}})
}

pub(super) async fn client(host: &TestHost<OpenSshd>, capabilities: Value) -> McpClient {
    let mut client = client_with(capabilities, &host.config, host.folder()).await;
    let call = client
        .begin_call("ssh_connect", json!({"host": "host"}))
        .await;
    client.finish(call).await.ok();
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_allows_an_address_once_a_session() {
    let host = TestHost::openssh();
    let mut client = client(&host, forms()).await;
    let to = echo().await;
    let at = free_port();
    let arguments = json!({"to": to, "direction": "remote", "listen": at});

    let call = client.begin_call("ssh_forward", arguments.clone()).await;
    let yes = json!({"action": "accept", "content": {"allow": true}});
    let question = answer_question(&mut client, yes).await;
    let text = question["message"].as_str().unwrap();
    for part in [
        &format!("\n127.0.0.1:{to}\n"),
        "wants to let",
        "@127.0.0.1",
        "of this machine",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let answer = result(&mut client, call).await.ok().text();
    assert!(
        answer.starts_with(&format!(
            "[f1 · host 127.0.0.1:{at} → this machine 127.0.0.1:{to}"
        )),
        "{answer}"
    );
    drop(ask(at).await);

    let call = client
        .begin_call("ssh_forward", json!({"close": "f1"}))
        .await;
    result(&mut client, call).await.ok();
    assert_refused(at).await;
    let call = client.begin_call("ssh_forward", arguments).await;
    result(&mut client, call).await.ok();
    drop(ask(at).await);

    // Another address is another question.
    let more = json!({"to": "/run/docker.sock", "direction": "remote"});
    let call = client.begin_call("ssh_forward", more).await;
    let question = answer_question(&mut client, json!({"action": "decline"})).await;
    let text = question["message"].as_str().unwrap();
    for part in ["\n/run/docker.sock\n", "controls the containers"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(result(&mut client, call).await.is_error());
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_but_a_yes_lends_nothing() {
    let host = TestHost::openssh();
    let mut client = client(&host, forms()).await;

    for answer in [
        json!({"action": "decline"}),
        json!({"action": "cancel"}),
        json!({"action": "accept", "content": {"allow": false}}),
        json!({"action": "accept", "content": {"trust": true}}),
    ] {
        let arguments = json!({"to": "socks", "direction": "remote"});
        let call = client.begin_call("ssh_forward", arguments).await;
        let question = answer_question(&mut client, answer).await;
        let text = question["message"].as_str().unwrap();
        assert!(
            text.contains("everything that this machine reaches"),
            "{text}"
        );
        let refused = result(&mut client, call).await;
        assert!(refused.is_error());
        assert!(
            refused.text().contains("the user refused"),
            "{}",
            refused.text()
        );
    }

    let call = client.begin_call("ssh_forward", json!({})).await;
    let list = result(&mut client, call).await.text();
    assert!(list.starts_with("no forwards"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_ask_means_no_and_names_the_line_of_ssh_config() {
    let host = TestHost::openssh();
    let mut client = client(&host, json!({})).await;

    for (arguments, expected) in [
        (json!({"to": 3000}), "`RemoteForward 3000 127.0.0.1:3000`"),
        (
            json!({"to": "db:5432", "listen": 8080}),
            "`RemoteForward 8080 db:5432`",
        ),
        (
            json!({"to": "/run/x", "listen": "/tmp/y"}),
            "`RemoteForward /tmp/y /run/x`",
        ),
        (
            json!({"to": "socks", "listen": 1080}),
            "`RemoteForward 1080`",
        ),
        // The address is never lent, so the hint names no way to lend it.
        (json!({"to": 7722}), "never lent"),
        (json!({"to": "localhost:7722"}), "never lent"),
    ] {
        let mut arguments = arguments;
        arguments["direction"] = "remote".into();
        let call = client.begin_call("ssh_forward", arguments).await;
        let refused = result(&mut client, call).await;
        assert!(refused.is_error());
        assert!(refused.text().contains(expected), "{}", refused.text());
    }
}
