//! Trees from host to host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::{TwoHosts, text};
use crate::support::{checks::random, disk::names, fixture::TestHost};

/// Every path below a directory with its kind and mode, its time, and its content or target.
pub(super) fn snapshot(root: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let (mut found, mut directories) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        for path in paths.chain((directory == root).then(|| root.to_owned())) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_symlink() {
                text(&fs::read_link(&path).unwrap()).into()
            } else if metadata.is_file() {
                fs::read(&path).unwrap()
            } else {
                if path != root {
                    directories.push(path.clone());
                }
                Vec::new()
            };

            let name = text(path.strip_prefix(root).unwrap()).to_owned();
            found.insert(name, (metadata.mode(), metadata.mtime(), content));
        }
    }

    found
}

/// Sets the time of a file or directory.
fn set_time(path: &Path, seconds: u64) {
    let modified = UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
}

/// Makes a tree with files of all lengths, empty directories, links, and modes and times of its own.
pub(super) fn make_tree(root: &Path, files: usize) {
    fs::create_dir_all(root.join("a/b/c/empty")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..files {
        fs::write(root.join(format!("many/{number}")), random(number % 700)).unwrap();
    }

    for (name, length) in [
        ("empty-file", 0),
        ("chunk", 32 * 1024),
        ("a/small", 200_000),
        ("a/b/reply", 255 * 1024),
        ("a/b/medium", 900_000),
        ("a/b/c/large", 6_000_000),
    ] {
        fs::write(root.join(name), random(length)).unwrap();
    }

    symlink("../chunk", root.join("a/link")).unwrap();
    symlink("/no/such/place", root.join("dangling")).unwrap();
    symlink("b", root.join("a/directory-link")).unwrap();
    super::set_mode(&root.join("a/small"), 0o751);
    super::set_mode(&root.join("a/b/c/empty"), 0o700);
    super::set_mode(&root.join("a/b/medium"), 0o444);
    for (path, seconds) in [
        ("chunk", 1_000_000_000),
        ("a/b/c/large", 1_100_000_000),
        ("a/b/c/empty", 1_200_000_000),
        ("a", 1_300_000_000),
        ("", 1_400_000_000),
    ] {
        set_time(&root.join(path), seconds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_with_everything_in_it() {
    let mut bench = TwoHosts::openssh().await;
    let (from, to) = (bench.web.remote("tree"), bench.db.remote("copy"));
    make_tree(&from, 2_000);
    let result = bench.up(text(&from), text(&to), json!({})).await.ok();
    let seen = result.structured();
    assert_eq!(
        (&seen["files"], &seen["skipped"]),
        (&json!(2_006), &json!(0))
    );

    assert!(
        result
            .text()
            .starts_with("copied 2006 files, 3 links, 6 directories, "),
        "{}",
        result.text()
    );

    let (mut original, mut copy) = (snapshot(&from), snapshot(&to));
    for links in [&mut original, &mut copy] {
        // The user cannot set the time of a link everywhere.
        links.retain(|_, (mode, time, _)| {
            if *mode & 0o170_000 == 0o120_000 {
                *time = 0;
            }
            true
        });
    }
    assert!(original == copy);

    // For the second time nothing is copied, and a change is found.
    let again = bench
        .up("~/tree/.", "copy", json!({"skipUnchanged": true}))
        .await
        .ok();
    let seen = again.structured();
    assert_eq!(
        (&seen["files"], &seen["skipped"]),
        (&json!(0), &json!(2_009))
    );
    fs::write(from.join("a/small"), "changed").unwrap();
    let again = bench
        .up("~/tree/.", "copy", json!({"skipUnchanged": true}))
        .await
        .ok();
    assert_eq!(again.structured()["files"], json!(1));
    assert_eq!(fs::read(to.join("a/small")).unwrap(), b"changed");
    assert_eq!(names(&bench.db.home), ["copy"]);
}

#[tokio::test]
async fn where_a_tree_goes_is_as_with_cp() {
    let mut bench = TwoHosts::openssh().await;
    fs::create_dir_all(bench.web.remote("tree/sub")).unwrap();
    fs::write(bench.web.remote("tree/sub/file"), "x").unwrap();
    fs::create_dir(bench.db.remote("there")).unwrap();
    fs::write(bench.db.remote("there/kept"), "kept").unwrap();

    for (is_up, from, to, place) in [
        (true, "~/tree", "there", "there/tree"),
        (false, "~/tree", "~/there", "there/tree"),
        (true, "~/tree", "new", "new"),
        (false, "tree", "~/new", "new"),
        (true, "~/tree", "made/", "made/tree"),
        (false, "tree/", "~/made/", "made/tree"),
        (true, "~/tree/.", "there", "there"),
        (true, "~/tree", "~", "tree"),
    ] {
        let result = if is_up {
            bench.up(from, to, json!({})).await.ok()
        } else {
            bench.down(from, to).await.ok()
        };

        let place = bench.db.remote(place);
        assert_eq!(
            result.structured()["to"],
            json!(text(&place)),
            "{from} to {to}"
        );
        let content = fs::read(place.join("sub/file"));
        assert_eq!(content.unwrap(), b"x", "{from} to {to}");
        fs::remove_dir_all(place.join("sub")).unwrap();
        let _ = fs::remove_dir(place);
    }

    assert_eq!(names(&bench.db.remote("there")), ["kept"]);
}

#[tokio::test]
async fn patterns_leave_out_what_they_name() {
    let mut bench = TwoHosts::openssh().await;
    for path in ["src/a.rs", "src/a.o", "target/deep/x", "keep/b.o"] {
        let path = bench.web.remote("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    let exclude = json!({"exclude": ["*.o", "!/keep/*.o", "/target/"]});
    let result = bench.up("~/tree", "copy", exclude).await.ok();
    assert_eq!(result.structured()["files"], json!(2));
    let copy = snapshot(&bench.db.remote("copy"));
    let names: Vec<_> = copy.keys().map(String::as_str).collect();
    assert_eq!(names, ["", "keep", "keep/b.o", "src", "src/a.rs"]);
}

#[tokio::test]
async fn special_files_are_skipped_and_counted() {
    let mut bench = TwoHosts::openssh().await;
    fs::create_dir(bench.web.remote("tree")).unwrap();
    fs::write(bench.web.remote("tree/file"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.web.remote("tree/socket")).unwrap();
    let result = bench.up("~/tree", "copy", json!({})).await.ok();
    assert_eq!(result.structured()["skipped"], json!(1));
    assert_eq!(names(&bench.db.remote("copy")), ["file"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_can_be_either_side() {
    let fake = || TestHost::fake_with_shell("/bin/sh");
    let mut bench = TwoHosts::of(fake(), TestHost::openssh()).await;
    make_tree(&bench.web.remote("tree"), 50);
    bench.up("~/tree", "copy", json!({})).await.ok();
    let original = contents(&bench.web.remote("tree"));
    assert!(original == contents(&bench.db.remote("copy")));

    let mut bench = TwoHosts::of(TestHost::openssh(), fake()).await;
    make_tree(&bench.web.remote("tree"), 50);
    bench.up("~/tree", "copy", json!({})).await.ok();
    let original = contents(&bench.web.remote("tree"));
    assert!(original == contents(&bench.db.remote("copy")));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn dropbear_can_be_either_side() {
    if super::super::sftp_server().is_none() {
        return crate::support::checks::skipped("no sftp-server program");
    }

    let dropbear = || TestHost::dropbear(Path::new("/bin/sh"));
    let mut bench = TwoHosts::of(dropbear(), TestHost::openssh()).await;
    make_tree(&bench.web.home.join("tree"), 50);
    let from = text(&bench.web.home.join("tree")).to_owned();
    bench.up(&from, "copy", json!({})).await.ok();
    let original = contents(&bench.web.remote("tree"));
    assert!(original == contents(&bench.db.remote("copy")));

    let mut bench = TwoHosts::of(TestHost::openssh(), dropbear()).await;
    make_tree(&bench.web.remote("tree"), 50);
    let to = text(&bench.db.home.join("copy")).to_owned();
    bench.up("~/tree", &to, json!({})).await.ok();
    let original = contents(&bench.web.remote("tree"));
    assert!(original == contents(&bench.db.remote("copy")));
}

/// Every path below a directory with its content or target.
fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let found = snapshot(root).into_iter();
    found.map(|(path, (.., content))| (path, content)).collect()
}
