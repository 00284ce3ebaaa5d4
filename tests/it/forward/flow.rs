//! Slow programs, far ends that stall or flood, and many connections at once: every byte arrives, and commands are
//! answered meanwhile.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use mcp_ssh_sessions::{
    forward::state::ForwardWay, session::registry::SessionRegistry,
    ssh::command::remote_host::RemoteHost,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{PATIENCE, ask, echo, forward};
use crate::support::{
    checks::{eventually, eventually_within, random},
    fixture::{self, TestHost, host_of},
    hostile_sshd::{HostileSshd, message, text},
    link::Link,
};

const MIB: usize = 1024 * 1024;

/// Far more than waits anywhere between a far end that writes and a program that does not read.
const UNDERWAY: usize = 60 * MIB;

/// Waits until forwards have a connection of their own.
async fn lane(registry: &SessionRegistry) {
    let host = of_session(registry).await;
    eventually("a lane is there", || host.lanes() > 0).await;
}

async fn of_session(registry: &SessionRegistry) -> Arc<RemoteHost> {
    let session = fixture::session(registry, "host").await;
    host_of(&session).await
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// The port of a further forward of the same session.
async fn further(registry: &SessionRegistry, to: u16) -> u16 {
    let session = fixture::session(registry, "host").await;
    super::open(registry, &session, &to.to_string()).await.1
}

async fn answers(registry: &SessionRegistry) -> bool {
    of_session(registry).await.answers(PATIENCE).await
}

/// Sends mebibytes that all differ, counts them, and ends.
async fn send(mut far: TcpStream, mebibytes: usize, sent: Arc<AtomicUsize>) {
    let mut piece = vec![b'.'; MIB];
    for number in 0..mebibytes {
        piece[..8].copy_from_slice(&number.to_be_bytes());
        far.write_all(&piece).await.unwrap();
        sent.fetch_add(1, Ordering::Relaxed);
    }

    far.shutdown().await.unwrap();
}

/// Receives mebibytes and expects them in order.
async fn receive(client: &mut TcpStream, numbers: std::ops::Range<usize>) {
    let mut piece = vec![0; MIB];
    for number in numbers {
        let read = timeout(PATIENCE, client.read_exact(&mut piece)).await;
        read.unwrap().unwrap();
        assert_eq!(piece[..8], number.to_be_bytes());
        assert!(piece[8..].iter().all(|byte| *byte == b'.'));
    }
}

/// Waits until the counter stands still, and returns the count.
async fn settled(counter: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    loop {
        let now = counter.load(Ordering::Relaxed);
        if now > 0 && now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_program_slows_the_far_end_and_gets_every_byte() {
    const ALL: usize = 200;
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, of_far, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    let other = further(&registry, echo().await).await;
    lane(&registry).await;

    let mut client = connect(port).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(send(far.accept().await.unwrap().0, ALL, Arc::clone(&sent)));

    for read in [0, 70] {
        if read > 0 {
            receive(&mut client, 0..read).await;
        }
        let waiting = settled(&sent).await - read;
        assert!(waiting * MIB < UNDERWAY, "{waiting} MiB");
        assert!(answers(&registry).await);
        drop(ask(other).await);
    }

    receive(&mut client, 70..ALL).await;
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    sending.await.unwrap();
    assert_eq!(of_far.state().counts.reset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_lane_has_run_a_command() {
    let ran = tempfile::NamedTempFile::new().unwrap();
    let command = format!(
        "\nForceCommand echo \"$SSH_ORIGINAL_COMMAND\" >> {}; false\n",
        ran.path().display()
    );
    let host = TestHost::openssh_with(|settings| {
        settings.extra_config += &command;
    });
    let (registry, _forward, port) = forward(&host, &echo().await.to_string()).await;
    lane(&registry).await;

    // The session has asked for its login shell by a command, too.
    eventually("the lane runs its command", || {
        let commands = fs::read_to_string(ran.path()).unwrap();
        commands.lines().any(|line| line == "exit")
    })
    .await;
    drop(ask(port).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_sessions_has_lanes() {
    let host = TestHost::openssh_with(|settings| settings.max_sessions = 0);
    let (registry, _forward, port) = forward(&host, &echo().await.to_string()).await;
    lane(&registry).await;
    drop(ask(port).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_program_can_send_while_it_does_not_read() {
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, _forward, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    lane(&registry).await;

    let mut client = connect(port).await;
    let (mut from_client, mut to_client) = far.accept().await.unwrap().0.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let flood = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            while to_client.write_all(&vec![0; MIB]).await.is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    settled(&sent).await;

    let upload = random(8 * MIB);
    let received = tokio::spawn(async move {
        let mut received = vec![0; 8 * MIB];
        from_client.read_exact(&mut received).await.unwrap();
        received
    });
    let written = timeout(PATIENCE, client.write_all(&upload)).await;
    written.unwrap().unwrap();
    assert!(timeout(PATIENCE, received).await.unwrap().unwrap() == upload);

    drop(client);
    timeout(PATIENCE, flood).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_program_lets_the_others_on_its_lane_finish() {
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, of_far, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    lane(&registry).await;

    let mut slow = connect(port).await;
    let slow_far = far.accept().await.unwrap().0;
    let mut quick = connect(port).await;
    let quick_far = far.accept().await.unwrap().0;

    let sent = Arc::new(AtomicUsize::new(0));
    tokio::spawn(send(slow_far, 40, Arc::clone(&sent)));
    eventually("the slow one waits", || sent.load(Ordering::Relaxed) >= 24).await;
    tokio::spawn(send(quick_far, 40, Arc::default()));
    receive(&mut quick, 0..40).await;
    receive(&mut slow, 0..40).await;
    assert_eq!(of_far.state().counts.reset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_side_takes_a_throttled_lane_for_dead() {
    let mut host = TestHost::openssh_with(|settings| {
        settings.extra_config += "\nClientAliveInterval 3\nClientAliveCountMax 3\n";
    });
    host.config = host
        .sshd
        .write_ssh_config("host", "ServerAliveInterval 1\nServerAliveCountMax 2\n");
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, of_far, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    lane(&registry).await;

    let mut client = connect(port).await;
    let sent = Arc::new(AtomicUsize::new(0));
    tokio::spawn(send(far.accept().await.unwrap().0, 80, Arc::clone(&sent)));
    for _ in 0..7 {
        assert!(settled(&sent).await < 80);
    }

    receive(&mut client, 0..80).await;
    assert_eq!(of_far.state().counts.reset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_keepalive_finds_a_dead_server() {
    let mut host = TestHost::openssh();
    let link = Link::to(host.port, Duration::ZERO, &[]).await;
    host.config = host
        .sshd
        .write_ssh_config("host", "ServerAliveInterval 1\nServerAliveCountMax 2\n");
    for file in [host.config.clone(), host.sshd.known_hosts_path()] {
        let text = fs::read_to_string(&file).unwrap();
        let through_link = text.replace(&host.port.to_string(), &link.port().to_string());
        fs::write(&file, through_link).unwrap();
    }

    let (_registry, forward, _) = forward(&host, "1").await;
    assert_eq!(forward.state().way, ForwardWay::Open);
    link.stall_at(0);
    eventually("the server counts as dead", || {
        forward.state().way == ForwardWay::Reconnecting
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_end_that_stalls_stalls_nothing_else() {
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, _, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    let other = further(&registry, echo().await).await;

    let client = connect(port).await;
    let mut stalled = far.accept().await.unwrap().0;
    let sent = Arc::new(AtomicUsize::new(0));
    tokio::spawn(send(client, 80, Arc::clone(&sent)));
    assert!(settled(&sent).await * MIB < UNDERWAY);
    assert!(answers(&registry).await);
    drop(ask(other).await);

    receive(&mut stalled, 0..80).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_end_that_refuses_or_resets_ends_only_itself() {
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, of_far, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    let other = further(&registry, echo().await).await;

    let mut client = connect(port).await;
    let reset = far.accept().await.unwrap().0;
    reset.set_zero_linger().unwrap();
    drop(reset);
    let read = timeout(PATIENCE, client.read(&mut [0])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    drop(far);
    // The reset may come before the client has noticed its connection.
    let refused = async {
        TcpStream::connect(("127.0.0.1", port))
            .await?
            .read(&mut [0])
            .await
    };
    let read = timeout(PATIENCE, refused).await.unwrap();
    assert!(read.is_err(), "{read:?}");
    assert!(matches!(of_far.state().way, ForwardWay::Refused(_)));
    drop(ask(other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_single_bytes_takes_bounded_memory() {
    let sshd = HostileSshd::start(|peer| {
        peer.let_in()?;
        loop {
            let open = peer.wait_for(90)?;
            peer.grant(&open)?;
            if open.windows(12).any(|part| part == b"direct-tcpip") {
                let number = &open[17..21];
                peer.discard();
                peer.flood(&message(94, &[number, &text("x")]))?;
            }
        }
    });

    let mut host = TestHost::openssh();
    let known_hosts = host.local("known_hosts_of_hostile");
    fs::write(&known_hosts, sshd.known_hosts_line()).unwrap();
    let config = format!(
        "Host host\nHostName 127.0.0.1\nPort {}\nUser agent\nIdentityFile {}\nUserKnownHostsFile {}\n",
        sshd.port(),
        host.sshd.private_key_path().display(),
        known_hosts.display(),
    );
    host.config = host.local("config_of_hostile");
    fs::write(&host.config, config).unwrap();

    let (_registry, forward, port) = forward(&host, "1").await;
    // Counted without what each piece costs, the limit would be reached after minutes.
    let _client = connect(port).await;
    eventually_within(4 * PATIENCE, "the connection is reset", || {
        forward.state().counts.reset == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_at_once_are_all_served() {
    let host = TestHost::openssh();
    let (registry, of_echo, port) = forward(&host, &echo().await.to_string()).await;

    let clients = join_all((0..1000).map(|_| ask(port))).await;
    assert_eq!(of_echo.state().counts.open, 1000);
    assert!(answers(&registry).await);
    drop(clients);
    eventually("all are closed", || of_echo.state().counts.open == 0).await;
    assert_eq!(of_echo.state().counts.accepted, 1000);
    assert_eq!(of_echo.state().counts.reset, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_are_whole_and_commands_are_answered() {
    const STREAMS: usize = 60;
    let host = TestHost::openssh();
    let far = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (registry, of_far, port) = forward(&host, &far.local_addr().unwrap().to_string()).await;
    lane(&registry).await;

    let serving = tokio::spawn(async move {
        loop {
            let stream = far.accept().await.unwrap().0;
            tokio::spawn(send(stream, 2, Arc::default()));
        }
    });
    let over = Arc::new(AtomicBool::new(false));
    let commands = async {
        let mut answered = 0;
        while !over.load(Ordering::Relaxed) {
            assert!(answers(&registry).await);
            answered += 1;
        }
        answered
    };
    let streams = async {
        join_all((0..STREAMS).map(|_| async {
            let mut client = connect(port).await;
            receive(&mut client, 0..2).await;
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }))
        .await;
        over.store(true, Ordering::Relaxed);
    };

    let (answered, ()) = tokio::join!(commands, streams);
    assert!(answered > 0);
    assert_eq!(of_far.state().counts.reset, 0);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_after_every_kill_of_the_link() {
    let host = TestHost::openssh();
    let (_registry, of_echo, port) = forward(&host, &echo().await.to_string()).await;

    let mut asked = 0;
    for _ in 0..5 {
        for _ in 0..3 {
            drop(ask(port).await);
            asked += 1;
            let state = of_echo.state();
            assert_eq!(
                (state.way, state.counts.accepted),
                (ForwardWay::Open, asked)
            );
        }

        host.sshd.kill_connections();
        eventually("the list knows", || {
            of_echo.state().way == ForwardWay::Reconnecting
        })
        .await;
    }
}
