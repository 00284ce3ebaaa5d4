//! A command that did not run is an error, and what it would have read is run by nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain, status},
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
    programs,
    sudo_host::SudoHostSettings,
};

/// Startup files of bash, for every command over SSH, after which the shell is another one or none.
fn ended_or_replaced() -> Vec<String> {
    let replaced = ["zsh", "fish", "tcsh", "dash"]
        .map(|shell| format!("exec {}", programs::shell(shell).display()));

    let ended = [
        "[ -z \"$PS1\" ] && exit",
        "exit 0",
        "echo Welcome; exec zsh",
        "exec true",
        "exec cat",
        "[ -t 0 ] || exec sh",
    ];

    replaced
        .into_iter()
        .chain(ended.map(str::to_owned))
        .collect()
}

fn assert_not_run(
    bench: &ConnectedHost<FakeSshd>,
    refused: &crate::support::mcp_client::ToolResult,
    what: &str,
) {
    let text = refused.text();
    assert!(
        refused.is_error() && text.contains("the command was not run: a startup file"),
        "{what}: {text}"
    );
    assert!(text.contains("\nhint: "), "{what}: {text}");
    assert!(!bench.remote("ran").exists(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_that_ends_the_shell_is_an_error_at_once() {
    for startup in ended_or_replaced() {
        let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
        fs::write(bench.remote(".bashrc"), format!("{startup}\n")).unwrap();

        // The shell was asked who it is while it had no startup file, or is now.
        for _ in 0..2 {
            let refused = bench
                .mcp
                .call("ssh_exec", json!({"command": "echo hello > ran; exit 3"}))
                .await;

            assert_not_run(&bench, &refused, &startup);
            let config = bench.config.clone();
            let folder = tempfile::tempdir().unwrap();
            bench.mcp = crate::support::mcp_client::McpClient::start(&config, folder.path()).await;
            bench
                .mcp
                .call("ssh_connect", json!({"host": "host"}))
                .await
                .ok();
        }

        fs::remove_file(bench.remote(".bashrc")).unwrap();
        assert_eq!(
            code(&bench.exec("exit 3", plain()).await),
            Some(3),
            "{startup}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_by_no_other_shell_and_no_startup_file() {
    let long = format!("echo > ran\n{}", ": \n".repeat(4000));
    for startup in [
        "exec zsh",
        "exec fish",
        "exec sh -s",
        "read -r line; eval \"$line\"",
    ] {
        let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
        bench.exec("true", plain()).await;
        fs::write(bench.remote(".bashrc"), format!("{startup}\n")).unwrap();
        let mut calls = Vec::new();

        for more in [
            json!({"command": "cat", "stdin": "echo > ran\n"}),
            json!({"command": "cat", "stdin": "echo > ran\n", "background": true}),
            json!({"command": "true", "env": {"V": "v\necho > ran"}}),
            json!({"command": long}),
        ] {
            calls.push(bench.mcp.begin_call("ssh_exec", more).await);
        }

        for call in calls {
            let mut ended = bench.mcp.finish(call).await;
            if !ended.is_error() {
                let job = ended.outcome()["job"].clone();
                ended = bench
                    .mcp
                    .call("ssh_job", json!({"job": job, "waitMs": 60_000}))
                    .await;
            }

            assert_not_run(&bench, &ended, startup);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_startup_file_delays_stdin_and_loses_nothing() {
    for startup in [
        "sleep 1",
        "echo noise; sleep 0.5; echo more >&2",
        "read -r -t 1 line",
        "exec 2>&1",
    ] {
        let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
        fs::write(bench.remote(".bashrc"), format!("{startup}\n")).unwrap();

        let result = bench
            .exec(
                "cat; printf %s \"$V\"",
                json!({"stdin": "a\nb\n", "env": {"V": "v"}}),
            )
            .await;

        assert!(
            result.stdout().ends_with("a\nb\nv") && code(&result) == Some(0),
            "{startup}: {result:?}"
        );

        assert!(
            !result.stdout().contains('\u{1e}') && !result.stderr().contains('\u{1e}'),
            "{startup}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_hidden_and_limits_work_where_stderr_is_stdout() {
    let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
    fs::write(bench.remote(".bashrc"), "exec 2>&1\n").unwrap();
    let result = bench.exec("echo out; echo err >&2", plain()).await;
    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("out\nerr\n", ""),
        "{result:?}"
    );

    let result = bench.exec("sleep 7901", json!({"timeoutMs": 500})).await;
    crate::support::checks::assert_stopped(&result, "timedOut", bench.port, "7901");
    assert_eq!(result.stdout(), "");

    // A server that has no terminal keeps both streams apart.
    let mut bench = TestHost::fake_with_shell("/bin/bash").connect().await;
    let result = bench
        .exec("echo out; echo err >&2", json!({"pty": true}))
        .await;

    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("out\n", "err\n"),
        "{result:?}"
    );

    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings {
        shell: "/bin/bash",
        ..SudoHostSettings::default()
    })
    .await
    else {
        return;
    };

    fs::write(bench.remote(".bashrc"), "exec 2>&1\n").unwrap();

    let result = bench
        .root("echo out; cat", json!({"stdin": "mine", "env": {"V": "v"}}))
        .await
        .ok();

    assert_eq!(
        (result.stdout().as_str(), result.stderr().as_str()),
        ("out\nmine", ""),
        "{result:?}"
    );
}

/// The shell that runs the commands is this one, whatever `SHELL` says.
async fn with_shell_variable(shell: &Path, says: &str) -> ConnectedHost<FakeSshd> {
    let folder = tempfile::tempdir().unwrap().keep();
    let wrapper = folder.join("wrapper");
    let script = format!(
        "#!/bin/sh\nSHELL={says}; export SHELL\nexec {} \"$@\"\n",
        shell.display()
    );

    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();

    TestHost::fake_with_shell(wrapper.to_str().unwrap())
        .connect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_that_answers_is_asked_and_not_a_variable() {
    for (name, says) in [
        ("fish", "/bin/bash"),
        ("tcsh", "/bin/bash"),
        ("bash", "/usr/bin/fish"),
        ("dash", "/bin/tcsh"),
        ("yash", "/bin/yash"),
        ("posh", "/bin/posh"),
        ("lksh", "/bin/lksh"),
        ("mksh", "/no/such"),
        ("zsh", ""),
    ] {
        // Debian has them.
        if !cfg!(target_os = "linux") && ["posh", "lksh"].contains(&name) {
            continue;
        }

        let mut bench = with_shell_variable(&programs::shell(name), says).await;
        let more = json!({"cwd": "/usr", "env": {"V": "a 'b'\nc"}, "stdin": "in"});
        let result = bench
            .exec("sh -c 'pwd; echo \"$V\"; cat; exit 5'", more)
            .await;

        assert_eq!(
            (result.stdout().as_str(), code(&result)),
            ("/usr\na 'b'\nc\nin", Some(5)),
            "{name}: {result:?}"
        );

        let result = bench.exec("sleep 7902", json!({"timeoutMs": 500})).await;
        crate::support::checks::assert_stopped(&result, "timedOut", bench.port, "7902");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_shell_is_stopped_at_its_limit_without_its_id() {
    let elvish = programs::shell("elvish");
    let mut bench = TestHost::fake_with_shell(elvish.to_str().unwrap())
        .connect()
        .await;
    bench.exec("nop", plain()).await;
    let result = bench.exec("sleep 7903", json!({"timeoutMs": 3000})).await;
    assert_eq!(status(&result), "timedOut", "{result:?}");
    assert!(
        result.outcome()["durationMs"].as_u64().unwrap() < 12_000,
        "{result:?}"
    );

    assert_eq!(
        bench
            .exec("put a | each {|x| echo $x }", plain())
            .await
            .stdout(),
        "a\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_run_commands_is_said_at_once() {
    let mut bench = TestHost::fake_with(
        FakeSshdSettings {
            refuses_commands: true,
            ..FakeSshdSettings::default()
        },
        "",
    )
    .connect()
    .await;

    for more in [plain(), json!({"stdin": "x"}), json!({"pty": true})] {
        let mut more: Value = more;
        more["command"] = "true".into();
        let refused = bench.mcp.call("ssh_exec", more.clone()).await;
        assert!(
            refused.is_error() && refused.text().contains("the server does not run commands"),
            "{more}: {refused:?}"
        );
    }

    for (tool, more) in [
        ("ssh_shell", json!({"command": "true"})),
        ("ssh_exec", json!({"command": "true", "detach": true})),
    ] {
        assert!(bench.mcp.call(tool, more).await.is_error());
    }
}
