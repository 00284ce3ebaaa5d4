//! Where the password must not be.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::as_root;
use crate::support::{
    fixture::TestHost,
    processes,
    program::Program,
    sudo_host::{PASSWORD, SudoHostSettings, TELLTALE},
};

fn holds(bytes: &[u8]) -> bool {
    bytes
        .windows(TELLTALE.len())
        .any(|window| window == TELLTALE.as_bytes())
}

/// The files of a folder, and of those below it, that hold the password.
fn files_that_hold_it(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if path.is_dir() {
            found.extend(files_that_hold_it(&path));
        } else if fs::read(&path).is_ok_and(|bytes| holds(&bytes)) {
            found.push(path);
        }
    }

    found
}

/// Looks, until it is told to stop, for a process that has the password in its arguments or environment.
fn watch(stop: &AtomicBool) -> (u32, Option<String>) {
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        for pid in processes::all() {
            for file in ["cmdline", "environ"] {
                if fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|bytes| holds(&bytes)) {
                    return (looks, Some(format!("{file} of {pid}")));
                }
            }
        }

        looks += 1;
    }

    (looks, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_argument_environment_file_or_answer() {
    let Some(host) = TestHost::sudo(&SudoHostSettings::default()) else {
        return;
    };

    // Apart from the folder that must not hold it.
    let secret = tempfile::tempdir().unwrap();
    let (askpass, answer) = (secret.path().join("askpass"), secret.path().join("answer"));
    fs::write(&answer, PASSWORD).unwrap();
    fs::write(&askpass, format!("#!/bin/sh\ncat '{}'\n", answer.display())).unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let watching = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || watch(&stop)
    });

    let environment = [
        ("SSH_ASKPASS", askpass.as_os_str()),
        ("SSH_ASKPASS_REQUIRE", OsStr::new("force")),
    ];

    let mut program = Program::start_with(Some(&host.config), host.folder(), &environment).await;
    program
        .call("ssh_connect", json!({"host": "host"}))
        .await
        .ok();

    let mut answers = Vec::new();

    for parameters in [
        json!({"command": "id -u; tr '\\0' ' ' < /proc/$PPID/cmdline; cat /proc/$PPID/environ", "stdin": "x"}),
        json!({"command": "env; cat", "pty": true, "timeoutMs": 2000}),
        json!({"command": "trap '' INT TERM; sleep 75.5; sleep 75.5", "timeoutMs": 1000}),
        json!({"command": "head -c 3000000 /dev/zero | tr '\\0' x"}),
    ] {
        answers.push(program.call("ssh_exec", as_root(parameters)).await.ok());
    }

    for parameters in [
        json!({"command": "id -u; tr '\\0' ' ' < /proc/$PPID/cmdline; cat /proc/$PPID/environ; set", "sudo": true}),
        json!({"command": "(trap '' INT TERM; sleep 75.6)", "user": "www-data", "timeoutMs": 1000}),
    ] {
        answers.push(program.call("ssh_shell", parameters).await.ok());
    }

    for answer in [&answers[0], &answers[4]] {
        assert!(answer.stdout().starts_with("0\nsudo -S "), "{answer:?}");
    }

    // An error does not tell it either: where the right one does not help, or it is a wrong one.
    host.sshd.allow("", "");
    answers.push(
        program
            .call("ssh_exec", as_root(json!({"command": "id"})))
            .await,
    );

    let shell = json!({"command": "id", "sudo": true, "shell": "b"});
    answers.push(program.call("ssh_shell", shell.clone()).await);

    host.sshd.allow("ALL=(ALL) ALL", "");
    fs::write(&answer, format!("{TELLTALE} wrong")).unwrap();
    program.call("ssh_disconnect", json!({})).await.ok();

    for pty in [false, true] {
        let refused = program
            .call("ssh_exec", as_root(json!({"command": "id", "pty": pty})))
            .await;
        assert!(refused.text().contains("3 incorrect"), "{refused:?}");
        answers.push(refused);
    }

    let refused = program.call("ssh_shell", shell).await;
    assert!(refused.text().contains("3 incorrect"), "{refused:?}");
    answers.push(refused);
    stop.store(true, Ordering::Relaxed);
    let (looks, found) = watching.join().unwrap();
    assert!(looks > 3 && found.is_none(), "{looks} looks: {found:?}");
    for answer in answers {
        assert!(!holds(answer.0.to_string().as_bytes()), "{answer:?}");
    }

    let log = fs::read_to_string(host.local("stderr.log")).unwrap();
    assert!(log.matches("tool=ssh_exec").count() >= 7, "{log}");
    assert_eq!(files_that_hold_it(host.folder()), Vec::<PathBuf>::new());
    assert_eq!(
        files_that_hold_it(host.sshd.sshd.dir()),
        Vec::<PathBuf>::new()
    );
    assert!(host.sshd.log().contains("COMMAND=") && !holds(host.sshd.log().as_bytes()));
}
