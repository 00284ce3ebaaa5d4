//! Login shells that are not POSIX: the command is theirs, and directory, environment and stopping work all the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{
    checks::{assert_stopped, code, plain},
    fixture::TestHost,
    programs,
};

/// The login shells that people have.
pub(super) fn login_shells() -> Vec<String> {
    let shells = ["bash", "dash", "ksh", "zsh", "fish", "tcsh"].map(programs::shell);
    shells
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_and_environment_are_set_in_every_login_shell() {
    for shell in login_shells() {
        let mut bench = TestHost::fake_with_shell(&shell).connect().await;

        let folders = [
            "plain",
            "with blanks",
            "it's \"q\" $HOME !x \\",
            "-dash",
            "é日",
        ];

        for folder in folders {
            fs::create_dir(bench.remote(folder)).unwrap();

            for cwd in [
                format!("~/{folder}"),
                bench.remote(folder).display().to_string(),
            ] {
                let result = bench.exec("sh -c pwd", json!({"cwd": cwd})).await;
                let expected = format!("{}\n", bench.remote(folder).display());
                assert_eq!(
                    (result.stdout(), code(&result)),
                    (expected, Some(0)),
                    "{shell} {cwd}: {result:?}"
                );
            }
        }

        let values = [
            "",
            "a b",
            "it's",
            "\"q\" $HOME `id` !x \\ %s",
            "two\nlines",
            "é日🚀",
            "end\\",
            "*",
            "~",
        ];

        for value in values {
            let result = bench
                .exec("sh -c 'printf %s \"$V\"'", json!({"env": {"V": value}}))
                .await;

            assert_eq!(
                (result.stdout().as_str(), code(&result)),
                (value, Some(0)),
                "{shell} {value:?}: {result:?}"
            );
        }

        let result = bench.exec("echo ran", json!({"cwd": "/no/such"})).await;
        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            ("", Some(1)),
            "{shell}: {result:?}"
        );

        assert_eq!(
            code(
                &bench
                    .exec("exit 3", json!({"cwd": "~", "env": {"A": "b"}}))
                    .await
            ),
            Some(3),
            "{shell}"
        );

        let result = bench
            .exec("echo out; sh -c 'echo err >&2; exit 7'", plain())
            .await;

        assert_eq!(
            (
                result.stdout().as_str(),
                result.stderr().as_str(),
                code(&result)
            ),
            ("out\n", "err\n", Some(7)),
            "{shell}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_works_under_every_login_shell() {
    for shell in login_shells() {
        let mut bench = TestHost::fake_with_shell(&shell).connect().await;
        for command in [
            "sleep 7200",
            "sleep 7200 | cat",
            "sh -c \"trap '' INT TERM; sleep 7200; sleep 7200\"",
        ] {
            let result = bench.exec(command, json!({"timeoutMs": 500})).await;
            assert_stopped(&result, "timedOut", bench.sshd.port(), "7200");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_persistent_shell_starts_under_every_login_shell() {
    for shell in login_shells() {
        let mut bench = TestHost::fake_with_shell(&shell).connect().await;
        bench
            .shell("cd /usr; V='a b'; f() { echo \"f:$1\"; }", plain())
            .await;

        let result = bench
            .shell(
                "pwd; echo \"$V\"; f x; echo \"${BASH_VERSION:+bash}\"",
                plain(),
            )
            .await;

        assert_eq!(
            (result.stdout().as_str(), result.stderr().as_str()),
            ("/usr\na b\nf:x\nbash\n", ""),
            "{shell}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_startup_files_print_is_not_the_command_s() {
    let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;

    // Debian's bash reads it for every command over SSH.
    fs::write(
        bench.remote(".bashrc"),
        "echo noise; echo 'mcp-ssh-sessions:' >&2\n",
    )
    .unwrap();

    let result = bench.shell("echo one", plain()).await;
    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("one\n", "")
    );

    let result = bench
        .exec("echo two", json!({"cwd": "/", "timeoutMs": 60_000}))
        .await;

    assert!(
        result.stdout().ends_with("two\n") && code(&result) == Some(0),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_forced_command_runs_instead_and_nothing_is_added_to_it() {
    let mut bench = TestHost::openssh_with(|settings| {
        settings
            .extra_config
            .push_str("\nForceCommand echo \"forced: $SSH_ORIGINAL_COMMAND\"");
    })
    .connect()
    .await;

    let result = bench.exec("uptime", plain()).await;
    assert_eq!(
        (result.stdout().as_str(), code(&result)),
        ("forced: uptime\n", Some(0)),
        "{result:?}"
    );

    let refused = bench.mcp.call("ssh_shell", json!({"command": "pwd"})).await;
    assert!(
        refused.is_error() && refused.text().contains("ssh_exec"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_no_unix_shell_gets_the_command_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let device = folder.path().join("device-cli");
    fs::write(&device, "#!/bin/sh\nprintf 'got <%s>\\n' \"$2\"\n").unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o755)).unwrap();
    let mut bench = TestHost::fake_with_shell(device.to_str().unwrap())
        .connect()
        .await;
    assert_eq!(
        bench.exec("show version", plain()).await.stdout(),
        "got <show version>\n"
    );

    let refused = bench
        .mcp
        .call("ssh_exec", json!({"command": "show", "cwd": "/"}))
        .await;

    assert!(
        refused.is_error() && refused.text().contains("login shell"),
        "{refused:?}"
    );
}
