//! Trees and files over servers of other makes: they carry requests out at the same time, take the paths of a link in the
//! other order, give two files the same handle, and refuse what goes beyond content. What arrives is compared entry by entry,
//! and nothing else is there afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Item, age, assert_same, inventory, open_up, plant, short};
use crate::{
    support::{
        checks::random,
        disk::names,
        fixture::{ConnectedHost, TestHost},
        other_sshd::Make,
    },
    transfer::{mode, set_mode},
};

/// What a server does of what is beside content.
#[derive(Clone, Copy)]
pub(in crate::transfer) struct Preserved {
    /// Relative paths of links stay relative.
    relative_links: bool,
    /// Relative paths of links are shown as relative.
    shows_relative_links: bool,
}

/// As it is to arrive at the server: what the server cannot keep is left out.
fn expected(root: &Path, at: &Path, relative_links: bool) -> BTreeMap<PathBuf, Item> {
    let mut items = inventory(root);
    for (path, item) in &mut items {
        if let Item::Link { target, modified } = item {
            // Version 3 sets those of links with an extension of OpenSSH's alone.
            *modified = 0;
            if !relative_links && target.is_relative() {
                // Where it leads, whatever it says.
                *target = resolved(&at.join(path).parent().unwrap().join(&target));
            }
        }
    }

    items
}

/// Which names a server can list at all.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::transfer) enum Names {
    Ascii,
    Unicode,
    Bytes,
}

fn resolved(path: &Path) -> PathBuf {
    let mut names = PathBuf::new();
    for name in path.components() {
        if name.as_os_str() == ".." {
            names.pop();
        } else {
            names.push(name);
        }
    }

    names
}

fn assert_alike(one: &BTreeMap<PathBuf, Item>, other: &BTreeMap<PathBuf, Item>, what: &str) {
    for path in one.keys().chain(other.keys()) {
        let (one, other) = (one.get(path), other.get(path));
        assert!(
            one == other,
            "{what}: {}:\n{}\n{}",
            path.display(),
            short(one),
            short(other)
        );
    }
}

/// Twelve small files and a large tree, up and down again.
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(in crate::transfer) async fn all_arrives<S>(
    mut bench: ConnectedHost<S>,
    kept: Preserved,
    names_of: Names,
) {
    let (source, up, down) = (
        bench.local("source"),
        bench.remote("up"),
        bench.local("down"),
    );

    fs::create_dir(&source).unwrap();
    plant(&source, names_of == Names::Bytes);

    if names_of == Names::Ascii {
        fs::remove_dir_all(source.join("é日本🚀")).unwrap();
        age(&source, 1_234_567_890);
    }

    fs::create_dir(bench.local("twelve")).unwrap();

    for number in 0..12 {
        let file = bench.local(&format!("twelve/{number}"));
        fs::write(&file, random(2_000 + number)).unwrap();
        age(&file, 1_500_000_000 + number as u64);
        set_mode(&file, 0o640);
    }

    age(&bench.local("twelve"), 1_400_000_000);
    let (twelve, there, back) = (
        bench.local("twelve"),
        bench.remote("twelve"),
        bench.local("twelve-back"),
    );

    bench
        .tree("ssh_upload", &twelve, &there, json!({}))
        .await
        .ok();

    bench
        .tree("ssh_download", &there, &back, json!({}))
        .await
        .ok();

    assert_same(&twelve, &there);
    assert_same(&twelve, &back);

    let files = inventory(&source)
        .values()
        .filter(|item| matches!(item, Item::File { .. }))
        .count();

    let sent = bench.tree("ssh_upload", &source, &up, json!({})).await.ok();
    let keeps = kept.relative_links;
    assert_alike(
        &expected(&source, &up, keeps),
        &expected(&up, &up, keeps),
        "up",
    );

    let fetched = bench.tree("ssh_download", &up, &down, json!({})).await.ok();
    let shows = kept.shows_relative_links;
    assert_alike(
        &expected(&up, &up, shows),
        &expected(&down, &up, shows),
        "down",
    );

    assert_eq!(
        sent.text().contains("with an absolute path"),
        !keeps,
        "{}",
        sent.text()
    );

    for result in [sent, fetched] {
        assert_eq!(
            result.structured()["files"],
            json!(files),
            "{}",
            result.text()
        );

        assert!(
            result.text().contains("size verified") && !result.text().contains("skipped"),
            "{}",
            result.text()
        );

        let complains = result.text().contains("which the server does not set");
        assert!(!complains, "{}", result.text());
    }

    // Over what is there: files, links and directories are replaced, and nothing is left beside them.
    fs::write(source.join("deep/one"), "changed").unwrap();
    fs::remove_file(source.join("link")).unwrap();
    symlink("deep/one", source.join("link")).unwrap();
    bench
        .tree("ssh_upload", &source.join("."), &up, json!({}))
        .await
        .ok();

    assert_eq!(fs::read(up.join("link")).unwrap(), b"changed");
    assert_eq!(
        inventory(&source).into_keys().collect::<Vec<_>>(),
        inventory(&up).into_keys().collect::<Vec<_>>()
    );

    // Dropbear's users have their keys at home.
    let home = bench.home.clone();
    let at_home = || {
        let names = names(&home).into_iter();
        names.filter(|name| name != ".ssh").collect::<Vec<_>>()
    };
    assert_eq!(at_home(), ["twelve", "up"]);

    // A single file, beyond one request and with a name that is taken.
    let (large, target, back) = (
        bench.local("large"),
        bench.remote("target"),
        bench.local("large-back"),
    );

    for length in [0, 70_000, 3_000_000] {
        fs::write(&large, random(length)).unwrap();
        age(&large, 1_300_000_000);
        set_mode(&large, 0o604);
        bench.upload(&large, &target).await;
        bench.download(&target, &back).await;

        for path in [&target, &back] {
            assert!(
                fs::read(path).unwrap() == fs::read(&large).unwrap(),
                "{length} bytes"
            );

            assert_eq!(
                (mode(path), fs::metadata(path).unwrap().modified().unwrap()),
                { (0o604, fs::metadata(&large).unwrap().modified().unwrap()) }
            );
        }
    }

    assert_eq!(at_home(), ["target", "twelve", "up"]);
    for root in [source, up, down] {
        open_up(&root);
    }
}

pub(in crate::transfer) const PLAIN: Preserved = Preserved {
    relative_links: true,
    shows_relative_links: true,
};

#[tokio::test]
async fn all_arrives_over_asyncssh() {
    all_arrives(
        TestHost::other(&Make::Asyncssh(&[])).connect().await,
        PLAIN,
        Names::Bytes,
    )
    .await;
}

#[tokio::test]
async fn all_arrives_over_ssh2_whose_handlers_are_asynchronous() {
    all_arrives(
        TestHost::other(&Make::Ssh2).connect().await,
        PLAIN,
        Names::Unicode,
    )
    .await;
}

#[tokio::test]
async fn all_arrives_over_erlang_with_one_handle_for_two_files() {
    all_arrives(
        TestHost::other(&Make::Erlang).connect().await,
        Preserved {
            relative_links: false,
            shows_relative_links: false,
        },
        Names::Ascii,
    )
    .await;
}

#[tokio::test]
async fn all_arrives_over_proftpd() {
    all_arrives(
        TestHost::other(&Make::Proftpd).connect().await,
        Preserved {
            shows_relative_links: false,
            ..PLAIN
        },
        Names::Bytes,
    )
    .await;
}

#[tokio::test]
async fn all_arrives_over_gesftpserver() {
    let program = "/usr/libexec/gesftpserver";
    assert!(
        Path::new(program).exists(),
        "gesftpserver is missing: install it (Debian: gesftpserver)"
    );

    all_arrives(
        TestHost::openssh_with(|settings| settings.sftp = program.to_owned())
            .connect()
            .await,
        PLAIN,
        Names::Bytes,
    )
    .await;
}

#[tokio::test]
async fn refused_attributes_are_named_and_the_files_arrive() {
    for (refused, said) in [
        (&["setstat"][..], Some("entries without times")),
        (
            &["rename", "posix_rename"],
            Some("4 files written in place"),
        ),
        (
            &["rename", "posix_rename", "setstat", "remove"],
            Some("entries without times, which the server does not set; 4 files written"),
        ),
        (&["hidden"], None),
        (&["hidden", "exclusive"], None),
        (&["exclusive"], None),
        (&["several"], None),
        (&["missing"], None),
        (&["missing", "several", "exclusive", "hidden"], None),
    ] {
        let mut bench = TestHost::other(&Make::Asyncssh(refused)).connect().await;
        let (tree, up, down) = (bench.local("tree"), bench.remote("up"), bench.local("down"));
        fs::create_dir_all(tree.join("sub/deep")).unwrap();

        for (number, name) in ["a", "b", "sub/c", "sub/deep/d"].into_iter().enumerate() {
            fs::write(tree.join(name), random(100_000 * number)).unwrap();
            set_mode(&tree.join(name), 0o644);
            age(&tree.join(name), 1_500_000_000);
        }

        for directory in ["sub/deep", "sub", ""] {
            age(&tree.join(directory), 1_400_000_000);
        }

        for round in 0..2 {
            let sent = bench
                .tree("ssh_upload", &tree.join("."), &up, json!({}))
                .await
                .ok();

            let text = sent.text();
            assert!(!text.contains("skipped"), "{refused:?}: {text}");

            let notes = text.split_once("verified)").unwrap().1;
            assert!(
                notes.contains(said.unwrap_or("")),
                "{refused:?} {round}: {text}"
            );

            assert!(
                said.is_some() || notes.is_empty(),
                "{refused:?} {round}: {text}"
            );

            bench
                .tree("ssh_download", &up.join("."), &down, json!({}))
                .await
                .ok();

            for copy in [&up, &down] {
                assert_eq!(contents(copy), contents(&tree), "{refused:?} {round}");
            }

            // Over what is there now.
            fs::write(tree.join("a"), format!("round {round}")).unwrap();
            age(&tree.join("a"), 1_500_000_000);
        }

        // One file, with the mode that `sftp` would leave it.
        fs::write(bench.local("file"), "content").unwrap();
        set_mode(&bench.local("file"), 0o644);
        let (file, target) = (bench.local("file"), bench.remote("target"));

        for _ in 0..2 {
            bench.upload(&file, &target).await;
            assert_eq!(
                (fs::read(&target).unwrap(), mode(&target)),
                (b"content".to_vec(), 0o644),
                "{refused:?}"
            );
        }

        assert_eq!(names(&bench.home), ["target", "up"], "{refused:?}");
    }
}

#[tokio::test]
async fn files_that_fail_are_closed_and_make_room_for_the_others() {
    // No more than three files may be open.
    let mut bench = TestHost::other(&Make::Asyncssh(&["several", "large"]))
        .connect()
        .await;
    let (tree, up) = (bench.local("tree"), bench.remote("up"));
    fs::create_dir(&tree).unwrap();

    for number in 0..6 {
        fs::write(tree.join(format!("large {number}")), random(1_500_000)).unwrap();
        fs::write(tree.join(format!("small {number}")), random(1_000)).unwrap();
    }

    let sent = bench.tree("ssh_upload", &tree, &up, json!({})).await;
    assert!(
        sent.is_error() && sent.text().contains("6 entries could not be moved"),
        "{}",
        sent.text()
    );

    assert_eq!(
        sent.text().matches("it: the file is too large").count(),
        6,
        "{}",
        sent.text()
    );

    assert_eq!(
        names(&up),
        (0..6)
            .map(|number| format!("small {number}"))
            .collect::<Vec<_>>()
    );
}

/// Files by their paths.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let content = |item| {
        if let Item::File { content, .. } = item {
            Some(content)
        } else {
            None
        }
    };

    inventory(root)
        .into_iter()
        .filter_map(|(path, item)| Some((path, content(item)?)))
        .collect()
}

#[tokio::test]
async fn a_broken_write_in_place_is_reported_as_incomplete() {
    let mut bench = TestHost::other(&Make::Asyncssh(&["rename", "posix_rename", "write"]))
        .connect()
        .await;
    fs::write(bench.local("file"), "new").unwrap();
    fs::write(bench.remote("target"), "old").unwrap();
    let target = bench.remote("target").display().to_string();
    let result = bench.try_upload(&bench.local("file"), &target).await;
    assert!(
        result.is_error() && result.text().contains("is incomplete"),
        "{}",
        result.text()
    );

    assert!(
        !result.text().contains("no file was changed"),
        "{}",
        result.text()
    );

    assert_eq!(names(&bench.home), ["target"]);

    // Where it may not be written into at all, it is as it was.
    let mut bench = TestHost::other(&Make::Asyncssh(&["rename", "posix_rename", "open"]))
        .connect()
        .await;
    fs::write(bench.local("file"), "new").unwrap();
    fs::write(bench.remote("target"), "old").unwrap();
    let target = bench.remote("target").display().to_string();
    let result = bench.try_upload(&bench.local("file"), &target).await;
    assert!(
        result.is_error() && result.text().contains("may not write files over SFTP"),
        "{}",
        result.text()
    );

    assert_eq!(fs::read(bench.remote("target")).unwrap(), b"old");
}

#[tokio::test]
async fn a_server_without_a_shell_is_not_waited_for() {
    let mut bench = TestHost::other(&Make::Asyncssh(&[])).connect().await;
    fs::write(bench.local("file"), random(70_000)).unwrap();
    let (file, target, back) = (
        bench.local("file"),
        bench.remote("target"),
        bench.local("back"),
    );

    for result in [
        bench.upload(&file, &target).await,
        bench.download(&target, &back).await,
    ] {
        assert!(result.text().contains("size verified"), "{}", result.text());
        // The time that a digest may take.
        assert!(
            result.structured()["durationMs"].as_u64().unwrap() < 30_000,
            "{}",
            result.text()
        );
    }

    assert_eq!(fs::read(&back).unwrap(), fs::read(&file).unwrap());
}

#[tokio::test]
async fn a_file_that_the_shell_sees_otherwise_is_compared_by_its_size() {
    let Some(program) = crate::transfer::sftp_server() else {
        return crate::support::checks::skipped("no sftp-server program");
    };

    if !crate::transfer::failures::am_root() {
        return crate::support::checks::skipped("only root may show a process other directories");
    }

    // SFTP has another directory at the same path, as on a NAS; the files look alike.
    let folder = tempfile::tempdir().unwrap();
    let (seen, shell) = (folder.path().join("seen"), folder.path().join("shell"));
    for (directory, content) in [(&seen, "of sftp"), (&shell, "of bash")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("file"), content).unwrap();
        age(&directory.join("file"), 1_500_000_000);
    }

    let mount = format!(
        "mount --bind {} {} && exec {program}",
        seen.display(),
        shell.display()
    );

    let script = folder.path().join("sftp");
    fs::write(
        &script,
        format!("#!/bin/sh\nexec unshare -m sh -c '{mount}'\n"),
    )
    .unwrap();

    set_mode(&script, 0o755);
    let mut bench = TestHost::openssh_with(|settings| settings.sftp = script.display().to_string())
        .connect()
        .await;
    let back = bench.local("back");
    let fetched = bench.download(&shell.join("file"), &back).await;
    assert_eq!(fs::read(&back).unwrap(), b"of sftp");
    assert!(
        fetched.text().contains("size verified"),
        "{}",
        fetched.text()
    );

    assert_eq!(fetched.structured()["verified"], false);
    let sent = bench.upload(&back, &shell.join("sent")).await;
    assert!(sent.text().contains("size verified"), "{}", sent.text());
    assert_eq!(
        (names(&seen), names(&shell)),
        (vec!["file".into(), "sent".into()], vec!["file".to_owned()])
    );
}
