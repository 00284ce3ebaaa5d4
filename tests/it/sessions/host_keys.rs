//! Which host keys are accepted: those that OpenSSH would accept.

use std::fs;

use russh::keys::{HashAlg, PublicKey};
use serde_json::json;

use crate::support::{
    checks::assert_refused,
    fake_sshd::{FakeSshd, FakeSshdSettings},
    fixture::TestHost,
    keys,
};

fn known_hosts(world: &TestHost<FakeSshd>) -> std::path::PathBuf {
    world.folder().join("known_hosts")
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_host_key_is_refused_also_when_reconnecting() {
    let world = TestHost::fake();
    let lines = format!("# a comment\n\n{}", world.sshd.known_hosts_line());
    fs::write(known_hosts(&world), &lines).unwrap();
    let mut client = world.client().await;
    client.connect(json!({"host": "box"})).await;
    let shown = fingerprint(&world.sshd.replace_host_key());
    world.sshd.drop_connections();
    let (host, file) = (
        format!("[127.0.0.1]:{}", world.sshd.port()),
        known_hosts(&world).display().to_string(),
    );

    let entry = format!("Offending ED25519 key in {file}:3");
    let repair = format!("ssh-keygen -R '{host}' -f '{file}'");
    let parts = ["HAS CHANGED", &host, "ssh-ed25519", &shown, &entry, &repair];

    for (tool, arguments) in [
        ("ssh_exec", json!({"command": "echo secret"})),
        ("ssh_shell", json!({"command": "echo secret"})),
        (
            "ssh_upload",
            json!({"localPath": "/etc/passwd", "remotePath": "copy"}),
        ),
        ("ssh_reconnect", json!({})),
        ("ssh_connect", json!({"host": "box"})),
        ("ssh_connect", json!({"host": "box", "name": "new"})),
    ] {
        assert_refused(&client.call(tool, arguments).await, &parts);
    }

    assert_eq!(
        (
            world.received("secret"),
            fs::read_to_string(known_hosts(&world)).unwrap()
        ),
        (0, lines)
    );

    let listing = client.call("ssh_sessions", json!({})).await.ok();
    assert!(listing.text().contains("HAS CHANGED"), "{}", listing.text());

    // The person has removed the old key and accepted the new one.
    fs::write(known_hosts(&world), world.sshd.known_hosts_line()).unwrap();

    assert_eq!(
        client
            .call("ssh_exec", json!({"command": "echo ok"}))
            .await
            .stdout(),
        "ok\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_key_is_refused_with_a_way_to_accept_it() {
    for policy in ["yes", "ask"] {
        let world = TestHost::fake_with(
            FakeSshdSettings::default(),
            &format!("StrictHostKeyChecking {policy}"),
        );

        let shown = fingerprint(&world.sshd.host_public_key());
        let other_port = keys::known_hosts_line(
            world.sshd.port().wrapping_add(1),
            &world.sshd.host_public_key(),
        );

        let mut client = world.client().await;

        for lines in [Some(""), Some(other_port.as_str()), None] {
            match lines {
                Some(lines) => fs::write(known_hosts(&world), lines).unwrap(),
                None => fs::remove_file(known_hosts(&world)).unwrap(),
            }

            let refused = client.call("ssh_connect", json!({"host": "box"})).await;
            let host = format!("[127.0.0.1]:{}", world.sshd.port());

            assert_refused(
                &refused,
                &[
                    "not known",
                    &host,
                    "ssh-ed25519",
                    &shown,
                    policy,
                    "box` once in a terminal",
                ],
            );

            assert_eq!(
                fs::read_to_string(known_hosts(&world)).ok().as_deref(),
                lines,
                "nothing is saved unasked"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_accept_an_unknown_key_leads_to_the_same_server() {
    let world = TestHost::fake();
    fs::write(known_hosts(&world), "").unwrap();
    let mut client = world.client().await;
    let port = world.sshd.port();

    for (arguments, destination) in [
        (json!({"host": "box"}), "box".to_owned()),
        (
            json!({"host": "127.0.0.1", "port": port, "user": "agent"}),
            format!("-p {port} -l 'agent' 127.0.0.1"),
        ),
    ] {
        let refused = client.call("ssh_connect", arguments).await;
        let command = format!("ssh -F '{}' {destination}", world.config.display());
        assert_refused(&refused, &[&format!("`{command}`")]);

        // A person who follows the hint is asked about that very key.
        let ssh = format!(
            "{command} -oStrictHostKeyChecking=accept-new -oBatchMode=yes -oIdentityFile={} true",
            world.key().display()
        );

        let ssh = std::process::Command::new("sh")
            .args(["-c", &ssh])
            .output()
            .unwrap();

        assert!(ssh.status.success(), "{ssh:?}");
        assert_eq!(
            fs::read_to_string(known_hosts(&world)).unwrap(),
            world.sshd.known_hosts_line()
        );

        fs::write(known_hosts(&world), "").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_host_key_is_refused_whatever_else_is_known() {
    let world = TestHost::fake();
    let line = world.sshd.known_hosts_line();
    let mut client = world.client().await;

    for lines in [
        format!("@revoked {line}"),
        format!("{line}@revoked\t{line}"),
        format!("@revoked * {}", line.split_once(' ').unwrap().1),
    ] {
        fs::write(known_hosts(&world), &lines).unwrap();
        let refused = client.call("ssh_connect", json!({"host": "box"})).await;
        let number = lines
            .lines()
            .position(|line| line.starts_with("@revoked"))
            .unwrap()
            + 1;

        let entry = format!("{}:{number}", known_hosts(&world).display());
        assert_refused(&refused, &["@revoked in", &entry, "do not connect"]);
    }

    let file = world.folder().join("revoked_keys");
    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        &format!("RevokedHostKeys {}", file.display()),
    );

    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut client = world.client().await;
    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["revoked_keys", "cannot be read"],
    );

    fs::write(
        &file,
        format!(
            "# revoked\n{}\n",
            world.sshd.host_public_key().to_openssh().unwrap()
        ),
    )
    .unwrap();

    assert_refused(
        &client.call("ssh_connect", json!({"host": "box"})).await,
        &["REVOKED", "in line 2 of", "revoked_keys", "do not connect"],
    );

    fs::write(&file, "").unwrap();
    client.connect(json!({"host": "box"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_new_saves_a_key_once_and_refuses_a_changed_one() {
    for extra in ["", "HashKnownHosts yes"] {
        let world = TestHost::fake_with(
            FakeSshdSettings::default(),
            &format!("StrictHostKeyChecking accept-new\n{extra}"),
        );

        let file = known_hosts(&world);
        fs::write(&file, "# no newline at the end").unwrap();
        let mut client = world.client().await;
        let first = client.connect(json!({"host": "box"})).await;
        let notice = first.structured()["notices"][0]
            .as_str()
            .unwrap()
            .to_owned();

        let shown = fingerprint(&world.sshd.host_public_key());
        assert!(
            notice.contains(&shown) && notice.contains(file.to_str().unwrap()),
            "{notice}"
        );

        assert!(first.text().contains(&notice));
        let saved = fs::read_to_string(&file).unwrap();

        if extra.is_empty() {
            assert_eq!(
                saved,
                format!("# no newline at the end\n{}", world.sshd.known_hosts_line())
            );
        } else {
            assert!(saved.starts_with("# no newline at the end\n|1|"), "{saved}");
            assert_eq!(saved.lines().count(), 2);
        }

        // It is trusted from now on, by us and by ssh itself.
        client.call("ssh_disconnect", json!({})).await.ok();
        let again = client.connect(json!({"host": "box"})).await;
        assert_eq!(again.structured().get("notices"), None);
        assert_eq!(fs::read_to_string(&file).unwrap(), saved);
        let ssh = std::process::Command::new("ssh")
            .args(["-oStrictHostKeyChecking=yes", "-oBatchMode=yes", "-F"])
            .arg(&world.config)
            .args(["box", "echo trusted"])
            .output();

        assert_eq!(ssh.unwrap().stdout, b"trusted\n");

        world.sshd.replace_host_key();
        client.call("ssh_disconnect", json!({})).await.ok();
        assert_refused(
            &client.call("ssh_exec", json!({"command": "true"})).await,
            &["HAS CHANGED", "known_hosts:2 "],
        );

        assert_eq!(fs::read_to_string(&file).unwrap(), saved);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_saved_is_accepted_with_a_notice() {
    let world = TestHost::fake_with(
        FakeSshdSettings::default(),
        "StrictHostKeyChecking accept-new\nUserKnownHostsFile /dev/null/x",
    );

    let mut client = world.client().await;
    let first = client.connect(json!({"host": "box"})).await;
    let notice = first.structured()["notices"][0].as_str().unwrap();
    assert!(notice.contains("could not be written"), "{notice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checking_a_changed_key_gets_no_password() {
    let password = Some("hunter2".to_owned());

    let world = TestHost::fake_with(
        FakeSshdSettings {
            password,
            ..FakeSshdSettings::default()
        },
        "StrictHostKeyChecking no",
    );

    world.sshd.replace_host_key();
    keys::write_private_key(&world.key(), &keys::ed25519(), None);
    let mut client = world.client().await;
    let refused = client
        .call("ssh_connect", json!({"host": "box", "password": "hunter2"}))
        .await;
    assert_refused(&refused, &["password", "host key has changed"]);
    assert!(!refused.text().contains("hunter2"));
}
