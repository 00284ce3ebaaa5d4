//! Persistent shells of root and of other users.

use std::fs;

use serde_json::{Value, json};

use super::{
    as_root, open,
    stop::{assert_stopped, stubborn},
};
use crate::sessions::reconnect::eventually_disconnected;
use crate::support::{
    checks::{code, eventually, plain, skipped, status},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings, USER},
};

/// An account of every Debian, with a dash in its name.
const OTHER: &str = "www-data";

fn as_other() -> Value {
    json!({"user": OTHER})
}

/// Commands that do not end of themselves, and leave the shell its traps.
fn stubborn_in_shell(word: &str) -> [String; 3] {
    [
        format!("sleep {word}"),
        format!("(trap '' INT TERM; sleep {word}; sleep {word})"),
        format!("setsid sh -c 'trap \"\" INT TERM; sleep {word}'; :"),
    ]
}

async fn with_password(settings: SudoHostSettings) -> Option<ConnectedHost<SudoHost>> {
    TestHost::sudo_with_password(settings).await
}

/// A result of a shell that belongs to this user, as the status line and the outcome say.
fn assert_of(result: &ToolResult, user: &str) {
    let line = result.status_line();
    assert!(line.contains(&format!(" · as {user} · ")), "{line}");
    assert_eq!(result.outcome()["user"], user, "{result:?}");
}

#[tokio::test]
async fn each_user_has_a_shell_with_a_state_of_its_own() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    let home = bench.home.display().to_string();
    bench.shell("V=mine; cd /tmp", plain()).await;

    for (more, user, directory) in [
        (as_root(plain()), "root", "/usr"),
        (as_other(), OTHER, "/var"),
        (as_root(json!({"user": "daemon"})), "daemon", "/etc"),
    ] {
        let begun = bench
            .shell(
                "id -un; echo $UID $EUID $USER $SUDO_USER ${V-unset}; echo err >&2",
                more.clone(),
            )
            .await;
        let id = bench.exec(&format!("id -u {user}"), plain()).await.stdout();
        let id = id.trim();
        assert_eq!(
            (begun.stdout(), begun.stderr().as_str()),
            (format!("{user}\n{id} {id} {user} {USER} unset\n"), "err\n"),
            "{begun:?}"
        );
        assert_of(&begun, user);

        let set = format!("V='a b'; f() {{ echo \"f:$V:$1\"; }}; cd {directory}; exit 3");
        let set = bench.shell(&set, more.clone()).await;
        assert_eq!(code(&set), Some(3), "{set:?}");
        let kept = bench.shell("f x; pwd; cat", more.clone()).await;
        assert_eq!(kept.stdout(), format!("f:a b:x\n{directory}\n"), "{kept:?}");

        let mut fed = more.clone();
        fed["stdin"] = "line\nno newline".into();
        assert_eq!(bench.shell("cat", fed).await.stdout(), "line\nno newline");

        let mut second = more;
        second["shell"] = "second".into();
        let second = bench.shell("echo ${V-unset}", second).await;
        assert_eq!(second.stdout(), "unset\n", "{second:?}");
        assert_eq!(second.outcome()["shell"], "second");
    }

    // root by name is root, and the user's own shell is as it was.
    let named = bench.shell("echo $V", json!({"user": "root"})).await;
    assert_eq!(named.stdout(), "a b\n", "{named:?}");
    let own = bench.shell("echo $V $(id -un); pwd", plain()).await;
    assert_eq!(own.stdout(), format!("mine {USER}\n/tmp\n"), "{own:?}");
    assert!(!own.status_line().contains(" as "), "{own:?}");
    assert!(own.outcome()["user"].is_null(), "{own:?}");
    let own = bench
        .shell("pwd", json!({"shell": "b", "user": USER}))
        .await;
    assert_eq!(own.stdout(), format!("{home}\n"), "{own:?}");
    assert_eq!(bench.sshd.running("-u").len(), 6);

    bench.mcp.call("ssh_disconnect", json!({})).await.ok();
    eventually("they have ended", || bench.sshd.running("sudo").is_empty()).await;
}

#[tokio::test]
async fn every_login_shell_starts_it() {
    for shell in [
        "/bin/dash",
        "/bin/bash",
        "/usr/bin/zsh",
        "/usr/bin/fish",
        "/bin/tcsh",
    ] {
        if !std::path::Path::new(shell).exists() {
            skipped(&format!("{shell} is not installed"));
            continue;
        }

        let settings = SudoHostSettings {
            shell,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = with_password(settings).await else {
            return;
        };

        let result = bench.shell("V=1; id -un; pwd", as_other()).await;
        let home = format!("getent passwd {OTHER} | cut -d: -f6");
        let home = bench.exec(&home, plain()).await.stdout();
        let expected = if fs::exists(home.trim()).unwrap() {
            home
        } else {
            "/\n".to_owned()
        };
        assert_eq!(
            result.stdout(),
            format!("{OTHER}\n{expected}"),
            "{shell}: {result:?}"
        );
        assert_eq!(bench.shell("echo $V", as_other()).await.stdout(), "1\n");
    }
}

#[tokio::test]
async fn no_password_reaches_a_shell_whose_sudo_wants_none() {
    let nopasswd = SudoHostSettings {
        rule: "ALL=(ALL) NOPASSWD: ALL",
        ..SudoHostSettings::default()
    };

    let Some(mut bench) = with_password(nopasswd).await else {
        return;
    };
    for more in [
        as_root(json!({"stdin": "mine"})),
        json!({"user": OTHER, "stdin": "mine"}),
    ] {
        assert_eq!(bench.shell("cat", more).await.stdout(), "mine");
    }
}

#[tokio::test]
async fn a_command_is_stopped_as_its_user_and_the_shell_stays() {
    for (rule, defaults, more) in [
        ("ALL=(ALL) ALL", "", as_root(plain())),
        ("ALL=(ALL) ALL", "Defaults use_pty", as_other()),
        ("ALL=(www-data) ALL", "", as_other()),
        ("ALL=(ALL) NOPASSWD: ALL", "", as_root(plain())),
    ] {
        let settings = SudoHostSettings {
            rule,
            defaults,
            ..SudoHostSettings::default()
        };

        let Some(mut bench) = with_password(settings).await else {
            return;
        };

        // All at once, each in a shell of its own.
        let mut calls = Vec::new();
        for which in 0..3 {
            let word = format!("77.{which}");
            let mut parameters = more.clone();
            parameters["shell"] = word.clone().into();
            bench.shell("V=kept", parameters.clone()).await;
            parameters["timeoutMs"] = 2000.into();
            let command = format!("echo on; {}", stubborn_in_shell(&word)[which]);
            calls.push((bench.begin("ssh_shell", &command, parameters).await, word));
        }

        for (call, word) in calls {
            let result = bench.mcp.finish(call).await.ok();
            assert_eq!(result.stdout(), "on\n", "{result:?}");
            assert_stopped(&bench, &result, "timedOut", &word);
            let mut parameters = more.clone();
            parameters["shell"] = word.into();
            let after = bench.shell("echo $V", parameters).await;
            assert_eq!(after.stdout(), "kept\n", "{rule}: {after:?}");
        }
    }
}

#[tokio::test]
async fn where_nobody_becomes_root_again_nothing_is_promised() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    bench.shell("V=kept; cd /usr", as_root(plain())).await;
    let limit = as_root(json!({"timeoutMs": 2000}));
    let call = bench.begin("ssh_shell", "sleep 81.5", limit).await;
    eventually("it runs", || !bench.sshd.running("81.5").is_empty()).await;
    bench.sshd.allow("", "");

    let result = bench.mcp.finish(call).await.ok();
    assert_eq!(status(&result), "timedOut", "{result:?}");
    let gone = bench.sshd.running("81.5").is_empty();
    assert!(
        gone || result.outcome()["processGone"] != true,
        "{result:?}"
    );
    assert_eq!(bench.shell("echo own", plain()).await.stdout(), "own\n");

    bench.sshd.allow("ALL=(ALL) ALL", "");
    let anew = bench.shell("pwd", as_root(plain())).await;
    assert_eq!(anew.stdout(), "/usr\n", "{anew:?}");
}

#[tokio::test]
async fn a_shell_that_computes_is_stopped_as_its_user() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    bench.shell("V=kept", as_root(plain())).await;
    let looping = json!({"timeoutMs": 1000});
    let result = bench.shell("while :; do :; done", as_root(looping)).await;
    assert_eq!(status(&result), "timedOut", "{result:?}");
    let after = bench.shell("echo $V", as_root(plain())).await;
    assert_eq!(after.stdout(), "kept\n", "{after:?}");
}

#[tokio::test]
async fn a_shell_of_root_ends_with_call_session_and_program() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };

    for end in ["cancel", "disconnect", "program"] {
        let call = bench
            .begin("ssh_shell", &stubborn("78.5")[1], as_root(plain()))
            .await;
        eventually("it runs", || !bench.sshd.running("78.5").is_empty()).await;

        match end {
            "cancel" => bench.mcp.cancel(call).await,
            "disconnect" => {
                bench.mcp.call("ssh_disconnect", json!({})).await.ok();
                let result = bench.mcp.finish(call).await.ok();
                assert_stopped(&bench, &result, "cancelled", "78.5");
            }
            _ => {
                let next = bench.client().await;
                std::mem::replace(&mut bench.mcp, next).close().await;
            }
        }

        eventually("it is stopped", || bench.sshd.running("78.5").is_empty()).await;
        if end != "cancel" {
            eventually("sudo has ended", || bench.sshd.running("sudo").is_empty()).await;
            let parameters = json!({"host": "host", "password": PASSWORD});
            bench.mcp.call("ssh_connect", parameters).await.ok();
        }
    }
}

#[tokio::test]
async fn signals_reach_a_command_of_root() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    let command = "trap 'echo usr1' USR1; echo on; for _ in {1..600}; do sleep 0.1; done";
    let started = bench
        .shell(
            &format!("bash -c {command:?}"),
            as_root(json!({"waitMs": 500})),
        )
        .await;
    let job = started.outcome()["job"].as_str().unwrap().to_owned();
    assert_of(&started, "root");
    eventually("it runs", || !bench.sshd.running("0.1").is_empty()).await;

    let reply = bench
        .job(&job, json!({"signal": "USR1", "waitMs": 0}))
        .await;
    assert_eq!(status(&reply), "running", "{reply:?}");
    loop {
        let reply = bench.job(&job, json!({"offset": 0, "waitMs": 100})).await;
        assert_eq!(status(&reply), "running", "{reply:?}");
        if reply.stdout().ends_with("usr1\n") {
            break;
        }
    }

    let stopped = bench.job(&job, json!({"signal": "TERM"})).await;
    assert_eq!(stopped.outcome()["processGone"], true, "{stopped:?}");
}

#[tokio::test]
async fn a_sudo_that_has_forgotten_the_password_stops_too() {
    let settings = SudoHostSettings {
        defaults: "Defaults timestamp_type=global",
        ..SudoHostSettings::default()
    };
    let Some(mut bench) = with_password(settings).await else {
        return;
    };

    // sudo does not ask for these any more, and so has not said which password is right.
    bench.root("true", plain()).await.ok();
    bench.shell("V=kept", as_root(plain())).await;
    let stubborn = &stubborn("79.5")[1];
    let shell = bench.begin("ssh_shell", stubborn, as_root(json!({"timeoutMs": 3000})));
    let shell = shell.await;
    let exec = bench.begin("ssh_exec", stubborn, as_root(json!({"timeoutMs": 3000})));
    let exec = exec.await;
    eventually("both run", || bench.sshd.running("79.5").len() >= 2).await;
    bench.exec("sudo -K", plain()).await;

    for call in [shell, exec] {
        let result = bench.mcp.finish(call).await.ok();
        assert_eq!(
            (status(&result), &result.outcome()["processGone"]),
            ("timedOut", &Value::Bool(true)),
            "{result:?}"
        );
    }
    assert_eq!(bench.sshd.running("79.5"), [0; 0]);
}

#[tokio::test]
async fn the_state_of_roots_shell_outlives_shell_and_connection() {
    let Some(mut bench) = with_password(SudoHostSettings::default()).await else {
        return;
    };
    bench.shell("V='a b'; cd /usr", as_root(plain())).await;

    let killed = bench.shell("kill -KILL $$", as_root(plain())).await;
    assert!(killed.text().contains("has ended"), "{killed:?}");
    let anew = bench.shell("echo $V; pwd; id -u", as_root(plain())).await;
    assert_eq!(anew.stdout(), "a b\n/usr\n0\n", "{anew:?}");
    assert!(anew.text().contains("restored"), "{anew:?}");

    bench.sshd.sshd.kill_connections();
    eventually_disconnected(&mut bench.mcp).await;
    let anew = bench.shell("echo $V; pwd; id -u", as_root(plain())).await;
    assert_eq!(anew.stdout(), "a b\n/usr\n0\n", "{anew:?}");
    assert!(anew.text().contains("over a new connection"), "{anew:?}");
}

#[tokio::test]
async fn a_host_without_bash_gives_root_its_sh() {
    let settings = SudoHostSettings {
        defaults: "Defaults !secure_path",
        extra_config: "PasswordAuthentication yes",
        ..SudoHostSettings::default()
    };
    let more = json!({"password": PASSWORD});
    let Some(mut bench) = open(settings, json!({}), more).await else {
        return;
    };

    // sudo passes on the PATH of the log-in, which has all but bash.
    let bin = bench.home.join("bin");
    fs::create_dir(&bin).unwrap();
    for program in ["sh", "id", "sleep", "sed", "cat", "grep"] {
        let path = format!("/bin/{program}");
        let path = if fs::exists(&path).unwrap() {
            path
        } else {
            format!("/usr/bin/{program}")
        };
        std::os::unix::fs::symlink(path, bin.join(program)).unwrap();
    }
    std::os::unix::fs::symlink("/usr/bin/sudo", bin.join("sudo")).unwrap();
    fs::write(
        bench.home.join(".profile"),
        format!("PATH={}\n", bin.display()),
    )
    .unwrap();
    let path = format!("Defaults secure_path=\"{}\"", bin.display());
    bench.sshd.allow("ALL=(ALL) ALL", &path);

    let result = bench
        .shell("V=1; id -u; echo ${BASH_VERSION-none}", as_root(plain()))
        .await;
    assert_eq!(result.stdout(), "0\nnone\n", "{result:?}");
    let limit = json!({"timeoutMs": 1500});
    let command = &stubborn_in_shell("80.5")[1];
    let result = bench.shell(command, as_root(limit)).await;
    assert_stopped(&bench, &result, "timedOut", "80.5");
    assert_eq!(
        bench.shell("echo $V", as_root(plain())).await.stdout(),
        "1\n"
    );
}
