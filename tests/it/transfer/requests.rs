//! What OpenSSH's SFTP server is asked for, by a record of the requests.

use std::fs;

use serde_json::json;

use super::sftp_server;
use crate::support::{
    checks::{random, skipped},
    fixture::TestHost,
    open_sshd::OpenSshd,
};

/// A host whose SFTP server writes down what it is asked for, or `None` where there is no such server.
fn recorded() -> Option<TestHost<OpenSshd>> {
    let program = sftp_server()?;

    Some(TestHost::openssh_at(|settings, home| {
        let sent = home.with_file_name("sent");
        // sshd runs the command by the login shell.
        settings.sftp = format!(
            "tee -a {} | {program} -d {}",
            sent.display(),
            home.display()
        );
    }))
}

/// How often an extension was asked for on a host of [`recorded`].
fn asked(sent: &std::path::Path, extension: &str) -> usize {
    let sent = fs::read(sent).unwrap();
    let parts = sent.windows(extension.len());
    parts.filter(|part| *part == extension.as_bytes()).count()
}

#[tokio::test]
async fn a_server_is_asked_for_its_limits_once_per_log_in() {
    let Some(host) = recorded() else {
        return skipped("sftp-server is missing");
    };

    let sent = host.home.with_file_name("sent");
    let mut bench = host.connect().await;
    let content = random(300_000);
    fs::write(bench.local("file"), &content).unwrap();

    for number in 0..2 {
        let name = format!("target{number}");
        bench.try_upload(&bench.local("file"), &name).await.ok();
        assert!(fs::read(bench.remote(&name)).unwrap() == content);
        assert_eq!(asked(&sent, "limits@openssh.com"), 1, "upload {number}");
    }

    bench
        .mcp
        .call("ssh_disconnect", json!({"session": "host"}))
        .await
        .ok();
    bench.try_upload(&bench.local("file"), "again").await.ok();
    assert!(fs::read(bench.remote("again")).unwrap() == content);
    assert_eq!(asked(&sent, "limits@openssh.com"), 2);
}

#[tokio::test]
async fn a_long_file_is_flushed_while_it_moves() {
    let Some(host) = recorded() else {
        return skipped("sftp-server is missing");
    };

    let sent = host.home.with_file_name("sent");
    let mut bench = host.connect().await;

    for (length, several) in [(5_000_000, false), (60_000_000, true)] {
        let content = random(length);
        fs::write(bench.local("file"), &content).unwrap();
        fs::write(&sent, "").unwrap();

        bench.try_upload(&bench.local("file"), "target").await.ok();
        assert!(fs::read(bench.remote("target")).unwrap() == content);

        let flushes = asked(&sent, "fsync@openssh.com");
        assert_eq!(flushes > 1, several, "{length} bytes, {flushes} times");
        assert!(flushes > 0, "{length} bytes");
    }
}
