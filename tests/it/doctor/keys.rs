//! Logging in: which keys are shown, and why one after the other is not taken.

use std::{fs, path::Path, process::Command};

use super::doctor;
use crate::support::{
    fake_sshd::{FakeSshd, FakeSshdSettings},
    keys,
    open_sshd::{OpenSshd, OpenSshdSettings},
    ssh_agent::SshAgent,
};

/// A configuration whose only keys are these.
fn with_keys(sshd: &OpenSshd, options: &str, keys: &[&Path]) -> std::path::PathBuf {
    let lines: Vec<String> = keys
        .iter()
        .map(|key| format!("IdentityFile {}\n", key.display()))
        .collect();

    let files = lines.concat();
    let config = sshd.write_ssh_config("box", &format!("{options}\n{files}"));
    let own = format!("IdentityFile {}\n", sshd.private_key_path().display());
    let text = fs::read_to_string(&config).unwrap();
    let (before, after) = text.rsplit_once(&own).unwrap();
    fs::write(&config, format!("{before}{after}")).unwrap();

    config
}

#[tokio::test]
async fn of_each_key_it_is_told_why_it_does_not_let_in() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let [stranger, open, encrypted, missing] =
        ["stranger", "open", "encrypted", "missing"].map(|name| folder.path().join(name));
    for key in [&stranger, &open] {
        keys::write_private_key(key, &keys::ed25519(), None);
    }

    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    keys::write_private_key(&encrypted, &keys::ed25519(), Some("correct horse"));
    fs::copy(
        encrypted.with_extension("pub"),
        sshd.dir().join("authorized_keys"),
    )
    .unwrap();

    let config = with_keys(
        &sshd,
        "IdentityAgent none",
        &[&missing, &stranger, &open, &encrypted],
    );

    doctor(&config, &[folder.path()]).await.says(
        false,
        &[
            "✓ host key",
            &format!("✗ log-in: permission denied for {}; the server would take: publickey", sshd.user()),
            "agent: none (IdentityAgent none)",
            "missing: there is no such file",
            "the server takes publickey",
            "open: its permissions 0644 are too open; run chmod 600 on it",
            "stranger: refused",
            "encrypted: the server would accept it, but it is encrypted and no passphrase was given",
            "– channel: not reached",
            "✗ box does not connect",
            "next: run `ssh-add` on the key that the server would accept",
        ],
    );

    // Nothing but strangers.
    let config = with_keys(&sshd, "IdentityAgent /nowhere/socket", &[&stranger]);

    doctor(&config, &[folder.path()]).await.says(
        false,
        &[
            "✗ log-in: permission denied",
            "agent: /nowhere/socket: ",
            "stranger: refused",
            "next: have one of your keys put",
        ],
    );

    let log = sshd.log();
    assert!(
        !log.contains("Failed password") && !log.contains("Accepted publickey"),
        "{log}"
    );
}

#[tokio::test]
async fn agent_keys_come_first_and_none_is_needed_after_the_right_one() {
    let sshd = OpenSshd::start(&OpenSshdSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let [stranger, last] = ["stranger", "last"].map(|name| folder.path().join(name));
    for key in [&stranger, &last] {
        keys::write_private_key(key, &keys::ed25519(), None);
    }

    let socket = folder.path().join("agent");
    let agent = SshAgent::start(&socket).await;
    agent.add(&stranger, &[]);
    let config = with_keys(
        &sshd,
        &format!("IdentityAgent {}\nIdentitiesOnly no", socket.display()),
        &[&sshd.private_key_path(), &last],
    );

    doctor(&config, &[&stranger, &last]).await.says(
        true,
        &[
            "✓ log-in: publickey",
            "agent: it holds 1",
            "(agent, test): refused",
            "id_ed25519: accepted",
            "last: not needed",
        ],
    );
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, key) = (folder.path().join("ca"), folder.path().join("key"));
    for path in [&authority, &key] {
        keys::ssh_keygen(path, "ed25519", "");
    }

    let extra_config = format!(
        "TrustedUserCAKeys {}",
        authority.with_extension("pub").display()
    );

    let sshd = OpenSshd::start(&OpenSshdSettings {
        extra_config,
        ..OpenSshdSettings::default()
    });

    fs::write(sshd.dir().join("authorized_keys"), "").unwrap();
    let mut sign = Command::new("ssh-keygen");

    sign.args([
        "-q",
        "-I",
        "me",
        "-n",
        sshd.user(),
        "-V",
        "20200101:20210203",
        "-s",
    ])
    .arg(&authority);

    assert!(
        sign.arg(key.with_extension("pub"))
            .status()
            .unwrap()
            .success()
    );

    let output = doctor(
        &with_keys(&sshd, "IdentityAgent none", &[&key]),
        &[folder.path()],
    )
    .await;

    output.says(
        false,
        &["✗ log-in", "ssh-ed25519-cert-v01@openssh.com", "next: "],
    );

    assert!(
        output.text.contains("refused (it expired on 2021-02-0"),
        "{}",
        output.text
    );
}

#[tokio::test]
async fn no_password_is_sent_and_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = FakeSshd::start(FakeSshdSettings {
        password: Some("secret".to_owned()),
        rounds: vec![vec![("Password: ", false, "secret")]],
        ..FakeSshdSettings::default()
    });

    let config = sshd.write_ssh_config(
        folder.path(),
        "box",
        "IdentityFile none\nIdentityAgent none",
    );

    doctor(&config, &[folder.path()]).await.says(
        false,
        &[
            "✗ log-in: permission denied for agent; the server would take: ",
            "password: not tried, because nothing secret is sent to find this out",
            "keyboard-interactive: not tried",
            "next: connect with a password",
        ],
    );

    assert!(
        sshd.attempts().iter().all(|method| *method == "none"),
        "{:?}",
        sshd.attempts()
    );

    // Switched off here, too.
    let config = sshd.write_ssh_config(
        folder.path(),
        "box",
        "IdentityFile none\nPasswordAuthentication no",
    );

    doctor(&config, &[folder.path()]).await.says(
        false,
        &["password: not tried, because of PasswordAuthentication no"],
    );
}
