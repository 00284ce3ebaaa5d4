//! `ssh_upload` and `ssh_download` of directory trees, compared entry by entry: content, modes, times, links.

mod failures;
#[cfg(target_os = "linux")]
mod rclone;
#[cfg(target_os = "linux")]
pub(super) mod servers;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    failures::open_limited, hostile::faults::posing_as_openssh, resume::behind, set_mode,
    sftp_server,
};
use crate::support::{
    checks::{random, skipped},
    disk::names,
    fake_sshd::FakeSshdSettings,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
};

/// What an entry of a tree is, with its mode and time, as far as they are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory {
        mode: u32,
        modified: i64,
    },
    File {
        mode: u32,
        modified: i64,
        content: Vec<u8>,
    },
    Link {
        target: PathBuf,
        modified: i64,
    },
}

/// All that is below a directory, with the directory itself as the empty path.
fn inventory(root: &Path) -> BTreeMap<PathBuf, Item> {
    fn visit(root: &Path, at: &Path, found: &mut BTreeMap<PathBuf, Item>) {
        let metadata = fs::symlink_metadata(at).unwrap();
        let (mode, modified) = (metadata.mode() & 0o7777, metadata.mtime());

        let item = if metadata.is_symlink() {
            Item::Link {
                target: fs::read_link(at).unwrap(),
                modified,
            }
        } else if metadata.is_dir() {
            for entry in fs::read_dir(at).unwrap() {
                visit(root, &entry.unwrap().path(), found);
            }
            Item::Directory { mode, modified }
        } else if metadata.is_file() {
            Item::File {
                mode,
                modified,
                content: fs::read(at).unwrap(),
            }
        } else {
            return;
        };

        found.insert(at.strip_prefix(root).unwrap().to_owned(), item);
    }

    let mut found = BTreeMap::new();
    visit(root, root, &mut found);

    found
}

/// Says the first difference, not a thousand lines.
fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (inventory(one), inventory(other));
    for path in one.keys().chain(other.keys()) {
        assert!(
            one.get(path) == other.get(path),
            "{}:\n{:?}\n{:?}",
            path.display(),
            short(one.get(path)),
            short(other.get(path))
        );
    }
}

fn short(item: Option<&Item>) -> String {
    let mut text = format!("{item:?}");
    text.truncate(200);
    text
}

fn age(path: &Path, seconds: u64) {
    fs::File::open(path)
        .unwrap()
        .set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

/// A tree with something of everything. `bytes`: with names that are not Unicode.
fn plant(root: &Path, bytes: bool) {
    let at = |name: &str| root.join(name);

    for directory in [
        "empty",
        "deep/down/there",
        "closed/inside",
        "with blanks",
        "é日本🚀",
        "-rf",
        "many",
    ] {
        fs::create_dir_all(at(directory)).unwrap();
    }

    let contents = [
        ("a", 0, 0o644),
        ("deep/one", 1, 0o600),
        ("deep/down/program", 5_000, 0o755),
        ("deep/down/there/large", 3_000_000, 0o640),
        ("closed/file", 10, 0o444),
        ("closed/inside/file", 300_000, 0o400),
        ("with blanks/it's \"q\"", 7, 0o641),
        ("é日本🚀/new\nline", 8, 0o644),
        ("-rf/--", 9, 0o604),
        ("$HOME`id`", 3, 0o644),
    ];

    for (name, length, mode) in contents {
        fs::write(at(name), random(length)).unwrap();
        set_mode(&at(name), mode);
    }

    for number in 0..300 {
        fs::write(at(&format!("many/{number}")), random(number)).unwrap();
    }

    if bytes {
        let odd = root.join(OsStr::from_bytes(b"\xff\xfe"));
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join(OsStr::from_bytes(b"caf\xe9")), "latin").unwrap();
        symlink(
            OsStr::from_bytes(b"caf\xe9"),
            odd.join(OsStr::from_bytes(b"l\xefnk")),
        )
        .unwrap();
    }

    for (target, link) in [
        ("a", "link"),
        ("deep", "to-directory"),
        ("nowhere", "deep/dangling"),
        ("/etc/passwd", "out"),
        ("..", "up"),
    ] {
        symlink(target, at(link)).unwrap();
    }

    let found = inventory(root);
    for (number, (path, item)) in found.iter().enumerate() {
        if !matches!(item, Item::Link { .. }) {
            age(&root.join(path), 1_000_000_000 + number as u64);
        }
    }

    for (name, mode) in [
        ("closed/inside", 0o555),
        ("closed", 0o500),
        ("deep", 0o711),
        ("with blanks", 0o755),
    ] {
        set_mode(&at(name), mode);
    }

    age(root, 1_234_567_890);
    set_mode(root, 0o750);
}

/// Lets the temporary folder be removed.
fn open_up(root: &Path) {
    for (path, item) in inventory(root) {
        if matches!(item, Item::Directory { .. }) {
            set_mode(&root.join(path), 0o755);
        }
    }
}

/// A directory of one mode, time and file.
fn simple(root: &Path, content: &str) {
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(root.join("sub/file"), content).unwrap();
}

impl<S> ConnectedHost<S> {
    async fn tree(&mut self, tool: &str, from: &Path, to: &Path, more: Value) -> ToolResult {
        let (local, remote) = if tool == "ssh_upload" {
            (from, to)
        } else {
            (to, from)
        };

        let mut arguments = more;
        arguments["localPath"] = json!(local);
        arguments["remotePath"] = json!(remote);

        self.mcp.call(tool, arguments).await
    }

    /// Where a tree is that the tool moves, and where to.
    fn ends(&self, tool: &str) -> (PathBuf, PathBuf) {
        if tool == "ssh_upload" {
            (self.local("tree"), self.remote("to"))
        } else {
            (self.remote("tree"), self.local("to"))
        }
    }
}

const BOTH: [&str; 2] = ["ssh_upload", "ssh_download"];

async fn a_tree_arrives_as_it_is<S>(mut bench: ConnectedHost<S>, bytes: bool) {
    let source = bench.local("source");
    fs::create_dir(&source).unwrap();
    plant(&source, bytes);
    let (up, down) = (bench.remote("up"), bench.local("down"));
    let expected = inventory(&source);

    let sizes = expected.values().map(|item| {
        if let Item::File { content, .. } = item {
            content.len()
        } else {
            0
        }
    });

    let (files, total) = (
        expected
            .values()
            .filter(|item| matches!(item, Item::File { .. }))
            .count(),
        sizes.sum::<usize>(),
    );

    let sent = bench.tree("ssh_upload", &source, &up, json!({})).await.ok();
    assert_same(&source, &up);
    let fetched = bench.tree("ssh_download", &up, &down, json!({})).await.ok();
    assert_same(&source, &down);

    for result in [sent, fetched] {
        let seen = result.structured();
        assert_eq!(
            (&seen["files"], &seen["bytes"], &seen["skipped"]),
            (&json!(files), &json!(total), &json!(0))
        );

        assert!(
            result.text().contains(&format!("{files} files")),
            "{}",
            result.text()
        );
    }

    // Once more, over what is there: read-only files and directories are replaced too.
    fs::write(source.join("deep/one"), "changed").unwrap();

    for tool in BOTH {
        let (from, to) = if tool == "ssh_upload" {
            (source.join("."), &up)
        } else {
            (up.join("."), &down)
        };

        bench.tree(tool, &from, to, json!({})).await.ok();
        assert_eq!(fs::read(to.join("deep/one")).unwrap(), b"changed");
        assert_eq!(
            fs::metadata(to.join("closed")).unwrap().mode() & 0o7777,
            0o500
        );
    }

    for root in [source, up, down] {
        open_up(&root);
    }
}

#[tokio::test]
async fn a_tree_arrives_as_it_is_with_internal_sftp() {
    a_tree_arrives_as_it_is(TestHost::openssh().connect().await, true).await;
}

#[tokio::test]
async fn a_tree_arrives_as_it_is_with_the_sftp_server_program() {
    let Some(program) = sftp_server() else {
        return skipped("no sftp-server program");
    };
    a_tree_arrives_as_it_is(
        TestHost::openssh_with(|settings| settings.sftp = program)
            .connect()
            .await,
        true,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_as_it_is_without_the_extensions_of_openssh() {
    let denied = "internal-sftp -P posix-rename,limits,fsync,lsetstat".to_owned();
    let mut bench = TestHost::openssh_with(|settings| settings.sftp = denied)
        .connect()
        .await;
    let (source, up) = (bench.local("source"), bench.remote("up"));
    simple(&source, "content");
    symlink("file", source.join("sub/link")).unwrap();

    for _ in 0..2 {
        bench
            .tree("ssh_upload", &source.join("."), &up, json!({}))
            .await
            .ok();

        assert_eq!(fs::read(up.join("sub/file")).unwrap(), b"content");
        assert_eq!(
            fs::read_link(up.join("sub/link")).unwrap(),
            Path::new("file")
        );

        assert_eq!(names(&up.join("sub")), ["file", "link"]);
    }
}

/// The handles of such a server are not those of OpenSSH, as it says it is: requests that are sent before the answer to
/// the open name none of its files.
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_though_handles_are_unexpected() {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-OpenSSH_9.9",
        max_sessions: 300,
        fault: Some(Box::new(|| {
            posing_as_openssh(Box::new(|_, honest| Some(honest)))
        })),
        ..FakeSshdSettings::default()
    };

    let mut bench = TestHost::fake_with(settings, "").connect().await;
    let (source, up, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );
    simple(&source, "content");
    for number in 0..400 {
        fs::write(source.join(number.to_string()), number.to_string()).unwrap();
    }

    bench.tree("ssh_upload", &source, &up, json!({})).await.ok();
    bench.tree("ssh_download", &up, &down, json!({})).await.ok();

    assert_same(&source, &up);
    assert_same(&source, &down);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_with_another_server() {
    let mut bench = TestHost::fake_with_shell("/bin/sh").connect().await;
    let (source, up, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );

    simple(&source, "content");
    bench.tree("ssh_upload", &source, &up, json!({})).await.ok();
    bench.tree("ssh_download", &up, &down, json!({})).await.ok();
    assert_same(&source, &down);
}

#[tokio::test]
async fn a_tree_goes_where_cp_would_put_it() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = if tool == "ssh_upload" {
            (bench.folder().to_owned(), bench.home.clone())
        } else {
            (bench.home.clone(), bench.folder().to_owned())
        };

        simple(&from.join("tree"), "x");
        fs::create_dir(to.join("there")).unwrap();
        symlink("there", to.join("link")).unwrap();

        for (source, target, expected) in [
            ("tree", "new", "new/sub/file"),
            ("tree/", "new", "new/sub/file"),
            ("tree", "there", "there/tree/sub/file"),
            ("tree/", "there/", "there/tree/sub/file"),
            ("tree", "link", "there/tree/sub/file"),
            ("tree", "new/", "new/tree/sub/file"),
            ("tree/.", "there", "there/sub/file"),
            ("tree/.", "there/", "there/sub/file"),
            ("tree/.", "new", "new/sub/file"),
            ("tree/sub/..", "there", "there/sub/file"),
        ] {
            let result = bench
                .tree(tool, &from.join(source), &to.join(target), json!({}))
                .await
                .ok();

            assert_eq!(
                fs::read(to.join(expected)).unwrap(),
                b"x",
                "{tool} {source} {target}: {}",
                result.text()
            );

            let said = Path::new(result.structured()["to"].as_str().unwrap()).to_owned();
            let said = fs::canonicalize(said).unwrap();
            let written = fs::canonicalize(to.join(expected)).unwrap();
            assert_eq!(said.join("sub/file"), written, "{tool} {source} {target}");
            let _ = fs::remove_dir_all(to.join("new"));
            fs::remove_dir_all(to.join("there")).unwrap();
            fs::create_dir(to.join("there")).unwrap();
        }

        // A directory that was there keeps its own mode where only content goes into it.
        set_mode(&to.join("there"), 0o751);
        bench
            .tree(tool, &from.join("tree/."), &to.join("there"), json!({}))
            .await
            .ok();

        assert_eq!(
            fs::metadata(to.join("there")).unwrap().permissions().mode() & 0o777,
            0o751
        );

        // What is not a directory is never replaced by one.
        fs::write(to.join("file"), "old").unwrap();
        let refused = bench
            .tree(tool, &from.join("tree"), &to.join("file"), json!({}))
            .await;

        assert!(
            refused.is_error() && refused.text().contains("not a directory"),
            "{}",
            refused.text()
        );

        let refused = bench
            .tree(tool, &from.join("tree"), &to.join("none/new"), json!({}))
            .await;

        assert!(
            refused.is_error() && refused.text().to_lowercase().contains("no such file"),
            "{}",
            refused.text()
        );

        assert_eq!(fs::read(to.join("file")).unwrap(), b"old");
    }
}

#[tokio::test]
async fn a_home_and_a_link_are_trees_too() {
    let mut bench = TestHost::openssh().connect().await;
    simple(&bench.remote("tree"), "x");
    symlink("tree", bench.remote("link")).unwrap();
    let down = bench.local("down");

    bench
        .mcp
        .call(
            "ssh_download",
            json!({"remotePath": "~/link", "localPath": down}),
        )
        .await
        .ok();

    assert_eq!(fs::read(down.join("sub/file")).unwrap(), b"x");
    fs::remove_dir_all(&down).unwrap();
    fs::create_dir(&down).unwrap();

    bench
        .mcp
        .call(
            "ssh_download",
            json!({"remotePath": "~", "localPath": down}),
        )
        .await
        .ok();

    assert_eq!(
        names(&down),
        ["link", "tree"],
        "the home has no name of its own: its content is meant"
    );
}

#[tokio::test]
async fn what_is_excluded_is_not_moved() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = bench.ends(tool);
        for directory in ["target/debug", "src/target", ".git", "docs"] {
            fs::create_dir_all(from.join(directory)).unwrap();
        }

        for file in [
            "a.o",
            "src/b.o",
            "src/keep.o",
            "src/main.c",
            "target/debug/x",
            "src/target/y",
            ".git/config",
        ] {
            fs::write(from.join(file), file).unwrap();
        }

        let exclude = json!({"exclude": ["*.o", "!keep.o", "/target/", ".git"]});
        let result = bench.tree(tool, &from, &to, exclude).await.ok();
        let found: Vec<_> = inventory(&to)
            .into_keys()
            .map(|path| path.display().to_string())
            .collect();

        assert_eq!(
            found,
            [
                "",
                "docs",
                "src",
                "src/keep.o",
                "src/main.c",
                "src/target",
                "src/target/y"
            ]
        );

        assert_eq!(
            (
                &result.structured()["files"],
                &result.structured()["skipped"]
            ),
            (&json!(3), &json!(0))
        );

        fs::remove_dir_all(&to).unwrap();

        for (exclude, reason) in [
            (json!(["a[b"]), "malformed"),
            (json!(["#x"]), "comment"),
            (json!("*.o"), "exclude"),
        ] {
            let refused = bench
                .tree(tool, &from, &to, json!({"exclude": exclude}))
                .await;

            assert!(
                refused.is_error() && refused.text().contains(reason),
                "{}",
                refused.text()
            );

            assert!(!to.exists(), "nothing was begun");
        }
    }
}

#[tokio::test]
async fn what_is_unchanged_is_skipped_on_request() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = bench.ends(tool);
        simple(&from, "one");

        for file in ["same", "longer", "newer", "missing", "older"] {
            fs::write(from.join(file), "12345").unwrap();
            age(&from.join(file), 1_500_000_000);
        }

        symlink("same", from.join("link")).unwrap();
        symlink("same", from.join("other-link")).unwrap();
        bench.tree(tool, &from, &to, json!({})).await.ok();
        fs::write(from.join("longer"), "123456").unwrap();
        age(&from.join("longer"), 1_500_000_000);
        fs::write(from.join("newer"), "54321").unwrap();
        fs::write(from.join("older"), "abcde").unwrap();
        age(&from.join("older"), 1_400_000_000);
        fs::remove_file(to.join("missing")).unwrap();
        fs::remove_file(from.join("other-link")).unwrap();
        symlink("newer", from.join("other-link")).unwrap();

        // Told apart by size and time alone.
        fs::write(from.join("same"), "xxxxx").unwrap();
        age(&from.join("same"), 1_500_000_000);

        let skip = json!({"skipUnchanged": true});
        let result = bench
            .tree(tool, &from.join("."), &to, skip.clone())
            .await
            .ok();

        let seen = result.structured();

        assert_eq!(
            (&seen["files"], &seen["skipped"]),
            (&json!(4), &json!(3)),
            "{}",
            result.text()
        );

        assert!(result.text().contains("3 unchanged"), "{}", result.text());
        assert_eq!(fs::read(to.join("same")).unwrap(), b"12345");
        fs::write(from.join("same"), "12345").unwrap();
        age(&from.join("same"), 1_500_000_000);
        assert_eq!(
            fs::read_link(to.join("other-link")).unwrap(),
            Path::new("newer")
        );

        for file in ["longer", "newer", "missing", "older"] {
            assert_eq!(
                fs::read(from.join(file)).unwrap(),
                fs::read(to.join(file)).unwrap(),
                "{file}"
            );
        }

        let result = bench
            .tree(tool, &from.join("."), &to, skip.clone())
            .await
            .ok();

        assert_eq!(
            (&result.structured()["files"], &result.structured()["bytes"]),
            (&json!(0), &json!(0))
        );

        // A single file too.
        let single = bench
            .tree(tool, &from.join("same"), &to.join("same"), skip)
            .await
            .ok();

        assert_eq!(
            (
                &single.structured()["files"],
                &single.structured()["skipped"]
            ),
            (&json!(0), &json!(1))
        );

        let single = bench
            .tree(tool, &from.join("same"), &to.join("same"), json!({}))
            .await
            .ok();

        assert_eq!(
            (
                &single.structured()["files"],
                &single.structured()["skipped"]
            ),
            (&json!(1), &json!(0))
        );
    }
}

#[tokio::test]
async fn special_files_are_skipped_and_counted() {
    for tool in BOTH {
        let mut bench = TestHost::openssh().connect().await;
        let (from, to) = bench.ends(tool);
        simple(&from, "x");
        let _socket = UnixListener::bind(from.join("socket")).unwrap();

        assert!(
            std::process::Command::new("mkfifo")
                .arg(from.join("sub/pipe"))
                .status()
                .unwrap()
                .success()
        );

        let result = bench.tree(tool, &from, &to, json!({})).await.ok();

        assert_eq!(
            (
                &result.structured()["files"],
                &result.structured()["skipped"]
            ),
            (&json!(1), &json!(2))
        );

        assert!(result.text().contains("2 special"), "{}", result.text());
        assert_eq!(names(&to), ["sub"]);
        assert_eq!(names(&to.join("sub")), ["file"]);
    }
}

#[tokio::test]
async fn thousands_of_files_keep_few_handles_open_and_leave_none() {
    if sftp_server().is_none() {
        return skipped("no sftp-server program");
    }

    // It says how many handles that leaves.
    let mut bench = open_limited("ulimit -n 30").await;
    let (source, up, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );

    for directory in 0..30 {
        let inside = source.join(format!("{directory}"));
        fs::create_dir_all(&inside).unwrap();

        for file in 0..100 {
            fs::write(
                inside.join(format!("{file}")),
                format!("{directory}/{file}"),
            )
            .unwrap();
        }
    }

    let sent = bench.tree("ssh_upload", &source, &up, json!({})).await.ok();
    let fetched = bench.tree("ssh_download", &up, &down, json!({})).await.ok();
    for result in [sent, fetched] {
        assert_eq!(result.structured()["files"], 3000, "{}", result.text());
    }

    assert_same(&source, &up);
    assert_same(&source, &down);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_do_not_wait_for_one_another_on_a_long_line() {
    let delay = Duration::from_millis(30);
    let (mut bench, _link) = behind(delay, &[]).await;
    let (source, up, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );

    for directory in 0..20 {
        simple(&source.join(directory.to_string()), "x");
        for file in 0..20 {
            fs::write(source.join(format!("{directory}/{file}")), "x").unwrap();
        }
    }

    // One after the other, each file takes three round trips at least.
    let sequential = delay * 2 * 3 * 400;

    for (tool, from, to) in [("ssh_upload", &source, &up), ("ssh_download", &up, &down)] {
        let started = Instant::now();
        bench.tree(tool, from, to, json!({})).await.ok();
        assert!(
            started.elapsed() < sequential / 4,
            "{tool}: {:?}",
            started.elapsed()
        );
    }

    assert_same(&source, &down);
}
