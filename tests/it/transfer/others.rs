//! What other users of the machine put in the way of a transfer, and what a server's word may give.

use std::{
    fs,
    os::unix::fs::{lchown, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::json;
use tokio::process::Command;

use super::{mode, resume::behind, set_mode};
use crate::support::{
    checks::{eventually, skipped},
    daemon,
    disk::names,
    fixture::TestHost,
    program::Program,
};

/// Nobody, on most systems; on all of them somebody else.
const OTHER: u32 = 65534;

/// A directory into which all may write and where only owners remove, as `/tmp` is.
fn sticky(path: &Path) {
    fs::create_dir(path).unwrap();
    set_mode(path, 0o1777);
}

/// A link that another user has made. Does not depend on `fs.protected_symlinks`, which need not be switched on.
fn plant(target: &Path, link: &Path) -> bool {
    symlink(target, link).unwrap();
    let planted = lchown(link, Some(OTHER), Some(OTHER)).is_ok();
    if !planted {
        skipped("only root can make a link that belongs to another user");
    }
    planted
}

#[tokio::test]
async fn a_download_never_follows_a_link_of_another_user() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.remote("file"), "evil").unwrap();
    fs::create_dir_all(bench.remote("tree/sub")).unwrap();
    let (shared, own) = (bench.local("shared"), bench.local("own"));
    sticky(&shared);
    fs::create_dir(&own).unwrap();
    fs::write(own.join("file"), "mine").unwrap();

    for (link, target) in [
        ("to-file", "file"),
        ("to-nothing", "new"),
        ("to-directory", "."),
        ("to-tree", "tree"),
    ] {
        if !plant(&own.join(target), &shared.join(link)) {
            return;
        }
    }

    // A link of the person's own that leads to a planted one is no better.
    symlink(shared.join("to-file"), own.join("over-there")).unwrap();
    let before = names(&shared);

    for (remote, local) in [
        ("file", shared.join("to-file")),
        ("file", shared.join("to-nothing")),
        ("file", shared.join("to-directory")),
        ("file", shared.join("to-directory/")),
        ("file", shared.join("to-directory/file")),
        ("file", own.join("over-there")),
        ("tree", shared.join("to-tree")),
        ("tree", shared.join("to-directory")),
        ("tree/.", shared.join("to-directory/")),
    ] {
        let refused = bench.try_download(remote, &local).await;

        assert!(
            refused.is_error(),
            "{remote} to {}: {}",
            local.display(),
            refused.text()
        );

        assert!(
            refused.text().contains("another user"),
            "{}",
            refused.text()
        );

        assert_eq!(
            fs::read(own.join("file")).unwrap(),
            b"mine",
            "{}",
            local.display()
        );

        assert_eq!(
            (names(&own), names(&shared)),
            (vec!["file".into(), "over-there".into()], before.clone())
        );
    }

    // What the person has linked there leads where it did, and so does what the owner of a directory has linked in it.
    symlink(own.join("file"), shared.join("mine")).unwrap();
    bench.try_download("file", &shared.join("mine")).await.ok();
    assert_eq!(fs::read(own.join("file")).unwrap(), b"evil");
    assert!(shared.join("mine").is_symlink());
}

#[tokio::test]
async fn an_upload_never_follows_a_link_of_another_user() {
    let mut bench = TestHost::openssh().connect().await;
    let (shared, own) = (bench.local("shared"), bench.local("own"));
    sticky(&shared);
    fs::create_dir(&own).unwrap();
    fs::write(own.join("secret"), "mine").unwrap();
    if !plant(&own.join("secret"), &shared.join("file")) || !plant(&own, &shared.join("tree")) {
        return;
    }

    for local in ["file", "tree", "tree/secret"] {
        let refused = bench.try_upload(&shared.join(local), "sent").await;
        assert!(
            refused.is_error() && refused.text().contains("another user"),
            "{local}: {}",
            refused.text()
        );

        assert!(names(&bench.home).is_empty(), "{local}");
    }
}

/// Of each size there are more than may be in memory while none of them can be sent.
const FILES: usize = 100;
const SIZE: usize = 200_000;

#[tokio::test]
async fn a_directory_swapped_during_an_upload_sends_nothing_else() {
    let (mut bench, link) = behind(Duration::ZERO, &[]).await;
    let (tree, secret) = (bench.local("tree"), bench.local("secret"));

    for (folder, content) in [(tree.join("sub"), b'p'), (secret.clone(), b's')] {
        // Each in a directory of its own, so that the way to it is gone again.
        for number in 0..FILES {
            let own = folder.join(format!("{number:03}"));
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("file"), vec![content; SIZE]).unwrap();
        }
    }

    link.stall_at(link.passed() + 1_000_000);

    let call = bench
        .mcp
        .begin_call(
            "ssh_upload",
            json!({"localPath": tree, "remotePath": bench.home.join("to")}),
        )
        .await;

    eventually("a part is sent", || link.is_stalled()).await;
    fs::rename(tree.join("sub"), bench.local("moved")).unwrap();
    symlink(&secret, tree.join("sub")).unwrap();
    link.stall_at(u64::MAX);
    let result = bench.mcp.finish(call).await;
    let arrived: Vec<_> = all(&bench.home.join("to"))
        .into_iter()
        .filter(|path| path.is_file())
        .collect();

    assert!(!arrived.is_empty(), "{}", result.text());

    for path in arrived {
        let content = fs::read(&path).unwrap();
        assert!(
            content.iter().all(|byte| *byte == b'p'),
            "{}: {}",
            path.display(),
            result.text()
        );
    }

    assert!(
        result
            .text()
            .contains("there is a link or a file where a directory has to be"),
        "{}",
        result.text()
    );
}

#[tokio::test]
async fn only_our_litter_is_removed_and_planted_files_never_block() {
    let mut bench = TestHost::openssh().connect().await;
    fs::write(bench.remote("file"), "new").unwrap();
    let (shared, own) = (bench.local("shared"), bench.local("own"));
    sticky(&shared);
    fs::write(&own, "mine").unwrap();

    let part = |digit: char| {
        shared.join(format!(
            ".mcp-ssh-sessions.{}.part",
            String::from(digit).repeat(32)
        ))
    };

    let made = std::process::Command::new("mkfifo")
        .arg(part('1'))
        .stderr(Stdio::null())
        .status();

    assert!(made.unwrap().success());
    symlink(&own, part('2')).unwrap();
    let mut kept = vec![part('1'), part('2')];

    for digit in ['3', '4'] {
        fs::write(part(digit), "half").unwrap();
        fs::File::open(part(digit))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
    }

    if lchown(part('4'), Some(OTHER), Some(OTHER)).is_ok() {
        kept.push(part('4'));
    }

    bench
        .try_download("file", &shared.join("target"))
        .await
        .ok();

    for path in kept {
        assert!(fs::symlink_metadata(&path).is_ok(), "{}", path.display());
    }

    assert!(!part('3').exists(), "ours");

    assert_eq!(
        (
            fs::read(own).unwrap(),
            fs::read(shared.join("target")).unwrap()
        ),
        (b"mine".into(), b"new".into())
    );
}

#[tokio::test]
async fn modes_are_kept_as_far_as_the_umask_lets_them() {
    let bench = TestHost::openssh().connect().await;
    fs::create_dir_all(bench.remote("tree/sub")).unwrap();

    for name in ["file", "tree/file"] {
        fs::write(bench.remote(name), "x").unwrap();
        set_mode(&bench.remote(name), 0o666);
    }

    // Longer than one piece.
    fs::write(bench.remote("tree/long"), vec![1; 400_000]).unwrap();
    for name in ["tree/long", "tree/sub", "tree"] {
        set_mode(&bench.remote(name), 0o777);
    }

    for (umask, file, program) in [
        ("077", 0o600, 0o700),
        ("027", 0o640, 0o750),
        ("000", 0o666, 0o777),
    ] {
        let to = bench.local(umask);
        fs::create_dir(&to).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("umask {umask}; exec \"$0\" \"$@\""),
            daemon::program(),
        ]);

        command
            .arg("--ssh-config")
            .arg(&bench.config)
            .arg("--store")
            .arg(to.join("sessions.json"));

        command
            .env("HOME", &to)
            .env("XDG_STATE_HOME", to.join("state"));

        let mut program_here = Program::spawn(command, &to);
        program_here.initialize().await;
        program_here
            .call("ssh_connect", json!({"host": "host"}))
            .await
            .ok();

        for (remote, local) in [("file", "file"), ("tree", "tree")] {
            let arguments = json!({"remotePath": remote, "localPath": to.join(local)});
            program_here.call("ssh_download", arguments).await.ok();
        }

        for (name, expected) in [
            ("file", file),
            ("tree/file", file),
            ("tree/long", program),
            ("tree/sub", program),
            ("tree", program),
        ] {
            assert_eq!(mode(&to.join(name)), expected, "umask {umask}: {name}");
        }

        program_here.close().await;
    }
}

/// Gives all that is in a folder to another user.
fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// A user whom no list of users knows.
const UNLISTED: u32 = 4_242_424;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_home_no_folder_of_others_is_used() {
    if !super::failures::am_root() {
        return skipped("only root can become a user without an entry");
    }

    let world = TestHost::fake();
    let folder = world.folder();
    let (here, temporary) = (folder.join("here"), folder.join("tmp"));
    for made in [&here, &temporary] {
        fs::create_dir(made).unwrap();
    }

    let planted = json!({"version": 1, "sessions": [{"name": "planted", "host": "evil.example"}]})
        .to_string();
    for place in [".ssh-mcp-sessions.json", "relative/.ssh-mcp-sessions.json"] {
        fs::create_dir_all(here.join(place).parent().unwrap()).unwrap();
        fs::write(here.join(place), &planted).unwrap();
    }

    fs::create_dir(here.join(".ssh")).unwrap();
    fs::write(
        here.join(".ssh/config"),
        "Host box\nHostName evil.invalid\n",
    )
    .unwrap();

    let binary = folder.join("mcp-ssh-sessions");
    fs::copy(daemon::program(), &binary).unwrap();
    set_mode(&binary, 0o755);
    set_mode(folder, 0o755);
    give(folder, UNLISTED);
    let before = (all(&here), all(&temporary));

    for home in [None, Some("relative")] {
        let mut command = Command::new(&binary);
        command
            .env_clear()
            .env("TMPDIR", &temporary)
            .env("PATH", "/nonexistent")
            .current_dir(&here);

        if let Some(home) = home {
            command.env("HOME", home).env("XDG_STATE_HOME", home);
        }

        command
            .arg("--ssh-config")
            .arg(&world.config)
            .uid(UNLISTED)
            .gid(UNLISTED);

        let mut program = Program::spawn(command, folder);
        program.initialize().await;
        let listed = program.call("ssh_sessions", json!({})).await.ok();
        assert!(
            !listed.text().contains("planted"),
            "{home:?}: {}",
            listed.text()
        );

        let connected = program
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        assert!(
            connected.text().contains("there is no home directory"),
            "{home:?}: {}",
            connected.text()
        );

        program
            .call("ssh_set_default", json!({"session": "box"}))
            .await
            .ok();

        let long = json!({"command": "head -c 200000 /dev/zero | tr '\\0' x"});
        let long = program.call("ssh_exec", long).await.ok();
        assert!(
            long.status_line().contains("there is no home directory"),
            "{home:?}: {}",
            long.status_line()
        );

        program
            .call("ssh_disconnect", json!({"session": "box", "forget": true}))
            .await
            .ok();

        program.close().await;
        assert_eq!((all(&here), all(&temporary)), before, "{home:?}");
    }
}

/// Every path below a folder.
fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();

    let inside: Vec<_> = found
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|path| all(path))
        .collect();

    found.extend(inside);
    found.sort();

    found
}
