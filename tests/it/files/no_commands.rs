//! Accounts that run no commands, such as those with nologin or for SFTP alone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    support::{
        checks::{code, plain},
        fake_sshd::{FakeSshd, FakeSshdSettings},
        fixture::{ConnectedHost, TestHost},
    },
    transfer::hostile::faults::{DENIED, OPEN, status},
};

/// Starts a server with such an account, which may open no file either.
async fn open() -> ConnectedHost<FakeSshd> {
    let folder = tempfile::tempdir().unwrap().keep();
    let shell = folder.join("nologin");
    let says = "#!/bin/sh\necho 'This account is currently not available.'\nexit 1\n";
    fs::write(&shell, says).unwrap();
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();

    let settings = FakeSshdSettings {
        login_shell: shell.to_str().unwrap().to_owned(),
        fault: Some(Box::new(|| {
            Box::new(|asked, honest| {
                let is_open = asked.kind == OPEN;
                Some(if is_open {
                    status(asked.id, DENIED, b"")
                } else {
                    honest
                })
            })
        })),
        ..FakeSshdSettings::default()
    };

    TestHost::fake_with(settings, "").connect().await
}

#[tokio::test]
async fn an_account_without_commands_is_said_to_be_one() {
    let mut bench = open().await;

    let ended = bench.exec("uptime", plain()).await;
    assert_eq!(code(&ended), Some(1), "{ended:?}");
    assert!(
        ended
            .status_line()
            .contains("this account runs no commands"),
        "{ended:?}"
    );

    let detached = json!({"command": "uptime", "detach": true});
    let refused = bench.mcp.call("ssh_exec", detached).await;
    let text = refused.text();
    assert!(refused.is_error(), "{text}");
    assert!(text.contains("this account runs no commands"), "{text}");
    assert!(text.contains("currently not available"), "{text}");
    assert!(text.contains("hint: move and change files"), "{text}");
}

#[tokio::test]
async fn sudo_is_not_proposed_to_an_account_without_commands() {
    let mut bench = open().await;
    let (file, local) = (bench.remote("file"), bench.local("file"));
    fs::write(&file, "one\n").unwrap();
    fs::write(&local, "two\n").unwrap();
    // The answer of the login shell has to be there.
    bench.exec("uptime", plain()).await;

    let calls: [(&str, Value); 5] = [
        ("ssh_read", json!({"path": file})),
        (
            "ssh_edit",
            json!({"path": file, "oldText": "one", "newText": "two"}),
        ),
        ("ssh_search", json!({"path": file, "pattern": "one"})),
        (
            "ssh_download",
            json!({"remotePath": file, "localPath": bench.local("back")}),
        ),
        (
            "ssh_upload",
            json!({"remotePath": file, "localPath": local}),
        ),
    ];
    for (tool, arguments) in calls {
        let refused = bench.mcp.call(tool, arguments).await;
        let text = refused.text();
        assert!(refused.is_error(), "{tool}: {text}");
        assert!(!text.contains("sudo: true"), "{tool}: {text}");
    }
}
