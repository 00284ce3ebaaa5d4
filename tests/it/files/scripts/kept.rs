//! Nothing but the content changes.

use std::{
    fs::{self, Metadata, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    process::Command,
};

use super::{Change, ChangeEnd, Host, bytes, edit_file, hosts, loaded, write_script};
use crate::support::{checks::skipped, other_user::OTHER};

/// Runs a program for its effect; false, aloud, if it cannot.
fn did(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(path).output();
    let did = output.is_ok_and(|output| output.status.success());
    if !did {
        skipped(&format!("{program} {arguments:?} fails here"));
    }
    did
}

fn owner(metadata: &Metadata) -> (u32, u32) {
    (metadata.uid(), metadata.gid())
}

fn said(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

/// Writes a file of these rights.
fn file(host: &Host, name: &str, mode: u32, owner: (u32, u32)) -> std::path::PathBuf {
    let path = host.path(name);
    fs::write(&path, b"old\n").unwrap();
    chown(&path, Some(owner.0), Some(owner.1)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn mode_and_owner_are_kept_by_root() {
    for host in hosts() {
        for (mode, user) in [
            (0o644, (0, 0)),
            (0o4750, (0, 0)),
            (0o2755, (1234, 2345)),
            (0o640, (1234, 2345)),
            (0o444, (1234, 0)),
            (0o000, (0, 0)),
        ] {
            let path = file(&host, "file", mode, user);
            let before = fs::metadata(&path).unwrap();
            assert_eq!(host.write(&path, b"old\n", b"new\n"), host.rewritten());

            let after = fs::metadata(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new\n");
            assert_eq!(after.mode(), before.mode(), "{mode:o} {}", host.name());
            assert_eq!(owner(&after), owner(&before));
            assert_eq!(after.ino() == before.ino(), host.is_busybox());
        }
        host.assert_only(&["file"]);
    }
}

#[test]
fn acls_and_extended_attributes_are_kept() {
    for host in hosts() {
        let path = file(&host, "file", 0o640, (0, 0));
        if !did("setfacl", &["-m", "u:1234:rw,g:99:r"], &path)
            || !did("setfattr", &["-n", "user.note", "-v", "kept"], &path)
        {
            return;
        }
        let acl = said("getfacl", &["-cn"], &path);

        let change = host.write(&path, b"old\n", b"new\n");
        assert_eq!(change.end, ChangeEnd::Done, "{change:?}");
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        if host.is_busybox() {
            // Its programs neither see nor copy them.
            continue;
        }
        assert_eq!(change, Change::done());
        assert_eq!(said("getfacl", &["-cn"], &path), acl);
        let note = said("getfattr", &["-n", "user.note", "--only-values"], &path);
        assert_eq!(note, "kept");
        host.assert_only(&["file"]);
    }
}

#[test]
fn a_file_keeps_its_hard_links_and_symbolic_links() {
    for host in hosts() {
        let path = file(&host, "file", 0o600, (1234, 2345));
        fs::hard_link(&path, host.path("hard")).unwrap();
        assert_eq!(
            host.write(&path, b"old\n", b"new\n"),
            Change::in_place("links")
        );
        assert_eq!(fs::read(host.path("hard")).unwrap(), b"new\n");

        // A link in the place of the loaded file is not followed.
        symlink(&path, host.path("soft")).unwrap();
        let through = host.write(&host.path("soft"), b"new\n", b"third\n");
        assert_eq!(through, Change::ended(ChangeEnd::Changed));
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        host.assert_only(&["file", "hard", "soft"]);
    }
}

#[test]
fn a_user_writes_in_place_what_a_rename_would_take_over() {
    for host in hosts() {
        // A file of another user, and one of a group in which the user is not.
        for (mode, user, reason) in [
            (0o646, (1234, 2345), "owner"),
            (0o644, (OTHER, 2345), "owner"),
            (0o644, (OTHER, OTHER), ""),
        ] {
            chown(host.work(), Some(OTHER), Some(OTHER)).unwrap();
            let path = file(&host, "file", mode, user);
            let before = fs::metadata(&path).unwrap();

            let answer = host.run_as_other(&write_script(&path, b"old\n", b"new\n"));
            let reason = host.reason_before(reason);
            assert_eq!(Change::read(&answer), Change::in_place(reason));
            let after = fs::metadata(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new\n");
            assert_eq!(
                (after.mode(), owner(&after)),
                (before.mode(), owner(&before))
            );
            host.assert_only(&["file"]);
        }
    }
}

#[test]
fn the_setuid_bit_of_a_users_file_is_kept() {
    for host in hosts() {
        chown(host.work(), Some(OTHER), Some(OTHER)).unwrap();
        let path = file(&host, "file", 0o6755, (OTHER, OTHER));
        for (old, new) in [(&b"old\n"[..], &b"new\n"[..]), (b"new\n", b"third\n")] {
            let answer = host.run_as_other(&write_script(&path, old, new));
            assert_eq!(Change::read(&answer).lost, [""; 0]);
            let mode = fs::metadata(&path).unwrap().mode();
            assert_eq!(mode & 0o7777, 0o6755, "{}", host.name());
            // The second time in place.
            let _ = fs::hard_link(&path, host.path("hard"));
        }
    }
}

#[test]
fn a_directory_without_write_permission_leaves_the_way_in_place() {
    for host in hosts() {
        let folder = host.path("folder");
        fs::create_dir(&folder).unwrap();
        chown(host.work(), Some(OTHER), Some(OTHER)).unwrap();
        let path = file(&host, "folder/file", 0o644, (OTHER, OTHER));

        let answer = host.run_as_other(&write_script(&path, b"old\n", b"new\n"));
        assert_eq!(Change::read(&answer), Change::in_place("directory"));
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        host.assert_only(&["folder"]);

        // Neither created, renamed nor deleted.
        let created = edit_file::create(bytes(&folder.join("x")), b"x", true, "0123abc");
        let deleted = edit_file::delete(loaded(&path, b"new\n"));
        let to = folder.join("y");
        let renamed = edit_file::rename(loaded(&path, b"new\n"), bytes(&to), true);
        for script in [created, deleted, renamed] {
            Change::read(&host.run_as_other(&script)).assert_failed("ermission denied");
        }
        assert_eq!(crate::support::disk::names(&folder), ["file"]);

        // No home either, so the old content waits in another place.
        fs::set_permissions(host.work(), Permissions::from_mode(0o555)).unwrap();
        let answer = host.run_as_other(&write_script(&path, b"new\n", b"third\n"));
        assert_eq!(Change::read(&answer), Change::in_place("directory"));
    }
}

#[test]
fn a_file_that_must_not_be_written_is_not_replaced_either() {
    for host in hosts() {
        chown(host.work(), Some(OTHER), Some(OTHER)).unwrap();
        for (mode, user) in [(0o444, OTHER), (0o644, 0)] {
            let path = file(&host, "file", mode, (user, user));
            let answer = host.run_as_other(&write_script(&path, b"old\n", b"new\n"));
            Change::read(&answer).assert_failed("ermission denied");
            assert_eq!(fs::read(&path).unwrap(), b"old\n");
        }
        host.assert_only(&["file"]);
    }
}

#[test]
fn a_foreign_file_in_a_sticky_directory_is_written_in_place() {
    for host in hosts() {
        fs::set_permissions(host.work(), Permissions::from_mode(0o1777)).unwrap();
        let path = file(&host, "file", 0o666, (1234, 1234));
        let answer = host.run_as_other(&write_script(&path, b"old\n", b"new\n"));
        let reason = host.reason_before("owner");
        assert_eq!(Change::read(&answer), Change::in_place(reason));
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
    }
}
