//! `SetEnv`, `SendEnv`, and the algorithms, seen from the real sshd.

use std::ffi::OsStr;

use serde_json::json;

use crate::support::{
    checks::{assert_refused, eventually},
    keys,
    mcp_client::McpClient,
    open_sshd::{OpenSshd, OpenSshdSettings},
    program::Program,
};

fn sshd(extra_config: &str) -> OpenSshd {
    OpenSshd::start(&OpenSshdSettings {
        extra_config: extra_config.to_owned(),
        ..OpenSshdSettings::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_reach_commands_and_shells_but_the_token_does_not() {
    let sshd = sshd("AcceptEnv SENT_* SET_* MCP_*");
    let config = sshd.write_ssh_config(
        "box",
        "SendEnv SENT_? MCP_* UNUSED\nSetEnv SET_A=1 SET_B=\"x  'y \" SENT_2=set",
    );

    let environment = [
        ("SENT_1", "first"),
        ("SENT_2", "ours"),
        ("SENT_33", "too long for the pattern"),
        ("MCP_SSH_TOKEN", "a-secret-token"),
        ("MCP_OTHER", "sent"),
    ];

    let environment = environment.map(|(name, value)| (name, OsStr::new(value)));
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start_with(Some(&config), folder.path(), &environment).await;
    program
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    let show = "printf '<%s>' \"$SENT_1\" \"$SENT_2\" \"$SENT_33\" \"$SET_A\" \"$SET_B\" \"$MCP_SSH_TOKEN\" \"$MCP_OTHER\"";
    let expected = "<first><set><><1><x  'y ><><sent>";

    for tool in ["ssh_exec", "ssh_shell"] {
        assert_eq!(
            program
                .call(tool, json!({"command": show}))
                .await
                .ok()
                .stdout(),
            expected,
            "{tool}"
        );
    }

    // What the call itself asks for wins.
    let call = json!({"command": show, "env": {"SET_A": "mine", "SENT_33": "too"}});
    assert_eq!(
        program.call("ssh_exec", call).await.ok().stdout(),
        "<first><set><too><mine><x  'y ><><sent>"
    );

    assert!(!program.log().contains("a-secret-token") && !sshd.log().contains("a-secret-token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_no_variables_still_runs_the_command() {
    let sshd = sshd("");
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(
        &sshd.write_ssh_config("box", "SetEnv SET_A=1"),
        folder.path(),
    )
    .await;

    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    for tool in ["ssh_exec", "ssh_shell"] {
        assert_eq!(
            client
                .call(tool, json!({"command": "echo \"<$SET_A>\""}))
                .await
                .ok()
                .stdout(),
            "<>\n",
            "{tool}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn algorithms_and_compression_are_those_of_the_configuration() {
    let sshd = sshd("LogLevel DEBUG");
    let folder = tempfile::tempdir().unwrap();
    for (lines, parts) in [
        (
            "Ciphers aes192-ctr\nMACs hmac-sha2-512\nKexAlgorithms diffie-hellman-group14-sha256\nCompression yes",
            vec![
                "kex: algorithm: diffie-hellman-group14-sha256 [preauth]",
                "cipher: aes192-ctr MAC: hmac-sha2-512 compression: zlib@openssh.com",
            ],
        ),
        (
            "Ciphers aes256-gcm@openssh.com",
            vec!["cipher: aes256-gcm@openssh.com MAC: <implicit> compression: none"],
        ),
    ] {
        let mut client =
            McpClient::start(&sshd.write_ssh_config("box", lines), folder.path()).await;
        client
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        assert_eq!(
            client
                .call("ssh_exec", json!({"command": "echo x"}))
                .await
                .ok()
                .stdout(),
            "x\n",
            "{lines}"
        );

        for part in parts {
            assert!(sshd.log().contains(part), "{part}: {}", sshd.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_supported_algorithms_is_an_error_with_both() {
    let sshd = sshd("");
    let folder = tempfile::tempdir().unwrap();
    for (lines, option, supported) in [
        (
            "KexAlgorithms sntrup761x25519-sha512@openssh.com",
            "KexAlgorithms",
            "curve25519-sha256",
        ),
        ("MACs umac-64@openssh.com", "MACs", "hmac-sha2-256"),
    ] {
        let mut client =
            McpClient::start(&sshd.write_ssh_config("box", lines), folder.path()).await;
        let configured = lines.split(' ').nth(1).unwrap();
        let refused = client.call("ssh_connect", json!({"host": "box"})).await;
        assert_refused(&refused, &[option, configured, supported]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsa_keys_that_are_too_short_are_refused_on_both_sides() {
    let settings = OpenSshdSettings {
        host_key_types: vec!["rsa"],
        ..OpenSshdSettings::default()
    };

    let sshd = OpenSshd::start(&settings);
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("rsa");
    let public = keys::ssh_keygen(&key, "rsa", "");
    let line = public.to_openssh().unwrap() + "\n";
    std::fs::write(sshd.dir().join("authorized_keys"), line).unwrap();
    let only = format!("IdentityAgent none\nIdentityFile {}", key.display());

    for (lines, server, part) in [
        ("RequiredRSASize 2049", &sshd, "at least 2049 are required"),
        ("RequiredRSASize 2049", &self::sshd(""), "permission denied"),
    ] {
        std::fs::copy(
            sshd.dir().join("authorized_keys"),
            folder.path().join("copy"),
        )
        .unwrap();

        std::fs::copy(
            folder.path().join("copy"),
            server.dir().join("authorized_keys"),
        )
        .unwrap();

        for (lines, refused) in [(lines, true), ("RequiredRSASize 2048", false)] {
            let config = server.write_ssh_config("box", &format!("{lines}\n{only}"));
            let mut client = McpClient::start(&config, folder.path()).await;
            let answer = client.call("ssh_connect", json!({"host": "box"})).await;
            assert_eq!(answer.is_error(), refused, "{lines}: {}", answer.text());
            assert!(
                !refused || answer.text().contains(part),
                "{lines}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_renewed_as_often_as_the_configuration_says() {
    let sshd = sshd("LogLevel DEBUG");
    let folder = tempfile::tempdir().unwrap();
    let mut client = McpClient::start(
        &sshd.write_ssh_config("box", "RekeyLimit 1M"),
        folder.path(),
    )
    .await;

    client
        .call("ssh_connect", json!({"host": "box"}))
        .await
        .ok();

    let keys = || sshd.log().matches("SSH2_MSG_NEWKEYS received").count();
    assert_eq!(keys(), 1);

    let answer = client
        .call(
            "ssh_exec",
            json!({"command": "head -c 5000000 /dev/zero | tr '\\0' x"}),
        )
        .await
        .ok();

    assert_eq!(answer.outcome()["stdoutBytes"], 5_000_000);
    eventually("new keys are agreed on", || keys() > 1).await;
}
