//! Commands as root, through a real sudo.

mod asking;
mod files;
mod secrecy;
mod shell;
mod shell_errors;
mod shell_stop;
mod stop;

use serde_json::{Value, json};

use crate::support::{
    checks::{code, plain, status, whole_output},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings, USER},
};

/// A client, with these capabilities, connected to such a host with further parameters.
pub(crate) async fn open(
    settings: SudoHostSettings,
    capabilities: Value,
    more: Value,
) -> Option<ConnectedHost<SudoHost>> {
    let host = TestHost::sudo(&settings)?;
    let mut mcp =
        crate::support::questions::client_with(capabilities, &host.config, host.folder()).await;
    let mut parameters = more;
    parameters["host"] = "host".into();
    mcp.connect(parameters).await;

    Some(ConnectedHost { mcp, host })
}

fn as_root(mut more: Value) -> Value {
    more["sudo"] = true.into();
    more
}

/// A command that could not be run: says why, and what helps.
fn assert_not_run(result: &ToolResult, parts: &[&str]) {
    assert!(result.is_error(), "{result:?}");
    for part in parts
        .iter()
        .chain(&["sudo", "the command was not run", "\nhint: "])
    {
        assert!(result.text().contains(part), "{part}: {}", result.text());
    }
}

#[tokio::test]
async fn a_command_means_what_it_means_without_sudo_but_runs_as_root() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };
    let home = bench.home.display().to_string();
    std::fs::create_dir(bench.remote("a b")).unwrap();

    for (command, more, stdout, exit) in [
        ("id -u", plain(), "0\n".to_owned(), 0),
        (
            "echo \"it's\" '!' $((1+1)) \\\\; exit 7",
            plain(),
            "it's ! 2 \\\n".into(),
            7,
        ),
        ("pwd", plain(), format!("{home}\n"), 0),
        ("pwd", json!({"cwd": "~"}), format!("{home}\n"), 0),
        ("pwd", json!({"cwd": "~/a b"}), format!("{home}/a b\n"), 0),
        ("pwd", json!({"cwd": "a b"}), format!("{home}/a b\n"), 0),
        ("pwd", json!({"cwd": "/"}), "/\n".into(), 0),
        ("pwd", json!({"cwd": "/no such"}), String::new(), 1),
        (
            "echo \"$V\"",
            json!({"env": {"V": "it's\n $HOME"}}),
            "it's\n $HOME\n".into(),
            0,
        ),
        (
            "echo $SUDO_USER $USER ${SSH_CONNECTION-none}",
            plain(),
            format!("{USER} root none\n"),
            0,
        ),
        (
            "cat",
            json!({"stdin": "line\nno newline"}),
            "line\nno newline".into(),
            0,
        ),
        ("cat; echo end", plain(), "end\n".into(), 0),
        ("kill -TERM $$", plain(), String::new(), -1),
    ] {
        let result = bench.root(command, more.clone()).await;
        assert!(!result.is_error(), "{command}: {}", result.text());
        assert_eq!(
            (result.stdout(), code(&result).unwrap_or(-1)),
            (stdout, exit),
            "{command} {more}: {result:?}"
        );

        let quiet = more["cwd"] != "/no such";
        assert_eq!(result.stderr().is_empty(), quiet, "{result:?}");
    }

    let results = bench.root("echo out; echo err >&2", plain()).await;
    assert_eq!(
        (results.stdout().as_str(), results.stderr().as_str()),
        ("out\n", "err\n")
    );
}

#[tokio::test]
async fn stdin_and_commands_of_any_length_arrive_byte_for_byte() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    let stdin: String = (0..300_000u32)
        .map(|n| char::from_u32(n % 0x3000).unwrap_or('\n'))
        .collect();
    let result = bench.root("cat", json!({"stdin": stdin})).await.ok();
    assert!(
        whole_output(&result) == stdin.as_bytes(),
        "{} bytes",
        result.outcome()["stdoutBytes"]
    );

    for length in [5_000, 9_000, 300_000] {
        let command = format!("cat; echo {}", "''x".repeat(length));
        let result = bench.root(&command, json!({"stdin": "stdin\n"})).await.ok();
        let total = result.outcome()["stdoutBytes"].as_u64();
        assert_eq!(
            (code(&result), total),
            (Some(0), Some(6 + length as u64 + 1)),
            "{length}: {result:?}"
        );
    }
}

#[tokio::test]
async fn every_login_shell_runs_it() {
    for (shell, print) in [
        ("/bin/dash", "echo $0"),
        ("/bin/bash", "echo $0"),
        ("/usr/bin/zsh", "echo $0"),
        ("/usr/bin/fish", "echo (status fish-path)"),
        ("/bin/tcsh", "echo $shell"),
    ] {
        if !std::path::Path::new(shell).exists() {
            crate::support::checks::skipped(&format!("{shell} is not installed"));
            continue;
        }

        let settings = SudoHostSettings {
            shell,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = TestHost::sudo_with_password(settings).await else {
            return;
        };
        let command = format!("id -u; pwd; {print}; printenv V; cat; echo '!'");
        let more = json!({"cwd": "~", "env": {"V": "a'b! c"}, "stdin": "stdin"});
        let result = bench.root(&command, more).await.ok();
        let home = bench.home.display();
        assert_eq!(
            result.stdout(),
            format!("0\n{home}\n{shell}\na'b! c\nstdin!\n"),
            "{shell}: {result:?}"
        );

        assert_eq!((result.stderr(), code(&result)), (String::new(), Some(0)));
    }
}

#[tokio::test]
async fn a_sudo_that_wants_no_password_is_given_none() {
    let nopasswd = SudoHostSettings {
        rule: "ALL=(ALL) NOPASSWD: ALL",
        ..SudoHostSettings::default()
    };

    let Some(mut bench) = TestHost::sudo_with_password(nopasswd).await else {
        return;
    };
    let shows_stdin = json!({"stdin": "mine"});

    assert_eq!(
        bench.root("cat", shows_stdin.clone()).await.ok().stdout(),
        "mine"
    );

    // And one that has seen it a moment ago: it remembers by terminal or process, unless it is told not to.
    bench
        .sshd
        .allow("ALL=(ALL) ALL", "Defaults timestamp_type=global");

    for _ in 0..2 {
        assert_eq!(
            bench.root("cat", shows_stdin.clone()).await.ok().stdout(),
            "mine"
        );
    }

    let cached = bench.exec("sudo -n id -u", plain()).await.ok();
    assert_eq!(cached.stdout(), "0\n", "it was cached: {cached:?}");
}

#[tokio::test]
async fn a_terminal_is_one_stream_without_prompt_and_password() {
    for defaults in [
        "",
        "Defaults use_pty",
        "Defaults !use_pty",
        "Defaults requiretty",
        "Defaults pwfeedback",
    ] {
        let settings = SudoHostSettings {
            defaults,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = TestHost::sudo_with_password(settings).await else {
            return;
        };

        let command =
            "tty | cut -c 1-8; id -u; echo err >&2; stty -a | grep -c -e ' echo '; exit 3";
        let result = bench.root(command, json!({"pty": true})).await.ok();
        let output = result.stdout().replace('\r', "");
        assert_eq!(
            (output.as_str(), code(&result)),
            ("/dev/pts\n0\nerr\n1\n", Some(3)),
            "{defaults}: {result:?}"
        );

        if defaults.contains("requiretty") {
            assert_not_run(
                &bench.root("id", plain()).await,
                &["must have a tty", "pty"],
            );
        }
    }
}

#[tokio::test]
async fn what_sudo_refuses_is_not_run_and_said_in_its_own_words() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    for (rule, defaults, words) in [
        ("", "", "not in the sudoers file"),
        ("ALL=(ALL) /usr/bin/id", "", "not allowed to execute"),
        ("ALL=(nobody) ALL", "", "not allowed"),
        (
            "ALL=(ALL) ALL",
            "Defaults rootpw",
            "asked for a password, and none was given",
        ),
    ] {
        bench.sshd.allow(rule, defaults);
        let result = bench.root("echo ran > ran", plain()).await;
        assert_not_run(&result, &[words]);
        assert!(!bench.remote("ran").exists());
        assert!(
            !result.text().contains('\u{1e}') && !result.text().contains("lecture"),
            "{}",
            result.text()
        );
    }

    // The session is none the worse.
    assert_eq!(
        bench.exec("echo still", plain()).await.ok().stdout(),
        "still\n"
    );
}

#[tokio::test]
async fn where_there_is_no_sudo_that_is_what_is_said() {
    for shell in ["/bin/sh", "/bin/bash"] {
        let extra_config = "PasswordAuthentication yes\nSetEnv PATH=/nowhere";
        let settings = SudoHostSettings {
            shell,
            extra_config,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = open(settings, json!({}), json!({"password": PASSWORD})).await else {
            return;
        };

        assert_not_run(
            &bench.root("echo ran", plain()).await,
            &["not found", "install sudo"],
        );
    }
}

#[tokio::test]
async fn who_is_root_needs_no_sudo() {
    if !rustix::process::geteuid().is_root() {
        return crate::support::checks::skipped("only root logs in as root here");
    }

    let mut bench = TestHost::openssh_with(|settings| {
        settings.extra_config = format!("{}\nSetEnv PATH=/nowhere", settings.extra_config);
    })
    .connect()
    .await;

    let result = bench
        .exec("echo $UID; exit 4", json!({"sudo": true}))
        .await
        .ok();

    assert_eq!(code(&result), Some(4), "{result:?}");
    assert_eq!(status(&result), "exited");
}

#[tokio::test]
async fn a_job_of_root_is_waited_for_fed_and_signalled_like_any_other() {
    let Some(mut bench) = TestHost::sudo_with_password(SudoHostSettings::default()).await else {
        return;
    };

    let started = bench
        .root(
            "id -u; read line; echo got $line; cat",
            json!({"background": true}),
        )
        .await
        .ok();

    assert_eq!(status(&started), "running");
    let job = started.outcome()["job"].as_str().unwrap().to_owned();
    let mut call = async |more: Value| {
        let mut more = more;
        more["job"] = job.clone().into();
        bench.mcp.call("ssh_job", more).await.ok()
    };

    let answer = call(json!({"input": "one\n", "waitMs": 5000})).await;
    assert_eq!(answer.stdout(), "0\ngot one\n", "{answer:?}");
    let ended = call(json!({"input": "two\u{4}"})).await;
    let before = ended.stdout();
    let ended = if status(&ended) == "running" {
        call(json!({})).await
    } else {
        ended
    };

    assert_eq!(
        (before.as_str(), code(&ended)),
        ("two", Some(0)),
        "{ended:?}"
    );
}
