//! Where the daemon is, and what else may be there.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::json;

use super::{Shared, failure};
use crate::support::{
    checks::{eventually, skipped},
    other_user::as_other,
    program::Program,
    wire::{DaemonAddress, ask, request},
};

/// Says hello where that cannot work; returns why.
async fn refused(proxy: &mut Program) -> String {
    let client = json!({"name": "test", "version": "0"});
    let initialize_params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    failure(&proxy.request("initialize", initialize_params).await)
}

#[tokio::test]
async fn the_files_are_for_this_user_alone_and_web_pages_stay_out() {
    let shared = Shared::new();
    let _front = shared.proxy().await;
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&shared.address()), 0o700);
    for ending in ["sock", "lock", "log"] {
        assert_eq!(mode(&shared.file(ending)), 0o600, "{ending}");
    }

    let address = DaemonAddress::Socket(shared.file("sock"));

    for (path, headers, status) in [
        ("/shared", vec![("Host", "localhost")], 426),
        (
            "/shared",
            vec![("Host", "localhost"), ("Origin", "http://evil.example")],
            403,
        ),
        ("/health", vec![("Host", "localhost")], 200),
    ] {
        assert_eq!(
            ask(&address, request("GET", path, &headers, ""))
                .await
                .unwrap()
                .status,
            status,
            "{path} {headers:?}"
        );
    }
}

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_behind_is_replaced() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    proxy.call("ssh_sessions", json!({})).await.ok();
    shared.kill().await;
    let socket = shared.file("sock");
    assert!(UnixListener::bind(&socket).is_err(), "left behind");
    let mut other = shared.proxy().await;
    other.call("ssh_sessions", json!({})).await.ok();
    proxy.call("ssh_sessions", json!({})).await.ok();
    shared.only_daemon();
}

#[tokio::test]
async fn of_daemons_started_at_once_one_serves_and_the_others_say_so() {
    let shared = Shared::new();
    let started = join_all((0..6).map(|_| shared.daemon("60000"))).await;
    let mut said: Vec<_> = started.iter().map(|(_, said)| said.as_str()).collect();
    said.sort_unstable();
    assert_eq!(said, ["busy", "busy", "busy", "busy", "busy", "ready"]);

    for (mut daemon, said) in started {
        if said == "busy" {
            assert_eq!(daemon.wait().await.unwrap().code(), Some(0));
        } else {
            shared
                .proxy()
                .await
                .call("ssh_sessions", json!({}))
                .await
                .ok();
            assert!(daemon.try_wait().unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_daemon_without_its_socket_keeps_clients_and_is_replaced() {
    let shared = Shared::new();

    // It looks as often as its idle time asks for.
    let (mut daemon, _) = shared.daemon("8000").await;
    let mut old = shared.proxy().await;
    fs::remove_file(shared.file("sock")).unwrap();
    let mut new = shared.proxy().await;
    assert_eq!(shared.daemons().len(), 2);
    old.call("ssh_connect", json!({"host": "box"})).await.ok();
    new.call("ssh_sessions", json!({})).await.ok();
    old.close().await;
    assert_eq!(daemon.wait().await.unwrap().code(), Some(0));
    assert!(
        shared.file("sock").exists(),
        "the other's socket is left alone"
    );

    new.call("ssh_sessions", json!({})).await.ok();
}

#[tokio::test]
async fn what_was_planted_is_refused_and_left_as_it_is() {
    let shared = Shared::new();
    let (folder, elsewhere) = (shared.address(), shared.folder().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
    let mut proxy = shared.silent();
    symlink(&elsewhere, &folder).unwrap();
    assert!(
        refused(&mut proxy)
            .await
            .contains("is not a folder of ours")
    );

    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(&folder).unwrap();
    fs::write(&folder, "a file").unwrap();
    assert!(
        refused(&mut proxy)
            .await
            .contains("is not a folder of ours")
    );

    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();

    for mode in [0o755, 0o770, 0o701] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let said = refused(&mut proxy).await;
        assert!(
            said.contains("chmod 700") && said.contains("\nhint: "),
            "{mode:o}: {said}"
        );
    }

    assert!(shared.daemons().is_empty());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    proxy.initialize().await;
    shared.kill().await;
    let socket = shared.file("sock");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "precious").unwrap();
    let said = failure(&proxy.request("tools/list", json!({})).await);
    assert!(said.contains("is not a socket"), "{said}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[tokio::test]
async fn another_users_folder_or_daemon_is_told_nothing() {
    let shared = Shared::new();
    let mut proxy = shared.proxy().await;
    shared.kill().await;
    let (socket, theirs) = (shared.file("sock"), tempfile::tempdir().unwrap());
    fs::set_permissions(theirs.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let at = theirs.path().join("sock");

    // Theirs is made where they may, and then moved to where ours would be.
    let Some(listener) = as_other({
        let at = at.clone();
        move || UnixListener::bind(at).unwrap()
    }) else {
        return;
    };

    fs::rename(&at, &socket).unwrap();
    let said = failure(&proxy.request("tools/list", json!({})).await);
    assert!(said.contains("belongs to another user"), "{said}");
    listener.set_nonblocking(true).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut received = String::new();
    std::io::Read::read_to_string(&mut stream, &mut received).unwrap();
    assert_eq!(received, "");
    std::os::unix::fs::chown(shared.address(), Some(65534), None).unwrap();
    let said = failure(&proxy.request("tools/list", json!({})).await);
    assert!(
        said.contains("belongs to another user; set XDG_RUNTIME_DIR"),
        "{said}"
    );
}

#[tokio::test]
async fn a_path_that_is_too_long_is_avoided_or_reported() {
    let shared = Shared::new();
    let lengthy = shared.folder().join("l".repeat(120));
    let temporary = shared.folder().join("t");
    fs::create_dir_all(&lengthy).unwrap();
    fs::create_dir(&temporary).unwrap();

    let places = [
        (
            &lengthy,
            shared.folder().join("state"),
            &temporary,
            "state/mcp-ssh-sessions/shared",
        ),
        (&lengthy, lengthy.clone(), &temporary, "t/mcp-ssh-sessions-"),
    ];

    for (run, state, temporary, expected) in places {
        let mut command = shared.command();
        command
            .env("XDG_RUNTIME_DIR", run)
            .env("XDG_STATE_HOME", state)
            .env("TMPDIR", temporary);

        let mut proxy = Program::spawn(command, shared.folder());
        proxy.initialize().await;
        let daemon = shared.only_daemon();
        let log = fs::read_link(format!("/proc/{daemon}/fd/2")).unwrap();
        assert!(log.to_str().unwrap().contains(expected), "{log:?}");
        shared.kill().await;
    }

    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-ssh-sessions"));
    command
        .args(["--shared", "--log", "off"])
        .stdin(Stdio::null());

    command.env("HOME", shared.folder());
    for name in ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "TMPDIR"] {
        command.env(name, &lengthy);
    }

    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );

    assert!(
        said.contains("too long for a socket; set XDG_RUNTIME_DIR"),
        "{said}"
    );
}

#[tokio::test]
async fn a_full_disk_is_reported_and_the_terminal_recovers() {
    let shared = Shared::new();
    let run = shared.folder().join("run");

    // Room for the folder and the log alone.
    let mount = |options: &str| {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&run)
            .output();
        mounted.is_ok_and(|output| output.status.success())
    };

    if !mount("size=64k,nr_inodes=3,mode=700") {
        return skipped("may not mount a small disk");
    }

    let _disk = Mounted(&run);
    let mut proxy = shared.silent();
    let said = refused(&mut proxy).await;
    assert!(
        said.contains("No space left") && said.contains("cannot be started"),
        "{said}"
    );

    assert!(mount("remount,nr_inodes=100"));
    proxy.initialize().await;
    proxy.call("ssh_connect", json!({"host": "box"})).await.ok();
    shared.kill().await;

    // Without room for a byte it serves all the same.
    let _ = fs::write(run.join("filler"), vec![0; 100_000]);
    let works = proxy
        .call("ssh_exec", json!({"command": "echo works"}))
        .await
        .ok();

    assert_eq!(works.stdout(), "works\n", "{}", works.text());
    shared.kill().await;
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_daemon_is_reported_and_not_doubled() {
    let shared = Shared::new();
    let mut one = shared.proxy().await;
    let daemon = shared.only_daemon();
    shared.signal("STOP");
    let mut proxy = shared.silent();
    let started = Instant::now();
    let said = refused(&mut proxy).await;
    assert!(
        said.contains(&format!("(process {daemon}) does not answer")),
        "{said}"
    );

    assert!(started.elapsed() < Duration::from_secs(50));
    shared.signal("CONT");
    proxy.initialize().await;
    one.call("ssh_sessions", json!({})).await.ok();
    assert_eq!(shared.only_daemon(), daemon);
    eventually("it runs", || shared.daemons().len() == 1).await;
}
