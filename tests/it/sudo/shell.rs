//! Persistent shells of root and of other users.

use std::fs;

use serde_json::{Value, json};

use super::{
    as_root, open,
    stop::{assert_stopped, stubborn_in_shell},
};
use crate::sessions::reconnect::eventually_disconnected;
use crate::support::{
    checks::{code, eventually, plain, skipped},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings, USER},
};

/// An account of every Debian, with a dash in its name.
const OTHER: &str = "www-data";

pub(super) fn as_other() -> Value {
    json!({"user": OTHER})
}

pub(super) async fn with_password(settings: SudoHostSettings) -> Option<ConnectedHost<SudoHost>> {
    TestHost::sudo_with_password(settings).await
}

/// A result of a shell that belongs to this user, as the status line and the outcome say.
pub(super) fn assert_of(result: &ToolResult, user: &str) {
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
