//! Local connections over channels of a host, against the real sshd: whole in both directions, and none in the way of
//! another.

use std::{path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use mcp_ssh_sessions::{
    forward::{address::ConnectAddress, listen::ListenAddress, refusal::Refusal},
    openssh::destination::Destination,
    ssh::{
        auth::Credentials,
        command::remote_host::RemoteHost,
        config::target::Target,
        connect::UnknownHosts,
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

use crate::support::{
    checks::random,
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
async fn ports_and_sockets_of_the_host_are_reached_and_half_closes_pass() {
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

    let flood = tokio::spawn(async move { while far.write_all(&[0; 1 << 20]).await.is_ok() {} });
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
