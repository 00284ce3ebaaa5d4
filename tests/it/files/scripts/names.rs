//! Names of all kinds; new files, renamed and deleted ones.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
};

use super::{Change, ChangeEnd, bytes, edit_file, hosts, loaded};
use crate::support::disk;

#[test]
fn no_name_becomes_an_option_or_a_command() {
    for host in hosts() {
        for name in [
            &b"-n"[..],
            b"--help",
            b"two\nlines",
            b"ends with\n",
            b"it's \"quoted\" $(touch x) `touch y` ${HOME} \\ * ? [a] ! ~",
            b" leading and trailing ",
            b"caf\xe9 \xff",
            b"%s%n\\0101",
            &[b'x'; 255],
        ] {
            let path = host.work().join(OsStr::from_bytes(name));
            assert_eq!(host.create(&path, b"one\n", false), Change::done());
            assert_eq!(host.write(&path, b"one\n", b"two\n"), host.rewritten());
            assert_eq!(fs::read(&path).unwrap(), b"two\n");

            let answer = host.run(&edit_file::load(bytes(&path), 100));
            let found = edit_file::parse_found(&answer).unwrap();
            assert_eq!((found.path, found.content), (bytes(&path), &b"two\n"[..]));

            // In a directory of that name.
            let inside = host.path("folder").join(OsStr::from_bytes(name)).join("x");
            let renamed = edit_file::rename(loaded(&path, b"two\n"), bytes(&inside), true);
            let renamed = Change::read(&host.run(&renamed));
            assert_eq!((renamed.end, renamed.made.len()), (ChangeEnd::Done, 2));
            assert_eq!(host.write(&inside, b"two\n", b"three\n"), host.rewritten());
            assert_eq!(fs::read(&inside).unwrap(), b"three\n");

            let deleted = host.run(&edit_file::delete(loaded(&inside, b"three\n")));
            assert_eq!(Change::read(&deleted), Change::done());
            assert!(!inside.exists() && !path.exists());
            fs::remove_dir_all(host.path("folder")).unwrap();
            host.assert_only(&[]);
        }
    }
}

#[test]
fn a_new_file_is_private_where_its_directory_is() {
    for host in hosts() {
        for (folder_mode, mode, inner_mode) in [
            (0o755, 0o644, 0o755),
            (0o777, 0o644, 0o755),
            (0o700, 0o600, 0o700),
            (0o2770, 0o644, 0o755),
            (0o711, 0o644, 0o755),
        ] {
            let folder = host.path("folder");
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(folder_mode)).unwrap();

            assert_eq!(
                host.create(&folder.join("file"), b"x", false),
                Change::done()
            );
            let inner = host.create(&folder.join("a b/c/file"), b"x", true);
            let made = ["a b/", "a b/c/"].map(|made| folder.join(made).display().to_string());
            assert_eq!(inner.made, made);

            for (name, mode) in [
                ("file", mode),
                ("a b", inner_mode),
                ("a b/c", inner_mode),
                ("a b/c/file", mode),
            ] {
                let found = fs::metadata(folder.join(name)).unwrap().mode() & 0o777;
                assert_eq!(found, mode, "{name} in {folder_mode:o}: {found:o}");
            }
            fs::remove_dir_all(folder).unwrap();
        }
        host.assert_only(&[]);
    }
}

#[test]
fn the_umask_of_the_account_is_kept() {
    for host in hosts() {
        for (umask, mode) in [("077", 0o600), ("027", 0o640), ("000", 0o644)] {
            let path = host.path("file");
            let script = edit_file::create(bytes(&path), b"x", false, "0123abc");
            let script = [b"umask ", umask.as_bytes(), b"\n", &script].concat();
            assert_eq!(Change::read(&host.run(&script)), Change::done());
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn nothing_is_overwritten_by_a_new_or_renamed_file() {
    for host in hosts() {
        let (file, folder) = (host.path("file"), host.path("folder"));
        fs::write(&file, b"old\n").unwrap();
        fs::create_dir(&folder).unwrap();
        symlink("nowhere", host.path("dangling")).unwrap();
        symlink("folder", host.path("link")).unwrap();

        let exists = Change::ended(ChangeEnd::Exists);
        for name in ["file", "folder", "dangling", "link"] {
            assert_eq!(host.create(&host.path(name), b"x", true), exists, "{name}");
        }
        fs::write(host.path("other"), b"other\n").unwrap();
        for name in ["other", "folder", "dangling", "link"] {
            let to = host.path(name);
            let script = edit_file::rename(loaded(&file, b"old\n"), bytes(&to), true);
            assert_eq!(Change::read(&host.run(&script)), exists, "{name}");
        }

        let none = Change::ended(ChangeEnd::NoDirectory);
        let to = host.path("no/such/file");
        assert_eq!(host.create(&to, b"x", false), none);
        let script = edit_file::rename(loaded(&file, b"old\n"), bytes(&to), false);
        assert_eq!(Change::read(&host.run(&script)), none);

        assert_eq!(fs::read(&file).unwrap(), b"old\n");
        assert_eq!(fs::read(host.path("other")).unwrap(), b"other\n");
        assert_eq!(disk::names(&folder), [""; 0]);
        host.assert_only(&["dangling", "file", "folder", "link", "other"]);
    }
}

#[test]
fn a_failure_removes_the_directories_that_were_made() {
    for host in hosts() {
        let long = "x".repeat(256);
        let change = host.create(&host.path(&format!("a/b/{long}")), b"x", true);
        change.assert_failed("File name too long");
        let change = host.create(&host.path(&format!("a/{long}/file")), b"x", true);
        change.assert_failed("File name too long");
        host.assert_only(&[]);
    }
}
