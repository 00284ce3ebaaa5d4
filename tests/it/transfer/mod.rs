//! `ssh_upload` and `ssh_download` of one file: content, attributes and where it goes.

mod between_hosts;
mod changing;
mod failures;
mod far;
pub(crate) mod hostile;
mod many;
#[cfg(target_os = "linux")]
mod memory;
mod others;
mod requests;
mod resume;
mod trees;
pub(crate) mod without_sftp;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{
    checks::{random, skipped},
    disk::names,
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
};

impl<S> ConnectedHost<S> {
    /// `ssh_upload`, which may fail.
    pub(crate) async fn try_upload(&mut self, local: &Path, remote: &str) -> ToolResult {
        self.mcp
            .call(
                "ssh_upload",
                json!({"localPath": local, "remotePath": remote}),
            )
            .await
    }

    /// `ssh_download`, which may fail.
    pub(crate) async fn try_download(&mut self, remote: &str, local: &Path) -> ToolResult {
        self.mcp
            .call(
                "ssh_download",
                json!({"remotePath": remote, "localPath": local}),
            )
            .await
    }

    async fn upload(&mut self, local: &Path, remote: &Path) -> ToolResult {
        self.try_upload(local, remote.to_str().unwrap()).await.ok()
    }

    async fn download(&mut self, remote: &Path, local: &Path) -> ToolResult {
        self.try_download(remote.to_str().unwrap(), local)
            .await
            .ok()
    }
}

/// OpenSSH's own SFTP server, as a program.
pub(crate) fn sftp_server() -> Option<String> {
    let places = [
        "/usr/lib/openssh",
        "/usr/libexec/openssh",
        "/usr/libexec",
        "/usr/lib/ssh",
    ];

    places
        .map(|place| format!("{place}/sftp-server"))
        .into_iter()
        .find(|at| Path::new(at).exists())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Lengths at which something changes: nothing, one byte, and either side of a chunk.
const LENGTHS: [usize; 9] = [
    0,
    1,
    32 * 1024 - 1,
    32 * 1024,
    32 * 1024 + 1,
    255 * 1024 - 1,
    255 * 1024,
    255 * 1024 + 1,
    20_000_000,
];

async fn every_length_arrives<S>(mut bench: ConnectedHost<S>) {
    for length in LENGTHS {
        let content = random(length);
        let (local, remote, back) = (
            bench.local("local"),
            bench.remote("remote"),
            bench.local("back"),
        );

        fs::write(&local, &content).unwrap();
        let up = bench.upload(&local, &remote).await;
        assert!(fs::read(&remote).unwrap() == content, "{length} bytes up");
        let down = bench.download(&remote, &back).await;
        assert!(fs::read(&back).unwrap() == content, "{length} bytes down");

        for result in [up, down] {
            let seen = result.structured();
            assert_eq!(
                (&seen["files"], &seen["bytes"], &seen["skipped"]),
                (&json!(1), &json!(length), &json!(0))
            );

            assert!(
                result.text().contains(&format!("{length} bytes")),
                "{}",
                result.text()
            );
        }
    }

    assert_eq!(names(&bench.home), ["remote"]);
}

#[tokio::test]
async fn content_of_any_length_is_exact_with_internal_sftp() {
    every_length_arrives(TestHost::openssh().connect().await).await;
}

#[tokio::test]
async fn content_of_any_length_is_exact_with_the_sftp_server_program() {
    let Some(program) = sftp_server() else {
        return skipped("no sftp-server program");
    };
    every_length_arrives(
        TestHost::openssh_with(|settings| settings.sftp = program)
            .connect()
            .await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_any_length_is_exact_with_another_server() {
    every_length_arrives(TestHost::fake_with_shell("/bin/sh").connect().await).await;
}

#[tokio::test]
async fn mode_and_time_are_kept() {
    let mut bench = TestHost::openssh().connect().await;
    for (bits, seconds) in [
        (0o600, 1_000_000_000),
        (0o755, 1),
        (0o444, 1_700_000_000),
        (0o640, 4_000_000_000),
    ] {
        let (local, remote, back) = (
            bench.local("local"),
            bench.remote("remote"),
            bench.local("back"),
        );

        let _ = fs::remove_file(&local);
        fs::write(&local, "content").unwrap();
        let modified: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::open(&local)
            .unwrap()
            .set_modified(modified)
            .unwrap();

        set_mode(&local, bits);
        bench.upload(&local, &remote).await;
        bench.download(&remote, &back).await;

        for path in [&remote, &back] {
            assert_eq!(
                (mode(path), fs::metadata(path).unwrap().modified().unwrap()),
                (bits, modified),
                "{path:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_download_never_makes_a_program_that_runs_as_somebody_else() {
    let mut bench = TestHost::openssh().connect().await;
    let (remote, local) = (bench.remote("hostile"), bench.local("hostile"));
    fs::write(&remote, "#!/bin/sh\n").unwrap();

    for (there, here) in [
        (0o4755, 0o755),
        (0o2755, 0o755),
        (0o6755, 0o755),
        (0o1644, 0o644),
    ] {
        set_mode(&remote, there);
        bench.download(&remote, &local).await;
        assert_eq!(mode(&local), here, "{there:o}");
    }
}

#[tokio::test]
async fn a_directory_means_into_it() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.local("file"), "up").unwrap();
    fs::create_dir(bench.remote("there")).unwrap();
    fs::create_dir(bench.local("here")).unwrap();
    let home = bench.home.display().to_string();

    for target in [
        format!("{home}/there"),
        format!("{home}/there/"),
        "there".into(),
        "~/there".into(),
        "./there/.".into(),
    ] {
        let result = bench.try_upload(&bench.local("file"), &target).await.ok();
        assert_eq!(
            fs::read(bench.remote("there/file")).unwrap(),
            b"up",
            "{target}: {}",
            result.text()
        );

        fs::remove_file(bench.remote("there/file")).unwrap();
    }

    fs::write(bench.remote("other"), "down").unwrap();

    for target in [
        bench.local("here"),
        bench.local("here/"),
        bench.local("here/."),
    ] {
        bench.download(&bench.remote("other"), &target).await;
        assert_eq!(
            fs::read(bench.local("here/other")).unwrap(),
            b"down",
            "{target:?}"
        );

        fs::remove_file(bench.local("here/other")).unwrap();
    }

    assert_eq!(
        (names(&bench.home), names(&bench.remote("there"))),
        (vec!["other".into(), "there".into()], vec![])
    );
}

#[tokio::test]
async fn a_tilde_is_the_remote_home() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.local("file"), "x").unwrap();

    for (target, place) in [
        ("~", "file"),
        ("~/", "file"),
        ("~/a b", "a b"),
        ("relative", "relative"),
        ("./~", "~"),
    ] {
        bench.try_upload(&bench.local("file"), target).await.ok();
        assert_eq!(fs::read(bench.remote(place)).unwrap(), b"x", "{target}");

        if target != "~" && target != "~/" {
            bench.try_download(target, &bench.local("back")).await.ok();
            fs::remove_file(bench.local("back")).unwrap();
        }

        fs::remove_file(bench.remote(place)).unwrap();
    }

    let refused = bench.try_upload(&bench.local("file"), "~nobody/x").await;
    assert!(
        refused.is_error() && refused.text().contains("home directory of \"nobody\""),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn any_name_can_be_moved() {
    let mut bench = TestHost::openssh().connect().await;
    let long = "n".repeat(255);
    for name in [
        "with blanks",
        "it's",
        "\"q\"",
        "new\nline",
        "é日本🚀",
        "-rf",
        "--",
        "*?[x]",
        "back\\slash",
        "$HOME`id`",
        ".hidden",
        " ",
        "a:b",
        "\u{1}\u{7f}",
        long.as_str(),
    ] {
        let (local, remote, back) = (bench.local(name), bench.remote(name), bench.local("back"));
        fs::write(&local, name).unwrap();
        bench.upload(&local, &remote).await;
        bench.download(&remote, &back).await;
        assert_eq!(fs::read_to_string(&back).unwrap(), name);
        fs::create_dir(back.with_extension("d")).unwrap();
        bench.download(&remote, &back.with_extension("d")).await;
        assert_eq!(names(&back.with_extension("d")), [name]);
        fs::remove_dir_all(back.with_extension("d")).unwrap();
        fs::remove_file(local).unwrap();
    }
}

#[tokio::test]
async fn a_link_stays_a_link_and_its_target_is_replaced() {
    let mut bench = TestHost::openssh().connect().await;

    for folder in [bench.remote(""), bench.folder().to_owned()] {
        fs::create_dir(folder.join("below")).unwrap();
        fs::write(folder.join("below/target"), "old").unwrap();
        symlink("below/target", folder.join("link")).unwrap();
        symlink("link", folder.join("link-to-link")).unwrap();
    }

    fs::write(bench.local("up"), "new").unwrap();
    fs::write(bench.remote("down"), "new").unwrap();

    for link in ["link", "link-to-link"] {
        bench.upload(&bench.local("up"), &bench.remote(link)).await;
        bench
            .download(&bench.remote("down"), &bench.local(link))
            .await;

        for folder in [bench.remote(""), bench.folder().to_owned()] {
            assert!(
                fs::symlink_metadata(folder.join(link))
                    .unwrap()
                    .is_symlink(),
                "{link}"
            );

            assert_eq!(
                fs::read(folder.join("below/target")).unwrap(),
                b"new",
                "{link}"
            );

            assert_eq!(names(&folder.join("below")), ["target"]);
            fs::write(folder.join("below/target"), "old").unwrap();
        }
    }

    // What a link leads to is what is read.
    fs::write(bench.remote("below/target"), "behind").unwrap();
    bench
        .download(&bench.remote("link"), &bench.local("read"))
        .await;

    assert_eq!(fs::read(bench.local("read")).unwrap(), b"behind");
    fs::write(bench.local("below/target"), "behind, here").unwrap();
    bench
        .upload(&bench.local("link"), &bench.remote("read"))
        .await;

    assert_eq!(fs::read(bench.remote("read")).unwrap(), b"behind, here");
}

#[tokio::test]
async fn a_link_to_nothing_is_written_through() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.local("up"), "new").unwrap();
    symlink("not-there", bench.remote("link")).unwrap();
    symlink("not-there", bench.local("link")).unwrap();
    bench
        .upload(&bench.local("up"), &bench.remote("link"))
        .await;

    bench
        .download(&bench.remote("link"), &bench.local("link"))
        .await;

    for folder in [bench.remote(""), bench.folder().to_owned()] {
        assert!(
            fs::symlink_metadata(folder.join("link"))
                .unwrap()
                .is_symlink(),
            "{folder:?}"
        );

        assert_eq!(
            fs::read(folder.join("not-there")).unwrap(),
            b"new",
            "{folder:?}"
        );
    }
}

#[tokio::test]
async fn a_file_whose_size_reads_zero_is_read_to_its_end() {
    let mut bench = TestHost::openssh().connect().await;

    if !Path::new("/proc/self/status").exists() {
        skipped("no /proc");
        return;
    }

    bench
        .download(Path::new("/proc/self/status"), &bench.local("status"))
        .await;

    let status = fs::read_to_string(bench.local("status")).unwrap();
    assert!(
        status.starts_with("Name:\t") && status.contains("\nPid:\t"),
        "{status}"
    );

    bench
        .download(Path::new("/proc/kallsyms"), &bench.local("long"))
        .await;

    let lines = fs::read_to_string(bench.local("long"))
        .unwrap()
        .lines()
        .count();

    assert_eq!(
        lines,
        fs::read_to_string("/proc/kallsyms")
            .unwrap()
            .lines()
            .count()
    );
}

#[tokio::test]
async fn several_transfers_run_at_once() {
    let mut bench = TestHost::openssh().connect().await;
    let content = random(3_000_000);
    fs::write(bench.local("file"), &content).unwrap();
    let mut calls = Vec::new();

    for number in 0..6 {
        let to = bench.remote(&number.to_string());
        calls.push(
            bench
                .mcp
                .begin_call(
                    "ssh_upload",
                    json!({"localPath": bench.local("file"), "remotePath": to}),
                )
                .await,
        );
    }

    for call in calls {
        bench.mcp.finish(call).await.ok();
    }

    for number in 0..6 {
        assert!(fs::read(bench.remote(&number.to_string())).unwrap() == content);
    }
}
