//! A transfer whose link is lost goes on over the next one.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::far::DELAY;
use crate::support::{
    checks::{eventually, plain, random},
    disk::{names, part},
    fixture::{ConnectedHost, TestHost},
    link::Link,
    open_sshd::OpenSshd,
};

/// Bytes of the files that are moved here: several times what may be in flight.
const LENGTH: usize = 80_000_000;
/// Where the link is cut, in bytes.
const CUT: u64 = 40_000_000;
/// What may be sent more than once for each cut, in bytes.
const IN_FLIGHT: u64 = 20_000_000;

/// A real sshd behind a link that is cut after these numbers of bytes, and a client connected over it.
pub(super) async fn behind(delay: Duration, cuts: &[u64]) -> (ConnectedHost<OpenSshd>, Link) {
    behind_with(delay, cuts, 10).await
}

/// The same with another limit of channels.
pub(super) async fn behind_with(
    delay: Duration,
    cuts: &[u64],
    max_sessions: usize,
) -> (ConnectedHost<OpenSshd>, Link) {
    let mut host = TestHost::openssh_with(|settings| settings.max_sessions = max_sessions);
    let link = Link::to(host.port, delay, cuts).await;
    let through = link.options(host.port);

    host.config = host.sshd.write_ssh_config("host", &through);

    (host.connect().await, link)
}

async fn cut(cuts: &[u64]) -> (ConnectedHost<OpenSshd>, Link) {
    behind(Duration::ZERO, cuts).await
}

fn log_ins(bench: &ConnectedHost<OpenSshd>) -> usize {
    bench.sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stood_and_is_compared() {
    let (mut bench, link) = cut(&[CUT, CUT]).await;
    let content = random(LENGTH);
    fs::write(bench.local("file"), &content).unwrap();
    fs::write(bench.remote("target"), "old").unwrap();
    let result = bench.try_upload(&bench.local("file"), "target").await.ok();
    assert!(fs::read(bench.remote("target")).unwrap() == content);

    assert_eq!(
        (
            &result.structured()["verified"],
            &result.structured()["bytes"]
        ),
        (&json!(true), &json!(LENGTH))
    );

    assert_eq!(names(&bench.home), ["target"]);
    assert!(log_ins(&bench) >= 3, "{}", bench.sshd.log());
    assert!(
        link.passed() < LENGTH as u64 + 2 * IN_FLIGHT,
        "{} bytes have passed",
        link.passed()
    );
}

#[tokio::test]
async fn a_file_is_compared_while_it_grows() {
    let (mut bench, _link) = behind(DELAY, &[]).await;

    // The remote host reads 8 MiB at once.
    for length in [8, 9, 16, 24].map(|mib| mib << 20) {
        for length in [length, length + 1] {
            let content = random(length);
            fs::write(bench.local("file"), &content).unwrap();
            let result = bench.try_upload(&bench.local("file"), "target").await.ok();
            assert!(fs::read(bench.remote("target")).unwrap() == content);
            assert_eq!(result.structured()["verified"], true, "{length}");
        }
    }
}

#[tokio::test]
async fn a_long_file_for_a_near_host_is_not_compared() {
    // A host on a busy machine may seem to be far, so a few log-ins are tried.
    for last in [false, false, false, false, true] {
        let (mut bench, _link) = cut(&[]).await;
        let content = random((8 << 20) + 1);
        fs::write(bench.local("file"), &content).unwrap();
        fs::write(bench.local("short"), &content[1..]).unwrap();

        let short = bench.try_upload(&bench.local("short"), "short").await.ok();
        assert_eq!(short.structured()["verified"], true);
        let sent = bench.try_upload(&bench.local("file"), "target").await.ok();
        assert!(fs::read(bench.remote("target")).unwrap() == content);

        // This costs a download next to nothing, and shows if the file has changed meanwhile.
        let back = bench.local("back");
        let fetched = bench.try_download("target", &back).await.ok();
        assert_eq!(fetched.structured()["verified"], true);

        if sent.text().contains("size verified") {
            return;
        }
        assert!(!last, "{}", sent.text());
    }
}

#[tokio::test]
async fn a_download_goes_on_where_it_stood_and_is_compared() {
    let (mut bench, link) = cut(&[CUT, CUT]).await;
    let content = random(LENGTH);
    fs::write(bench.remote("file"), &content).unwrap();
    fs::create_dir(bench.local("here")).unwrap();
    fs::write(bench.local("here/target"), "old").unwrap();
    let result = bench
        .try_download("file", &bench.local("here/target"))
        .await
        .ok();

    assert!(fs::read(bench.local("here/target")).unwrap() == content);

    assert_eq!(
        (
            &result.structured()["verified"],
            &result.structured()["bytes"]
        ),
        (&json!(true), &json!(LENGTH))
    );

    assert_eq!(names(&bench.local("here")), ["target"]);
    assert!(log_ins(&bench) >= 3, "{}", bench.sshd.log());
    assert!(
        link.passed() < LENGTH as u64 + 2 * IN_FLIGHT,
        "{} bytes have passed",
        link.passed()
    );
}

#[tokio::test]
async fn a_server_process_that_is_killed_ends_neither_direction() {
    let mut bench = TestHost::openssh().connect().await;
    let length = 300_000_000;
    for (from, to) in [("local", "remote"), ("remote", "local")] {
        fs::create_dir_all(bench.local("local")).unwrap();
        fs::create_dir_all(bench.remote("remote")).unwrap();

        let at = |side: &str| {
            if side == "local" {
                bench.local("local")
            } else {
                bench.remote("remote")
            }
        };

        let (source, folder) = (at(from).join("source"), at(to));
        let mut file = fs::File::create(&source).unwrap();
        file.set_len(length).unwrap();
        file.seek(SeekFrom::Start(length / 2)).unwrap();
        file.write_all(&random(1_000_000)).unwrap();
        let target = folder.join("target");

        let (tool, arguments) = if from == "local" {
            (
                "ssh_upload",
                json!({"localPath": source, "remotePath": target}),
            )
        } else {
            (
                "ssh_download",
                json!({"localPath": target, "remotePath": source}),
            )
        };

        let call = bench.mcp.begin_call(tool, arguments).await;
        eventually("it is under way", || {
            part(&folder).is_some_and(|(_, length)| length > 0)
        })
        .await;

        bench.sshd.kill_connections();
        bench.mcp.finish(call).await.ok();
        assert!(
            fs::read(&source).unwrap() == fs::read(&target).unwrap(),
            "{tool}"
        );

        assert_eq!(
            names(&folder)
                .iter()
                .filter(|name| *name != "source")
                .count(),
            1,
            "{tool}"
        );

        fs::remove_file(source).unwrap();
        fs::remove_file(target).unwrap();
    }
}

/// Begins an upload, waits until the link is cut, does something to the half of the file that is there, and goes on.
async fn meanwhile(change: impl FnOnce(&Path, &Path)) -> (ConnectedHost<OpenSshd>, Link, Vec<u8>) {
    let (mut bench, link) = cut(&[CUT]).await;
    fs::write(bench.local("file"), random(LENGTH)).unwrap();
    link.hold(true);
    let upload = json!({"localPath": bench.local("file"), "remotePath": "target"});
    let call = bench.mcp.begin_call("ssh_upload", upload).await;
    eventually("the link is cut and the next one is wanted", || {
        link.waiting() > 0
    })
    .await;

    let half = part(&bench.home).unwrap().0;
    change(&bench.local("file"), &half);
    link.hold(false);
    let result = bench.mcp.finish(call).await.ok();
    assert_eq!(result.structured()["verified"], true);
    assert_eq!(names(&bench.home), ["target"]);
    let arrived = fs::read(bench.remote("target")).unwrap();
    (bench, link, arrived)
}

#[tokio::test]
async fn a_file_that_changes_while_the_link_is_lost_is_sent_anew() {
    let (bench, _link, arrived) =
        meanwhile(|file, _| fs::write(file, random(LENGTH - 7)).unwrap()).await;
    assert!(arrived == fs::read(bench.local("file")).unwrap());
}

#[tokio::test]
async fn what_has_arrived_and_is_not_what_was_sent_is_sent_anew() {
    let (bench, _link, arrived) = meanwhile(|_, half| {
        let mut half = fs::File::options().write(true).open(half).unwrap();
        half.write_all(b"not what was sent").unwrap();
    })
    .await;
    assert!(arrived == fs::read(bench.local("file")).unwrap());
}

#[tokio::test]
async fn what_has_arrived_and_is_gone_is_sent_anew() {
    let (bench, _link, arrived) = meanwhile(|_, half| fs::remove_file(half).unwrap()).await;
    assert!(arrived == fs::read(bench.local("file")).unwrap());
}

#[tokio::test]
async fn data_that_was_not_written_to_disk_is_sent_again() {
    let (bench, _link, arrived) = meanwhile(|_, half| {
        fs::File::options()
            .write(true)
            .open(half)
            .unwrap()
            .set_len(1_000_000)
            .unwrap();
    })
    .await;

    assert!(arrived == fs::read(bench.local("file")).unwrap());
}

#[tokio::test]
async fn a_remote_file_changed_during_the_outage_is_fetched_anew() {
    let (mut bench, link) = cut(&[CUT]).await;
    fs::write(bench.remote("file"), random(LENGTH)).unwrap();
    link.hold(true);
    let download = json!({"remotePath": "file", "localPath": bench.local("target")});
    let call = bench.mcp.begin_call("ssh_download", download).await;
    eventually("the link is cut and the next one is wanted", || {
        link.waiting() > 0
    })
    .await;

    let content = random(LENGTH + 7);
    fs::write(bench.remote("file"), &content).unwrap();
    link.hold(false);
    bench.mcp.finish(call).await.ok();
    assert!(fs::read(bench.local("target")).unwrap() == content);
}

#[tokio::test]
async fn a_hopeless_resume_leaves_the_old_file_and_later_no_litter() {
    let (mut bench, _link) = cut(&[CUT]).await;
    fs::write(bench.remote("target"), "old").unwrap();
    fs::write(bench.local("file"), random(LENGTH)).unwrap();
    let keys = bench.sshd.dir().join("authorized_keys");
    let listed = fs::read(&keys).unwrap();
    fs::write(&keys, "").unwrap();
    let result = bench.try_upload(&bench.local("file"), "target").await;
    assert!(
        result.is_error() && result.text().contains("permission denied"),
        "{}",
        result.text()
    );

    assert_eq!(fs::read(bench.remote("target")).unwrap(), b"old");
    assert!(part(&bench.home).is_some(), "there was no way to remove it");
    fs::write(&keys, listed).unwrap();
    bench.exec("echo alive", plain()).await;
    let home = bench.home.clone();
    eventually("the litter is gone", || names(&home) == ["target"]).await;
}

#[tokio::test]
async fn a_transfer_that_waits_for_a_link_can_be_given_up() {
    let mut bench = TestHost::fake_with_shell("/bin/sh").connect().await;
    let (home, here) = (bench.home.clone(), bench.local("here"));
    fs::create_dir(&here).unwrap();
    let long = bench.local("long");
    fs::File::create(&long)
        .unwrap()
        .set_len(3_000_000_000)
        .unwrap();

    for (tool, folder) in [("ssh_download", &here), ("ssh_upload", &home)] {
        let target = folder.join("target");
        fs::write(&target, "old").unwrap();
        let (local, remote) = if tool == "ssh_upload" {
            (&long, &target)
        } else {
            (&target, &long)
        };

        let call = bench
            .mcp
            .begin_call(tool, json!({"localPath": local, "remotePath": remote}))
            .await;

        eventually("it is under way", || {
            part(folder).is_some_and(|(_, length)| length > 0)
        })
        .await;

        bench.sshd.refuse_connections(true).await;
        bench.sshd.drop_connections();
        bench.mcp.cancel(call).await;
        bench.sshd.refuse_connections(false).await;
        bench.exec("echo alive", plain()).await;
        eventually("nothing is left of it", || names(folder) == ["target"]).await;
        assert_eq!(fs::read(&target).unwrap(), b"old");
    }
}

#[tokio::test]
async fn a_file_that_is_in_place_before_its_link_is_lost_is_done() {
    let mut bench = TestHost::fake_with_shell("/bin/sh").connect().await;
    let (home, content) = (bench.home.clone(), random(500_000));
    fs::write(bench.local("file"), &content).unwrap();
    fs::write(bench.remote("target"), "old").unwrap();
    bench.sshd.withhold_renames(true);
    let upload = json!({"localPath": bench.local("file"), "remotePath": "target"});
    let call = bench.mcp.begin_call("ssh_upload", upload).await;
    eventually("it is renamed", || {
        fs::metadata(home.join("target")).unwrap().len() == 500_000
    })
    .await;

    bench.sshd.drop_connections();
    bench.mcp.finish(call).await.ok();
    assert!(fs::read(bench.remote("target")).unwrap() == content);
    assert_eq!(names(&bench.home), ["target"]);
}
