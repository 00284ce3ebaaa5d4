//! What is loaded, and what is found instead of a file.

use std::{
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

use super::{FoundKind, Host, edit_file, hosts};

/// Kind, path below the home and message of what is found.
fn find(host: &Host, path: &str, as_other: bool) -> (FoundKind, String, String) {
    let script = edit_file::load(path.as_bytes(), 100);
    let answer = if as_other {
        host.run_as_other(&script)
    } else {
        host.run(&script)
    };
    let found = edit_file::parse_found(&answer).unwrap();
    let found_path = Path::new(std::ffi::OsStr::from_bytes(found.path));
    let shown = found_path
        .strip_prefix(host.work())
        .unwrap_or(found_path)
        .display()
        .to_string();

    let message = String::from_utf8_lossy(found.message).into_owned();
    (found.kind, shown, message)
}

#[test]
fn links_are_resolved_and_everything_else_is_named() {
    for host in hosts() {
        let home = host.work();
        fs::create_dir_all(home.join("real/sub")).unwrap();
        fs::write(home.join("real/file"), b"content").unwrap();
        fs::write(home.join("long"), [b'x'; 101]).unwrap();
        fs::write(home.join("exact"), [b'x'; 100]).unwrap();
        symlink("real", home.join("folder")).unwrap();
        symlink("folder/file", home.join("link")).unwrap();
        symlink("./link", home.join("chain")).unwrap();
        symlink(home.join("real/file"), home.join("absolute")).unwrap();
        symlink("../real/file", home.join("real/up")).unwrap();
        symlink("real/new", home.join("dangling")).unwrap();
        symlink("no/new", home.join("far")).unwrap();
        symlink("one", home.join("other")).unwrap();
        symlink("other", home.join("one")).unwrap();
        symlink("real", home.join("two\nlines\n")).unwrap();
        fs::write(home.join("real/last\n"), b"content").unwrap();
        symlink("real/last\n", home.join("to last")).unwrap();
        let fifo = Command::new("mkfifo").arg(home.join("fifo")).status();
        assert!(fifo.unwrap().success());
        let _socket = UnixListener::bind(home.join("socket")).unwrap();

        for (path, kind, resolved) in [
            ("real/file", FoundKind::File, "real/file"),
            ("./real/sub/../file", FoundKind::File, "real/file"),
            ("link", FoundKind::File, "real/file"),
            ("chain", FoundKind::File, "real/file"),
            ("absolute", FoundKind::File, "real/file"),
            ("folder/up", FoundKind::File, "real/file"),
            ("two\nlines\n/file", FoundKind::File, "real/file"),
            ("to last", FoundKind::File, "real/last\n"),
            ("exact", FoundKind::File, "exact"),
            ("long", FoundKind::Long, "long"),
            ("folder", FoundKind::Directory, "real"),
            ("folder/", FoundKind::Directory, "real"),
            (".", FoundKind::Directory, ""),
            ("fifo", FoundKind::Fifo, "fifo"),
            ("socket", FoundKind::Socket, "socket"),
            ("/dev/null", FoundKind::Device, "/dev/null"),
            ("dangling", FoundKind::Dangling, "real/new"),
            ("far", FoundKind::Dangling, "no/new"),
            ("one", FoundKind::Loop, "other"),
            ("one/x", FoundKind::Loop, "one/x"),
            ("new", FoundKind::Missing, "new"),
            ("folder/new", FoundKind::Missing, "real/new"),
            ("folder/a/b/new", FoundKind::NoDirectory, "real/a/b/new"),
            ("folder/a//new", FoundKind::NoDirectory, "real/a/new"),
            ("folder/a/../new", FoundKind::Failed, "real/a/../new"),
            ("real/file/new", FoundKind::Failed, "real/file/new"),
            ("real/file/", FoundKind::Failed, "real/file/"),
            ("new/", FoundKind::Failed, "new"),
        ] {
            let (found, at, message) = find(&host, path, false);
            assert_eq!(found, kind, "{path} {at} {message} {}", host.name());
            let at = at.strip_prefix("./").unwrap_or(&at);
            if kind == FoundKind::Loop {
                continue;
            }
            assert_eq!(at, resolved, "{path} {}", host.name());
            let length = if kind == FoundKind::Long { "101" } else { "" };
            assert!(kind == FoundKind::Failed || message == length, "{message}");
        }

        let (_, _, message) = find(&host, "real/file/new", false);
        assert!(message.ends_with(": Not a directory"), "{message}");
    }
}

#[test]
fn what_must_not_be_seen_is_denied() {
    for host in hosts() {
        let home = host.work();
        fs::create_dir(home.join("closed")).unwrap();
        for name in ["secret", "closed/file"] {
            fs::write(home.join(name), b"secret").unwrap();
        }
        fs::set_permissions(home.join("secret"), Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(home.join("closed"), Permissions::from_mode(0o600)).unwrap();

        assert_eq!(find(&host, "secret", true).0, FoundKind::Denied);
        let (kind, _, message) = find(&host, "closed/file", true);
        assert_eq!(kind, FoundKind::Failed);
        assert!(message.ends_with(": Permission denied"), "{message}");
        assert_eq!(find(&host, "secret", false).0, FoundKind::File);
    }
}

#[test]
fn the_facts_of_a_file_come_with_its_content() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"one\0two\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o4751)).unwrap();

        let answer = host.run(&edit_file::load(super::bytes(&path), 100));
        let found = edit_file::parse_found(&answer).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(found.content, b"one\0two\n");
        assert_eq!(found.mode, Some(0o104_751));
        assert_eq!(found.owner, Some((1234, 2345)));
        assert_eq!(found.modified.map(i64::from), Some(metadata.mtime()));
    }

    // A file whose length reads 0.
    let host = hosts().remove(0);
    let answer = host.run(&edit_file::load(b"/proc/version", 1000));
    let found = edit_file::parse_found(&answer).unwrap();
    assert!(found.content.starts_with(b"Linux"), "{found:?}");
}
