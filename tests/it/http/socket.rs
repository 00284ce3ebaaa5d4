//! Unix sockets, and sockets that a service manager hands over.

use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::Path,
    process::Stdio,
};

use serde_json::json;
use tokio::process::Command;

use super::health;
use crate::support::{
    daemon::{self, Daemon},
    http_client::{Dialect, HttpClient},
    wire::{DaemonAddress, ask, request},
};

async fn serve(folder: &Path, socket: &Path) -> Daemon {
    let mut command = daemon::command(Path::new("/dev/null"), folder);
    Daemon::run(command.arg("--socket").arg(socket), folder).await
}

#[tokio::test]
async fn a_unix_socket_serves_only_its_owner_and_is_finally_removed() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mcp.sock");
    let mut daemon = serve(folder.path(), &socket).await;
    assert_eq!(daemon.address, DaemonAddress::Socket(socket.clone()));
    let kind = fs::symlink_metadata(&socket).unwrap();
    assert!(kind.file_type().is_socket());
    assert_eq!(kind.permissions().mode() & 0o777, 0o600);

    for dialect in Dialect::KINDS {
        let mut client = HttpClient::connect(&daemon.address, dialect).await;
        assert_eq!(
            client
                .call("ssh_sessions", json!({}))
                .await
                .ok()
                .structured()["sessions"],
            json!([])
        );
    }

    // No name is wrong here, since no name leads here; a web page still is.
    for (headers, status) in [
        (vec![("Host", "anything")], 200),
        (vec![], 403),
        (
            vec![("Host", "anything"), ("Origin", "http://evil.example")],
            403,
        ),
        (
            vec![("Host", "anything"), ("Sec-Fetch-Site", "cross-site")],
            403,
        ),
    ] {
        let answer = ask(&daemon.address, request("GET", "/health", &headers, ""))
            .await
            .unwrap();
        assert_eq!(answer.status, status, "{headers:?}");
    }

    daemon.end("TERM").await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_but_one_in_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mcp.sock");
    let mut killed = serve(folder.path(), &socket).await;
    killed.end("KILL").await;
    assert!(socket.exists(), "left behind");
    let daemon = serve(folder.path(), &socket).await;
    assert_eq!(health(&daemon.address).await["status"], "ok");

    let (file, directory, link) = (
        folder.path().join("file"),
        folder.path().join("directory"),
        folder.path().join("link"),
    );

    fs::write(&file, "precious").unwrap();
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let long = folder.path().join("x".repeat(200));
    let nowhere = folder.path().join("missing/mcp.sock");

    for (path, part) in [
        (&socket, "taken"),
        (&file, "not a socket"),
        (&directory, "not a socket"),
        (&link, "not a socket"),
        (&long, "xxx"),
        (&nowhere, "missing"),
    ] {
        let mut command = daemon::command(Path::new("/dev/null"), folder.path());
        let (status, stdout, stderr) = daemon::output(command.arg("--socket").arg(path)).await;
        assert_eq!(
            (status, stdout.as_str(), stderr.lines().count()),
            (Some(1), "", 1),
            "{stderr}"
        );

        assert!(
            stderr.contains(part) && stderr.contains(path.to_str().unwrap()),
            "{}: {stderr}",
            path.display()
        );
    }

    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(directory.is_dir() && link.is_symlink());
    assert_eq!(
        health(&daemon.address).await["status"],
        "ok",
        "the one in use is as it was"
    );
}

#[tokio::test]
async fn a_port_and_a_socket_are_served_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mcp.sock");
    let path = socket.to_str().unwrap();
    let daemon = Daemon::start(Path::new("/dev/null"), folder.path(), &["--socket", path]).await;
    assert!(matches!(daemon.address, DaemonAddress::Tcp(_)));
    for address in [&daemon.address, &DaemonAddress::Socket(socket)] {
        assert_eq!(health(address).await["status"], "ok");
    }
}

/// The program with `listener` as its file descriptor 3, as systemd would start it.
fn activated(folder: &Path, listener: impl Into<OwnedFd>) -> Command {
    with_socket(folder, "LISTEN_PID=$$ LISTEN_FDS=1", &[], listener)
}

/// The same with variables as a shell sets them, and with more arguments.
pub(super) fn with_socket(
    folder: &Path,
    variables: &str,
    arguments: &[&str],
    listener: impl Into<OwnedFd>,
) -> Command {
    let mut command = daemon::command(Path::new("/dev/null"), folder);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("{variables} exec \"$@\" 3<&0 </dev/null"),
        "sh",
    ]);

    shell
        .arg(command.as_std().get_program())
        .args(command.as_std().get_args())
        .args(arguments);

    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }

    command = shell;
    command.stdin(Stdio::from(listener.into()));

    command
}

#[tokio::test]
async fn a_socket_that_is_handed_over_is_served_and_left_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut daemon = Daemon::run(
        &mut activated(folder.path(), listener.try_clone().unwrap()),
        folder.path(),
    )
    .await;

    assert_eq!(daemon.address, DaemonAddress::Tcp(port));

    for dialect in Dialect::KINDS {
        HttpClient::connect(&daemon.address, dialect)
            .await
            .call("ssh_sessions", json!({}))
            .await
            .ok();
    }

    let headers = [("Host", "evil.example")];

    assert_eq!(
        ask(&daemon.address, request("GET", "/health", &headers, ""))
            .await
            .unwrap()
            .status,
        403
    );

    daemon.end("TERM").await;

    // The next start, by the next connection, gets the same socket.
    let again = Daemon::run(&mut activated(folder.path(), listener), folder.path()).await;
    assert_eq!(health(&again.address).await["status"], "ok");

    let socket = folder.path().join("mcp.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut daemon = Daemon::run(&mut activated(folder.path(), listener), folder.path()).await;
    assert_eq!(daemon.address, DaemonAddress::Socket(socket.clone()));
    assert_eq!(health(&daemon.address).await["status"], "ok");
    daemon.end("TERM").await;
    assert!(socket.exists(), "whoever made it removes it");
}

#[tokio::test]
async fn an_inherited_socket_that_is_unfit_or_public_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let file = fs::File::create(folder.path().join("file")).unwrap();

    for (mut command, part) in [
        (activated(folder.path(), everywhere), "--token-file"),
        (activated(folder.path(), file), "socket"),
    ] {
        let output = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();

        let output = crate::support::wire::soon(output).await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), stderr.lines().count()),
            (Some(1), 1),
            "{stderr}"
        );

        assert!(stderr.contains(part), "{stderr}");
    }
}
