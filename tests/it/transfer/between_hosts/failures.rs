//! A copy that fails names the side, leaves the old file whole and nothing else behind.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{TwoHosts, config, text};
use crate::support::{
    checks::{assert_refused, eventually, plain},
    disk::{SmallDisk, names, part},
    fixture::TestHost,
    link::Link,
    open_sshd::OpenSshd,
    program::Program,
};

/// Long enough that a test can step in between.
const LONG: u64 = 3_000_000_000;

fn long_file(path: &Path) {
    fs::File::create(path).unwrap().set_len(LONG).unwrap();
}

#[tokio::test]
async fn the_error_names_the_side_and_its_path() {
    let mut bench = TwoHosts::openssh().await;
    fs::write(bench.web.remote("file"), "x").unwrap();
    fs::create_dir(bench.web.remote("tree")).unwrap();
    fs::create_dir_all(bench.db.remote("there/file")).unwrap();
    fs::write(bench.db.remote("busy"), "old").unwrap();
    let home = bench.web.home.display().to_string();

    for (from, to, parts) in [
        (
            format!("{home}/no-such"),
            "x",
            vec![
                "session \"web\": reading \"",
                "/no-such\"",
                "check that path on that host",
            ],
        ),
        (
            format!("{home}/*.log"),
            "x",
            vec!["session \"web\"", "without patterns"],
        ),
        (
            "/dev/zero".into(),
            "x",
            vec!["session \"web\"", "not a regular file"],
        ),
        (
            "~nobody/x".into(),
            "x",
            vec!["home directory of \"nobody\""],
        ),
        (
            format!("{home}/file"),
            "no/such",
            vec!["session \"db\"", "no/such", "make its directory first"],
        ),
        (
            format!("{home}/file"),
            "no-such/",
            vec![
                "session \"db\"",
                "there is no directory",
                "make its directory first",
            ],
        ),
        (
            format!("{home}/file"),
            "there",
            vec!["session \"db\"", "there/file is a directory"],
        ),
        (
            format!("{home}/tree"),
            "busy",
            vec!["session \"db\"", "is not a directory"],
        ),
        (format!("{home}/file"), "", vec!["remotePath is empty"]),
    ] {
        let refused = bench.up(&from, to, json!({})).await;
        assert_refused(&refused, &parts);
        assert!(!refused.text().contains("localPath"), "{}", refused.text());
        assert_eq!(names(&bench.db.home), ["busy", "there"], "{from} to {to}");
    }

    assert_eq!(names(&bench.web.home), ["file", "tree"]);
    assert_eq!(fs::read(bench.db.remote("busy")).unwrap(), b"old");
    let refused = bench.down("~/no-such", "~").await;
    assert_refused(&refused, &["session \"web\": reading", "check that path"]);
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_file_whole() {
    let web = TestHost::openssh();
    let db = TestHost::openssh();
    let Some(_disk) = SmallDisk::of_megabytes(2, &db.remote("small")) else {
        return;
    };

    let mut bench = TwoHosts::of(web, db).await;
    let small = bench.db.remote("small");
    fs::write(small.join("target"), "old").unwrap();
    fs::create_dir(bench.web.remote("tree")).unwrap();
    for path in ["target", "tree/long"] {
        fs::write(bench.web.remote(path), vec![b'x'; 5_000_000]).unwrap();
    }
    fs::write(bench.web.remote("tree/short"), "x").unwrap();

    let refused = bench.up("~/target", "small", json!({})).await;
    assert_refused(&refused, &["session \"db\": writing", "small/target"]);
    assert_eq!(fs::read(small.join("target")).unwrap(), b"old");
    assert_eq!(names(&small), ["target"]);

    let incomplete = bench.up("~/tree", "small", json!({})).await;
    assert_refused(
        &incomplete,
        &["1 entry could not be moved", "\"long\": writing it"],
    );
    assert_eq!(names(&small.join("tree")), ["short"]);
}

/// Begins a long copy, and waits until it is under way.
async fn under_way(bench: &mut TwoHosts<OpenSshd, OpenSshd>) -> u64 {
    long_file(&bench.web.remote("long"));
    fs::write(bench.db.remote("target"), "old").unwrap();
    let call = bench.begin_up("~/long", "target", json!({})).await;
    let home = bench.db.home.clone();
    eventually("the copy is under way", || {
        part(&home).is_some_and(|(_, length)| length > 0)
    })
    .await;
    call
}

#[tokio::test]
async fn a_cancelled_copy_leaves_the_old_file_and_no_litter() {
    let mut bench = TwoHosts::openssh().await;
    let call = under_way(&mut bench).await;
    bench.mcp.cancel(call).await;
    let home = bench.db.home.clone();
    eventually("nothing is left of it", || names(&home) == ["target"]).await;
    assert_eq!(fs::read(bench.db.remote("target")).unwrap(), b"old");

    for session in ["web", "db"] {
        let mut echo = plain();
        echo["command"] = "echo alive".into();
        echo["session"] = session.into();
        let alive = bench.mcp.call("ssh_exec", echo).await;
        assert_eq!(alive.stdout(), "alive\n", "{session}");
    }
}

#[tokio::test]
async fn disconnecting_either_session_ends_the_copy() {
    for session in ["web", "db"] {
        let mut bench = TwoHosts::openssh().await;
        let call = under_way(&mut bench).await;
        let disconnect = json!({"session": session});
        bench.mcp.call("ssh_disconnect", disconnect).await.ok();
        let result = bench.mcp.finish(call).await;
        assert_refused(&result, &["cancelled"]);
        assert_eq!(names(&bench.db.home), ["target"], "{session}");
        assert_eq!(fs::read(bench.db.remote("target")).unwrap(), b"old");
    }
}

#[tokio::test]
async fn a_side_without_sftp_and_without_a_shell_is_named() {
    let without =
        || TestHost::openssh_with(|settings| settings.extra_config += "\nForceCommand /bin/false");
    let mut bench = TwoHosts::of(without(), TestHost::openssh()).await;
    let refused = bench.up("~/file", "~", json!({})).await;
    assert_refused(&refused, &["session \"web\": ", "SFTP"]);

    let mut bench = TwoHosts::of(TestHost::openssh(), without()).await;
    fs::write(bench.web.remote("file"), "x").unwrap();
    let refused = bench.up("~/file", "~", json!({})).await;
    assert_refused(&refused, &["session \"db\": ", "SFTP"]);
    assert_eq!(names(&bench.db.home), [""; 0]);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn no_content_is_ever_on_this_machine() {
    let (mut web, db) = (TestHost::openssh(), TestHost::openssh());
    let link = Link::to(web.port, std::time::Duration::ZERO, &[]).await;
    let through = link.options(web.port);
    web.config = web.sshd.write_ssh_config("host", &through);
    let folder = tempfile::tempdir().unwrap();
    let config = config(&web, &db, folder.path());
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let environment = [("TMPDIR", temporary.as_os_str())];
    let mut program = Program::start_with(Some(&config), folder.path(), &environment).await;

    long_file(&web.remote("long"));
    link.stall_at(30_000_000);
    let arguments = json!({"localPath": "web:~/long", "remotePath": "copy", "session": "db"});
    let params = json!({"name": "ssh_upload", "arguments": arguments});
    program
        .send(&json!({"jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": params}))
        .await;
    eventually("much has passed", || {
        link.is_stalled() && part(&db.home).is_some_and(|(_, length)| length > 10_000_000)
    })
    .await;

    // Files that are open, also those without a name, and files in every folder of the program.
    let open = fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap();
    let mut files: Vec<_> = open.map(|entry| entry.unwrap().path()).collect();
    for directory in [folder.path(), &temporary] {
        files.extend(
            fs::read_dir(directory)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }

    for file in files {
        let long =
            fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() > 8_000_000);
        assert!(!long, "{} {:?}", text(&file), fs::read_link(&file));
    }
    assert_eq!(names(&temporary), [""; 0]);
}
