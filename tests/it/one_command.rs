//! Servers that take one channel or one command over a connection: what works with `ssh` each time works here too.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    checks::{assert_stopped, code, eventually, plain, skipped, status},
    fake_sshd::{AfterFirst, FakeSshd, FakeSshdSettings},
    fixture::{ConnectedHost, TestHost},
};

/// A server of a kind that nobody knows, and a client.
async fn open(after_first: AfterFirst) -> ConnectedHost<FakeSshd> {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-FakeSshd",
        after_first,
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "").connect().await
}

/// Runs each kind of work twice.
async fn everything_works<S>(bench: &mut ConnectedHost<S>) {
    for _ in 0..2 {
        let result = bench
            .exec("echo hi; exit 3", json!({"env": {"A": "b"}, "cwd": "/"}))
            .await;
        assert_eq!(
            (result.stdout().as_str(), status(&result), code(&result)),
            ("hi\n", "exited", Some(3)),
            "{result:?}"
        );

        let result = bench.exec("cat", json!({"stdin": "fed"})).await;
        assert_eq!(result.stdout(), "fed", "{result:?}");
        let result = bench.shell("a=$((a+1)); echo $a", plain()).await;
        assert!(
            ["1\n", "2\n"].contains(&result.stdout().as_str()),
            "{result:?}"
        );
    }

    let result = bench.shell("echo $a", plain()).await;
    assert_eq!(result.stdout(), "2\n", "{result:?}");

    let sleeps = bench.exec("sleep 7423", json!({"timeoutMs": 500})).await;
    assert_stopped(&sleeps, "timedOut", bench.port, "7423");
}

/// What the store holds of the only server.
fn learned<S>(host: &TestHost<S>) -> Value {
    let store = host.store();
    let servers = store["servers"].as_object().cloned().unwrap_or_default();
    servers
        .into_iter()
        .next()
        .map_or(Value::Null, |(_, server)| server)
}

#[tokio::test]
async fn one_command_for_each_connection_is_enough() {
    for after_first in [AfterFirst::Ends, AfterFirst::Breaks, AfterFirst::Refuses] {
        everything_works(&mut open(after_first).await).await;
    }
}

#[tokio::test]
async fn files_need_no_command_before_them() {
    let mut bench = open(AfterFirst::Refuses).await;
    let (file, target, back) = (
        bench.local("file"),
        bench.remote("target"),
        bench.local("back"),
    );
    fs::write(&file, "content").unwrap();

    for _ in 0..2 {
        let sent = bench.try_upload(&file, target.to_str().unwrap()).await.ok();
        assert!(!sent.text().contains("by /bin/sh"), "{}", sent.text());
        bench
            .try_download(target.to_str().unwrap(), &back)
            .await
            .ok();
        assert_eq!(fs::read(&back).unwrap(), b"content");
    }
}

#[tokio::test]
async fn what_a_server_cannot_do_is_asked_once() {
    let mut bench = open(AfterFirst::Breaks).await;
    // Nothing happens before somebody wants something.
    assert_eq!(
        (bench.sshd.connections(), bench.sshd.commands().len()),
        (1, 0)
    );

    for _ in 0..3 {
        assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    }

    let questions = |bench: &ConnectedHost<FakeSshd>| {
        let commands = bench.sshd.commands();
        commands.iter().filter(|it| !it.contains("echo hi")).count()
    };
    assert_eq!((bench.sshd.connections(), questions(&bench)), (5, 2));

    eventually("the store has it", || {
        learned(&bench)["capacity"] == "oneCommand"
    })
    .await;

    let mut second = bench.client().await;
    let result = second
        .call("ssh_exec", json!({"session": "host", "command": "echo hi"}))
        .await;
    assert_eq!(result.ok().stdout(), "hi\n");
    assert_eq!((bench.sshd.connections(), questions(&bench)), (6, 2));
}

#[tokio::test]
async fn a_server_that_takes_several_commands_is_asked_once() {
    let mut bench = open(AfterFirst::GoesOn).await;
    for _ in 0..3 {
        assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    }

    assert_eq!(bench.sshd.connections(), 2);
    eventually("the store has it", || {
        learned(&bench)["capacity"] == "manyChannels"
    })
    .await;
}

#[tokio::test]
async fn a_refused_second_channel_is_kept_in_mind() {
    let settings = FakeSshdSettings {
        max_sessions: 1,
        ..FakeSshdSettings::default()
    };
    let mut bench = TestHost::fake_with(settings, "").connect().await;
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    let known = || learned(&bench)["capacity"] == "oneChannel";
    eventually("the store has it", known).await;
}

#[tokio::test]
async fn a_fresh_log_in_finds_out_anew_what_a_server_takes() {
    let mut bench = open(AfterFirst::Ends).await;
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    eventually("the store has it", || {
        learned(&bench)["capacity"] == "oneCommand"
    })
    .await;

    bench
        .mcp
        .call("ssh_reconnect", json!({"session": "host", "fresh": true}))
        .await
        .ok();
    eventually("the store has it no more", || learned(&bench).is_null()).await;
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    eventually("the store has it again", || {
        learned(&bench)["capacity"] == "oneCommand"
    })
    .await;
}

#[tokio::test]
async fn two_commands_at_once_do_not_break_a_connection() {
    let mut bench = open(AfterFirst::BreaksMeanwhile).await;
    let slow = bench
        .exec("sleep 7424; echo never", json!({"background": true}))
        .await;
    assert_eq!(status(&slow), "running", "{slow:?}");
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    assert_eq!(learned(&bench)["capacity"], "oneChannel");
    eventually("it runs", || bench.runs("7424")).await;

    let sleeps = bench.exec("sleep 7425", json!({"timeoutMs": 500})).await;
    assert_stopped(&sleeps, "timedOut", bench.port, "7425");
}

#[tokio::test]
async fn nothing_is_written_to_a_command_before_it_is_granted() {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-mod_sftp",
        refuses_commands: true,
        ..FakeSshdSettings::default()
    };
    let mut bench = TestHost::fake_with(settings, "").connect().await;

    for _ in 0..2 {
        let more = json!({"command": "cat", "stdin": "a line\n"});
        let refused = bench.mcp.call("ssh_exec", more).await;
        assert!(
            refused.is_error() && refused.text().contains("does not run commands"),
            "{}",
            refused.text()
        );
    }
}

#[tokio::test]
async fn an_account_without_commands_is_asked_once() {
    let settings = FakeSshdSettings {
        software: "SSH-2.0-FakeSshd",
        refuses_commands: true,
        ..FakeSshdSettings::default()
    };
    let mut bench = TestHost::fake_with(settings, "").connect().await;
    for _ in 0..2 {
        let result = bench
            .mcp
            .call("ssh_exec", json!({"session": "host", "command": "echo hi"}))
            .await;
        assert!(result.is_error(), "{result:?}");
    }
    // A connection for the question, and one for the commands.
    assert_eq!(
        (bench.sshd.connections(), bench.sshd.commands().len()),
        (2, 3)
    );
    eventually("the store has it", || {
        learned(&bench)["loginShells"]["agent"]["shell"] == "other"
    })
    .await;

    let mut second = bench.client().await;
    let again = json!({"session": "host", "command": "echo hi"});
    assert!(second.call("ssh_exec", again).await.is_error());
    assert_eq!(
        (bench.sshd.connections(), bench.sshd.commands().len()),
        (3, 4)
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn tinysshd_does_all_that_it_does_for_ssh() {
    use crate::support::other_sshd::Make;

    let folder = tempfile::tempdir().unwrap();
    if std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap()) != 0 {
        return skipped("only root can give tinysshd a home that it likes");
    }

    let mut bench = TestHost::other(&Make::Tinyssh).connect().await;
    everything_works(&mut bench).await;
    eventually("the store has it", || {
        learned(&bench)["capacity"] == "oneCommand"
    })
    .await;

    let before = bench.sshd.connections();
    assert_eq!(bench.exec("echo hi", plain()).await.stdout(), "hi\n");
    assert!(bench.sshd.connections() <= before + 1);
}
