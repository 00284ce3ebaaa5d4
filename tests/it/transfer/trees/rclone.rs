//! Trees and files over rclone, which stands between SFTP and storage of any kind: it carries requests out at the same time,
//! makes no links, keeps no modes and, without a cache, writes a file from its beginning to its end and in no other way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{Item, age, inventory, open_up, plant};
use crate::{
    support::{
        checks::{eventually, random},
        disk::names,
        fixture::{ConnectedHost, TestHost},
        link::Link,
        other_sshd::{Make, OtherSshd},
    },
    transfer::set_mode,
};

/// All below a directory that rclone keeps: directories by their paths, files with times and content.
fn kept(root: &Path) -> BTreeMap<PathBuf, Option<(i64, Vec<u8>)>> {
    let kept = |item| match item {
        Item::Directory { .. } => Some(None),
        Item::File {
            modified, content, ..
        } => Some(Some((modified, content))),
        Item::Link { .. } => None,
    };

    inventory(root)
        .into_iter()
        .filter_map(|(path, item)| Some((path, kept(item)?)))
        .collect()
}

/// How many entries have another mode than rclone says of all.
fn with_mode(root: &Path) -> usize {
    let has_mode = |item: &&Item| match item {
        Item::Directory { mode, .. } => *mode != 0o755,
        Item::File { mode, .. } => *mode != 0o644,
        Item::Link { .. } => false,
    };
    inventory(root).values().filter(has_mode).count()
}

async fn all_arrives(cache: &'static str) {
    let mut bench = TestHost::other(&Make::Rclone(cache, "5m")).connect().await;
    let (source, there, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );

    fs::create_dir(&source).unwrap();
    plant(&source, true);
    let files = kept(&source).values().flatten().count();

    let sent = bench
        .tree("ssh_upload", &source, Path::new("/up"), json!({}))
        .await;
    let text = sent.text();

    // What it cannot keep is named.
    let without = format!(
        "({files} files; {} entries without mode, which the server does not set)",
        with_mode(&source)
    );

    assert!(sent.is_error() && text.contains(&without), "{text}");
    assert!(text.contains("6 entries could not be moved"), "{text}");

    for link in ["link", "to-directory", "deep/dangling", "out", "up"] {
        assert!(
            text.contains(&format!("\"{link}\": making the link")),
            "{text}"
        );
    }

    // Also before it has come out of the cache.
    let fetched = bench
        .tree("ssh_download", Path::new("/up"), &down, json!({}))
        .await
        .ok();

    assert!(
        fetched.text().contains("size verified") && !fetched.text().contains("skipped"),
        "{}",
        fetched.text()
    );

    assert!(kept(&down) == kept(&source));
    eventually("all is there", || kept(&there) == kept(&source)).await;

    // Over what is there, of which only what has changed goes again.
    fs::write(source.join("deep/one"), "changed").unwrap();
    age(&source.join("deep/one"), 1_600_000_000);

    let again = bench
        .tree(
            "ssh_upload",
            &source.join("."),
            Path::new("/up"),
            json!({"skipUnchanged": true}),
        )
        .await;

    assert!(
        again.text().contains("the rest has arrived (1 file;"),
        "{}",
        again.text()
    );

    eventually("the change is there", || kept(&there) == kept(&source)).await;

    let (large, back, target) = (
        bench.local("large"),
        bench.local("back"),
        bench.remote("target"),
    );

    for (length, mode) in [(0, 0o644), (70_000, 0o604), (3_000_000, 0o644)] {
        fs::write(&large, random(length)).unwrap();
        age(&large, 1_300_000_000);
        set_mode(&large, mode);
        let sent = bench.try_upload(&large, "/target").await.ok();
        assert!(
            sent.text().contains("size verified") && !sent.text().contains("skipped"),
            "{}",
            sent.text()
        );

        assert_eq!(
            sent.text().contains("; 1 entry without mode, which"),
            mode != 0o644,
            "{}",
            sent.text()
        );

        bench.try_download("/target", &back).await.ok();
        assert!(
            fs::read(&back).unwrap() == fs::read(&large).unwrap(),
            "{length} bytes"
        );

        eventually("the file is there", || {
            fs::read(&target).ok() == fs::read(&large).ok()
        })
        .await;

        eventually("it has its time", || {
            fs::metadata(&target).unwrap().mtime() == 1_300_000_000
        })
        .await;
    }

    assert_eq!(names(&bench.home), ["target", "up"]);
    open_up(&source);
}

#[tokio::test]
async fn all_arrives_over_rclone_without_a_cache() {
    all_arrives("off").await;
}

#[tokio::test]
async fn all_arrives_over_rclone_which_writes_later() {
    all_arrives("writes").await;
}

#[tokio::test]
async fn what_is_given_up_is_closed_before_it_is_removed() {
    for cache in ["off", "writes"] {
        let (mut bench, link) = behind(&Make::Rclone(cache, "5m"), &[]).await;

        // So short that rclone without a cache makes it when it is closed.
        fs::write(bench.local("file"), random(90_000)).unwrap();

        // The channel is open by then, and not all of the file has passed.
        link.stall_at(link.passed() + 60_000);
        let file = bench.local("file");

        let call = bench
            .mcp
            .begin_call(
                "ssh_upload",
                json!({"localPath": file, "remotePath": "/target"}),
            )
            .await;

        eventually("a part is on its way", || link.is_stalled()).await;
        bench.mcp.cancel(call).await;
        link.stall_at(u64::MAX);

        // What is still open is closed with its connection.
        bench.mcp.call("ssh_disconnect", json!({})).await.ok();
        bench
            .mcp
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        bench.try_upload(&file, "/other").await.ok();
        eventually("the other file is there", || bench.remote("other").exists()).await;
        assert_eq!(names(&bench.home), ["other"], "{cache}");
    }
}

/// Behind a link whose first connections are cut after these numbers of bytes.
async fn behind(make: &Make, cuts: &[u64]) -> (ConnectedHost<OtherSshd>, Link) {
    let mut host = TestHost::other(make);
    let link = Link::to(host.port, Duration::ZERO, cuts).await;
    let through = link.options(host.port);

    host.config = host.sshd.write_ssh_config("host", &through);

    (host.connect().await, link)
}

#[tokio::test]
async fn an_upload_that_the_server_cannot_resume_begins_anew() {
    for make in [
        Make::Rclone("off", "5m"),
        Make::Rclone("writes", "5m"),
        Make::Asyncssh(&["fsetstat"]),
    ] {
        let (mut bench, link) = behind(&make, &[4_000_000]).await;
        let content = random(10_000_000);
        fs::write(bench.local("file"), &content).unwrap();
        bench.try_upload(&bench.local("file"), "target").await.ok();
        eventually("the file is there", || {
            fs::read(bench.remote("target")).is_ok_and(|there| there == content)
        })
        .await;

        assert_eq!(names(&bench.home), ["target"]);

        // The link was lost, and what had arrived came again.
        assert!(
            link.passed() > 12_000_000,
            "{} bytes have passed",
            link.passed()
        );
    }
}
