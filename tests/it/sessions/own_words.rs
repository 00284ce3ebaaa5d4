//! What is printed where a shell or SFTP was to begin stands in the error, with a hint that fits.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use crate::support::{
    checks::assert_refused,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    sudo_host::{PASSWORD, SudoHost, SudoHostSettings},
};

/// The calls that need more than one command.
fn calls() -> [(&'static str, serde_json::Value); 3] {
    [
        ("ssh_shell", json!({"command": "true"})),
        (
            "ssh_download",
            json!({"remotePath": "/etc/passwd", "localPath": "/nowhere/x"}),
        ),
        (
            "ssh_upload",
            json!({"remotePath": "x", "localPath": "/etc/passwd"}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_a_forced_command_are_quoted_with_a_hint() {
    for (script, words, hint) in [
        // As images of cloud providers have it in root's authorized_keys.
        (
            "echo 'Please login as the user \"ubuntu\" rather than the user \"root\".'; echo; sleep 1; exit 142",
            "Please login as the user \"ubuntu\" rather than the user \"root\".",
            "ssh_connect with user",
        ),
        (
            "echo 'This account is currently not available.'; exit 1",
            "This account is currently not available.",
            "nologin",
        ),
        (
            "printf '\\033[31mNo.\\033[0m'; exit 3",
            "\\u{1b}[31mNo.\\u{1b}[0m",
            "hint: ",
        ),
    ] {
        let extra_config = format!("ForceCommand {script}");
        let sshd = OpenSshd::start(&OpenSshdSettings {
            extra_config,
            ..OpenSshdSettings::default()
        });

        let folder = tempfile::tempdir().unwrap();
        let mut client = McpClient::start(&sshd.write_ssh_config("box", ""), folder.path()).await;

        for (tool, mut arguments) in calls() {
            arguments["session"] = json!("box");
            client
                .call("ssh_connect", json!({"host": "box"}))
                .await
                .ok();

            assert_refused(&client.call(tool, arguments).await, &[words, hint]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_password_is_told_as_the_real_sshd_tells_it() {
    // A key would do all the same: it is asked for with the password alone.
    let extra_config = "PasswordAuthentication yes\nPubkeyAuthentication no";

    let Some(host) = SudoHost::start(&SudoHostSettings {
        extra_config,
        ..SudoHostSettings::default()
    }) else {
        return;
    };

    host.expire_password();
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&host.sshd.write_ssh_config("box", ""), folder.path()).await;
    client
        .call("ssh_connect", json!({"host": "box", "password": PASSWORD}))
        .await
        .ok();

    for (tool, arguments) in calls() {
        assert_refused(
            &client.call(tool, arguments).await,
            &["expired", "change the password"],
        );
    }
}

/// Starts a server whose startup file asks, and never ends, with a session to it.
async fn asking_at_start(folder: &Path) -> (OpenSshd, McpClient) {
    let asks = folder.join("asks");
    fs::write(
        &asks,
        "#!/bin/sh\nprintf 'Which environment? [dev/prod] '\nexec sleep 600\n",
    )
    .unwrap();

    fs::set_permissions(&asks, fs::Permissions::from_mode(0o755)).unwrap();
    let extra_config = format!("ForceCommand {}", asks.display());
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let mut client = McpClient::start(&sshd.write_ssh_config("box", ""), folder).await;
    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    (sshd, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_is_starting_ends_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let (_sshd, mut client) = asking_at_start(folder.path()).await;

    let shell = json!({"command": "true", "waitMs": 500});
    let queued = client.call("ssh_shell", shell).await;
    let job = queued.outcome()["job"].as_str().unwrap().to_owned();
    client.call("ssh_disconnect", json!({})).await.ok();

    let ended = client.call("ssh_job", json!({"job": job})).await;
    assert!(
        ended.status_line().contains("it was not run"),
        "{}",
        ended.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_startup_file_with_a_question_is_quoted_and_the_link_not() {
    let folder = tempfile::tempdir().unwrap();
    let (sshd, mut client) = asking_at_start(folder.path()).await;
    let refused = client.call("ssh_shell", json!({"command": "true"})).await;

    assert_refused(
        &refused,
        &[
            "not ready after 20 s",
            "Which environment? [dev/prod]",
            "startup file",
        ],
    );

    assert!(
        !refused.text().contains("can be reached"),
        "{}",
        refused.text()
    );

    // Once: another start would have taken as long again.
    let log = sshd.log();
    assert_eq!(
        log.matches("Starting session: forced-command").count() - 1,
        1,
        "one probe and one shell: {log}"
    );
}

/// The chroot itself needs root; where there is none, sshd refuses it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_chroot_that_fails_is_an_error_at_once() {
    let extra_config = "ChrootDirectory /nonexistent".to_owned();
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&sshd.write_ssh_config("box", ""), folder.path()).await;
    client.call("ssh_connect", json!({"host": "box"})).await;

    for (tool, arguments) in calls() {
        let refused = client.call(tool, arguments).await;
        assert!(refused.is_error(), "{tool}: {}", refused.text());
        assert!(
            !refused.text().contains("took longer"),
            "{tool}: {}",
            refused.text()
        );
    }
}
