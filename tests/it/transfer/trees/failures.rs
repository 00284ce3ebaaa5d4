//! Trees of which something cannot be moved: it is named, the rest is there, and nothing is where it was not named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    super::{
        failures::{QUOTAS, am_root, open_limited},
        resume::behind,
        set_mode, sftp_server,
    },
    BOTH, assert_same, simple,
};
use crate::support::{
    checks::{eventually, plain, random, skipped},
    disk::{SmallDisk, names},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    open_sshd::OpenSshd,
};

/// Source and target of a transfer with this tool.
fn ends(bench: &ConnectedHost<OpenSshd>, tool: &str) -> (PathBuf, PathBuf) {
    let (here, there) = (bench.folder().join("here"), bench.home.clone());
    fs::create_dir_all(&here).unwrap();
    if tool == "ssh_upload" {
        (here.join("tree"), there.join("to"))
    } else {
        (there.join("tree"), here.join("to"))
    }
}

/// Half-made things anywhere below, also while they come and go.
fn litter(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => litter(&entry.path()),
        _ => vec![entry.path()],
    });

    below
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "part" || end == "old")
        })
        .collect()
}

#[tokio::test]
async fn what_cannot_be_replaced_is_named_and_the_rest_is_there() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = ends(&bench, tool);
        simple(&from, "new");
        for name in ["a", "b", "c"] {
            fs::write(from.join(name), "new").unwrap();
        }

        symlink("a", from.join("link")).unwrap();
        fs::create_dir_all(from.join("blocked/inside")).unwrap();
        fs::create_dir_all(to.join("b")).unwrap();
        fs::create_dir_all(to.join("link")).unwrap();
        fs::write(to.join("blocked"), "old").unwrap();
        let result = bench.tree(tool, &from.join("."), &to, json!({})).await;
        let text = result.text();
        assert!(
            result.is_error() && text.contains("3 entries could not be moved"),
            "{text}"
        );

        for named in ["\"b\": ", "\"link\": ", "\"blocked\": ", "skipUnchanged"] {
            assert!(text.contains(named), "{named} in {text}");
        }

        for arrived in ["a", "c", "sub/file"] {
            assert_eq!(fs::read(to.join(arrived)).unwrap(), b"new");
        }

        assert_eq!(fs::read(to.join("blocked")).unwrap(), b"old");
        assert!(litter(&to).is_empty());

        // Once it is out of the way, the rest follows.
        fs::remove_dir(to.join("b")).unwrap();
        fs::remove_dir(to.join("link")).unwrap();
        fs::remove_file(to.join("blocked")).unwrap();
        let again = bench
            .tree(tool, &from.join("."), &to, json!({"skipUnchanged": true}))
            .await
            .ok();

        assert_eq!(
            (&again.structured()["files"], &again.structured()["skipped"]),
            (&json!(1), &json!(3))
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_there() {
    if am_root() {
        return skipped("root may read everything");
    }

    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = ends(&bench, tool);
        simple(&from, "x");
        fs::write(from.join("secret"), "x").unwrap();
        fs::create_dir(from.join("closed")).unwrap();
        set_mode(&from.join("secret"), 0o000);
        set_mode(&from.join("closed"), 0o000);
        let result = bench.tree(tool, &from, &to, json!({})).await;
        set_mode(&from.join("closed"), 0o755);
        let text = result.text().to_lowercase();
        assert!(
            result.is_error() && text.contains("2 entries") && text.contains("permission denied"),
            "{text}"
        );

        assert!(
            text.contains("\"secret\"") && text.contains("\"closed\""),
            "{text}"
        );

        assert_eq!(fs::read(to.join("sub/file")).unwrap(), b"x");
        let _ = fs::remove_dir_all(&to);
    }
}

#[tokio::test]
async fn no_link_in_the_way_is_followed() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = ends(&bench, tool);
        let outside = bench.local("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "old").unwrap();
        simple(&from, "new");
        fs::write(from.join("file"), "new").unwrap();
        fs::create_dir(&to).unwrap();

        // Planted, by an earlier transfer or by anybody.
        symlink(&outside, to.join("sub")).unwrap();
        symlink(outside.join("victim"), to.join("file")).unwrap();
        symlink(&outside, to.join("tree")).unwrap();
        let result = bench.tree(tool, &from.join("."), &to, json!({})).await;
        assert!(
            result.is_error() && result.text().contains("\"sub\": "),
            "{}",
            result.text()
        );

        assert_eq!(fs::read(to.join("file")).unwrap(), b"new");
        assert!(
            fs::symlink_metadata(to.join("file")).unwrap().is_file(),
            "the link is replaced"
        );

        // The name under which the tree would go into the target is no less dangerous.
        let result = bench.tree(tool, &from, &to, json!({})).await;
        assert!(
            result.is_error() && result.text().contains("link"),
            "{}",
            result.text()
        );

        let left = (names(&outside), fs::read(outside.join("victim")).unwrap());
        assert_eq!(left, (vec!["victim".to_owned()], b"old".to_vec()));
    }
}

#[tokio::test]
async fn a_tree_of_failures_is_given_up() {
    let mut bench = TestHost::openssh().connect().await;
    let (from, to) = ends(&bench, "ssh_upload");
    fs::create_dir(&from).unwrap();

    for number in 0..500 {
        fs::write(from.join(number.to_string()), "").unwrap();
        fs::create_dir_all(to.join(number.to_string())).unwrap();
    }

    let result = bench
        .tree("ssh_upload", &from.join("."), &to, json!({}))
        .await;

    assert!(
        result.is_error() && result.text().contains("the rest was not tried"),
        "{}",
        result.text()
    );

    assert!(result.text().len() < 3_000, "{}", result.text());
    assert!(litter(&to).is_empty());
}

/// A tree of which not all has room on a small disk: in `to` is an older one.
fn too_large(from: &Path, to: &Path) {
    fs::create_dir(from).unwrap();
    fs::create_dir_all(to).unwrap();
    for (name, length) in [("large", 5_000_000), ("medium", 1_500_000), ("z", 10)] {
        fs::write(from.join(name), vec![b'z'; length]).unwrap();
        fs::write(to.join(name), "old").unwrap();
    }
}

/// What has room has arrived, the rest is old, and nothing else is there.
fn assert_no_room(result: &ToolResult, to: &Path) {
    assert!(result.is_error(), "{}", result.text());

    for name in ["large", "medium", "z"] {
        let there = fs::read(to.join(name)).unwrap();
        assert!(
            there == b"old" || name == "z" && there == [b'z'; 10],
            "{name}: {}",
            result.text()
        );
    }

    assert!(litter(to).is_empty(), "{:?} {}", litter(to), result.text());
}

#[tokio::test]
async fn a_tree_that_finds_no_room_leaves_old_files_and_no_litter() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = (bench.local("tree"), bench.local("disk"));
        let Some(_disk) = SmallDisk::mount(&to) else {
            return;
        };
        too_large(&from, &to);
        let result = bench.tree(tool, &from.join("."), &to, json!({})).await;
        assert_no_room(&result, &to);
        assert!(result.text().contains("\"large\": "), "{}", result.text());
    }
}

#[tokio::test]
async fn a_tree_beyond_a_quota_leaves_old_files_and_no_litter() {
    if sftp_server().is_none() {
        return skipped("no sftp-server program");
    }

    for quota in QUOTAS {
        let mut bench = open_limited(quota).await;
        let (from, to) = ends(&bench, "ssh_upload");
        too_large(&from, &to);
        let result = bench
            .tree("ssh_upload", &from.join("."), &to, json!({}))
            .await;
        assert_no_room(&result, &to);
    }
}

#[tokio::test]
async fn the_next_connection_removes_the_rest_of_a_lost_tree() {
    for tool in BOTH {
        let (mut bench, _link) = behind(Duration::ZERO, &[30_000_000]).await;
        let (from, to) = ends(&bench, tool);
        mixed(&from);
        let keys = bench.sshd.dir().join("authorized_keys");
        let listed = fs::read(&keys).unwrap();
        fs::write(&keys, "").unwrap();
        let result = bench.tree(tool, &from, &to, json!({})).await;
        assert!(
            result.is_error() && result.text().contains("permission denied"),
            "{}",
            result.text()
        );

        assert_eq!(
            litter(&to).is_empty(),
            tool == "ssh_download",
            "there was no way to remove it over there"
        );

        fs::write(&keys, listed).unwrap();
        bench.exec("echo alive", plain()).await;
        eventually("the litter is gone", || litter(&to).is_empty()).await;

        // What has arrived is whole.
        bench
            .tree(tool, &from.join("."), &to, json!({"skipUnchanged": true}))
            .await
            .ok();

        for name in ["small", "medium", "large"] {
            assert_same(&from.join(name), &to.join(name));
        }
    }
}

/// A tree of long files that take no room, and one that is complete at once.
fn long_tree(root: &Path) {
    fs::create_dir_all(root.join("a")).unwrap();
    fs::write(root.join("a/small"), "small").unwrap();

    for number in 0..20 {
        fs::File::create(root.join(format!("z{number}")))
            .unwrap()
            .set_len(1_000_000_000)
            .unwrap();
    }
}

#[tokio::test]
async fn a_cancelled_tree_keeps_complete_files_and_leaves_no_litter() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = ends(&bench, tool);
        long_tree(&from);
        let (local, remote) = if tool == "ssh_upload" {
            (&from, &to)
        } else {
            (&to, &from)
        };

        let call = bench
            .mcp
            .begin_call(tool, json!({"localPath": local, "remotePath": remote}))
            .await;

        eventually("it is under way", || {
            to.join("a/small").exists()
                && litter(&to)
                    .iter()
                    .any(|part| fs::metadata(part).is_ok_and(|file| file.len() > 0))
        })
        .await;

        bench.mcp.cancel(call).await;
        eventually("nothing half-made is left", || litter(&to).is_empty()).await;
        assert_eq!(fs::read(to.join("a/small")).unwrap(), b"small");
        assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
    }
}

#[tokio::test]
async fn a_server_that_grants_one_channel_gets_a_tree_over_it() {
    let mut bench = TestHost::openssh_with(|settings| settings.max_sessions = 1)
        .connect()
        .await;
    let (from, to) = ends(&bench, "ssh_upload");
    let back = bench.local("back");
    fs::create_dir(&from).unwrap();
    for number in 0..500 {
        fs::write(from.join(number.to_string()), number.to_string()).unwrap();
    }
    fs::write(from.join("large"), random(1_000_000)).unwrap();

    bench.tree("ssh_upload", &from, &to, json!({})).await.ok();
    bench.tree("ssh_download", &to, &back, json!({})).await.ok();
    for copy in [to, back] {
        assert_same(&from, &copy);
    }
}

/// Files of every length that is treated differently.
fn mixed(root: &Path) {
    for (directory, count, length) in [
        ("small", 300, 3_000),
        ("medium", 20, 700_000),
        ("large", 1, 100_000_000),
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
        for number in 0..count {
            fs::write(root.join(format!("{directory}/{number}")), random(length)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_tree_goes_on_after_a_lost_link() {
    for tool in BOTH {
        let cuts = [3_000_000, 45_000_000, 45_000_000];
        let (mut bench, link) = behind(Duration::ZERO, &cuts).await;
        let (from, to) = ends(&bench, tool);
        mixed(&from);
        let result = bench.tree(tool, &from, &to, json!({})).await.ok();
        assert_same(&from, &to);
        assert_eq!(result.structured()["files"], 321, "{}", result.text());
        assert!(
            bench.sshd.log().matches("Accepted publickey").count() > cuts.len(),
            "{}",
            bench.sshd.log()
        );

        eventually("nothing half-made is left", || {
            litter(&bench.home).is_empty()
        })
        .await;

        // What may be sent more than once for each cut: less than the long file has of itself by then.
        assert!(
            link.passed() < 115_000_000 + 3 * 20_000_000,
            "{} bytes have passed",
            link.passed()
        );
    }
}

#[tokio::test]
async fn progress_tells_file_bytes_and_rate() {
    let (mut bench, _link) = behind(Duration::from_millis(20), &[]).await;
    let (from, to) = ends(&bench, "ssh_upload");
    fs::create_dir(&from).unwrap();

    // Long enough to be told of, whatever the machine.
    fs::File::create(from.join("long"))
        .unwrap()
        .set_len(2_000_000_000)
        .unwrap();

    let params = json!({
        "name": "ssh_upload", "arguments": {"localPath": from, "remotePath": to}, "_meta": {"progressToken": "p"},
    });
    let started = Instant::now();
    let call = bench.mcp.begin("tools/call", params).await;
    let (mut told, mut seen) = (Vec::new(), 0.0);

    while told.len() < 3 {
        let message = bench.mcp.message().await.unwrap();
        if message["method"] == "notifications/progress" {
            let params = &message["params"];
            assert!(params["progress"].as_f64().unwrap() > seen, "{params}");
            seen = params["progress"].as_f64().unwrap();
            told.push(params["message"].as_str().unwrap_or_default().to_owned());
        }
    }

    let most = 2.0 * started.elapsed().as_secs_f64() + 1.0;
    assert!(
        f64::from(u32::try_from(told.len()).unwrap()) <= most,
        "{:?}: {told:?}",
        started.elapsed()
    );

    let last = told.pop().unwrap();
    assert!(
        last.starts_with("long: ") && last.contains(" of 2.00 GB, ") && last.ends_with("/s"),
        "{last}"
    );

    bench.mcp.cancel(call).await;
    eventually("nothing half-made is left", || litter(&to).is_empty()).await;
}
