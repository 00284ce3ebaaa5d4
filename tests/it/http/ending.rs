//! How the daemon ends, what it ends with it, and how it starts again.

use std::{net::TcpListener, path::Path, time::Duration};

use serde_json::json;
use tokio::process::Command;

use super::{bare, health};
use crate::support::{
    checks::eventually,
    daemon::{self, Daemon},
    fixture::TestHost,
    http_client::{Dialect, HttpClient},
    processes,
    wire::DaemonAddress,
};

/// Two seconds are promised; a busy machine may take this much.
const SECONDS: Duration = Duration::from_secs(6);

#[tokio::test]
async fn each_ending_signal_stops_the_work_and_closes_all_connections() {
    for signal in ["TERM", "INT", "HUP"] {
        let host = TestHost::openssh();
        let mut daemon = host.daemon(&[]).await;
        let mut clients = Vec::new();
        let mut running = Vec::new();

        for (number, dialect) in Dialect::KINDS.into_iter().enumerate() {
            let mut client = daemon.connected(dialect).await;
            let marker = format!("740{number}");

            running.push(
                client
                    .begin_call(
                        "ssh_exec",
                        json!({"command": format!("sleep {marker}; true")}),
                    )
                    .await,
            );

            eventually("the command runs", || host.runs(&marker)).await;
            clients.push(client);
        }

        let mut idle = daemon.client(Dialect::Session("2025-11-25")).await;
        let mut stream = idle.send("GET", &[("Accept", "text/event-stream")]).await;
        assert_eq!(stream.head().await.unwrap().status, 200);
        let _second = daemon.client(Dialect::Legacy).await;
        let (status, took) = daemon.end(signal).await;
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(took < SECONDS, "SIG{signal}: {took:?}");
        eventually("no command is left", || {
            (0..3).all(|number| !host.runs(&format!("740{number}")))
        })
        .await;

        eventually("no log-in is left", || {
            processes::of_connections_to(host.sshd.port()).is_empty()
        })
        .await;

        // Those who waited for an answer learn of the end, whether with an answer or without.
        stream.end().await;

        for (client, mut pending) in clients.iter_mut().zip(running) {
            match &mut pending.wire {
                Some(wire) => wire.end().await,
                None => client.end().await,
            }
        }

        idle.session = None;
    }
}

#[tokio::test]
async fn two_signals_end_it_as_one_does() {
    let (mut daemon, _folder) = bare(&[]).await;
    let _legacy = HttpClient::connect(&daemon.address, Dialect::Legacy).await;
    daemon.signal("INT");
    let (status, took) = daemon.end("TERM").await;
    assert!(status.success() && took < SECONDS, "{status} {took:?}");
}

#[tokio::test]
async fn a_daemon_that_shall_outlive_its_terminal_does() {
    let folder = tempfile::tempdir().unwrap();
    let program = daemon::command(Path::new("/dev/null"), folder.path());
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" HUP; exec "$@""#, "sh"])
        .arg(program.as_std().get_program());

    command
        .args(program.as_std().get_args())
        .args(["--http", "0"])
        .env("HOME", folder.path());

    let mut daemon = Daemon::run(&mut command, folder.path()).await;
    daemon.signal("HUP");

    // A signal that was delivered before a connection was made has been seen when that is answered.
    for _ in 0..3 {
        assert_eq!(health(&daemon.address).await["status"], "ok");
    }

    let (status, took) = daemon.end("TERM").await;
    assert!(status.success() && took < SECONDS, "{status} {took:?}");
}

#[tokio::test]
async fn a_taken_port_is_one_line_and_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut command = daemon::command(Path::new("/dev/null"), folder.path());
    let (status, stdout, stderr) = daemon::output(command.args(["--http", &port])).await;
    assert_eq!(
        (status, stdout.as_str(), stderr.lines().count()),
        (Some(1), "", 1),
        "{stderr}"
    );

    assert!(
        stderr.starts_with("mcp-ssh-sessions: ")
            && stderr.contains(&format!("127.0.0.1:{port} is taken")),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_wrong_address_is_one_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (vec!["--http", "70000"], "70000"),
        (vec!["--http", "-1"], "-1"),
        (vec!["--http", "0", "--listen", "localhost"], "localhost"),
        (vec!["--listen", "127.0.0.1"], "--http"),
        (vec!["--http", "0", "nonsense"], "nonsense"),
    ] {
        let mut command = daemon::command(Path::new("/dev/null"), folder.path());
        let (status, stdout, stderr) = daemon::output(command.args(&arguments)).await;
        assert_eq!(
            (status, stdout.as_str(), stderr.lines().count()),
            (Some(2), "", 1),
            "{arguments:?}: {stderr}"
        );

        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn it_can_be_started_again_at_once_and_its_clients_come_back() {
    let host = TestHost::openssh();
    let mut daemon = host.daemon(&[]).await;
    let port = daemon.address.port().to_string();
    let session = daemon.connected(Dialect::Session("2025-11-25")).await;
    let _legacy = daemon.client(Dialect::Legacy).await;
    daemon.end("TERM").await;

    let mut command = daemon::command(&host.config, host.folder());
    let daemon = Daemon::run(command.args(["--http", &port]), host.folder()).await;
    assert_eq!(daemon.address, DaemonAddress::Tcp(port.parse().unwrap()));
    let mut back = HttpClient::come_back(&daemon.address).await;
    let said = back
        .call("ssh_exec", json!({"command": "echo back"}))
        .await
        .ok();

    assert_eq!(
        said.stdout(),
        "back\n",
        "the saved session connects by itself"
    );

    // Others are told to begin anew.
    assert_eq!(
        session
            .notify("notifications/initialized", json!({}))
            .await
            .status,
        404
    );

    let mut stateless = daemon.client(Dialect::Stateless).await;
    stateless
        .call("ssh_exec", json!({"command": "true"}))
        .await
        .ok();
}
