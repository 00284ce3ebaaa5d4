//! Accounts without bash, and accounts that may not start a shell.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    checks::{assert_stopped, code, plain},
    fixture::{ConnectedHost, TestHost},
    open_sshd::OpenSshd,
    processes::running,
    programs,
};

/// What there is instead of bash.
const OTHERS: [&str; 2] = ["dash", "busybox"];

/// A login shell that runs each command with `prepare` done before.
fn login_shell(folder: &Path, prepare: &str) -> String {
    let path = folder.join("login-shell");
    fs::write(&path, format!("#!/bin/sh\n{prepare}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A real sshd whose log-ins find no bash, and as `sh` this shell. The folder is that of all they find.
pub(super) async fn without_bash(sh: &str) -> (ConnectedHost<OpenSshd>, TempDir) {
    let programs = programs::without_bash(sh);
    // sshd heeds one `SetEnv` alone, which ends these lines.
    let path = format!(" PATH={}", programs.path().display());
    let bench = TestHost::openssh_with(|settings| settings.extra_config.push_str(&path))
        .connect()
        .await;
    (bench, programs)
}

/// A real sshd with bash, or [without](without_bash) it and with this shell as `sh`.
pub(super) async fn with_shell(sh: &str) -> (ConnectedHost<OpenSshd>, Option<TempDir>) {
    if sh == "bash" {
        return (TestHost::openssh_with(|_| {}).connect().await, None);
    }
    let (bench, programs) = without_bash(sh).await;
    (bench, Some(programs))
}

#[tokio::test]
async fn an_ended_shell_other_than_bash_is_replaced_in_its_directory() {
    for sh in OTHERS {
        let (mut bench, _programs) = without_bash(sh).await;
        for command in ["exit 3", "exec true", "kill -9 $$", "set -e; false"] {
            bench.shell("cd /usr/lib", plain()).await;
            let result = bench.shell(command, json!({"timeoutMs": 20_000})).await;
            assert!(
                result.status_line().contains("the shell itself has ended"),
                "{sh} {command}: {result:?}"
            );

            let next = bench
                .shell("pwd; echo \"${BASH_VERSION-none}\"", plain())
                .await;
            assert_eq!(next.stdout(), "/usr/lib\nnone\n", "{sh} {command}");
            assert_eq!(next.outcome()["cwd"], "/usr/lib", "{sh} {command}");
        }
    }
}

#[tokio::test]
async fn a_shell_that_is_not_bash_takes_stdin_and_long_scripts() {
    for sh in OTHERS {
        stdin_and_long_scripts(without_bash(sh).await.0).await;
    }
}

async fn stdin_and_long_scripts(mut bench: ConnectedHost<OpenSshd>) {
    // A here-document is all there is, and its last line has an end.
    for (stdin, end) in [
        ("", ""),
        ("\n", ""),
        ("text", "\n"),
        ("it's \\n %s $x `id`\r\né日\n\n", ""),
        ("-n\n", ""),
    ] {
        let result = bench.shell("cat", json!({"stdin": stdin})).await;
        assert_eq!(
            (result.stdout(), result.stderr()),
            (format!("{stdin}{end}"), String::new()),
            "{stdin:?}"
        );
    }

    let refused = bench
        .mcp
        .call("ssh_shell", json!({"command": "cat", "stdin": "a\0b"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("NUL"),
        "{refused:?}"
    );

    let long = format!("x='{}'; echo ${{#x}}", "y".repeat(3_000_000));
    assert_eq!(bench.shell(&long, plain()).await.stdout(), "3000000\n");
    let result = bench
        .shell("yes | head -c 3000000; yes | head -c 3000000 >&2", plain())
        .await;
    assert_eq!(result.outcome()["stdoutBytes"], 3_000_000);
    assert_eq!(
        bench.shell("echo in step", plain()).await.stdout(),
        "in step\n"
    );
}

#[tokio::test]
async fn a_time_limit_works_in_a_shell_that_is_not_bash() {
    for sh in OTHERS {
        let (mut bench, _programs) = without_bash(sh).await;
        bench.shell("cd /usr/lib; sleep 7601 & true", plain()).await;

        for command in [
            "sleep 7600; echo no",
            "sleep 7600 | cat; echo no",
            "while :; do :; done",
            "(trap '' INT TERM; sleep 7600; sleep 7600)",
        ] {
            let result = bench.shell(command, json!({"timeoutMs": 400})).await;
            assert_stopped(&result, "timedOut", bench.port, "7600");
            assert_eq!(result.stdout(), "", "{sh} {command}");
            assert_eq!(
                bench.shell("pwd", plain()).await.stdout(),
                "/usr/lib\n",
                "{sh} {command}"
            );

            assert_eq!(running(bench.port, "7601").len(), 1, "{sh} {command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_shell_gets_a_clear_error_and_exec_still_works() {
    // As Debian's rbash is made: the name is what makes bash a restricted shell. This one finds no program at all.
    let folder = tempfile::tempdir().unwrap();
    let rbash = folder.path().join("rbash");
    symlink(programs::shell("bash"), &rbash).unwrap();
    let path = folder.path().display();
    let prepare = format!("PATH={path}; export PATH; exec {} \"$@\"", rbash.display());
    let mut bench = TestHost::fake_with_shell(&login_shell(folder.path(), &prepare))
        .connect()
        .await;
    let result = bench.mcp.call("ssh_shell", json!({"command": "pwd"})).await;

    assert!(
        result.is_error()
            && result.text().contains("restricted")
            && result.text().contains("ssh_exec"),
        "{result:?}"
    );

    assert_eq!(bench.exec("echo works", plain()).await.stdout(), "works\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_shell_gets_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let nologin = login_shell(
        folder.path(),
        "echo 'This account is currently not available.'; exit 1",
    );

    let mut bench = TestHost::fake_with_shell(&nologin).connect().await;
    let result = bench.mcp.call("ssh_shell", json!({"command": "pwd"})).await;
    assert!(
        result.is_error() && result.text().contains("ended at once"),
        "{result:?}"
    );

    let result = bench.exec("pwd", plain()).await;
    assert_eq!(
        (code(&result), result.stdout().as_str()),
        (Some(1), "This account is currently not available.\n")
    );
}

#[tokio::test]
async fn a_restricted_login_shell_starts_what_it_may_find() {
    let folder = tempfile::tempdir().unwrap();
    let rbash = folder.path().join("rbash");
    symlink(programs::shell("bash"), &rbash).unwrap();
    let mut bench = TestHost::fake_with_shell(&rbash.display().to_string())
        .connect()
        .await;

    let refused = bench.exec("exec true", plain()).await;
    assert!(refused.stderr().contains("restricted"), "{refused:?}");

    let result = bench.shell("cd / && pwd", plain()).await;
    assert_eq!(
        (result.stdout(), code(&result)),
        ("/\n".to_owned(), Some(0))
    );

    let job = json!({"detach": true, "waitMs": 60_000});
    let result = bench.exec("echo done", job).await;
    assert_eq!(result.stdout(), "done\n", "{result:?}");
}
