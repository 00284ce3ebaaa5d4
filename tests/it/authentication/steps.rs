//! Servers that want more than one proof, and those that say no.

use std::fs;

use mcp_ssh_sessions::ssh::{auth::Credentials, prompt::prompter::Prompter};
use russh::MethodKind;
use serde_json::json;

use super::{Script, authorize, methods, open, ssh};
use crate::support::{
    checks::assert_refused,
    fake_sshd::FakeSshdSettings,
    fixture::TestHost,
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_two_methods_gets_both() {
    use MethodKind::{KeyboardInteractive, Password, PublicKey};

    for steps in [
        vec![PublicKey, Password],
        vec![Password, PublicKey],
        vec![PublicKey, KeyboardInteractive],
    ] {
        let settings = FakeSshdSettings {
            password: Some("correct horse".to_owned()),
            rounds: vec![vec![("Password: ", false, "correct horse")]],
            steps: steps.clone(),
            ..FakeSshdSettings::default()
        };

        let expected = steps
            .iter()
            .map(Into::<&str>::into)
            .collect::<Vec<_>>()
            .join(",");

        let world = TestHost::fake_with(settings, "");
        let mut client = world.client().await;

        // With the password given, and with a person who is asked for it.
        let session = client
            .call(
                "ssh_connect",
                json!({"host": "box", "password": "correct horse"}),
            )
            .await
            .ok();

        assert_eq!(session.structured()["session"]["authMethod"], expected);
        let script = Script::new(&[&["correct horse"]]);
        let connection = open(&world.config, &Credentials::default(), &script.prompter)
            .await
            .unwrap();

        assert_eq!(
            (connection.peer.auth_method.as_str(), script.prompts().len()),
            (expected.as_str(), 1)
        );

        // With neither, it is told how far it went and what the server wants next.
        let mut later = world.client().await;
        let refused = later
            .call("ssh_connect", json!({"host": "box", "name": "other"}))
            .await;

        let (told, next) = match steps[..] {
            [PublicKey, next] => ("publickey: accepted, but the server wants more", next),
            _ => (
                "publickey: not tried, because the server does not take it",
                Password,
            ),
        };

        assert_refused(
            &refused,
            &[told, &format!("server accepts: {}", <&str>::from(&next))],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_sshd_gets_two_different_keys_where_it_wants_two() {
    let extra_config = "AuthenticationMethods publickey,publickey".to_owned();
    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    let config = sshd.write_ssh_config("box", "IdentityAgent none");
    let error = methods(&config).await.unwrap_err();
    assert!(
        error.contains("publickey: accepted, but the server wants more"),
        "{error}"
    );

    let second = sshd.dir().join("second");
    keys::write_private_key(&second, &keys::ed25519(), None);
    authorize(&sshd, &second);
    let config = sshd.write_ssh_config(
        "box",
        &format!("IdentityAgent none\nIdentityFile {}", second.display()),
    );

    assert!(ssh(&config));
    assert_eq!(methods(&config).await.unwrap(), "publickey,publickey");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_gets_no_answer_may_have_expired() {
    let settings = FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        silent_password: true,
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let mut client = world.client().await;

    let refused = client
        .call(
            "ssh_connect",
            json!({"host": "box", "password": "correct horse", "timeoutMs": 4000}),
        )
        .await;

    assert_refused(
        &refused,
        &[
            "the server may want a new one",
            "expired",
            "change the password",
            "timeoutMs",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_questions_are_named_and_the_next_method_is_tried() {
    let settings = FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        rounds: vec![vec![("User\u{1b}[2J: ", true, "a"), ("Code: ", false, "1")]],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "PasswordAuthentication no");
    let mut client = world.client().await;

    // The key is tried after the questions, over the same connection.
    let session = client
        .call(
            "ssh_connect",
            json!({"host": "box", "password": "correct horse"}),
        )
        .await
        .ok();

    assert_eq!(session.structured()["session"]["authMethod"], "publickey");
    assert_eq!(
        world.sshd.attempts(),
        ["none", "keyboard-interactive", "offer", "publickey"]
    );

    keys::write_private_key(&world.key(), &keys::ed25519(), None);

    let refused = client
        .call(
            "ssh_connect",
            json!({"host": "other", "password": "correct horse"}),
        )
        .await;

    assert_refused(
        &refused,
        &["the server asks User\\u{1b}[2J: , Code: ", "server accepts"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_options_are_named_if_nothing_else_works() {
    let world = TestHost::fake_with(FakeSshdSettings::default(), "PKCS11Provider /lib/none.so");
    assert_eq!(methods(&world.config).await.unwrap(), "publickey");
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let error = methods(&world.config).await.unwrap_err();
    assert!(
        error.contains("PKCS11Provider /lib/none.so: not supported; load it with `ssh-add -s"),
        "{error}"
    );

    let steps = vec![MethodKind::HostBased];

    let world = TestHost::fake_with(
        FakeSshdSettings {
            steps,
            ..FakeSshdSettings::default()
        },
        "HostbasedAuthentication yes",
    );

    let error = methods(&world.config).await.unwrap_err();
    assert!(error.contains("hostbased: not supported"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_algorithms_are_listed_with_the_known_ones() {
    let sk = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";
    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        &format!("PubkeyAcceptedAlgorithms {sk}"),
    );

    let mut client = world.client().await;
    let refused = client.call("ssh_connect", json!({"host": "box"})).await;

    assert_refused(
        &refused,
        &[
            "PubkeyAcceptedAlgorithms",
            sk,
            "rsa-sha2-512-cert-v01@openssh.com",
            "sk-ssh-ed25519",
        ],
    );

    let config = fs::read_to_string(&world.config)
        .unwrap()
        .replace(sk, "ecdsa-sha2-nistp256");
    fs::write(&world.config, config).unwrap();
    let error = open(&world.config, &Credentials::default(), &Prompter::default())
        .await
        .unwrap_err()
        .to_string();

    assert!(
        error.contains("id_ed25519: PubkeyAcceptedAlgorithms does not allow it"),
        "{error}"
    );
}
