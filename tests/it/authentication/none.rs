//! Accounts and servers that want no proof (the method `none`, RFC 4252, section 5.2): `ssh` tries that first.

use mcp_ssh_sessions::ssh::{auth::Credentials, prompt::prompter::Prompter};
use serde_json::json;

use super::{methods, open, ssh};
use crate::support::{
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    keys,
    sudo_host::{SudoHost, SudoHostSettings},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_no_proof_lets_in_before_any_key_is_shown() {
    let settings = || FakeSshdSettings {
        no_proof: true,
        ..FakeSshdSettings::default()
    };

    for (settings, extra) in [
        // A key is there that the server would not take, one that it would, one that needs a passphrase, and none.
        (
            FakeSshdSettings {
                authorized_keys: vec![keys::ed25519().public_key().clone()],
                ..settings()
            },
            "",
        ),
        (settings(), "PreferredAuthentications publickey"),
        (settings(), "IdentityFile none"),
    ] {
        let world = TestHost::fake_with(settings, extra);
        for passphrase in [None, Some("open sesame")] {
            keys::write_private_key(&world.key(), &keys::ed25519(), passphrase);
            assert_eq!(
                methods(&world.config).await.as_deref(),
                Ok("none"),
                "{extra}"
            );

            assert!(ssh(&world.config), "as the real ssh does");
        }

        assert!(
            world.sshd.attempts().iter().all(|method| *method == "none"),
            "{:?}",
            world.sshd.attempts()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_logs_in_although_there_is_a_key() {
    let extra_config =
        "PasswordAuthentication yes\nPermitEmptyPasswords yes\nPubkeyAuthentication no";

    let Some(host) = SudoHost::start(&SudoHostSettings {
        extra_config,
        ..SudoHostSettings::default()
    }) else {
        return;
    };

    let config = host.sshd.write_ssh_config("box", "");
    let refused = methods(&config).await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    host.clear_password();
    assert_eq!(methods(&config).await.as_deref(), Ok("none"));
    assert!(ssh(&config), "as the real ssh does");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_proof_is_wanted_is_asked_once_where_there_is_a_key() {
    let world = TestHost::fake();
    let mut client = world.client().await;
    let key = ["offer", "publickey"];

    for expected in [[&["none"][..], &key].concat(), key.to_vec(), key.to_vec()] {
        let before = world.sshd.attempts().len();
        client
            .call("ssh_exec", json!({"command": "true", "session": "box"}))
            .await;

        client
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        assert_eq!(world.sshd.attempts()[before..], expected);
        world.sshd.drop_connections();
    }

    // A jump host is another server.
    let first = open(&world.config, &Credentials::default(), &Prompter::default())
        .await
        .unwrap();
    assert!(first.needs_proof);
}
