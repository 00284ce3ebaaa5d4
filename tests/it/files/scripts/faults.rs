//! Faults of the host at every step, and others who write at the same time.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, thread, time::Duration};

use super::{Change, ChangeEnd, Host, bytes, edit_file, hosts, loaded, write_script};
use crate::support::{
    checks::skipped,
    disk::{self, SmallDisk},
    processes,
};

/// Sets a flag of a file for a while; `None`, aloud, if this file system has no flags.
struct Flag<'a>(&'a Path, &'static str);

impl<'a> Flag<'a> {
    fn set(path: &'a Path, flag: &'static str) -> Option<Self> {
        let set = Command::new("chattr")
            .arg(format!("+{flag}"))
            .arg(path)
            .output();
        if set.is_ok_and(|output| output.status.success()) {
            return Some(Self(path, flag));
        }
        skipped("this file system has no flags");
        None
    }
}

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr")
            .arg(format!("-{}", self.1))
            .arg(self.0)
            .status();
    }
}

#[test]
fn flags_of_a_file_are_obeyed() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"old\n").unwrap();
        for flag in ["i", "a"] {
            let Some(_flag) = Flag::set(&path, flag) else {
                return;
            };
            let change = host.write(&path, b"old\n", b"new\n");
            change.assert_failed("Operation not permitted");
            let deleted = host.run(&edit_file::delete(loaded(&path, b"old\n")));
            Change::read(&deleted).assert_failed("Operation not permitted");
            assert_eq!(fs::read(&path).unwrap(), b"old\n");
            host.assert_only(&["file"]);
        }
    }
}

#[test]
fn an_immutable_directory_leaves_the_way_in_place() {
    for host in hosts() {
        let folder = host.path("folder");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        fs::write(&path, b"old\n").unwrap();
        let Some(_flag) = Flag::set(&folder, "i") else {
            return;
        };

        let change = host.write(&path, b"old\n", b"new\n");
        assert_eq!(change, Change::in_place("directory"), "{}", host.name());
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        assert_eq!(disk::names(&folder), ["file"]);
        host.assert_only(&["folder"]);
    }
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    for host in hosts() {
        let folder = host.path("small");
        let Some(_disk) = SmallDisk::mount(&folder) else {
            return;
        };
        let path = folder.join("file");
        let old = vec![b'o'; 300_000];
        let too_long = vec![b'n'; 1_200_000];
        fs::write(&path, &old).unwrap();

        let full = "No space left on device";
        host.write(&path, &old, &too_long).assert_failed(full);
        let created = host.create(&folder.join("a/b/new"), &too_long, true);
        created.assert_failed(full);
        assert!(fs::read(&path).unwrap() == old);
        assert_eq!(disk::names(&folder), ["file"]);

        // In place the old content is put back.
        fs::hard_link(&path, folder.join("hard")).unwrap();
        let change = host.write(&path, &old, &too_long);
        change.assert_failed(full);
        assert!(fs::read(&path).unwrap() == old, "{}", host.name());
        assert_eq!(disk::names(&folder), ["file", "hard"]);
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    for host in hosts() {
        let folder = host.path("small");
        let Some(_disk) = SmallDisk::mount(&folder) else {
            return;
        };
        let path = folder.join("file");
        fs::write(&path, b"old\n").unwrap();
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&folder)
            .status();
        assert!(remounted.unwrap().success());

        let read_only = "Read-only file system";
        host.write(&path, b"old\n", b"new\n")
            .assert_failed(read_only);
        host.create(&folder.join("x"), b"x", true)
            .assert_failed(read_only);
        let deleted = host.run(&edit_file::delete(loaded(&path, b"old\n")));
        Change::read(&deleted).assert_failed(read_only);
        host.assert_only(&["small"]);
    }
}

#[test]
fn a_mounted_file_is_written_in_place() {
    for host in hosts() {
        let (path, over) = (host.path("file"), host.path("over"));
        fs::write(&path, b"below\n").unwrap();
        fs::write(&over, b"old\n").unwrap();
        let mounted = Command::new("mount")
            .arg("--bind")
            .args([&over, &path])
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            skipped("may not mount a file");
            return;
        }

        let change = host.write(&path, b"old\n", b"new\n");
        let _ = Command::new("umount").arg(&path).status();
        let reason = host.reason_before("rename");
        assert_eq!(change, Change::in_place(reason), "{}", host.name());
        assert_eq!(fs::read(&over).unwrap(), b"new\n");
        assert_eq!(fs::read(&path).unwrap(), b"below\n");
        host.assert_only(&["file", "over"]);
    }
}

#[test]
fn a_signal_leaves_no_litter() {
    for host in hosts() {
        let path = host.path("file");
        for signal in ["HUP", "TERM"] {
            for step in 0..20 {
                fs::write(&path, b"old\n").unwrap();
                let mut running = host.begin(&write_script(&path, b"old\n", b"new\n"), None);
                thread::sleep(Duration::from_millis(step * 2));
                processes::signal(signal, &[running.child.id().to_string()]);
                running.child.wait().unwrap();

                let content = fs::read(&path).unwrap();
                assert!(content == b"old\n" || content == b"new\n", "{step}");
                host.assert_only(&["file"]);
            }
        }
    }
}

/// Kills the processes of a script at many moments. `check` sees what is left each time.
fn kill_at_many_moments(host: &Host, script: &[u8], check: impl Fn(bool)) {
    let mut is_over = false;
    let mut step = 0;
    while !is_over {
        let mut running = host.begin(script, None);
        thread::sleep(Duration::from_millis(step * 2));
        // The programs of the script as well: they are of its process group.
        is_over = running.child.try_wait().unwrap().is_some();
        processes::signal("KILL", &[format!("-{}", running.child.id())]);
        running.child.wait().unwrap();
        check(is_over);
        step += 1;
    }
}

#[test]
fn a_killed_script_leaves_the_old_or_the_new_file() {
    let (old, new) = (b"old\n".repeat(50_000), b"newer\n".repeat(50_000));
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, &old).unwrap();
        kill_at_many_moments(&host, &write_script(&path, &old, &new), |is_over| {
            let content = fs::read(&path).unwrap();
            let is_whole = content == old || content == new;
            assert!(is_whole || host.is_busybox(), "{}", content.len());
            assert!(!is_over || content == new);
            remove_litter(&host, &["file"]);
            fs::write(&path, &old).unwrap();
        });

        let created = host.path("created");
        let script = edit_file::create(bytes(&created), &new, false, "0123abc");
        kill_at_many_moments(&host, &script, |is_over| {
            assert!(is_over || !created.exists() || fs::read(&created).unwrap() == new);
            let _ = fs::remove_file(&created);
            remove_litter(&host, &["file"]);
        });
    }
}

#[test]
fn a_script_killed_in_place_leaves_the_old_content_as_well() {
    let (old, new) = (b"old\n".repeat(50_000), b"newer\n".repeat(50_000));
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, &old).unwrap();
        fs::hard_link(&path, host.path("hard")).unwrap();

        kill_at_many_moments(&host, &write_script(&path, &old, &new), |_| {
            let content = fs::read(&path).unwrap();
            let kept = host.path(".mcp-ssh-sessions-0123abc/.mcp-ssh-sessions-0123abc.old");
            let is_whole = content == old || content == new;
            assert!(is_whole || fs::read(kept).unwrap() == old);
            remove_litter(&host, &["file", "hard"]);
            fs::write(&path, &old).unwrap();
        });
    }
}

/// Removes the directory of temporary files, and asserts that nothing else is left.
fn remove_litter(host: &Host, names: &[&str]) {
    let _ = fs::remove_dir_all(host.path(".mcp-ssh-sessions-0123abc"));
    host.assert_only(names);
}

/// Puts a command into a script, before its second comparison.
fn with_before_comparison(script: &[u8], command: &str) -> Vec<u8> {
    let script = std::str::from_utf8(script).unwrap();
    let at = "flush() {\n";
    assert!(script.contains(at));
    script
        .replacen(at, &format!("{at}{command}\n"), 1)
        .into_bytes()
}

#[test]
fn nothing_of_a_writer_at_the_same_time_is_lost() {
    for host in hosts() {
        for is_in_place in [false, true] {
            let path = host.path("file");
            fs::write(&path, b"old\n").unwrap();
            if is_in_place {
                fs::hard_link(&path, host.path("hard")).unwrap();
            }

            let script = write_script(&path, b"old\n", b"new\n");
            for (command, content) in [
                (r#"echo more >>"$path""#, "old\nmore\n"),
                (
                    r#"cp "$path" "$path+"; echo x >"$path+"; mv "$path+" "$path""#,
                    "x\n",
                ),
                (r#"rm "$path""#, ""),
                (r#"rm "$path"; mkdir "$path""#, ""),
                (r#"rm "$path"; ln -s /etc/passwd "$path""#, ""),
            ] {
                let answer = host.run(&with_before_comparison(&script, command));
                let change = Change::read(&answer);
                assert_eq!(change, Change::ended(ChangeEnd::Changed), "{command}");
                let found = fs::read_to_string(&path).unwrap_or_default();
                assert!(path.is_symlink() || found == content, "{command}: {found}");

                let _ = fs::remove_dir(&path);
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(host.path("hard"));
                fs::write(&path, b"old\n").unwrap();
                if is_in_place {
                    fs::hard_link(&path, host.path("hard")).unwrap();
                    host.assert_only(&["file", "hard"]);
                } else {
                    host.assert_only(&["file"]);
                }
            }
        }
    }
}

#[test]
fn an_exchanged_directory_is_not_entered() {
    for host in hosts() {
        let (folder, elsewhere) = (host.path("folder"), host.path("elsewhere"));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), b"old\n").unwrap();
        symlink(&elsewhere, &folder).unwrap();

        let path = folder.join("file");
        let changed = Change::ended(ChangeEnd::Changed);
        assert_eq!(host.write(&path, b"old\n", b"new\n"), changed);
        let deleted = host.run(&edit_file::delete(loaded(&path, b"old\n")));
        assert_eq!(Change::read(&deleted), changed);
        assert_eq!(host.create(&folder.join("x"), b"x", false), changed);
        assert_eq!(disk::names(&elsewhere), ["file"]);
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"old\n");
    }
}

/// A file in a directory whose owner exchanges things while root edits.
#[test]
fn the_owner_of_a_directory_leads_root_to_no_other_file() {
    for host in hosts() {
        let victim = host.path("victim");
        fs::create_dir_all(victim.join("sub")).unwrap();
        fs::write(victim.join("file"), b"old\n").unwrap();
        let there = victim.display();

        for (at, command) in [
            // The new directory, before it is entered.
            (
                "cd -P \"./$name\"",
                format!("mv \"$store\" \"$store+\"; ln -s '{there}/sub' \"$store\""),
            ),
            // The directory of the file, once it was entered.
            (
                "was=$(look",
                format!("mv \"${{dir%/}}\" \"${{dir%/}}+\"; ln -s '{there}' \"${{dir%/}}\""),
            ),
            // The file, at the last moment.
            (
                "said=$( { content",
                format!("rm -f \"$path\"; ln -s '{there}/file' \"$path\""),
            ),
        ] {
            for is_in_place in [false, true] {
                let folder = host.path("folder");
                fs::create_dir(&folder).unwrap();
                let path = folder.join("file");
                fs::write(&path, b"old\n").unwrap();
                if is_in_place {
                    fs::hard_link(&path, folder.join("hard")).unwrap();
                }

                let script = String::from_utf8(write_script(&path, b"old\n", b"new\n")).unwrap();
                let at_line = format!("\n  {at}");
                assert!(script.contains(&at_line), "{at}");
                // Only in the directory of that owner.
                let command = format!("[ -n \"$once\" ] || {{ once=1; {command}; }}");
                let script = script.replacen(&at_line, &format!("\n  {command}{at_line}"), 1);
                host.run(script.as_bytes());

                let found = fs::read(victim.join("file")).unwrap();
                assert_eq!(found, b"old\n", "{at} {is_in_place} {}", host.name());
                assert_eq!(disk::names(&victim), ["file", "sub"]);
                assert_eq!(disk::names(&victim.join("sub")), [""; 0]);
                for name in ["folder", "folder+"] {
                    let _ = fs::remove_file(host.path(name));
                    let _ = fs::remove_dir_all(host.path(name));
                }
            }
        }
    }
}

#[test]
fn files_of_the_same_names_as_temporary_ones_stay() {
    for host in hosts() {
        let path = host.path("file");
        fs::write(&path, b"old\n").unwrap();
        let taken = host.path(".mcp-ssh-sessions-0123abc");
        symlink("/etc", &taken).unwrap();

        let change = host.write(&path, b"old\n", b"new\n");
        assert_eq!(change.end, ChangeEnd::Busy);
        assert_eq!(fs::read(&path).unwrap(), b"old\n");
        assert!(taken.is_symlink() && Path::new("/etc/passwd").exists());
        fs::remove_file(&taken).unwrap();

        // A directory that others may change is no place for temporary files.
        let script = String::from_utf8(write_script(&path, b"old\n", b"new\n")).unwrap();
        let script = script.replace("mkdir -m 700", "mkdir -m 777");
        let change = Change::read(&host.run(script.as_bytes()));
        change.assert_failed("Permission denied");
        assert_eq!(fs::read(&path).unwrap(), b"old\n");
        host.assert_only(&["file"]);
    }
}
