//! Files that are not the same from one look to the next.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::resume::behind;
use crate::support::{
    checks::{eventually, random, skipped},
    disk::{names, part},
    fixture::{ConnectedHost, TestHost},
    link::Link,
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

const LENGTH: usize = 60_000_000;
/// Where something happens: more than what may be in flight comes after it.
const MIDDLE: u64 = 10_000_000;

/// Moves a file, up or down, and changes it when a part of it has been moved.
async fn moved(
    up: bool,
    change: impl FnOnce(&Path),
) -> (ConnectedHost<OpenSshd>, Link, ToolResult, Vec<u8>, PathBuf) {
    let (mut bench, link) = behind(Duration::ZERO, &[]).await;
    fs::create_dir(bench.local("here")).unwrap();
    let (source, folder) = if up {
        (bench.local("file"), bench.home.clone())
    } else {
        (bench.home.join("file"), bench.local("here"))
    };

    let (content, target) = (random(LENGTH), folder.join("target"));
    fs::write(&source, &content).unwrap();
    fs::write(&target, "old").unwrap();
    link.stall_at(link.passed() + MIDDLE);

    let call = if up {
        bench
            .mcp
            .begin_call(
                "ssh_upload",
                json!({"localPath": source, "remotePath": target}),
            )
            .await
    } else {
        bench
            .mcp
            .begin_call(
                "ssh_download",
                json!({"localPath": target, "remotePath": source}),
            )
            .await
    };

    eventually("a part is moved", || {
        link.is_stalled() && part(&folder).is_some()
    })
    .await;

    change(&source);
    link.stall_at(u64::MAX);
    let result = bench.mcp.finish(call).await;

    assert_eq!(
        names(&folder)
            .iter()
            .filter(|name| *name != "file")
            .collect::<Vec<_>>(),
        ["target"]
    );

    (bench, link, result, content, target)
}

#[tokio::test]
async fn a_growing_file_is_moved_as_it_was_at_the_beginning() {
    for up in [true, false] {
        let append = |file: &Path| {
            fs::File::options()
                .append(true)
                .open(file)
                .unwrap()
                .write_all(&random(5_000_000))
                .unwrap();
        };

        let (_bench, _link, result, content, target) = moved(up, append).await;
        assert_eq!(result.ok().structured()["bytes"], LENGTH);
        assert!(fs::read(target).unwrap() == content, "up: {up}");
    }
}

#[tokio::test]
async fn a_file_that_shrinks_leaves_the_old_one() {
    for up in [true, false] {
        let shrink = |file: &Path| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(1000)
                .unwrap();
        };

        let (_bench, _link, result, _, target) = moved(up, shrink).await;
        assert!(
            result.is_error() && result.text().contains("changed during the transfer"),
            "{}",
            result.text()
        );

        assert_eq!(fs::read(target).unwrap(), b"old", "up: {up}");
    }
}

#[tokio::test]
async fn a_file_with_a_wrong_length_is_moved_as_it_reads() {
    let mut bench = TestHost::openssh().connect().await;

    // A page long, all of them.
    let odd = [
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/class/net/lo/mtu",
        "/sys/devices/system/cpu/online",
    ];

    let Some(odd) = odd
        .iter()
        .map(Path::new)
        .find(|path| fs::metadata(path).is_ok_and(|found| found.len() > 1000))
    else {
        return skipped("no /sys");
    };

    let content = fs::read(odd).unwrap();
    assert!(content.len() < 1000);
    bench
        .try_download(odd.to_str().unwrap(), &bench.local("down"))
        .await
        .ok();

    bench.try_upload(odd, "up").await.ok();

    assert_eq!(
        (
            fs::read(bench.local("down")).unwrap(),
            fs::read(bench.remote("up")).unwrap()
        ),
        (content.clone(), content)
    );
}

#[tokio::test]
async fn what_reads_as_empty_and_is_not_is_sent_to_its_end() {
    let mut bench = TestHost::openssh().connect().await;
    let Ok(content) = fs::read("/proc/kallsyms") else {
        return skipped("no /proc");
    };

    bench
        .try_upload(Path::new("/proc/kallsyms"), "symbols")
        .await
        .ok();

    assert!(fs::read(bench.remote("symbols")).unwrap() == content);
}

#[tokio::test]
async fn what_reads_as_empty_in_a_tree_is_moved_to_its_end_too() {
    let odd = Path::new("/proc/sys/kernel/random");
    let Ok(boot) = fs::read(odd.join("boot_id")) else {
        return skipped("no /proc");
    };
    let mut bench = TestHost::openssh().connect().await;
    let (up, down) = (bench.remote("up"), bench.local("down"));

    for (tool, local, remote) in [
        ("ssh_upload", odd, up.as_path()),
        ("ssh_download", &down, odd),
    ] {
        // Some of it may not be read, by some.
        bench
            .mcp
            .call(tool, json!({"localPath": local, "remotePath": remote}))
            .await;
    }

    for to in [up, down] {
        assert_eq!(
            fs::read(to.join("boot_id")).unwrap(),
            boot,
            "{}",
            to.display()
        );
    }
}
