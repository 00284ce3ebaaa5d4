//! What ends a transfer with a host without SFTP: a lost link, the person, the host, and its lies.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{ALL, host_with, installed, tools, without};
use crate::{
    support::{
        checks::{plain, random},
        disk::names,
        fixture::{ConnectedHost, TestHost},
        link::Link,
        open_sshd::OpenSshd,
    },
    transfer::failures::cancelled,
};

/// A server without SFTP behind a link that is cut after these numbers of bytes.
async fn behind(cuts: &[u64]) -> ConnectedHost<OpenSshd> {
    let mut host = TestHost::openssh_with(|settings| settings.sftp = String::new());
    let link = Link::to(host.port, Duration::ZERO, cuts).await;
    let through = link.options(host.port);
    host.config = host.sshd.write_ssh_config("host", &through);

    let bench = host.connect().await;
    // The link lives as long as the test.
    std::mem::forget(link);
    bench
}

#[tokio::test]
async fn a_lost_link_ends_neither_direction() {
    let mut bench = behind(&[6_000_000, 6_000_000, 12_000_000, 6_000_000]).await;
    let content = random(15_000_000);
    fs::write(bench.local("file"), &content).unwrap();
    fs::write(bench.remote("target"), "old").unwrap();

    let sent = bench.try_upload(&bench.local("file"), "target").await.ok();
    assert!(fs::read(bench.remote("target")).unwrap() == content);
    let back = bench.local("back");
    let fetched = bench.try_download("target", &back).await.ok();
    assert!(fs::read(&back).unwrap() == content);

    for result in [sent, fetched] {
        assert_eq!(
            result.structured()["verified"],
            json!(true),
            "{}",
            result.text()
        );
    }
    assert_eq!(names(&bench.home), ["target"]);
    let log_ins = bench.sshd.log().matches("Accepted publickey").count();
    assert!(log_ins >= 4, "{}", bench.sshd.log());
}

#[tokio::test]
async fn a_cancelled_transfer_leaves_no_litter() {
    let host = TestHost::openssh_with(|settings| settings.sftp = String::new());
    cancelled(host.connect().await).await;
}

#[tokio::test]
async fn what_the_host_refuses_is_named() {
    let host = TestHost::openssh_with(|settings| settings.sftp = String::new());
    let mut bench = host.connect().await;
    fs::create_dir_all(bench.remote("directory/file")).unwrap();
    fs::write(bench.local("file"), "new").unwrap();
    let file = bench.local("file");

    for (remote, reason) in [
        ("missing/file", "no such file or directory"),
        ("missing/", "there is no directory"),
        ("directory", "is a directory"),
        ("/proc/version/file", "no such file or directory"),
        ("/proc/file", "no such file or directory"),
        ("/dev/null", "is not a regular file"),
    ] {
        let refused = bench.try_upload(&file, remote).await;
        let text = refused.text();
        assert!(
            refused.is_error() && text.contains(reason),
            "{remote}: {text}"
        );
    }

    for (remote, reason) in [
        ("missing", "no such file or directory"),
        ("/dev/null", "is not a regular file"),
    ] {
        let refused = bench.try_download(remote, &bench.local("back")).await;
        let text = refused.text();
        assert!(
            refused.is_error() && text.contains(reason),
            "{remote}: {text}"
        );
    }

    assert_eq!(names(&bench.home), ["directory"]);
    assert!(!bench.local("back").exists());
}

#[tokio::test]
async fn a_host_without_the_programs_is_told_what_it_lacks() {
    let tools = tools(&without(&["dd", "head", "tail"]), installed);
    let Some(mut bench) = host_with(&installed("dash"), tools.path()).await else {
        return;
    };
    fs::write(bench.local("file"), "new").unwrap();
    let refused = bench.try_upload(&bench.local("file"), "file").await;
    let expected = "the server offers no SFTP, and without SFTP the host has neither `dd` nor";
    assert!(
        refused.is_error() && refused.text().contains(expected),
        "{}",
        refused.text()
    );
    assert!(names(&bench.home).is_empty());
    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

/// A program that answers the script as a host might that lies: MODE says in what.
const LIAR: &str = include_str!("liar.py");

#[tokio::test]
async fn a_host_that_lies_writes_nothing_elsewhere() {
    for (mode, arrives) in [
        ("honest", true),
        ("nothing", false),
        ("noise", false),
        ("unasked", false),
        ("up", false),
        ("slash", false),
        ("dots", false),
        ("empty", false),
        ("nul", false),
        ("absolute", false),
        ("listing", false),
        ("long", false),
        ("endless", false),
        ("status", false),
        ("end", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let liar = folder.path().join("liar");
        fs::write(&liar, LIAR.replace("MODE", mode)).unwrap();
        fs::set_permissions(&liar, fs::Permissions::from_mode(0o755)).unwrap();
        let tools = tools(&ALL, installed);
        let Some(mut bench) = host_with(&liar, tools.path()).await else {
            return;
        };

        let inner = bench.local("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let fetched = bench.try_download("/tree", &inner.join("tree")).await;
        let text = fetched.text();
        let file = inner.join("tree/file");
        assert_eq!(
            fs::read(&file).is_ok_and(|content| content == b"12345"),
            arrives,
            "{mode}: {text}"
        );

        assert!(!text.contains("panicked"), "{mode}: {text}");
        assert_eq!(names(&bench.local("outer")), ["inner"], "{mode}: {text}");
        let left: Vec<PathBuf> = names(&inner)
            .iter()
            .map(|name| Path::new(name).to_owned())
            .collect();
        assert!(
            left.iter().all(|name| name == Path::new("tree")),
            "{mode}: {left:?}"
        );
    }
}
