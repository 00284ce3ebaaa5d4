//! Servers whose algorithms this program does not have or is not allowed to use, against the real sshd.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::support::{
    checks::code,
    fixture::TestHost,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

/// A server with these lines of `sshd_config`.
fn sshd(lines: &str) -> OpenSshd {
    OpenSshd::start(&OpenSshdSettings {
        extra_config: lines.to_owned(),
        ..OpenSshdSettings::default()
    })
}

/// What `ssh_connect` says of a server, with these lines of `ssh_config`.
async fn connect(sshd: &OpenSshd, lines: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(&sshd.write_ssh_config("box", lines), folder.path()).await;
    let answer = client.call("ssh_connect", json!({"host": "box"})).await;

    (!answer.is_error(), answer.text())
}

#[tokio::test]
async fn what_is_missing_here_is_not_blamed_on_the_configuration() {
    for (lines, cause, remedy) in [
        (
            "KexAlgorithms sntrup761x25519-sha512@openssh.com",
            "no common key exchange: this program does not have any that the server offers; it has: mlkem768x25519-sha256",
            "add this line to the server's sshd_config: `KexAlgorithms +curve25519-sha256`",
        ),
        (
            "Ciphers aes128-ctr\nMACs umac-64@openssh.com,hmac-sha1-96",
            "no common MAC: this program does not have any that the server offers; it has: hmac-sha1",
            "add this line to the server's sshd_config: `MACs +hmac-sha2-256`",
        ),
    ] {
        let (connects, words) = connect(&sshd(lines), "").await;
        let is_right = !connects && words.contains(cause) && words.contains(remedy);
        assert!(is_right, "{lines}: {words}");
    }
}

#[tokio::test]
async fn the_line_that_is_named_helps() {
    for (lines, line) in [
        (
            "KexAlgorithms diffie-hellman-group1-sha1",
            "KexAlgorithms +diffie-hellman-group1-sha1",
        ),
        ("Ciphers 3des-cbc", "Ciphers +3des-cbc"),
        ("Ciphers aes192-cbc", "Ciphers +aes192-cbc"),
    ] {
        let sshd = sshd(lines);
        let (connects, words) = connect(&sshd, "").await;
        let named = words.contains("the SSH configuration does not allow");
        let is_right = !connects && named && words.contains(&format!("`{line}`"));
        assert!(is_right, "{lines}: {words}");

        let (connects, words) = connect(&sshd, line).await;
        assert!(connects, "{line}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn triple_des_carries_commands_and_files() {
    let host =
        TestHost::openssh_with(|settings| settings.extra_config = "Ciphers +3des-cbc".into());
    let config = host.sshd.write_ssh_config("old", "Ciphers 3des-cbc");
    let mut client = McpClient::start(&config, host.folder()).await;
    client
        .call("ssh_connect", json!({"host": "old"}))
        .await
        .ok();

    let result = client
        .call(
            "ssh_exec",
            json!({"command": "cat", "stdin": "x".repeat(100_000)}),
        )
        .await;
    assert_eq!(code(&result), Some(0));
    assert_eq!(result.outcome()["stdoutBytes"], 100_000, "{result:?}");
}

/// A host key that plain `ssh` takes and `ssh-key` does not. Where there is another one, that is used.
#[tokio::test]
async fn rsa_host_keys_beyond_8192_bits_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/rsa_16384.py");
    let made = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");

    for (others, connects) in [(vec![], false), (vec!["ed25519"], true)] {
        let sshd = OpenSshd::start(&OpenSshdSettings {
            host_key_types: others,
            host_keys: vec![key.clone()],
            ..OpenSshdSettings::default()
        });

        let lines = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null";
        let config = sshd.write_ssh_config("box", lines);
        let plain = Command::new("ssh")
            .arg("-F")
            .arg(&config)
            .args(["box", "true"])
            .output();
        assert!(plain.unwrap().status.success());

        let (does, words) = connect(&sshd, lines).await;
        assert_eq!(does, connects, "{words}");
        let named = words.contains("an RSA key of more than 8,192 bits")
            && words.contains("`HostKeyAlgorithms ssh-ed25519`");
        assert_eq!(named, !connects, "{words}");
    }
}
