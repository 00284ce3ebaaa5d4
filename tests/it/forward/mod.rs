//! Local connections over channels of a host, against the real sshd: whole in both directions, and none in the way of
//! another.

mod bad_input;
mod config;
mod flow;
mod hint;
mod ownership;
mod remote;
mod remote_hostile;
mod tool;

use std::{path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use mcp_ssh_sessions::{
    forward::{
        address::ConnectAddress, listen::ListenAddress, refusal::Refusal, request::ForwardRequest,
        state::ForwardDirection,
    },
    openssh::destination::Destination,
    session::{
        caller::Caller,
        live::{LiveSession, forwards::forward::Forward},
        registry::SessionRegistry,
    },
    ssh::{
        auth::Credentials,
        command::remote_host::RemoteHost,
        config::target::Target,
        connect::{RouteCheck, UnknownHosts},
        forward::{
            channel::ForwardChannelError,
            listener::ForwardListener,
            relay::{RelayEnd, RelayedBytes, relay},
        },
        prompt::prompter::Prompter,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
use crate::support::other_user::as_other;
use crate::support::{
    checks::{eventually, random},
    fixture::{self, TestHost, host_of, registry},
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn host(sshd: &OpenSshd) -> Arc<RemoteHost> {
    let config: PathBuf = sshd.write_ssh_config("box", "");
    let target = Target {
        destination: Destination::parse("box").unwrap(),
        user: None,
        port: None,
        config_file: Some(config),
    };

    RemoteHost::open(
        &target,
        &Credentials::default(),
        &Prompter::default(),
        PATIENCE,
        UnknownHosts::AsConfigured,
        &RouteCheck::default(),
        &mcp_ssh_sessions::ssh::known_servers::KnownServers::default(),
    )
    .await
    .unwrap()
}

/// A connection through a forward: the client's end, the relay, its bytes, and what ends it.
struct Relayed {
    client: TcpStream,
    ended: JoinHandle<RelayEnd>,
    bytes: Arc<RelayedBytes>,
    closing: CancellationToken,
}

async fn relayed(host: &Arc<RemoteHost>, to: &str) -> Relayed {
    let listener = ForwardListener::open_any(None).await.unwrap();
    let ListenAddress::Port(port) = *listener.address() else {
        panic!("a port");
    };
    let client = TcpStream::connect(("127.0.0.1", port.get())).await.unwrap();
    let local = listener.accept().await;
    assert!(local.is_ours().await);

    let to = ConnectAddress::parse(to).unwrap();
    let channel = host.open_forward(&to).await.unwrap();
    let (bytes, closing) = (Arc::new(RelayedBytes::default()), CancellationToken::new());
    let ended = tokio::spawn({
        let (bytes, closing) = (Arc::clone(&bytes), closing.clone());
        async move {
            relay(
                local,
                channel,
                Bytes::from_static(b"early "),
                &bytes,
                &closing,
            )
            .await
        }
    });

    Relayed {
        client,
        ended,
        bytes,
        closing,
    }
}

async fn end(ended: JoinHandle<RelayEnd>) -> RelayEnd {
    timeout(PATIENCE, ended).await.expect("it ends").unwrap()
}

/// Sends, ends this direction, and only then gets an answer, which is whole.
async fn converse(mut relayed: Relayed, mut far: impl AsyncStream) {
    let answer = random(10 * 1024 * 1024);
    let sent = answer.clone();
    let server = tokio::spawn(async move {
        let mut question = Vec::new();
        far.read_to_end(&mut question).await.unwrap();
        far.write_all(&sent).await.unwrap();
        question
    });

    relayed.client.write_all(b"question").await.unwrap();
    relayed.client.shutdown().await.unwrap();
    let mut received = Vec::new();
    relayed.client.read_to_end(&mut received).await.unwrap();

    assert!(received == answer, "{} bytes", received.len());
    assert_eq!(server.await.unwrap(), b"early question");
    assert_eq!(end(relayed.ended).await, RelayEnd::Finished);
    assert_eq!(relayed.bytes.to.load(Ordering::Relaxed), 14);
    assert_eq!(relayed.bytes.from.load(Ordering::Relaxed), 10 * 1024 * 1024);
}

trait AsyncStream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> AsyncStream for T {}

#[tokio::test(flavor = "multi_thread")]
async fn ports_and_sockets_are_reached_and_half_closes_pass() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let host = host(&sshd).await;

    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else {
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let relayed = relayed(&host, &port.to_string()).await;
        converse(relayed, listener.accept().await.unwrap().0).await;
    }

    let path = sshd.dir().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let relayed = relayed(&host, path.to_str().unwrap()).await;
    converse(relayed, listener.accept().await.unwrap().0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_refusal_is_known() {
    let forbids = OpenSshdSettings {
        extra_config: "AllowTcpForwarding no\n".to_owned(),
        ..OpenSshdSettings::default()
    };

    for (settings, expected) in [
        (OpenSshdSettings::default(), Refusal::ConnectFailed),
        (forbids, Refusal::Forbidden),
    ] {
        let sshd = OpenSshd::start(&settings);
        let host = host(&sshd).await;
        // Bound and not listening, so that nobody answers and nobody takes the port.
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let to = ConnectAddress::parse(&port.to_string()).unwrap();

        let error = host.open_forward(&to).await.unwrap_err();
        assert!(
            matches!(error, ForwardChannelError::Refused(refusal) if refusal == expected),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_program_delays_nothing_else() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let host = host(&sshd).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();

    let stalled = relayed(&host, &to).await;
    let mut far = listener.accept().await.unwrap().0;
    let content = random(24 * 1024 * 1024);
    timeout(PATIENCE, far.write_all(&content))
        .await
        .unwrap()
        .unwrap();

    assert!(host.answers(Duration::from_secs(10)).await);
    let other = relayed(&host, &to).await;
    converse(other, listener.accept().await.unwrap().0).await;

    far.shutdown().await.unwrap();
    let mut received = Vec::new();
    let mut client = stalled.client;
    client.write_all(b"still here").await.unwrap();
    timeout(PATIENCE, client.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    assert!(received == content, "{} bytes", received.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_takes_nothing_is_reset_at_the_limit() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let host = host(&sshd).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stalled = relayed(&host, &listener.local_addr().unwrap().to_string()).await;
    let mut far = listener.accept().await.unwrap().0;

    let flood =
        tokio::spawn(async move { while far.write_all(&vec![0; 1 << 20]).await.is_ok() {} });
    assert_eq!(end(stalled.ended).await, RelayEnd::TooSlow);
    timeout(PATIENCE, flood).await.unwrap().unwrap();
    assert!(host.answers(Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_and_a_closed_forward_reset_the_program() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap().to_string();

    for expected in [RelayEnd::Closed, RelayEnd::LinkLost] {
        let host = host(&sshd).await;
        let mut relayed = relayed(&host, &to).await;
        let _far = listener.accept().await.unwrap();

        if expected == RelayEnd::Closed {
            relayed.closing.cancel();
        } else {
            sshd.kill_connections();
        }

        assert_eq!(end(relayed.ended).await, expected);
        let error = relayed.client.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

/// A forward of a session to `to`, with its registry and its port.
async fn forward(host: &TestHost<OpenSshd>, to: &str) -> (Arc<SessionRegistry>, Arc<Forward>, u16) {
    let registry = registry(&host.config);
    let session = fixture::session(&registry, "host").await;
    let (forward, port) = open(&registry, &session, to).await;

    (registry, forward, port)
}

/// A forward of this session, and its port.
async fn open(
    registry: &SessionRegistry,
    session: &Arc<LiveSession>,
    to: &str,
) -> (Arc<Forward>, u16) {
    let request = ForwardRequest {
        to: ConnectAddress::parse(to).unwrap(),
        listen: None,
        direction: ForwardDirection::Local,
    };
    let host = host_of(session).await;
    let permit = session.permit(request, &Caller::default()).await.unwrap();
    let opened = registry.forwards.open(session, &host, permit, None).await;
    let forward = opened.unwrap().0;
    let ListenAddress::Port(port) = forward.state().listen else {
        panic!("a port");
    };

    (forward, port.get())
}

/// A server that sends back what each connection sends, and its port.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });

    port
}

/// Sends a line over a new connection and expects it back.
async fn ask(port: u16) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"line").await.unwrap();
    let mut answer = [0; 4];
    let read = timeout(PATIENCE, client.read_exact(&mut answer)).await;
    read.unwrap().unwrap();
    assert_eq!(&answer, b"line");
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_survives_its_link() {
    let host = TestHost::openssh();
    let port = echo().await;
    let (registry, forward, listen) = forward(&host, &port.to_string()).await;

    for round in 1..=3 {
        let mut client = ask(listen).await;
        host.sshd.kill_connections();
        let error = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
        assert_eq!(
            error.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
        eventually("the reset is counted", || {
            forward.state().counts.reset == round
        })
        .await;
    }

    drop(ask(listen).await);
    eventually("no connection is open", || forward.state().counts.open == 0).await;
    assert_eq!(forward.state().counts.accepted, 4);
    assert_eq!(
        forward.state().to_string(),
        format!(
            "f1 · 127.0.0.1:{listen} → host 127.0.0.1:{port} · 0 of 4 connections open · 3 reset · 16 B out, 16 B in"
        )
    );

    registry.disconnect(Some("host"), false).await.unwrap();
    let error = std::net::TcpStream::connect(("127.0.0.1", listen)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(registry.forwards.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socks_client_names_the_address() {
    let host = TestHost::openssh();
    let port = echo().await;
    let (_registry, forward, listen) = forward(&host, "socks").await;

    for (name, code) in [("localhost", 0), ("no.such.name.invalid", 4)] {
        let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
        let mut request = b"\x05\x01\0\x05\x01\0\x03".to_vec();
        request.push(u8::try_from(name.len()).unwrap());
        request.extend(name.as_bytes());
        request.extend(port.to_be_bytes());
        client.write_all(&request).await.unwrap();

        let mut reply = [0; 12];
        let read = timeout(PATIENCE, client.read_exact(&mut reply)).await;
        read.unwrap().unwrap();
        assert_eq!(reply, [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0], "{name}");
        if code == 0 {
            client.write_all(b"ping").await.unwrap();
            client.read_exact(&mut reply[..4]).await.unwrap();
            assert_eq!(&reply[..4], b"ping");
        } else {
            assert_eq!(client.read(&mut reply).await.unwrap(), 0);
        }
    }

    let mut client = TcpStream::connect(("127.0.0.1", listen)).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(forward.state().counts.accepted, 3);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_reset_before_a_byte_reaches_the_host() {
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = far.local_addr().unwrap().to_string();
    let (_registry, forward, listen) = forward(&host, &to).await;

    let read = tokio::task::spawn_blocking(move || {
        as_other(move || {
            use std::io::{Read as _, Write as _};
            let mut client = std::net::TcpStream::connect(("127.0.0.1", listen)).unwrap();
            // The first call after the reset returns the error, and no later one does.
            let asked = client.write_all(b"attack");
            asked.and_then(|()| client.read(&mut [0]))
        })
    })
    .await
    .unwrap();

    let Some(read) = read else { return };
    let error = read.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let counts = forward.state().counts;
    assert_eq!(
        (counts.strangers, counts.accepted, counts.bytes_to),
        (1, 0, 0)
    );
    assert!(
        timeout(Duration::from_millis(200), far.accept())
            .await
            .is_err()
    );
}

/// A port that is free here, from a range that the system takes for nothing else.
fn free_port() -> u16 {
    loop {
        let bytes = random(2);
        let port = 12_000 + u16::from_le_bytes([bytes[0], bytes[1]]) % 20_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
