//! `ssh_read` of paths in every form in which an agent writes them, and of directories of any size.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

use serde_json::json;

use super::{last_line, without_sftp::Both};
use crate::support::{
    checks::{assert_refused, plain},
    fixture::TestHost,
};

#[tokio::test]
async fn any_form_of_a_path_leads_to_the_file() {
    let mut both = Both::start().await;
    let home = both.with.home.canonicalize().unwrap();
    let folder = home.join("a/b");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("note"), "text\n").unwrap();
    fs::write(folder.join("-rf"), "text\n").unwrap();
    symlink("b", home.join("a/link")).unwrap();

    let place = folder.to_str().unwrap().to_owned();
    let change = format!("cd {place}");
    both.with.shell(&change, plain()).await;
    both.without.shell(&change, plain()).await;

    for path in [
        "note",
        "./note",
        ".//note",
        "../b/note",
        "../../a/link/note",
        "-rf",
        "./-rf",
        &format!("{place}/note"),
        &format!("{place}//note"),
        &format!("{place}/../link/./note"),
        &format!("/..{place}/note"),
    ] {
        let result = both.same(path, plain()).await.ok();
        assert!(
            result.text().starts_with("1\ttext\n"),
            "{path}: {}",
            result.text()
        );
    }

    for path in [
        ".",
        "./",
        "../b/",
        "../link",
        "../link/",
        &format!("{place}/"),
    ] {
        let result = both.same(path, plain()).await.ok();
        let last = last_line(&result);
        assert!(last.contains("2 entries"), "{path}: {last}");
    }

    // A file is no directory.
    for path in ["note/", "note/x", "note/.."] {
        assert_refused(&both.with.read(path, plain()).await, &["no such file"]);
        assert_refused(&both.without.read(path, plain()).await, &["no such file"]);
    }

    // SFTP and the shell have the same idea of the root, if not of home.
    let root = both.same("/", json!({"limit": "3"})).await.ok();
    assert_eq!(root.text().lines().count(), 4, "{}", root.text());
}

#[tokio::test]
async fn a_name_is_given_as_it_is_shown() {
    let mut both = Both::start().await;
    let folder = both.with.remote("names");
    fs::create_dir(&folder).unwrap();
    let names: [&[u8]; 6] = [
        b"caf\xe9",
        b"two\nlines",
        b"a\ttab",
        b"\x1b[2J\r",
        "\u{202e}txt".as_bytes(),
        b"back\\slash",
    ];
    for name in names {
        fs::write(folder.join(OsStr::from_bytes(name)), "text\n").unwrap();
    }

    let folder = folder.to_str().unwrap().to_owned();
    let listed = both.same(&folder, plain()).await.ok();
    let text = listed.text();
    let shown: Vec<&str> = text
        .lines()
        .take(names.len())
        .map(|line| line.splitn(7, ' ').last().unwrap())
        .collect();
    assert!(shown.contains(&"caf\\xe9"), "{shown:?}");

    for name in shown {
        let path = format!("{folder}/{name}");
        let result = both.same(&path, plain()).await.ok();
        assert!(result.text().starts_with("1\ttext\n"), "{name}");
        let last = last_line(&result);
        assert!(last.starts_with(&format!("[{path} · ")), "{name}: {last}");
    }

    // The name itself wins over what it would stand for.
    fs::write(Path::new(&folder).join("caf\\xe9"), "other\n").unwrap();
    let result = both.same(&format!("{folder}/caf\\xe9"), plain()).await;
    assert!(result.text().starts_with("1\tother\n"), "{}", result.text());
}

#[tokio::test]
async fn a_link_to_nothing_names_its_target() {
    let mut both = Both::start().await;
    for (name, target) in [("gone", "no\nwhere"), ("loop", "loop"), ("deep", "gone")] {
        symlink(target, both.with.remote(name)).unwrap();
        let path = both.with.remote(name).to_str().unwrap().to_owned();
        let target = target.replace('\n', "\\n");
        let parts = [
            "no such file",
            &format!("a symbolic link to \"{target}\""),
            "ssh_read",
        ];
        assert_refused(&both.without.read(&path, plain()).await, &parts);
        let error = both.with.read(&path, plain()).await;
        assert_refused(&error, &parts);
        assert!(!error.text().contains("no\nwhere"), "{}", error.text());
    }
}

#[tokio::test]
async fn a_directory_of_100_000_entries_is_listed() {
    let mut both = Both::start().await;
    let folder = both.with.remote("many");
    fs::create_dir(&folder).unwrap();
    for number in 0..100_000 {
        let name = format!("{number:06} {}", "x".repeat(93));
        fs::File::create(folder.join(name)).unwrap();
    }

    let folder = folder.to_str().unwrap().to_owned();
    let read = json!({"offset": 99_999, "limit": 2});
    let result = both.with.read(&folder, read).await.ok();
    let lines: Vec<String> = result.text().lines().map(str::to_owned).collect();
    assert!(lines[0].contains(" 099998 xxx"), "{}", lines[0]);
    assert!(lines[1].contains(" 099999 xxx"), "{}", lines[1]);
    assert!(lines[2].contains("entries 99999–100000 of 100000"));

    // A script prints only 8 MiB of names, and nobody knows how many there are.
    let result = both.without.read(&folder, json!({"limit": 1})).await.ok();
    let last = last_line(&result);
    assert!(result.text().contains(" 000000 xxx"), "{}", result.text());
    assert!(last.contains("entry 1 of more than 8"), "{last}");
    assert!(last.contains("find"), "{last}");
    assert_eq!(result.structured()["total"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_host_without_sftp_is_asked_for_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    let script = folder.path().join("sftp");
    fs::write(
        &script,
        format!("#!/bin/sh\necho >>{}\nexit 1\n", asked.display()),
    )
    .unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let host = TestHost::openssh_with(|settings| {
        settings.sftp = script.to_str().unwrap().to_owned();
    });
    let mut bench = host.connect().await;
    let times = || fs::read(&asked).map_or(0, |lines| lines.len());
    for _ in 0..3 {
        bench.read("/etc/hosts", plain()).await.ok();
        assert_eq!(times(), 1);
    }

    // A new log-in may find another server.
    bench
        .mcp
        .call("ssh_reconnect", json!({"fresh": true}))
        .await;
    for _ in 0..2 {
        bench.read("/etc/hosts", plain()).await.ok();
        assert_eq!(times(), 2);
    }
}
