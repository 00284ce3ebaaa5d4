//! The addresses on which a daemon listens, and whether it may.

use std::{net::TcpListener, os::fd::OwnedFd, path::Path, process::Stdio};

use rustix::process::geteuid;
use tokio::{net::TcpStream, process::Command};

use super::{health, socket::with_socket};
use crate::support::{
    checks::skipped,
    daemon::{self, Daemon},
    other_user::as_other,
    wire::soon,
};

/// The addresses that a daemon says it is ready on.
fn addresses(daemon: &Daemon) -> Vec<String> {
    let log = daemon.log();
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("mcp-ssh-sessions: ready on "))
        .expect("it is ready");
    line.split(" and ").map(str::to_owned).collect()
}

/// Whether this machine has IPv6.
fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        skipped("this machine has no IPv6; run the tests on one that has to see ::1 served");
    }
    has
}

/// Runs a shell script, in the end of which the program takes the place of the shell, in namespaces of its own.
fn in_namespace(kind: &str, script: &str, folder: &Path, arguments: &[&str]) -> Command {
    let program = daemon::command(Path::new("/dev/null"), folder);
    let mut command = Command::new("unshare");
    command
        .args([kind, "sh", "-c", script, "sh"])
        .arg(program.as_std().get_program());

    command.args(program.as_std().get_args()).args(arguments);

    for (name, value) in program.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }

    command
}

/// Whether this user may make such a namespace.
async fn may_unshare(kind: &str) -> bool {
    let tried = Command::new("unshare")
        .args([kind, "true"])
        .stderr(Stdio::null())
        .status();

    let may = soon(tried).await.is_ok_and(|status| status.success());
    if !may {
        skipped(&format!(
            "unshare {kind} is not possible here; run the tests as root, outside of a container"
        ));
    }

    may
}

#[tokio::test]
async fn one_port_serves_both_loopback_addresses_unless_one_is_named() {
    if !has_ipv6() {
        return;
    }

    let folder = tempfile::tempdir().unwrap();
    for (arguments, hosts) in [
        (vec![], vec!["127.0.0.1", "[::1]"]),
        (vec!["--listen", "127.0.0.1"], vec!["127.0.0.1"]),
        (vec!["--listen", "::1"], vec!["[::1]"]),
    ] {
        let daemon = Daemon::start(Path::new("/dev/null"), folder.path(), &arguments).await;
        let port = daemon.address.port();
        let expected: Vec<String> = hosts
            .iter()
            .map(|host| format!("http://{host}:{port}/mcp"))
            .collect();

        assert_eq!(addresses(&daemon), expected);

        for host in ["127.0.0.1", "[::1]"] {
            let served = TcpStream::connect(format!("{host}:{port}")).await.is_ok();
            assert_eq!(served, hosts.contains(&host), "{arguments:?} {host}");
        }

        for listen in hosts {
            let listen = listen.trim_matches(['[', ']']);
            let arguments = ["--http", &port.to_string(), "--listen", listen];
            let (code, stdout, stderr) = daemon::status(folder.path(), &arguments).await;
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{listen}: {stdout}");
        }
    }
}

#[tokio::test]
async fn a_port_taken_on_the_other_loopback_address_is_not_used() {
    if !has_ipv6() {
        return;
    }

    let take = || TcpListener::bind("[::1]:0").unwrap();
    let impostor = as_other(take).unwrap_or_else(take);
    let port = impostor.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = daemon::command(Path::new("/dev/null"), folder.path());
    let (code, stdout, stderr) = daemon::output(command.args(["--http", &port])).await;
    assert_eq!(
        (code, stdout.as_str(), stderr.lines().count()),
        (Some(1), "", 1),
        "{stderr}"
    );

    assert!(
        stderr.contains(&format!("[::1]:{port} is taken")),
        "{stderr}"
    );

    // Who names an address has that one.
    let mut command = daemon::command(Path::new("/dev/null"), folder.path());
    let daemon = Daemon::run(
        command.args(["--http", &port, "--listen", "127.0.0.1"]),
        folder.path(),
    )
    .await;

    assert_eq!(health(&daemon.address).await["status"], "ok");
}

#[tokio::test]
async fn a_machine_without_ipv6_serves_the_other_address() {
    if !geteuid().is_root() || !may_unshare("--net").await {
        return;
    }

    let folder = tempfile::tempdir().unwrap();
    let script =
        "ip link set lo up; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; exec \"$@\"";
    let mut command = in_namespace("--net", script, folder.path(), &["--http", "0"]);
    let daemon = Daemon::run(&mut command, folder.path()).await;
    assert_eq!(
        addresses(&daemon),
        [format!("http://127.0.0.1:{}/mcp", daemon.address.port())]
    );
}

#[tokio::test]
async fn a_user_who_is_shown_like_all_unknown_ones_needs_a_token() {
    if !may_unshare("--user").await {
        return;
    }

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mcp.sock");

    for arguments in [["--http", "0"], ["--socket", socket.to_str().unwrap()]] {
        // Without a map, this user is the overflow user there, as all others are.
        let mut command = in_namespace("--user", "exec \"$@\"", folder.path(), &arguments);
        let (code, stdout, stderr) = daemon::output(&mut command).await;
        assert_eq!(
            (code, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{arguments:?}: {stderr}"
        );

        assert!(stderr.contains("--token-file"), "{arguments:?}: {stderr}");
    }

    let mut command = in_namespace("--user", "exec \"$@\"", folder.path(), &["--http", "0"]);
    let daemon = Daemon::run(
        command.env("MCP_SSH_TOKEN", "correct-horse-battery-staple"),
        folder.path(),
    )
    .await;

    assert!(
        TcpStream::connect(("127.0.0.1", daemon.address.port()))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn sockets_that_were_handed_to_another_process_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();

    for variables in [
        "LISTEN_FDS=1",
        "LISTEN_FDS=1 LISTEN_PID=",
        "LISTEN_FDS=1 LISTEN_PID=1",
        "LISTEN_PID=$$",
    ] {
        let handed_over = OwnedFd::from(listener.try_clone().unwrap());
        let mut command = with_socket(folder.path(), variables, &["--http", "0"], handed_over);
        let daemon = Daemon::run(&mut command, folder.path()).await;
        assert_ne!(daemon.address.port(), port, "{variables}");
        assert_eq!(health(&daemon.address).await["status"], "ok", "{variables}");
    }
}
