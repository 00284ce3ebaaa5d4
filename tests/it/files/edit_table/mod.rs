//! The edit table: each case of `ssh_edit`, at each kind of server.
//!
//! A case is a row. Whatever a row does not name must be as before: modes, owners, attributes, links, times, other files,
//! and no file may be left behind.

mod accounts;
mod alongside;
mod contents;
mod folder;
mod names;
mod patches;
mod properties;
mod row;
mod server;
mod texts;

use std::{path::Path, process::Command};

use self::{
    row::Row,
    server::{Server, run},
};
use crate::support::{
    fixture::{ConnectedHost, TestHost},
    other_sshd::Make,
    programs,
    sudo_host::{ID, SudoHostSettings},
};

/// All rows. Each server takes those that make sense there.
fn rows() -> Vec<Row> {
    [
        texts::rows(),
        properties::rows(),
        accounts::rows(),
        names::rows(),
        contents::rows(),
        patches::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs all rows below the home of the log-ins.
async fn at_home<S>(server: Server, mut bench: ConnectedHost<S>) -> ConnectedHost<S> {
    let home = bench.home.to_str().unwrap().to_owned();
    run(server, &mut bench, &home, rows()).await;
    bench
}

#[tokio::test]
async fn openssh_edits_every_file_right() {
    let bench = TestHost::openssh().connect().await;
    at_home(Server::new("sshd"), bench).await;
}

#[tokio::test]
async fn dropbear_edits_every_file_right() {
    let bench = TestHost::dropbear(Path::new("/bin/sh")).connect().await;
    let bench = at_home(Server::new("Dropbear"), bench).await;
    assert!(bench.sshd.logins() < 60, "{} log-ins", bench.sshd.logins());
}

#[tokio::test]
async fn sftp_without_extensions_edits_every_file_right() {
    let bench = TestHost::openssh_with(|settings| {
        settings.sftp = format!("{} -P posix-rename,fsync", settings.sftp);
    });
    at_home(
        Server::new("sshd without posix-rename and fsync"),
        bench.connect().await,
    )
    .await;
}

#[tokio::test]
async fn a_server_without_sftp_edits_every_file_right() {
    let bench = TestHost::openssh_with(|settings| settings.sftp = "/bin/false".into());
    at_home(Server::new("sshd without SFTP"), bench.connect().await).await;
}

#[tokio::test]
async fn busybox_without_sftp_edits_every_file_right() {
    let tools = tempfile::tempdir().unwrap();
    let busybox = programs::shell("busybox");
    let installed = Command::new(&busybox)
        .args(["--install", "-s"])
        .arg(tools.path())
        .status();
    assert!(installed.unwrap().success());

    let mount = format!("mount --bind {} /bin/sh", busybox.display());
    let Some(before) = programs::with_mounts(&mount) else {
        return;
    };
    let bench = TestHost::openssh_with(|settings| {
        settings.before = before;
        settings.sftp = "/bin/false".into();
        // The first line with SetEnv wins.
        settings.extra_config =
            format!("{} PATH={}", settings.extra_config, tools.path().display());
    });

    let server = Server {
        sees_mounts: false,
        ..Server::new("BusyBox without SFTP")
    };
    at_home(server, bench.connect().await).await;
}

#[tokio::test]
async fn a_chroot_for_sftp_alone_edits_every_file_right() {
    let mut possible = true;
    let host = TestHost::openssh_at(|settings, home| {
        // A chroot must not be below a directory that all may write to.
        match programs::with_mounts(&format!("mount --bind {} /mnt", home.display())) {
            Some(before) => settings.before = before,
            None => possible = false,
        }
        settings.sftp = "internal-sftp".into();
        settings.extra_config += "\nChrootDirectory /mnt\nForceCommand internal-sftp";
    });
    if !possible {
        return;
    }

    let server = Server {
        has_shell: false,
        sees_mounts: false,
        ..Server::new("chroot")
    };
    run(server, &mut host.connect().await, "", rows()).await;
}

/// A server that logs in a user who is not root.
fn of_user(name: &'static str) -> Server {
    Server {
        user: ID,
        sees_mounts: false,
        ..Server::new(name)
    }
}

#[tokio::test]
async fn a_plain_user_edits_every_file_right() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };
    at_home(of_user("a user"), host.connect().await).await;
}

#[tokio::test]
async fn a_plain_user_without_sftp_edits_every_file_right() {
    let settings = SudoHostSettings {
        sftp: "/bin/false",
        ..SudoHostSettings::default()
    };
    let Some(host) = TestHost::sudo(&settings) else {
        return;
    };
    at_home(of_user("a user without SFTP"), host.connect().await).await;
}

#[tokio::test]
async fn root_by_sudo_edits_every_file_right() {
    let settings = SudoHostSettings {
        rule: "ALL=(ALL:ALL) NOPASSWD: ALL",
        ..SudoHostSettings::default()
    };
    let Some(host) = TestHost::sudo(&settings) else {
        return;
    };
    let server = Server {
        sudo: true,
        ..of_user("sudo")
    };
    at_home(server, host.connect().await).await;
}

#[tokio::test]
async fn servers_of_other_makes_edit_every_text_right() {
    for (name, make) in [
        ("asyncssh", Make::Asyncssh(&[])),
        (
            "asyncssh without fsync and posix-rename",
            Make::Asyncssh(&["fsync", "posix_rename"]),
        ),
        (
            "asyncssh without attributes",
            Make::Asyncssh(&["setstat", "fsetstat"]),
        ),
        ("ssh2", Make::Ssh2),
        ("Erlang", Make::Erlang),
        ("ProFTPD", Make::Proftpd),
        ("rclone", Make::Rclone("off", "1ms")),
    ] {
        let mut bench = TestHost::other(&make).connect().await;
        let home = if matches!(make, Make::Rclone(..)) {
            ""
        } else {
            bench.home.to_str().unwrap()
        };
        let home = home.to_owned();
        let server = Server {
            has_shell: false,
            ..Server::new(name)
        };
        run(server, &mut bench, &home, texts::rows()).await;
    }
}
