//! The person is asked for what was not given, as often and for as much as `ssh` would.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use mcp_ssh_sessions::{
    password::Password,
    ssh::{
        auth::Credentials,
        error::SshError,
        prompt::prompter::{Prompter, Purpose},
    },
};
use russh::MethodKind;
use serde_json::json;

use super::{LIMIT, Script, open};
use crate::support::{
    checks::assert_refused,
    clock,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    mcp_client::McpClient,
};

const PASSWORD: &str = "agent@127.0.0.1's password: ";
const AGAIN: &str = "Permission denied, please try again.\nagent@127.0.0.1's password: ";

fn nothing() -> Credentials {
    Credentials::default()
}

/// A server with a password, whose keys are not ours.
fn with_password(extra: &str) -> TestHost<FakeSshd> {
    let settings = FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        authorized_keys: vec![keys::ed25519().public_key().clone()],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, extra);
    keys::write_private_key(&world.key(), &keys::ed25519(), None);

    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_after_the_keys_until_right_then_kept() {
    let world = with_password("");
    let script = Script::new(&[&["wrong"], &[""], &["correct horse"]]);
    let connection = open(&world.config, &nothing(), &script.prompter)
        .await
        .unwrap();
    assert_eq!(connection.peer.auth_method, "password");
    assert_eq!(script.prompts(), [PASSWORD, AGAIN, AGAIN]);
    assert!(script.questions.lock().unwrap().iter().all(|question| {
        (question.account.as_str(), &question.purpose) == ("agent@127.0.0.1", &Purpose::Password)
            && !question.prompts[0].echo
    }));

    assert_eq!(
        world.sshd.attempts(),
        ["none", "offer", "password", "password", "password"]
    );

    let credentials = Credentials {
        typed_secrets: connection.typed_secrets.clone(),
        ..nothing()
    };

    assert!(credentials.have_password());
    let again = open(&world.config, &credentials, &Prompter::default())
        .await
        .unwrap();

    assert_eq!(
        (again.peer.auth_method.as_str(), &again.typed_secrets),
        ("password", &credentials.typed_secrets)
    );

    assert!(!format!("{credentials:?} {again:?}").contains("correct horse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_as_often_as_the_configuration_says() {
    for (extra, expected) in [
        ("", vec![PASSWORD, AGAIN, AGAIN]),
        ("NumberOfPasswordPrompts 1", vec![PASSWORD]),
        ("BatchMode yes", vec![]),
        ("PasswordAuthentication no", vec![]),
        ("PreferredAuthentications publickey", vec![]),
    ] {
        let world = with_password(extra);
        let script = Script::new(&[&["a"], &["b"], &["c"], &["correct horse"]]);
        let error = open(&world.config, &nothing(), &script.prompter)
            .await
            .unwrap_err();
        assert_eq!(script.prompts(), expected, "{extra}");
        assert_eq!(
            error.to_string().matches("password: refused").count(),
            expected.len(),
            "{error}"
        );

        // A password that was given is no question, and not the person's to be asked again.
        let credentials = Credentials {
            password: Some(Password::from("wrong".to_owned())),
            ..nothing()
        };

        let script = Script::new(&[&["correct horse"]]);
        let opened = open(&world.config, &credentials, &script.prompter).await;
        assert_eq!(opened.is_ok(), !expected.is_empty(), "{extra}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_is_asked_no_more() {
    let settings = FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        rounds: vec![vec![("Code: ", true, "1")]],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let script = Script::new(&[&[], &["1"], &["correct horse"]]);
    let error = open(&world.config, &nothing(), &script.prompter)
        .await
        .unwrap_err()
        .to_string();

    assert_eq!(script.prompts(), ["Code: "]);
    assert!(
        error.contains("keyboard-interactive: the server asks Code: "),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_for_only_if_the_server_accepts_the_key() {
    let world = with_password("");
    keys::write_private_key(&world.key(), &keys::ed25519(), Some("open sesame"));
    let script = Script::new(&[&["correct horse"]]);
    open(&world.config, &nothing(), &script.prompter)
        .await
        .unwrap();

    assert_eq!(script.prompts(), [PASSWORD]);

    let world = TestHost::fake();
    let key = russh::keys::load_secret_key(world.key(), None).unwrap();
    keys::write_private_key(&world.key(), &key, Some("open sesame"));
    let prompt = format!("Enter passphrase for key '{}': ", world.key().display());

    for (answers, opens, asked) in [
        (&[&["close"][..], &["open sesame"]][..], true, 2),
        (&[&["a"], &["b"], &["c"], &["open sesame"]], false, 3),
        (&[&[""], &["open sesame"]], false, 1),
        (&[&[]], false, 1),
    ] {
        let script = Script::new(answers);
        let opened = open(&world.config, &nothing(), &script.prompter).await;
        assert_eq!(
            script.prompts(),
            vec![prompt.as_str(); asked],
            "{answers:?}"
        );

        match opened {
            Ok(connection) => {
                assert!(opens, "{answers:?}");
                let credentials = Credentials {
                    typed_secrets: connection.typed_secrets.clone(),
                    ..nothing()
                };

                open(&world.config, &credentials, &Prompter::default())
                    .await
                    .unwrap();
            }
            Err(error) => {
                assert!(!opens, "{error}");
                assert!(
                    error.to_string().contains("id_ed25519")
                        && error.to_string().contains("passphrase"),
                    "{error}"
                );
            }
        }
    }

    // What was given is tried before anybody is asked.
    let credentials = Credentials {
        passphrase: Some(Password::from("open sesame".to_owned())),
        ..nothing()
    };

    let script = Script::new(&[]);
    open(&world.config, &credentials, &script.prompter)
        .await
        .unwrap();

    assert_eq!(script.prompts(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_questions_are_passed_on_as_they_are_round_by_round() {
    let settings = FakeSshdSettings {
        rounds: vec![
            vec![("Password: ", false, "correct horse")],
            vec![],
            vec![
                ("Your code: ", false, "123456"),
                ("Your colour: ", true, "blue"),
            ],
        ],
        steps: vec![MethodKind::PublicKey, MethodKind::KeyboardInteractive],
        ..FakeSshdSettings::default()
    };

    let world = TestHost::fake_with(settings, "");
    let script = Script::new(&[&["wrong"], &["correct horse"], &["123456", "blue"]]);
    let connection = open(&world.config, &nothing(), &script.prompter)
        .await
        .unwrap();

    assert_eq!(
        connection.peer.auth_method,
        "publickey,keyboard-interactive"
    );

    assert_eq!(
        script.prompts(),
        ["Password: ", "Password: ", "Your code: |Your colour: "]
    );

    let questions = script.questions.lock().unwrap().clone();
    let words = Purpose::KeyboardInteractive("Two steps\nHave your token ready.".into());
    assert!(questions.iter().all(|question| question.purpose == words));

    assert_eq!(
        questions[2]
            .prompts
            .iter()
            .map(|prompt| prompt.echo)
            .collect::<Vec<_>>(),
        [false, true]
    );

    // The password that worked is known by now; what changes each time is asked for again.
    let credentials = Credentials {
        typed_secrets: connection.typed_secrets.clone(),
        ..nothing()
    };

    let script = Script::new(&[&["123456", "blue"]]);
    open(&world.config, &credentials, &script.prompter)
        .await
        .unwrap();

    assert_eq!(script.prompts(), ["Your code: |Your colour: "]);

    // Nobody to ask: the questions are named.
    let error = open(&world.config, &credentials, &Prompter::default())
        .await
        .unwrap_err()
        .to_string();

    assert!(
        error.contains("the server asks Your code: , Your colour: "),
        "{error}"
    );

    assert!(
        error.contains("publickey: accepted, but the server wants more"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_hosts_secret_goes_only_to_it_and_is_remembered() {
    let target = with_password("");
    let settings = FakeSshdSettings {
        password: Some("another".to_owned()),
        authorized_keys: vec![keys::ed25519().public_key().clone()],
        ..FakeSshdSettings::default()
    };

    let hop = TestHost::fake_with(settings, "");
    keys::write_private_key(&hop.key(), &keys::ed25519(), None);
    let known = target.sshd.known_hosts_line() + &hop.sshd.known_hosts_line();
    fs::write(target.folder().join("known_hosts"), known).unwrap();
    let hop_block = format!(
        "Host hop\nHostName 127.0.0.1\nUser agent\nPort {}\nIdentityFile none\nHost box\nProxyJump hop\n",
        hop.sshd.port()
    );

    let config = fs::read_to_string(&target.config).unwrap();
    fs::write(&target.config, hop_block + &config).unwrap();
    let script = Script::new(&[&["another"], &["correct horse"]]);
    let connection = open(&target.config, &nothing(), &script.prompter)
        .await
        .unwrap();
    assert_eq!((script.prompts().len(), hop.sshd.connections()), (2, 1));
    let credentials = Credentials {
        typed_secrets: connection.typed_secrets.clone(),
        ..nothing()
    };

    open(&target.config, &credentials, &Prompter::default())
        .await
        .unwrap();

    assert_eq!(
        hop.sshd
            .attempts()
            .iter()
            .filter(|method| **method == "password")
            .count(),
        2
    );

    assert_eq!(
        target
            .sshd
            .attempts()
            .iter()
            .filter(|method| **method == "password")
            .count(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_ends_with_the_connection() {
    let world = with_password("");
    let (give, mut take) = tokio::sync::mpsc::channel(1);
    let prompter = Prompter::new(None, Some(give));
    let config = world.config.clone();
    let opening = tokio::spawn(async move { open(&config, &nothing(), &prompter).await });
    let question = take.recv().await.unwrap();
    world.sshd.drop_connections();
    let error = opening.await.unwrap().unwrap_err();
    assert!(matches!(error, SshError::Authentication { .. }), "{error}");
    drop(question);
}

#[tokio::test]
async fn the_time_that_a_person_takes_does_not_count() {
    let world = with_password("");
    let (give, mut take) = tokio::sync::mpsc::channel(1);

    tokio::spawn(async move {
        let Some(mcp_ssh_sessions::ssh::prompt::prompter::PromptRequest::AskSecrets(_, answer)) =
            take.recv().await
        else {
            return;
        };

        clock::pass(LIMIT).await;
        let _ = answer.send(vec![Password::from("correct horse".to_owned())]);
    });

    let prompter = Prompter::new(None, Some(give));
    open(&world.config, &nothing(), &prompter).await.unwrap();
}

/// A program that writes what it is asked into the file `asked` and answers.
fn askpass(folder: &Path, answer: &str) -> std::path::PathBuf {
    let path = folder.join("askpass");
    let asked = folder.join("asked");

    fs::write(
        &path,
        format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{}'\nprintf '{answer}'\n",
            asked.display()
        ),
    )
    .unwrap();

    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();

    path
}

#[tokio::test(flavor = "multi_thread")]
async fn askpass_is_asked_in_the_words_of_ssh_and_only_once() {
    let settings = || FakeSshdSettings {
        rounds: vec![vec![("Code:\t", true, "7")]],
        ..FakeSshdSettings::default()
    };

    let password = || FakeSshdSettings {
        password: Some("correct horse".to_owned()),
        ..FakeSshdSettings::default()
    };

    for (settings, passphrase, answer, method) in [
        (settings(), None, "7\\nrest", "keyboard-interactive"),
        (password(), None, "correct horse\\n", "password"),
        (
            FakeSshdSettings::default(),
            Some("open sesame"),
            "open sesame",
            "publickey",
        ),
    ] {
        let world = TestHost::fake_with(settings, "");
        let key = russh::keys::load_secret_key(world.key(), None).unwrap();
        let key = if passphrase.is_some() {
            key
        } else {
            keys::ed25519()
        };

        keys::write_private_key(&world.key(), &key, passphrase);
        let program = askpass(world.folder(), answer);
        let asked = world.folder().join("asked");
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&world.config).args(["box", "true"]);
        ssh.env("SSH_ASKPASS", &program)
            .env("SSH_ASKPASS_REQUIRE", "force");
        assert!(ssh.output().unwrap().status.success(), "{method}");
        let by_ssh = fs::read_to_string(&asked).unwrap();
        fs::remove_file(&asked).unwrap();

        let mut client = McpClient::with_askpass(&world.config, world.folder(), &program).await;
        let session = client
            .call("ssh_connect", json!({"host": "box"}))
            .await
            .ok();

        assert_eq!(session.structured()["session"]["authMethod"], method);
        assert_eq!(fs::read_to_string(&asked).unwrap(), by_ssh);
        world.sshd.drop_connections();
        client
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();

        let times = if method == "keyboard-interactive" {
            2
        } else {
            1
        };

        assert_eq!(
            fs::read_to_string(&asked).unwrap(),
            by_ssh.repeat(times),
            "{method}"
        );

        client.close().await;

        // A later process asks again instead of saying that it has no password.
        let mut later = McpClient::with_askpass(&world.config, world.folder(), &program).await;
        later
            .call("ssh_exec", json!({"command": "true"}))
            .await
            .ok();

        later.close().await;
        fs::write(&program, "#!/bin/sh\necho correct horse\nexit 1\n").unwrap();
        let mut last = McpClient::with_askpass(&world.config, world.folder(), &program).await;
        assert_refused(
            &last.call("ssh_exec", json!({"command": "true"})).await,
            &["permission denied"],
        );
    }
}
