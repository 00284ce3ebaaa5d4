//! Keys, passphrases, passwords and the agent.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::json;

use super::key_file;
use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
    ssh_agent::SshAgent,
};

/// A server that wants `key`, which is not the one of the configuration.
fn world_of(key: &russh::keys::PrivateKey, extra: &str) -> TestHost<FakeSshd> {
    let authorized_keys = vec![key.public_key().clone()];

    let world = TestHost::fake_with(
        FakeSshdSettings {
            authorized_keys,
            ..FakeSshdSettings::default()
        },
        extra,
    );

    keys::write_private_key(&world.key(), &keys::ed25519(), None);

    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_session_reconnects_until_it_is_disconnected() {
    let world = TestHost::fake_with_password("correct horse");
    let mut client = world.client().await;
    let session = client
        .connect(json!({"host": "box", "password": "correct horse"}))
        .await;

    assert_eq!(session.structured()["session"]["authMethod"], "password");
    assert_eq!(world.store()["sessions"][0]["passwordAuth"], true);
    world.sshd.drop_connections();

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo again"}))
            .await
            .stdout(),
        "again\n"
    );

    // Connecting without naming the password is the same session while it is in memory.
    client.connect(json!({"host": "box"})).await;

    // Which it is until the session is disconnected.
    client.call("ssh_disconnect", json!({})).await.ok();

    for (tool, arguments) in [
        ("ssh_shell", json!({"command": "true"})),
        ("ssh_connect", json!({"host": "box"})),
        ("ssh_reconnect", json!({})),
    ] {
        assert_refused(
            &client.call(tool, arguments).await,
            &["\"box\"", "password", "ssh_connect"],
        );
    }

    let again = client
        .connect(json!({"host": "box", "password": "correct horse"}))
        .await;

    assert_eq!(again.structured().get("notices"), None, "{}", again.text());

    assert_eq!(
        client
            .call("ssh_shell", json!({"command": "echo shell"}))
            .await
            .stdout(),
        "shell\n"
    );

    client.close().await;

    let mut later = world.client().await;
    let before = world.sshd.connections();

    for (tool, arguments) in [
        ("ssh_connect", json!({"host": "box"})),
        ("ssh_exec", json!({"command": "true"})),
        ("ssh_shell", json!({"command": "true"})),
        ("ssh_reconnect", json!({"session": "box"})),
    ] {
        assert_refused(
            &later.call(tool, arguments).await,
            &["\"box\"", "password", "ssh_connect"],
        );
    }

    let again = later
        .connect(json!({"host": "box", "password": "correct horse"}))
        .await;

    assert_eq!(
        again.structured().get("notices"),
        None,
        "what was asked for needs no notice"
    );

    assert_eq!(
        later
            .call("ssh_exec", json!({"command": "echo back"}))
            .await
            .stdout(),
        "back\n"
    );

    assert!(world.sshd.connections() <= before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_with_each_method_tried() {
    let world = TestHost::fake_with_password("correct horse");
    let mut client = world.client().await;

    for (arguments, parts) in [
        (
            json!({"host": "box", "password": "battery staple"}),
            vec!["permission denied", "password: refused", "id_ed25519"],
        ),
        (
            json!({"host": "box"}),
            vec![
                "permission denied",
                "publickey",
                "id_ed25519",
                "refused",
                "server accepts",
                "password",
            ],
        ),
        (
            json!({"host": "box", "user": "nobody", "password": "correct horse"}),
            vec!["nobody@127.0.0.1", "password: refused"],
        ),
    ] {
        let refused = client.call("ssh_connect", arguments.clone()).await;
        assert_refused(&refused, &parts);

        for secret in ["battery staple", "correct horse"] {
            assert!(
                !refused.0.to_string().contains(secret),
                "{arguments}: {}",
                refused.text()
            );
        }
    }

    assert_eq!(
        client.call("ssh_sessions", json!({})).await.structured()["sessions"],
        json!([])
    );

    assert!(!world.folder().join("sessions.json").exists());

    // A password that turned out wrong does not stand in the way of the right one.
    client
        .connect(json!({"host": "box", "password": "correct horse"}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_needs_its_passphrase_only_once() {
    let key = keys::ed25519();
    let world = world_of(&key, "");
    let path = key_file(&world, "locked", &key, Some("open sesame"));
    let mut client = world.client().await;

    for (passphrase, parts) in [
        (None, ["locked", "encrypted and no passphrase", "ssh-add"]),
        (
            Some("close sesame"),
            ["locked", "wrong passphrase", "right passphrase"],
        ),
        (Some(""), ["locked", "passphrase", "ssh-add"]),
    ] {
        let refused = client
            .call(
                "ssh_connect",
                json!({"host": "box", "keyPath": path, "passphrase": passphrase}),
            )
            .await;

        assert_refused(&refused, &parts);
        assert!(!refused.text().contains("close sesame"));
    }

    client
        .connect(json!({"host": "box", "keyPath": path, "passphrase": "open sesame"}))
        .await;

    world.sshd.drop_connections();

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo again"}))
            .await
            .stdout(),
        "again\n"
    );

    client.close().await;
    let mut later = world.client().await;
    assert_refused(
        &later.call("ssh_exec", json!({"command": "true"})).await,
        &["locked", "no passphrase", "ssh_connect"],
    );

    later
        .connect(json!({"host": "box", "keyPath": path, "passphrase": "open sesame"}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_that_the_server_would_accept_is_named() {
    let key = keys::ed25519();
    let world = world_of(&key, "");
    let mut client = world.client().await;

    for (key, part) in [
        (&key, "encrypted and no passphrase was given"),
        (&keys::ed25519(), "refused"),
    ] {
        let path = world.key();
        keys::write_private_key(&path, key, Some("open sesame"));
        let refused = client.call("ssh_connect", json!({"host": "box"})).await;
        let path = path.to_str().unwrap();
        assert_refused(&refused, &["permission denied", path, part]);

        assert_eq!(
            refused.text().contains("ssh-add"),
            part != "refused",
            "{}",
            refused.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_a_key_path_can_be_wrong_is_told() {
    let world = TestHost::fake();
    let folder = world.folder().display().to_string();
    let file = |name: &str| format!("{folder}/{name}");
    let mut client = world.client().await;
    fs::create_dir(file("directory")).unwrap();
    fs::write(file("text"), "no key at all\n").unwrap();
    fs::write(file("empty"), "").unwrap();
    fs::write(file("binary"), [0xff, 0, 1]).unwrap();
    for name in ["text", "empty", "binary"] {
        fs::set_permissions(file(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    let open = key_file(&world, "open", &keys::ed25519(), None);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let public = format!("{}.pub", world.key().display());
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    let stranger = key_file(&world, "stranger", &keys::ed25519(), None);

    for (path, part) in [
        (file("missing"), "there is no such file"),
        ("~/no such key".to_owned(), "there is no such file"),
        (file("directory"), "not a private key file"),
        (public, "it is a public key"),
        (open, "permissions 0644 are too open"),
        (file("text"), "not a private key"),
        (file("empty"), "not a private key"),
        (file("binary"), ""),
        (stranger, "permission denied"),
    ] {
        let refused = client
            .call("ssh_connect", json!({"host": "box", "keyPath": path}))
            .await;
        assert_refused(&refused, &[part, &path.replace('~', "")]);
    }

    // A public key that everybody may read is a public key first of all.
    let public = format!("{}.pub", world.key().display());
    fs::set_permissions(&public, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = client
        .call("ssh_connect", json!({"host": "box", "keyPath": public}))
        .await;
    assert_refused(&refused, &["it is a public key"]);
    client
        .connect(json!({"host": "box", "keyPath": world.key()}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_agent_are_used_without_their_files() {
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("agent");
    let ecdsa = sockets.path().join("ecdsa");
    keys::ssh_keygen(&ecdsa, "ecdsa", "");
    let rsa = sockets.path().join("rsa");
    keys::ssh_keygen(&rsa, "rsa", "");
    let ed25519 = sockets.path().join("ed25519");
    keys::write_private_key(&ed25519, &keys::ed25519(), None);

    for path in [ecdsa, rsa, ed25519] {
        let agent = SshAgent::start(&socket).await;
        let public = russh::keys::load_public_key(path.with_extension("pub")).unwrap();
        let extra = format!("IdentityAgent {}\nIdentitiesOnly no", socket.display());
        let settings = FakeSshdSettings {
            authorized_keys: vec![public],
            ..FakeSshdSettings::default()
        };

        let world = TestHost::fake_with(settings, &extra);
        fs::remove_file(world.key()).unwrap();
        fs::remove_file(world.key().with_extension("pub")).unwrap();
        let mut client = world.client().await;
        assert_refused(
            &client.call("ssh_connect", json!({"host": "box"})).await,
            &["permission denied"],
        );

        agent.add(&path, &[]);
        fs::remove_file(&path).unwrap();
        let session = client.connect(json!({"host": "box"})).await;
        assert_eq!(session.structured()["session"]["authMethod"], "publickey");

        assert_eq!(
            client
                .call("ssh_exec", json!({"command": "echo in"}))
                .await
                .stdout(),
            "in\n"
        );

        // An agent that is gone is told, and what works without it goes on working.
        drop(agent);
        world.sshd.drop_connections();
        assert_refused(
            &client.call("ssh_exec", json!({"command": "true"})).await,
            &["permission denied", "agent"],
        );

        let _ = fs::remove_file(&socket);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_identities_only_the_agents_other_keys_are_not_offered() {
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("agent");
    let agent = SshAgent::start(&socket).await;
    let key = keys::ed25519();
    let world = world_of(&key, &format!("IdentityAgent {}", socket.display()));
    let path = key_file(&world, "held", &key, None);
    agent.add(Path::new(&path), &[]);
    fs::remove_file(&path).unwrap();
    let mut client = world.client().await;
    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["permission denied"],
    );

    // Its public half beside the path that is named is enough.
    client
        .connect(json!({"host": "box", "keyPath": path}))
        .await;
}
