//! A transfer that fails leaves the old file whole and nothing else behind, and says why.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::sftp_server;
use crate::support::{
    checks::{eventually, plain, random, skipped},
    disk::{SmallDisk, names, part},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::{self, running},
};

/// Long enough that a test can step in between.
const LONG: u64 = 3_000_000_000;

/// A long file that takes no room.
fn long_file(path: &Path) {
    fs::File::create(path).unwrap().set_len(LONG).unwrap();
}

pub(super) fn am_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_with_its_reason() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.local("file"), "x").unwrap();
    fs::write(bench.remote("file"), "x").unwrap();
    fs::create_dir_all(bench.remote("folder/file")).unwrap();
    fs::create_dir_all(bench.local("folder/file")).unwrap();
    for pipe in [bench.local("pipe"), bench.remote("pipe")] {
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    }

    let _socket = UnixListener::bind(bench.local("socket")).unwrap();
    let _remote_socket = UnixListener::bind(bench.remote("socket")).unwrap();
    let home = bench.home.display().to_string();
    let before = names(&bench.home);

    for (local, remote, reason) in [
        ("no-such", "x", "No such file"),
        ("socket", "x", "is not a regular file"),
        ("file", "no-such/", "there is no directory"),
        ("file", "no-such/x", "no such file or directory"),
        ("file", "file/", "irectory"),
        ("file", "file/x", "irectory"),
        ("file", "folder", "is a directory"),
        ("file", "socket", "is not a regular file"),
        ("file", "pipe", "is not a regular file"),
        ("pipe", "x", "is not a regular file"),
        ("file", "", "empty"),
        ("file", "a\0b", "NUL"),
    ] {
        let target = if remote.starts_with('/') || remote.is_empty() {
            remote.to_owned()
        } else {
            format!("{home}/{remote}")
        };

        let result = bench.try_upload(&bench.local(local), &target).await;
        assert!(
            result.is_error() && result.text().contains(reason),
            "{local} to {remote}: {}",
            result.text()
        );

        assert!(result.text().contains("hint: "));
        assert_eq!(names(&bench.home), before, "{local} to {remote}");
    }

    for (remote, local, reason) in [
        ("no-such", "x", "no such file or directory"),
        ("socket", "x", "is not a regular file"),
        ("/dev/zero", "x", "is not a regular file"),
        ("file", "no-such/", "there is no directory"),
        ("file", "no-such/x", "No such file"),
        ("file", "file/", "irectory"),
        ("file", "folder", "is a directory"),
        ("file", "socket", "is not a regular file"),
        ("file", "pipe", "is not a regular file"),
        ("pipe", "x", "is not a regular file"),
        ("", "x", "empty"),
    ] {
        let source = if remote.starts_with('/') || remote.is_empty() {
            remote.to_owned()
        } else {
            format!("{home}/{remote}")
        };

        let before = names(bench.folder());
        let result = bench
            .try_download(&source, &bench.folder().join(local))
            .await;

        assert!(
            result.is_error() && result.text().contains(reason),
            "{remote} to {local}: {}",
            result.text()
        );

        assert_eq!(names(bench.folder()), before, "{remote} to {local}");
    }

    assert_eq!(fs::read(bench.remote("file")).unwrap(), b"x");
}

#[tokio::test]
async fn a_cancelled_transfer_leaves_the_old_file_and_no_litter() {
    cancelled(TestHost::openssh().connect().await).await;
}

/// Cancels an upload and a download of a long file that are under way.
pub(super) async fn cancelled<S>(mut bench: ConnectedHost<S>) {
    fs::write(bench.remote("target"), "old").unwrap();
    fs::create_dir(bench.local("here")).unwrap();
    fs::write(bench.local("here/target"), "old").unwrap();
    long_file(&bench.local("long"));
    let (there, here) = (bench.home.clone(), bench.local("here"));
    let upload = json!({"localPath": bench.local("long"), "remotePath": there.join("target")});
    let call = bench.mcp.begin_call("ssh_upload", upload).await;
    eventually("the upload is under way", || {
        part(&there).is_some_and(|(_, length)| length > 0)
    })
    .await;

    bench.mcp.cancel(call).await;
    eventually("nothing is left of it", || names(&there) == ["target"]).await;

    let download = json!({"remotePath": bench.local("long"), "localPath": here.join("target")});
    let call = bench.mcp.begin_call("ssh_download", download).await;
    eventually("the download is under way", || {
        part(&here).is_some_and(|(_, length)| length > 0)
    })
    .await;

    bench.mcp.cancel(call).await;
    eventually("nothing is left of it", || names(&here) == ["target"]).await;
    for folder in [there, here] {
        assert_eq!(fs::read(folder.join("target")).unwrap(), b"old");
    }

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
}

#[tokio::test]
async fn disconnecting_ends_a_transfer_without_litter() {
    let mut bench = TestHost::openssh().connect().await;
    long_file(&bench.local("long"));
    let there = bench.home.clone();
    let upload = json!({"localPath": bench.local("long"), "remotePath": there.join("target")});
    let call = bench.mcp.begin_call("ssh_upload", upload).await;
    eventually("the upload is under way", || {
        part(&there).is_some_and(|(_, length)| length > 0)
    })
    .await;

    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    let result = bench.mcp.finish(call).await;
    assert!(
        result.is_error() && result.text().contains("cancelled"),
        "{}",
        result.text()
    );

    assert_eq!(names(&there), [""; 0]);
}

#[tokio::test]
async fn an_sftp_server_that_dies_ends_the_transfer_alone() {
    let Some(program) = sftp_server() else {
        return skipped("no sftp-server program");
    };
    let mut bench = TestHost::openssh_with(|settings| settings.sftp.clone_from(&program))
        .connect()
        .await;
    let port = bench.sshd.port();
    long_file(&bench.local("long"));
    let target = bench.remote("target").display().to_string();
    fs::write(&target, "old").unwrap();
    let upload = json!({"localPath": bench.local("long"), "remotePath": target});
    let call = bench.mcp.begin_call("ssh_upload", upload).await;
    let home = bench.home.clone();
    eventually("the upload is under way", || {
        part(&home).is_some_and(|(_, length)| length > 0)
    })
    .await;

    let server = running(port, &program).first().unwrap().to_string();
    assert!(processes::signal("KILL", &[server]));
    let result = bench.mcp.finish(call).await;
    assert!(result.is_error(), "{}", result.text());
    assert_eq!(
        (names(&bench.home), fs::read(&target).unwrap()),
        (vec!["target".to_owned()], b"old".to_vec())
    );

    assert_eq!(bench.exec("echo alive", plain()).await.stdout(), "alive\n");
    assert_eq!(
        bench.sshd.log().matches("Accepted publickey").count(),
        1,
        "the connection is the same"
    );
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_said() {
    if am_root() {
        skipped("root may write everywhere");
        return;
    }

    let mut bench = TestHost::openssh().connect().await;
    for folder in [bench.remote("closed"), bench.local("closed")] {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("target"), "old").unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    }

    fs::write(bench.local("file"), "new").unwrap();
    fs::write(bench.remote("file"), "new").unwrap();
    let up = bench
        .try_upload(&bench.local("file"), "~/closed/target")
        .await;

    let down = bench
        .try_download("~/file", &bench.local("closed/target"))
        .await;

    for (result, folder) in [(up, bench.remote("closed")), (down, bench.local("closed"))] {
        assert!(
            result.is_error() && result.text().to_lowercase().contains("permission denied"),
            "{}",
            result.text()
        );

        assert_eq!(
            (names(&folder), fs::read(folder.join("target")).unwrap()),
            (vec!["target".to_owned()], b"old".to_vec())
        );

        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_on_either_side_leaves_the_old_file_and_no_litter() {
    let mut bench = TestHost::openssh().connect().await;
    let disk = bench.local("disk");
    let Some(_disk) = SmallDisk::mount(&disk) else {
        return;
    };
    fs::write(disk.join("target"), "old").unwrap();
    fs::write(bench.local("large"), random(5_000_000)).unwrap();
    let target = disk.join("target");
    let up = bench
        .try_upload(&bench.local("large"), target.to_str().unwrap())
        .await;

    let down = bench
        .try_download(bench.local("large").to_str().unwrap(), &target)
        .await;
    assert!(down.text().contains("No space left"), "{}", down.text());

    for result in [up, down] {
        assert!(
            result.is_error() && result.text().contains("free space"),
            "{}",
            result.text()
        );
    }

    assert_eq!(
        (names(&disk), fs::read(&target).unwrap()),
        (vec!["target".to_owned()], b"old".to_vec())
    );

    // A command's output that finds no room is bounded and counted all the same.
    let output = bench
        .exec(&format!("cat {}", bench.local("large").display()), plain())
        .await;
    assert_eq!(output.outcome()["stdoutBytes"], 5_000_000);
}

#[tokio::test]
async fn a_file_without_a_size_ends_before_the_disk_is_full() {
    let mut bench = TestHost::openssh().connect().await;
    let disk = bench.local("disk");

    // A hundredth is kept free. The file is the map of a process's memory: hundreds of gigabytes, of which 0 are said.
    let Some(_disk) = SmallDisk::of_megabytes(40, &disk) else {
        return;
    };

    let result = bench
        .try_download("/proc/self/pagemap", &disk.join("target"))
        .await;

    assert!(
        result.is_error() && result.text().contains("No space left on the disk"),
        "{}",
        result.text()
    );

    assert_eq!(names(&disk), Vec::<String>::new());
}

/// Commands after which no file may grow beyond 500 or 1,000 KiB, as the shell has it. After the second, the server is ended
/// by a signal when it writes on.
pub(super) const QUOTAS: [&str; 2] = [r"trap \'\' XFSZ; ulimit -f 1000", "ulimit -f 1000"];

/// A real sshd whose SFTP server runs after these commands of a shell.
pub(super) async fn open_limited(commands: &str) -> ConnectedHost<OpenSshd> {
    let program = sftp_server().expect("looked for before");
    TestHost::openssh_with(|settings| settings.sftp = format!("{commands}; exec {program}"))
        .connect()
        .await
}

#[tokio::test]
async fn a_quota_on_the_remote_host_leaves_the_old_file_and_no_litter() {
    if sftp_server().is_none() {
        return skipped("no sftp-server program");
    }

    for (quota, said) in QUOTAS.into_iter().zip(["free space", "on the remote host"]) {
        let mut bench = open_limited(quota).await;
        let target = bench.remote("target").display().to_string();
        fs::write(&target, "old").unwrap();
        fs::write(bench.local("large"), random(5_000_000)).unwrap();
        let result = bench.try_upload(&bench.local("large"), &target).await;
        assert!(
            result.is_error() && result.text().contains(said),
            "{}",
            result.text()
        );

        assert_eq!(
            (names(&bench.home), fs::read(&target).unwrap()),
            (vec!["target".to_owned()], b"old".to_vec())
        );

        fs::write(bench.local("small"), "new").unwrap();
        bench.try_upload(&bench.local("small"), &target).await.ok();
    }
}

#[tokio::test]
async fn refused_attributes_are_reported_and_leave_no_litter() {
    for (denied, said) in [
        ("rename,posix-rename", Some("1 file written in place")),
        (
            "rename,posix-rename,setstat,fsetstat",
            Some("1 entry without times"),
        ),
        (
            "rename,posix-rename,remove",
            Some("1 file written in place"),
        ),
        ("rename", Some("SHA-256 verified")),
        ("fsetstat", Some("1 entry without mode and times")),
        (
            "posix-rename,fsetstat,setstat",
            Some("1 entry without times"),
        ),
        ("write", None),
    ] {
        let sftp = format!("internal-sftp -P {denied}");
        let mut bench = TestHost::openssh_with(|settings| settings.sftp = sftp)
            .connect()
            .await;
        let target = bench.remote("target").display().to_string();
        fs::write(&target, "old").unwrap();
        fs::write(bench.local("file"), "new").unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
        fs::File::open(bench.local("file"))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();

        let result = bench.try_upload(&bench.local("file"), &target).await;

        assert_eq!(
            result.is_error(),
            said.is_none(),
            "{denied}: {}",
            result.text()
        );

        assert!(
            result.text().contains(said.unwrap_or("permission denied")),
            "{denied}: {}",
            result.text()
        );

        let content = if said.is_some() { "new" } else { "old" };
        assert_eq!(fs::read_to_string(&target).unwrap(), content, "{denied}");
        assert_eq!(names(&bench.home), ["target"], "{denied}");
    }
}

#[tokio::test]
async fn an_sftp_only_server_moves_files_and_compares_them_by_size() {
    let mut bench = TestHost::openssh_with(|settings| {
        settings.extra_config =
            format!("ForceCommand {}\n{}", settings.sftp, settings.extra_config);
    })
    .connect()
    .await;

    fs::write(bench.local("file"), "content").unwrap();
    let up = bench.try_upload(&bench.local("file"), "target").await.ok();
    let down = bench
        .try_download("target", &bench.local("back"))
        .await
        .ok();

    for result in [up, down] {
        assert_eq!(result.structured()["verified"], false);
        assert!(result.text().contains("size verified"), "{}", result.text());
    }

    assert_eq!(
        (names(&bench.home), fs::read(bench.local("back")).unwrap()),
        (vec!["target".into()], b"content".into())
    );
}

#[tokio::test]
async fn a_server_without_sftp_and_without_a_shell_is_said() {
    let host =
        TestHost::openssh_with(|settings| settings.extra_config += "\nForceCommand /bin/false");
    let mut bench = host.connect().await;
    fs::write(bench.local("file"), "x").unwrap();
    let result = bench.try_upload(&bench.local("file"), "x").await;
    assert!(
        result.is_error() && result.text().contains("SFTP"),
        "{}",
        result.text()
    );

    let result = bench.try_download("x", &bench.local("back")).await;
    assert!(
        result.is_error() && result.text().contains("SFTP"),
        "{}",
        result.text()
    );

    assert!(!bench.local("back").exists());
}

#[tokio::test]
async fn a_startup_file_that_prints_is_suspected_and_nothing_hangs() {
    let banner = "/bin/sh -c \"echo Welcome to this host; exec sleep 60\"".to_owned();
    let mut bench = TestHost::openssh_with(|settings| settings.sftp = banner)
        .connect()
        .await;
    let started = std::time::Instant::now();
    let result = bench.try_download("x", &bench.local("back")).await;
    assert!(
        result.is_error() && result.text().contains("startup file"),
        "{}",
        result.text()
    );

    assert!(
        started.elapsed().as_secs() < 50,
        "{:?}: {}",
        started.elapsed(),
        result.text()
    );
}

#[tokio::test]
async fn a_file_is_replaced_even_if_not_atomically() {
    // sftp-server can be told to deny single requests, and then does not offer them.
    let denied = "internal-sftp -P posix-rename,limits,fsync".to_owned();
    let mut bench = TestHost::openssh_with(|settings| settings.sftp = denied)
        .connect()
        .await;
    let content = random(700_000);
    fs::write(bench.local("file"), &content).unwrap();
    let target = bench.remote("target").display().to_string();

    for _ in 0..2 {
        bench.try_upload(&bench.local("file"), &target).await.ok();
        assert!(fs::read(&target).unwrap() == content);
        assert_eq!(names(&bench.home), ["target"]);
        fs::write(&target, "old").unwrap();
    }

    bench.try_download(&target, &bench.local("back")).await.ok();
    assert_eq!(fs::read(bench.local("back")).unwrap(), b"old");
}
