//! Shells of root and other users that cannot be started, and the questions before them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use super::{as_root, assert_not_run, open};
use crate::support::{
    checks::{assert_refused, code, eventually, plain, skipped},
    fixture::{ConnectedHost, TestHost},
    mcp_client::ToolResult,
    page::Page,
    questions::{reply, result},
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings},
};

fn pages() -> Value {
    json!({"elicitation": {"url": {}}})
}

/// A client whose person is asked through pages.
async fn asked() -> Option<ConnectedHost<SudoHost>> {
    open(SudoHostSettings::default(), pages(), plain()).await
}

/// `ssh_shell`, which may fail.
async fn shell(bench: &mut ConnectedHost<SudoHost>, command: &str, mut more: Value) -> ToolResult {
    more["command"] = command.into();
    bench.mcp.call("ssh_shell", more).await
}

/// The next page, which the client says it will show.
async fn page(bench: &mut ConnectedHost<SudoHost>) -> Page {
    let (id, page) = Page::next(&mut bench.mcp).await;
    reply(&mut bench.mcp, &id, json!({"action": "accept"})).await;
    page
}

#[tokio::test]
async fn the_person_sees_whose_shell_begins_and_is_asked_once() {
    let Some(mut bench) = asked().await else {
        return;
    };
    let more = json!({"user": "www-data", "stdin": "mine"});
    let call = bench.begin("ssh_shell", "id -un; cat", more).await;

    for (answer, again) in [("wrong", false), (PASSWORD, true)] {
        let page = page(&mut bench).await;
        assert!(
            page.message
                .starts_with("Password to act as www-data (sudo) for "),
            "{}",
            page.message
        );
        let shown = page.get().await.body;
        for part in [
            "<title>Run as www-data</title>",
            "wants to run this as www-data (sudo)",
            "<blockquote>id -un; cat</blockquote>",
            "<p>It reads 4 bytes from stdin:</p><blockquote>mine</blockquote>",
            "<p>In a shell that stays:</p>",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(shown.contains("Sorry, try again."), again);
        page.type_in(answer).await;
    }

    let begun = result(&mut bench.mcp, call).await.ok();
    assert_eq!(begun.stdout(), "www-data\nmine", "{begun:?}");

    // One memory for shells, commands and users.
    assert_eq!(bench.shell("id -u", as_root(plain())).await.stdout(), "0\n");
    assert_eq!(bench.root("id -u", plain()).await.stdout(), "0\n");
}

#[tokio::test]
async fn a_refusal_is_said_and_no_state_is_lost() {
    let settings = SudoHostSettings::default();
    let Some(mut bench) = TestHost::sudo_with_password(settings).await else {
        return;
    };
    bench.shell("V=own", plain()).await;
    bench.shell("V=root; cd /usr", as_root(plain())).await;
    bench.shell("kill -KILL $$", as_root(plain())).await;

    for (rule, defaults, more, words) in [
        ("", "", as_root(plain()), "not in the sudoers file"),
        (
            "ALL=(ALL) /usr/bin/id",
            "",
            as_root(plain()),
            "not allowed to execute",
        ),
        (
            "ALL=(www-data) ALL",
            "",
            as_root(plain()),
            "not allowed to execute",
        ),
        (
            "ALL=(ALL) ALL",
            "Defaults requiretty",
            as_root(plain()),
            "must have a tty",
        ),
        (
            "ALL=(ALL) ALL",
            "Defaults rootpw",
            as_root(plain()),
            "and none was given",
        ),
        (
            "ALL=(ALL) ALL",
            "",
            json!({"user": "no-such-user"}),
            "unknown user",
        ),
        (
            "ALL=(root) ALL",
            "",
            json!({"user": "www-data"}),
            "not allowed to execute",
        ),
    ] {
        bench.sshd.allow(rule, defaults);
        let refused = shell(&mut bench, "echo ran > ran", more).await;
        assert_not_run(&refused, &[words]);
        assert!(!refused.text().contains('\u{1e}'), "{}", refused.text());
        assert!(!bench.remote("ran").exists());
    }

    bench.sshd.allow("ALL=(ALL) ALL", "");
    let root = bench.shell("echo $V; pwd", as_root(plain())).await;
    assert_eq!(root.stdout(), "root\n/usr\n", "{root:?}");
    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "own\n");
    eventually("no other sudo is left", || {
        bench.sshd.running("sudo").len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_ends_after_three_questions() {
    let Some(mut bench) = asked().await else {
        return;
    };
    let call = bench
        .begin("ssh_shell", "echo ran > ran", as_root(plain()))
        .await;
    for wrong in ["wrong", "false", "no"] {
        page(&mut bench).await.type_in(wrong).await;
    }

    let refused = result(&mut bench.mcp, call).await;
    assert_not_run(&refused, &["3 incorrect password attempts"]);
    for other in ["wrong", "false", "Sorry"] {
        assert!(!refused.text().contains(other), "{}", refused.text());
    }
    assert!(!bench.remote("ran").exists());
}

#[tokio::test]
async fn nobody_to_ask_is_an_error_with_the_ways_out() {
    let settings = SudoHostSettings::default();
    let Some(mut bench) = open(settings, json!({}), plain()).await else {
        return;
    };

    let refused = shell(&mut bench, "echo ran > ran", as_root(plain())).await;
    assert_not_run(&refused, &["none was given", "SSH_ASKPASS"]);
    assert_eq!(bench.shell("echo own", plain()).await.stdout(), "own\n");
    assert_eq!(bench.sshd.running("sudo"), [0; 0]);
}

#[tokio::test]
async fn a_question_ends_with_its_call_and_its_session() {
    for cancel in [true, false] {
        let Some(mut bench) = asked().await else {
            return;
        };
        let call = bench
            .begin("ssh_shell", "echo ran > ran", as_root(plain()))
            .await;
        let (_, page) = Page::next(&mut bench.mcp).await;
        assert!(!bench.sshd.running("sudo").is_empty());

        // A second command waits for the shell, and can be given up at once.
        let second = bench
            .begin("ssh_shell", "echo ran > ran", as_root(plain()))
            .await;
        bench.mcp.cancel(second).await;

        if cancel {
            bench.mcp.cancel(call).await;
        } else {
            bench.mcp.call("ssh_disconnect", json!({})).await.ok();
            let ended = bench.mcp.finish(call).await;
            assert_refused(&ended, &["cancelled"]);
        }

        page.assert_gone().await;
        eventually("sudo is gone", || bench.sshd.running("sudo").is_empty()).await;
        assert!(!bench.remote("ran").exists());
    }
}

#[tokio::test]
async fn a_host_without_sudo_or_with_another_one_is_named() {
    let home_first = "PasswordAuthentication yes\nSetEnv PATH=/nowhere";
    let settings = SudoHostSettings {
        extra_config: home_first,
        ..SudoHostSettings::default()
    };
    let more = json!({"password": PASSWORD});
    let Some(mut bench) = open(settings, json!({}), more).await else {
        return;
    };

    // The shell sets PATH itself, since sh has no other way to find programs here.
    let refused = shell(&mut bench, "echo ran > ran", as_root(plain())).await;
    assert_not_run(&refused, &["not found", "install sudo"]);
}

#[tokio::test]
async fn a_sudo_that_is_doas_is_named() {
    let settings = SudoHostSettings {
        shell: "/bin/bash",
        ..SudoHostSettings::default()
    };
    let Some(mut bench) = TestHost::sudo_with_password(settings).await else {
        return;
    };

    // doas knows no -S, and bash reads .bashrc under sshd.
    let bin = bench.home.join("bin");
    fs::create_dir(&bin).unwrap();
    let doas = "#!/bin/sh\necho 'doas: illegal option -- S' >&2\n\
                echo 'usage: doas [-Lns] [-a style] [-C config] [-u user] command [arg ...]' >&2\nexit 1\n";
    fs::write(bin.join("sudo"), doas).unwrap();
    fs::set_permissions(bin.join("sudo"), fs::Permissions::from_mode(0o755)).unwrap();
    let rc = format!("PATH={}:$PATH\n", bin.display());
    fs::write(bench.home.join(".bashrc"), rc).unwrap();

    for more in [as_root(plain()), json!({"user": "www-data"})] {
        let refused = shell(&mut bench, "echo ran > ran", more).await;
        assert_not_run(&refused, &["usage: doas", "pty: true", "ssh_job"]);
    }

    // A sudo that ignores the user is not believed.
    let lax = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n";
    fs::write(bin.join("sudo"), lax).unwrap();
    let refused = shell(&mut bench, "echo ran > ran", as_root(plain())).await;
    assert_not_run(&refused, &["the shell belongs to mcp-sudo-test"]);
    assert!(!bench.remote("ran").exists());
}

#[tokio::test]
async fn what_is_no_name_of_a_user_is_refused_at_once() {
    let Some(mut bench) = asked().await else {
        return;
    };
    for user in [
        "-x",
        "--login",
        "#0",
        "#-1",
        "a b",
        "a\nb",
        "a\u{1b}[2J",
        "it's",
        "a!",
        "$(id)",
    ] {
        let refused = shell(&mut bench, "id", json!({"user": user})).await;
        assert_refused(&refused, &["is not the name of a user", "postgres"]);
        assert!(!refused.text().contains('\u{1b}'), "{}", refused.text());
    }
    assert_eq!(bench.sshd.log(), "", "sudo has run");
}

#[tokio::test]
async fn a_log_in_as_root_needs_sudo_for_others_only() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root logs in as root here");
    }

    let mut bench = TestHost::openssh().connect().await;
    bench.shell("V=own", plain()).await;
    let root = bench
        .shell("echo ${V-unset}; V=root", as_root(plain()))
        .await;
    assert_eq!((root.stdout().as_str(), code(&root)), ("unset\n", Some(0)));
    assert!(root.status_line().contains(" · as root · "), "{root:?}");
    assert_eq!(bench.shell("echo $V", plain()).await.stdout(), "own\n");
    let parent = bench
        .shell("tr '\\0' ' ' </proc/$PPID/cmdline", as_root(plain()))
        .await;
    assert!(!parent.stdout().contains("sudo"), "{parent:?}");

    let other = bench.shell("id -un", json!({"user": "www-data"})).await;
    assert_eq!(other.stdout(), "www-data\n", "{other:?}");
}
