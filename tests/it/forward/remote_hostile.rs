//! Servers that open channels for a remote forward as they like. No connection reaches this machine but those of the
//! forward, and the program stays well.

use std::{fs, io, time::Duration};

use mcp_ssh_sessions::forward::state::ForwardWay;
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

use super::{PATIENCE, remote::Lender};
use crate::support::{
    checks::eventually,
    fixture::TestHost,
    hostile_sshd::{HostileSshd, Peer, Script, message, string, text},
};

/// More connections than a forward has at the same time.
const MANY: usize = 3000;
/// The connections that a forward has at the same time.
const AT_ONCE: usize = 1024;

/// Lets the client in and grants its first remote forward; returns the port.
fn up_to_forward(peer: &mut Peer) -> io::Result<u32> {
    peer.let_in()?;
    loop {
        let request = peer.receive()?;
        match request[0] {
            90 => peer.grant(&request)?,
            80 if request[5..].starts_with(b"tcpip-forward") => {
                peer.send(&[81])?;
                let port = request[request.len() - 4..].try_into();
                return Ok(u32::from_be_bytes(port.expect("4 bytes")));
            }
            80 => peer.send(&[82])?,
            _ => {}
        }
    }
}

/// The server's wish for a channel.
fn open(kind: &str, rest: &[u8]) -> Vec<u8> {
    let numbers = [0, 0, 0, 7, 0, 32, 0, 0, 0, 0, 128, 0];
    message(90, &[&text(kind), &numbers, rest])
}

/// The same for a connection to a port of the host.
fn connection(address: &str, port: u32) -> Vec<u8> {
    let rest = [
        &text(address)[..],
        &port.to_be_bytes(),
        &text("192.0.2.7"),
        &[0, 0, 0, 9],
    ];
    open("forwarded-tcpip", &rest.concat())
}

/// A channel that the client has granted, by the client's number.
fn granted(peer: &mut Peer) -> io::Result<[u8; 4]> {
    let answer = peer.wait_for(91)?;
    Ok(answer[5..9].try_into().expect("4 bytes"))
}

/// A hostile server, a session with it, and a server on this machine with what it is lent as.
struct World {
    lender: Lender,
    here: TcpListener,
    to: String,
    _sshd: HostileSshd,
    _settings: TestHost<crate::support::fake_sshd::FakeSshd>,
}

async fn world(script: Script) -> World {
    let sshd = HostileSshd::start(script);
    let block = format!(
        "Host host\nHostName 127.0.0.1\nPort {}\nUser agent\n",
        sshd.port()
    );
    let world = TestHost::fake_with(
        crate::support::fake_sshd::FakeSshdSettings::default(),
        &block,
    );
    fs::write(world.folder().join("known_hosts"), sshd.known_hosts_line()).unwrap();

    let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
    World {
        lender: Lender::connect(&world.config).await,
        to: here.local_addr().unwrap().port().to_string(),
        here,
        _sshd: sshd,
        _settings: world,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_asked_for_is_connected() {
    let world = world(|peer| {
        let port = up_to_forward(peer)?;
        for wrong in [
            connection("127.0.0.1", port + 1),
            connection("127.0.0.1", port | 0x1_0000),
            connection("127.0.0.1", 0),
            connection("", port),
            connection("0.0.0.0", port),
            connection("192.0.2.1", port),
            open(
                "forwarded-streamlocal@openssh.com",
                &[text("/x"), text("")].concat(),
            ),
            open("session", &[]),
        ] {
            peer.send(&wrong)?;
            peer.wait_for(92)?;
        }

        peer.send(&connection("localhost", port))?;
        let channel = granted(peer)?;
        peer.send(&message(94, &[&channel, &text("fine")]))?;
        peer.send(&message(96, &[&channel]))?;
        peer.be_silent()
    })
    .await;
    let forward = world.lender.lend(&world.to, Some("8080")).await.unwrap();

    let accepted = timeout(PATIENCE, world.here.accept()).await.unwrap();
    let mut received = Vec::new();
    let mut stream = accepted.unwrap().0;
    stream.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"fine");
    assert_eq!(forward.state().counts.accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_are_limited_and_cost_no_link() {
    let world = world(|peer| {
        let port = up_to_forward(peer)?;
        peer.flood_for(&connection("127.0.0.1", port), MANY)?;
        for _ in AT_ONCE..MANY {
            peer.wait_for(92)?;
        }
        peer.be_silent()
    })
    .await;
    let forward = world.lender.lend(&world.to, Some("8080")).await.unwrap();

    let mut held = Vec::new();
    while held.len() < AT_ONCE {
        let accepted = timeout(PATIENCE, world.here.accept()).await.unwrap();
        held.push(accepted.unwrap().0);
    }
    eventually("all are counted", || forward.state().counts.open == AT_ONCE).await;
    assert_eq!(forward.state().way, ForwardWay::Open);
    let further = timeout(Duration::from_millis(200), world.here.accept());
    assert!(further.await.is_err());

    // An end of this side frees a place.
    drop(held);
    forward.close().await;
    assert!(world.lender.registry.forwards.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_midway_is_asked_again() {
    let world = world(|peer| {
        let port = up_to_forward(peer)?;
        peer.send(&connection("127.0.0.1", port))?;
        let channel = granted(peer)?;
        peer.send(&message(94, &[&channel, &string(&[b'x'; 1000])]))
    })
    .await;
    let forward = world.lender.lend(&world.to, Some("8080")).await.unwrap();

    for round in 1..=3 {
        let accepted = timeout(PATIENCE, world.here.accept()).await.unwrap();
        let mut stream = accepted.unwrap().0;
        let mut received = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut received)).await;
        // A reset may overtake what came before.
        assert!(ended.unwrap().is_err() && received.len() <= 1000);
        eventually("it is counted", || forward.state().counts.reset == round).await;
    }
}
